# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""From what a task asks about publishes and masquerades to the topology that is wanted."""

from __future__ import annotations

import typing as t

from ._errors import DependencyError, InputError, StateError
from ._facts import HostFacts
from ._hostports import check_grown, choose_host_ports, family_problem, versions_of
from ._model import (
    Endpoint,
    Masquerade,
    Publish,
    Subnet,
    parse_address,
    parse_subnet,
    plain_subnet,
    source_texts,
)
from ._names import valid_interface_name
from ._ports import parse_ports
from ._topology import Topology
from ._want_networks import known_network

__all__ = ("masquerade_name", "want_masquerades", "want_publishes", "without_masquerades", "without_publishes")

Request = t.Mapping[str, t.Any]


def want_publishes(
    topology: Topology, requests: t.Sequence[Request], facts: HostFacts, prune: bool = False
) -> Topology:
    """The topology with the requested ports published.

    :param requests: each with ``endpoint``, ``ports``, ``publish_all``, ``loopback`` and ``sources``.
    :param prune: remove those publishes of the named endpoints that are not requested.
    :raises InputError: a request is wrong, or two publishes collide.
    :raises StateError: a process of the host has a port, or no port is free, or the kernel has no SCTP.
    :raises DependencyError: a proxy is asked for and the host cannot run one.
    """
    asked: dict[tuple[t.Any, ...], Publish] = {}
    for request in requests:
        for publish in _asked(topology, request):
            if asked.setdefault(publish.key, publish) != publish:
                raise InputError(
                    "Cannot publish %s for endpoint %s: it is listed twice, with different sources or "
                    "another loopback. Make one entry of the two." % (publish.spec, publish.endpoint)
                )
    _check_proxies(asked.values(), facts)
    named = {request["endpoint"] for request in requests}
    kept = {
        key: publish
        for key, publish in topology.publishes.items()
        if key in asked or not (prune and publish.endpoint in named)
    }
    fresh: list[Publish] = []
    grown: list[tuple[Publish, Publish]] = []
    for key, publish in asked.items():
        _check_reachable(topology, publish)
        _check_sources(topology, publish)
        before = kept.get(key)
        if before is None:
            fresh.append(publish)
        else:
            kept[key] = publish._replace(host_port=before.host_port)
            more = kept[key] != before and set(topology.bindings(kept[key])) - set(topology.bindings(before))
            if more:
                grown.append((before, kept[key]))
    return topology.with_(publishes=_choose(topology.with_(publishes=kept), fresh, grown, facts))


def _choose(
    topology: Topology, fresh: list[Publish], grown: list[tuple[Publish, Publish]], facts: HostFacts
) -> dict[tuple[t.Any, ...], Publish]:
    """The publishes of ``topology`` and the fresh ones with their host ports.

    :param grown: those of ``topology`` that take more of the host than before, as they were and as they are.
    """
    publishes = dict(topology.publishes)
    if not fresh and not grown:
        return publishes
    if any(publish.protocol == "sctp" for publish in fresh) and not facts.has_sctp():
        publish = next(publish for publish in fresh if publish.protocol == "sctp")
        raise StateError(
            "Cannot publish %s for endpoint %s: the kernel of this host has no SCTP, neither built in nor as a module. "
            "Install the module sctp, or publish tcp or udp." % (publish.spec, publish.endpoint)
        )
    translated = [publish for publish in fresh if topology.network_of(publish).translated]
    changed = {after.key for _before, after in grown}
    others = {key: publish for key, publish in publishes.items() if key not in changed}
    book, ports = topology.with_(publishes=others).port_book(), facts.ports()
    check_grown([(new, topology.bindings(old), topology.bindings(new)) for old, new in grown], book, ports)
    settled = choose_host_ports(translated, book, topology.bindings, ports)
    # A routed network translates nothing: the host port that was asked for is never taken.
    settled += [p._replace(host_port=0) for p in fresh if not topology.network_of(p).translated]
    for publish in settled:
        publishes[publish.key] = publish
    return publishes


def _check_reachable(topology: Topology, publish: Publish) -> None:
    problem = family_problem(publish, topology.endpoints[publish.endpoint], topology.network_of(publish))
    if problem:
        raise InputError(
            "Cannot publish %s for endpoint %s: %s. Change the publish or the endpoint."
            % (publish.spec, publish.endpoint, problem)
        )


def _check_proxies(asked: t.Iterable[Publish], facts: HostFacts) -> None:
    """Refuse what no proxy can serve, on this host or at all."""
    proxied = [publish for publish in asked if publish.loopback == "proxy"]
    for publish in proxied:
        if publish.protocol != "tcp":
            raise InputError(
                "Cannot publish %s for endpoint %s with loopback 'proxy': the proxy carries tcp only. "
                "List the port in an entry of its own with loopback 'nat' or 'none'." % (publish.spec, publish.endpoint)
            )
    problem = facts.proxy_problem() if proxied else ""
    if problem:
        raise DependencyError(
            "Cannot publish %s for endpoint %s with loopback 'proxy': %s. Use loopback 'nat' or 'none'."
            % (proxied[0].spec, proxied[0].endpoint, problem)
        )


def _asked(topology: Topology, request: Request) -> t.Iterator[Publish]:
    endpoint = _known_endpoint(topology, request["endpoint"])
    loopback, sources = request.get("loopback") or "nat", _sources(endpoint.name, request.get("sources"))
    listed = parse_ports(request.get("ports") or (), endpoint.name, loopback, sources)
    yield from listed
    if request.get("publish_all"):
        mapped = {(publish.endpoint_port, publish.protocol) for publish in listed}
        for port, protocol in endpoint.expose:
            if (port, protocol) not in mapped:
                yield Publish(endpoint.name, port, protocol, "", 0, 0, 0, loopback, sources)


def _sources(endpoint: str, asked: t.Sequence[str] | None) -> tuple[str, ...]:
    if asked is None:
        return ()
    if not asked:
        raise InputError(
            "Cannot limit the publishes of endpoint %s: 'sources' is an empty list. Name the addresses and subnets "
            "that may connect, or leave the option out to let everybody." % endpoint
        )
    return source_texts(asked, "source of the publishes of endpoint %s" % endpoint)


def _check_sources(topology: Topology, publish: Publish) -> None:
    endpoint = topology.endpoints[publish.endpoint]
    versions = versions_of(publish, endpoint)
    strange = [text for text in publish.sources if plain_subnet(text).version not in versions]
    problem = ""
    loopback = publish.host_address.startswith("127.") or publish.host_address == "::1"
    if publish.sources and loopback and topology.network_of(publish).translated:
        problem, strange = "only the host itself reaches a loopback address, and a list does not limit it", ["sources"]
    elif strange:
        problem = "it is published for IPv%s only" % versions[0]
    if problem:
        raise InputError(
            "Cannot limit %s of endpoint %s to %s: %s. Take the option out of this publish, or change the list."
            % (publish.spec, publish.endpoint, ", ".join(strange), problem)
        )


def _known_endpoint(topology: Topology, name: str) -> Endpoint:
    endpoint = topology.endpoints.get(name)
    if endpoint is None:
        raise InputError(
            "Cannot publish ports of endpoint %s: the endpoint does not exist. Create it first with veth_endpoint."
            % name
        )
    return endpoint


def without_publishes(topology: Topology, requests: t.Sequence[Request]) -> Topology:
    """The topology without the named publishes; a request without ``ports`` names all of its endpoint.

    :raises InputError: a port specification is wrong.
    """
    gone: set[tuple[t.Any, ...]] = set()
    emptied = set()
    for request in requests:
        if request.get("ports") is None:
            emptied.add(request["endpoint"])
        else:
            gone.update(publish.key for publish in parse_ports(request["ports"], request["endpoint"], "nat", ()))
    return topology.with_(
        publishes={
            key: publish
            for key, publish in topology.publishes.items()
            if key not in gone and publish.endpoint not in emptied
        }
    )


def want_masquerades(topology: Topology, requests: t.Sequence[Request], prune: bool = False) -> Topology:
    """The topology with the requested masquerades present.

    :param prune: remove those that are not requested.
    :raises InputError: a request is wrong or contradicts another, or its network does not exist or is not in mode nat.
    """
    asked: dict[str, Masquerade] = {}
    for request in requests:
        wanted = _want_masquerade(topology, request)
        if asked.setdefault(wanted.name, wanted) != wanted:
            raise InputError(
                "Cannot masquerade %s: it is listed twice, with another 'to_source' or 'except_out_interface'. "
                "Make one entry of the two." % wanted.name
            )
    return topology.with_(masquerades=asked if prune else {**topology.masquerades, **asked})


def without_masquerades(topology: Topology, requests: t.Sequence[Request]) -> Topology:
    """The topology without the named masquerades; those it does not know are no error.

    :raises InputError: a source is not a subnet.
    """
    gone = set(map(masquerade_name, requests))
    return topology.with_(masquerades={name: item for name, item in topology.masquerades.items() if name not in gone})


def masquerade_name(request: Request) -> str:
    """The key of the masquerade that a request names.

    :raises InputError: its source is not a subnet.
    """
    return request.get("network") or str(_source_of(request))


def _source_of(request: Request) -> Subnet:
    if not request.get("source"):
        raise InputError("Cannot masquerade: neither a network nor a source is named. Name one of the two.")
    return parse_subnet(request["source"], "source of the masquerade")


def _want_masquerade(topology: Topology, request: Request) -> Masquerade:
    to_source = None
    if request.get("to_source"):
        to_source = parse_address(request["to_source"], "to_source of the masquerade")
    if not request.get("network"):
        source = _source_of(request)
        interface = request.get("except_out_interface") or ""
        if interface:
            valid_interface_name(interface, "except_out_interface of the masquerade")
        wanted = Masquerade(source=source, except_out_interface=interface, to_source=to_source)
        families: frozenset[int] = frozenset((source.version,))
    else:
        network = known_network(topology, request["network"], "masquerade")
        if network.mode != "nat":
            raise InputError(
                "Cannot masquerade network %s: its mode is %s, and only a network of mode nat hides its addresses. "
                "Change the mode first." % (network.name, network.mode)
            )
        wanted = Masquerade(network=network.name, to_source=to_source)
        families = network.families
    if to_source is not None and to_source.version not in families:
        raise InputError(
            "Cannot masquerade %s to %s: it has no IPv%d subnet. Choose a source address of its own family."
            % (wanted.name, to_source, to_source.version)
        )
    return wanted
