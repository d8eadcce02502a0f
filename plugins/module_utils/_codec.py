# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""The topology as plain JSON values and back: for the record, and for results that a person reads."""

from __future__ import annotations

import typing as t

from ._errors import RecordError
from ._model import (
    LOOPBACKS,
    MODES,
    PROTOCOLS,
    Endpoint,
    Masquerade,
    Network,
    Publish,
    Route,
    plain_address,
    plain_subnet,
    subnets_of,
)
from ._topology import Topology

__all__ = (
    "describe_endpoint",
    "describe_masquerade",
    "describe_network",
    "describe_publish",
    "topology_from_json",
    "topology_to_json",
)

Json = t.Dict[str, t.Any]


def describe_network(network: Network) -> Json:
    """A network under the names of the module's options."""
    return {
        "name": network.name,
        "subnets": [str(subnet) for subnet in network.subnets],
        "gateways": [str(gateway) for gateway in network.gateways],
        "allocate_from": [str(subnet) for subnet in network.allocate_from],
        "mode": network.mode,
        "icc": network.icc,
        "mtu": network.mtu,
        "mac": network.mac,
        "trusted_interfaces": list(network.trusted_interfaces),
    }


def describe_endpoint(endpoint: Endpoint) -> Json:
    """An endpoint under the names of the module's options, and its namespace and host interface."""
    return {
        "name": endpoint.name,
        "network": endpoint.network,
        "addresses": [str(address) for address in endpoint.addresses],
        "mac": endpoint.mac,
        "interface": endpoint.interface,
        "host_interface": endpoint.host_interface,
        "namespace": "/run/netns/%s" % endpoint.name,
        "default_route": endpoint.default_route,
        "routes": [
            {"destination": str(route.destination), "via": None if route.via is None else str(route.via)}
            for route in endpoint.routes
        ],
        "expose": ["%d/%s" % pair for pair in endpoint.expose],
        "sysctls": dict(endpoint.sysctls),
        "nameservers": list(endpoint.nameservers),
        "search": list(endpoint.search),
        "aliases": list(endpoint.aliases),
        "guard": endpoint.guard,
    }


def describe_publish(publish: Publish) -> Json:
    """A publish with the host port that it got; ``host_address`` is empty for every host address."""
    return {
        "endpoint": publish.endpoint,
        "host_address": publish.host_address,
        "host_port": publish.host_port,
        "endpoint_port": publish.endpoint_port,
        "protocol": publish.protocol,
        "asked": [publish.asked_first, publish.asked_last],
        "loopback": publish.loopback,
        "sources": list(publish.sources),
    }


def describe_masquerade(masquerade: Masquerade) -> Json:
    """A masquerade under the names of the module's options; those that do not apply are left out."""
    options = {
        "network": masquerade.network,
        "source": masquerade.source,
        "except_out_interface": masquerade.except_out_interface,
        "to_source": masquerade.to_source,
    }
    return {name: str(value) for name, value in options.items() if value}


def topology_to_json(topology: Topology) -> Json:
    """The whole topology as JSON values, in a stable order."""
    return {
        "networks": [describe_network(topology.networks[name]) for name in sorted(topology.networks)],
        "endpoints": [describe_endpoint(topology.endpoints[name]) for name in sorted(topology.endpoints)],
        "publishes": [describe_publish(publish) for publish in sorted(topology.publishes.values())],
        "masquerades": [describe_masquerade(topology.masquerades[name]) for name in sorted(topology.masquerades)],
    }


def topology_from_json(data: t.Any) -> Topology:
    """Read what :func:`topology_to_json` wrote.

    :raises RecordError: a value is missing, of the wrong type or contradicts another.
    """
    try:
        topology = Topology(
            networks={item["name"]: _network(item) for item in data["networks"]},
            endpoints={item["name"]: _endpoint(item) for item in data["endpoints"]},
            publishes={publish.key: publish for publish in map(_publish, data["publishes"])},
            masquerades={item.name: item for item in map(_masquerade, data["masquerades"])},
        )
        _check_references(topology)
    except RecordError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as problem:
        raise RecordError("%s: %s" % (type(problem).__name__, problem)) from problem
    return topology


def _check_references(topology: Topology) -> None:
    for endpoint in topology.endpoints.values():
        if endpoint.network not in topology.networks:
            raise RecordError(
                "endpoint %s names the network %s, which is not there" % (endpoint.name, endpoint.network)
            )
    for publish in topology.publishes.values():
        if publish.endpoint not in topology.endpoints:
            raise RecordError("a publish names the endpoint %s, which is not there" % publish.endpoint)
    for masquerade in topology.masquerades.values():
        if masquerade.network and masquerade.network not in topology.networks:
            raise RecordError("a masquerade names the network %s, which is not there" % masquerade.network)


def _network(item: Json) -> Network:
    return Network(
        name=str(item["name"]),
        subnets=tuple(plain_subnet(text) for text in item["subnets"]),
        gateways=tuple(plain_address(text) for text in item["gateways"]),
        allocate_from=tuple(plain_subnet(text) for text in item["allocate_from"]),
        mode=_one_of(MODES, item["mode"]),
        icc=_boolean(item["icc"]),
        mtu=_number(item["mtu"]),
        mac=str(item["mac"]),
        trusted_interfaces=tuple(map(str, item["trusted_interfaces"])),
    )


def _endpoint(item: Json) -> Endpoint:
    return Endpoint(
        name=str(item["name"]),
        network=str(item["network"]),
        addresses=tuple(plain_address(text) for text in item["addresses"]),
        mac=str(item["mac"]),
        interface=str(item["interface"]),
        default_route=_boolean(item["default_route"]),
        routes=tuple(
            Route(plain_subnet(route["destination"]), None if route["via"] is None else plain_address(route["via"]))
            for route in item["routes"]
        ),
        expose=tuple(_exposed(text) for text in item["expose"]),
        sysctls=tuple(sorted((str(key), str(value)) for key, value in item["sysctls"].items())),
        nameservers=tuple(map(str, item["nameservers"])),
        search=tuple(map(str, item["search"])),
        aliases=tuple(map(str, item["aliases"])),
        guard=_boolean(item.get("guard", True)),
    )


def _one_of(words: t.Sequence[str], value: t.Any) -> str:
    if value not in words:
        raise ValueError("%r is none of %s" % (value, ", ".join(words)))
    return str(value)


def _number(value: t.Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("%r is not a whole number" % (value,))
    return value


def _boolean(value: t.Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("%r is not true or false" % (value,))
    return value


def _exposed(text: str) -> tuple[int, str]:
    port, _slash, protocol = text.partition("/")
    return int(port), protocol


def _publish(item: Json) -> Publish:
    first, last = item["asked"]
    return Publish(
        str(item["endpoint"]),
        _number(item["endpoint_port"]),
        _one_of(PROTOCOLS, item["protocol"]),
        str(item["host_address"]),
        _number(first),
        _number(last),
        _number(item["host_port"]),
        _one_of(LOOPBACKS, item["loopback"]),
        _sources(item["sources"]),
    )


def _sources(items: t.Iterable[t.Any]) -> tuple[str, ...]:
    sources = tuple(map(str, items))
    # They reach the rules as they stand, so they must be what they should be.
    for version in (4, 6) if sources else ():
        subnets_of(sources, version)
    return sources


def _masquerade(item: Json) -> Masquerade:
    source, to_source = item.get("source"), item.get("to_source")
    return Masquerade(
        network=str(item.get("network") or ""),
        source=plain_subnet(source) if source else None,
        except_out_interface=str(item.get("except_out_interface") or ""),
        to_source=plain_address(to_source) if to_source else None,
    )
