# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""From what a task asks about networks to the topology that is wanted.

An option that is None was not given: it keeps what the record has, or takes its default on a new network.
"""

from __future__ import annotations

import typing as t
from ipaddress import ip_network

from ._errors import InputError
from ._facts import HostFacts
from ._ipam import address_problem, check_gateway, check_routes, first_host, gateway_problem, pick_subnet
from ._model import LEAST_MTU, Address, Network, Subnet, derived_mac, parse_address, parse_mac, parse_subnet
from ._names import valid_interface_name
from ._topology import Topology

__all__ = ("known_network", "once", "want_networks", "without_networks")

_MOST_MTU = 65535

# Where no network of endpoints can be. Link-local addresses belong to their links by themselves.
_SPECIAL: tuple[tuple[Subnet, str], ...] = (
    (ip_network("0.0.0.0/8"), "it overlaps 0.0.0.0/8, which means this network"),
    (ip_network("127.0.0.0/8"), "it overlaps the loopback range"),
    (ip_network("169.254.0.0/16"), "it overlaps the link-local range"),
    (ip_network("224.0.0.0/4"), "it overlaps the multicast range"),
    (ip_network("240.0.0.0/4"), "it overlaps the reserved range"),
    (ip_network("::/128"), "it overlaps the unspecified address"),
    (ip_network("::ffff:0:0/96"), "it overlaps the range of IPv4-mapped addresses"),
    (ip_network("fe80::/10"), "it overlaps the link-local range"),
    (ip_network("ff00::/8"), "it overlaps the multicast range"),
)


def once(kind: str, names: t.Iterable[str]) -> None:
    """Check that a request names nothing twice: which of two entries is meant cannot be told.

    :raises InputError: it does.
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError("Cannot set up %s %s: it is listed twice. Make one entry of the two." % (kind, name))
        seen.add(name)


def known_network(topology: Topology, name: str, what: str) -> Network:
    """The network of that name.

    :param what: what is being attempted, to begin the error with, for example ``join endpoint web to``.
    :raises InputError: there is none.
    """
    network = topology.networks.get(name)
    if network is None:
        raise InputError(
            "Cannot %s network %s: the network does not exist. Known networks: %s. Create it first with bridge_network."
            % (what, name, ", ".join(sorted(topology.networks)) or "none")
        )
    return network


def want_networks(
    topology: Topology, requests: t.Sequence[t.Mapping[str, t.Any]], facts: HostFacts, prune: bool = False
) -> Topology:
    """The topology with the requested networks present.

    :param prune: remove the networks that are not requested.
    :raises InputError: a request is wrong, or contradicts the rest of the topology.
    """
    once("network", [request["name"] for request in requests])
    surroundings = _Surroundings({request["name"] for request in requests}, set(topology.networks))
    if prune:
        named = {request["name"] for request in requests}
        topology = without_networks(topology, [name for name in topology.networks if name not in named])
    # What is picked keeps clear of what is given, wherever in the list that stands.
    for request in sorted(requests, key=lambda request: request.get("subnets") is None):
        network = _want_network(topology, request, facts, surroundings)
        topology = topology.with_(networks={**topology.networks, network.name: network})
    topology.check()
    return topology


def without_networks(topology: Topology, names: t.Iterable[str]) -> Topology:
    """The topology without the named networks and their masquerades; names it does not know are no error.

    :raises InputError: an endpoint is still joined.
    """
    gone = set(names)
    for name in sorted(gone):
        joined = [endpoint.name for endpoint in topology.endpoints_of(name)]
        if joined:
            raise InputError(
                "Cannot remove network %s: endpoints are joined to it (%s). Remove them first with veth_endpoint."
                % (name, _listed(joined))
            )
    return topology.with_(
        networks={name: network for name, network in topology.networks.items() if name not in gone},
        masquerades={
            name: item for name, item in topology.masquerades.items() if item.network not in gone or not item.network
        },
    )


def _listed(names: t.Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else "%s and %d more" % (shown, len(names) - 5)


class _Surroundings(t.NamedTuple):
    """The networks that one call asks for, which are compared when all are settled; and those that were there before,
    whose on-link routes are no strangers."""

    asked: set[str]
    known: set[str]


def _name(asked: str) -> str:
    if asked in ("host", "none"):
        raise InputError(
            "Cannot create network %s: a service's network of that name means %s. Choose another name."
            % (asked, "the host's own" if asked == "host" else "no network at all")
        )
    return valid_interface_name(asked, "network")


def _want_network(
    topology: Topology, request: t.Mapping[str, t.Any], facts: HostFacts, surroundings: _Surroundings
) -> Network:
    name = _name(request["name"])
    before = topology.networks.get(name)
    subnets = _subnets(topology, name, request.get("subnets"), facts, surroundings)
    mode = request.get("mode") or (before.mode if before else "nat")
    network = Network(
        name=name,
        subnets=subnets,
        gateways=_gateways(name, subnets, request.get("gateways"), before),
        allocate_from=_allocate_from(name, subnets, request.get("allocate_from"), before),
        mode=mode,
        icc=_given(request.get("icc"), before.icc if before else True),
        mtu=_mtu(name, subnets, request.get("mtu"), before, facts),
        mac=_mac(name, request.get("mac"), before),
        trusted_interfaces=_trusted(name, request.get("trusted_interfaces"), before),
    )
    _check_joined(topology, network, before)
    for endpoint in topology.endpoints_of(name):
        check_routes(endpoint, network)
    return network


def _given(value: t.Any, otherwise: t.Any) -> t.Any:
    return otherwise if value is None else value


def _subnets(
    topology: Topology, name: str, asked: t.Sequence[str] | None, facts: HostFacts, surroundings: _Surroundings
) -> tuple[Subnet, ...]:
    before = topology.networks.get(name)
    if asked is None:
        if before:
            return before.subnets
        others = [subnet for network in topology.networks.values() for subnet in network.subnets]
        return (pick_subnet(name, [*others, *(subnet for subnet, _dev in facts.on_link())], facts.nameservers()),)
    subnets = tuple(dict.fromkeys(parse_subnet(text, "subnet of network %s" % name) for text in asked))
    if not subnets:
        raise InputError(
            "Cannot set up network %s: 'subnets' is an empty list. Give a subnet, or leave the option out." % name
        )
    for subnet in subnets:
        _check_subnet(name, subnet)
        if before is None or subnet not in before.subnets:
            _check_free(topology, name, subnet, facts, surroundings)
    return subnets


def _check_subnet(name: str, subnet: Subnet) -> None:
    overlapped = (
        words for special, words in _SPECIAL if special.version == subnet.version and special.overlaps(subnet)
    )
    reason = next(overlapped, None)
    if subnet.prefixlen == 0:
        reason = "it is the whole Internet"
    elif subnet.prefixlen == subnet.max_prefixlen:
        reason = "it has room for one address only"
    if reason:
        raise InputError(
            "Cannot give network %s the subnet %s: %s. Choose a private unicast subnet." % (name, subnet, reason)
        )


def _check_free(topology: Topology, name: str, subnet: Subnet, facts: HostFacts, surroundings: _Surroundings) -> None:
    for other in topology.networks.values():
        for taken in other.subnets:
            if other.name not in surroundings.asked and taken.version == subnet.version and taken.overlaps(subnet):
                raise InputError(
                    "Cannot give network %s the subnet %s: it overlaps %s of network %s. Choose a subnet that is free."
                    % (name, subnet, taken, other.name)
                )
    for route, interface in facts.on_link():
        ours = interface in surroundings.known or interface in surroundings.asked
        if not ours and route.version == subnet.version and route.overlaps(subnet):
            raise InputError(
                "Cannot give network %s the subnet %s: it overlaps %s, which this host has on interface %s. "
                "Choose a subnet that is free, or leave 'subnets' out to have one picked."
                % (name, subnet, route, interface)
            )


def _gateways(
    name: str, subnets: tuple[Subnet, ...], asked: t.Sequence[str] | None, before: Network | None
) -> tuple[Address, ...]:
    chosen: dict[Subnet, Address] = {}
    if asked is None:
        if before:
            for subnet in subnets:
                for gateway in before.gateways:
                    if gateway.version == subnet.version and gateway in subnet and not gateway_problem(subnet, gateway):
                        chosen.setdefault(subnet, gateway)
    else:
        for text in asked:
            gateway = parse_address(text, "gateway of network %s" % name)
            holding = [s for s in subnets if s.version == gateway.version and gateway in s]
            if not holding:
                check_gateway(name, next((s for s in subnets if s.version == gateway.version), subnets[0]), gateway)
                continue
            subnet = holding[0]
            if subnet in chosen:
                raise InputError(
                    "Cannot give network %s the gateway %s: %s is already the gateway of %s. Give one for each subnet."
                    % (name, gateway, chosen[subnet], subnet)
                )
            check_gateway(name, subnet, gateway)
            chosen[subnet] = gateway
    return tuple(chosen.get(subnet) or first_host(subnet) for subnet in subnets)


def _allocate_from(
    name: str, subnets: tuple[Subnet, ...], asked: t.Sequence[str] | None, before: Network | None
) -> tuple[Subnet, ...]:
    if asked is None:
        ranges = before.allocate_from if before else ()
    else:
        ranges = tuple(parse_subnet(text, "allocate_from of network %s" % name) for text in asked)
    for pool in ranges:
        if not any(pool.network_address in subnet and pool.prefixlen >= subnet.prefixlen for subnet in subnets):
            raise InputError(
                "Cannot let network %s allocate from %s: it is outside its subnets (%s). Choose a part of one of them."
                % (name, pool, ", ".join(map(str, subnets)))
            )
    return ranges


def _mtu(name: str, subnets: tuple[Subnet, ...], asked: int | None, before: Network | None, facts: HostFacts) -> int:
    if asked is None:
        asked = before.mtu if before else facts.default_mtu()
    least = max(LEAST_MTU[subnet.version] for subnet in subnets)
    if not least <= asked <= _MOST_MTU:
        raise InputError(
            "Cannot give network %s the MTU %d: it must be from %d to %d bytes for its subnets. "
            "Give another in 'mtu'." % (name, asked, least, _MOST_MTU)
        )
    return asked


def _mac(name: str, asked: str | None, before: Network | None) -> str:
    if asked is not None:
        return parse_mac(asked, "network %s" % name)
    return before.mac if before else derived_mac("network", name)


def _trusted(name: str, asked: t.Sequence[str] | None, before: Network | None) -> tuple[str, ...]:
    if asked is None:
        return before.trusted_interfaces if before else ()
    return tuple(sorted({valid_interface_name(item, "trusted interface of network %s" % name) for item in asked}))


def _check_joined(topology: Topology, network: Network, before: Network | None) -> None:
    """What is already there must still fit: addresses, routes, publishes and the masquerade."""
    attempt = "Cannot change network %s to %s" % (network.name, ", ".join(map(str, network.subnets)))
    for endpoint in topology.endpoints_of(network.name):
        for address in endpoint.addresses:
            problem = address_problem(address, network)
            if problem:
                raise InputError(
                    "%s: endpoint %s has the address %s, and %s. "
                    "Remove the endpoint first, or choose a subnet that holds it."
                    % (attempt, endpoint.name, address, problem)
                )
        for route in endpoint.routes:
            if route.via is not None and network.subnet_of(route.via) is None:
                raise InputError(
                    "%s: endpoint %s has a route via %s, which would be outside it. Change the endpoint's routes first."
                    % (attempt, endpoint.name, route.via)
                )
            if route.destination.prefixlen == 0 and endpoint.default_route and not network.sealed:
                raise InputError(
                    "Cannot make network %s %s: endpoint %s has a default route of its own beside the gateway. "
                    "Set 'default_route: false' for it first." % (network.name, network.mode, endpoint.name)
                )
        if before is not None and before.mode != network.mode and topology.publishes_of(endpoint.name):
            raise InputError(
                "Cannot change network %s from mode %s to %s: endpoint %s has published ports, which mean something "
                "else there. Remove them first with port_publish."
                % (network.name, before.mode, network.mode, endpoint.name)
            )
    if network.sealed and network.trusted_interfaces:
        raise InputError(
            "Cannot make network %s %s: it trusts interfaces (%s), and nothing from outside may enter such a network. "
            "Give an empty list of 'trusted_interfaces', or the mode nat."
            % (network.name, network.mode, ", ".join(network.trusted_interfaces))
        )
    if network.mode != "nat" and network.name in topology.masquerades:
        raise InputError(
            "Cannot make network %s %s: it is masqueraded. Remove that first with masquerade, state absent."
            % (network.name, network.mode)
        )
