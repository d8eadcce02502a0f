# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""From what a task asks about endpoints to the topology that is wanted.

An option that is None was not given: it keeps what the record has, or takes its default on a new endpoint. Addresses
that were not given are allocated once and then kept.
"""

from __future__ import annotations

import typing as t

from ._errors import InputError
from ._ipam import check_address, check_routes, exhausted, free_addresses
from ._model import (
    Address,
    Endpoint,
    Network,
    Route,
    Subnet,
    derived_mac,
    parse_address,
    parse_mac,
    parse_subnet,
)
from ._names import valid_endpoint_name, valid_host_name, valid_interface_name, valid_sysctl
from ._ports import parse_exposed
from ._topology import Topology
from ._want_networks import known_network, once

__all__ = ("want_endpoints", "without_endpoints")

Request = t.Mapping[str, t.Any]


def want_endpoints(topology: Topology, requests: t.Sequence[Request], prune: t.Collection[str] = ()) -> Topology:
    """The topology with the requested endpoints present; every request names its network.

    :param prune: networks whose other endpoints, those not requested, are removed with their publishes.
    :raises InputError: a request is wrong, or contradicts the rest of the topology.
    """
    once("endpoint", [request["name"] for request in requests])
    named = {request["name"] for request in requests}
    for name in prune:
        known_network(topology, name, "prune the endpoints of")
    topology = without_endpoints(
        topology, [e.name for e in topology.endpoints.values() if e.network in prune and e.name not in named]
    )
    endpoints = dict(topology.endpoints)
    for request in requests:
        endpoint = _want_endpoint(topology, request)
        endpoints[endpoint.name] = endpoint
    settled = topology.with_(endpoints=_allocate(topology, endpoints, [request["name"] for request in requests]))
    for request in requests:
        endpoint = settled.endpoints[request["name"]]
        check_routes(endpoint, settled.networks[endpoint.network])
    settled.check()
    settled.port_book()
    return settled


def without_endpoints(topology: Topology, names: t.Iterable[str]) -> Topology:
    """The topology without the named endpoints and their publishes; names it does not know are no error."""
    gone = set(names)
    if not gone:
        return topology
    return topology.with_(
        endpoints={name: endpoint for name, endpoint in topology.endpoints.items() if name not in gone},
        publishes={key: publish for key, publish in topology.publishes.items() if publish.endpoint not in gone},
    )


def _want_endpoint(topology: Topology, request: Request) -> Endpoint:
    """The endpoint with the addresses that were given, or that it has; missing ones are allocated afterwards."""
    name = valid_endpoint_name(request["name"])
    before = topology.endpoints.get(name)
    network = _network_of(topology, name, request, before)

    def given(option: str, default: t.Any) -> t.Any:
        value = request.get(option)
        if value is None:
            return default if before is None else getattr(before, option)
        return value

    interface = valid_interface_name(given("interface", "eth0"), "interface of endpoint %s" % name)
    if before is not None and before.interface != interface:
        raise InputError(
            "Cannot rename the interface of endpoint %s from %s to %s: something may use it by its name. "
            "Remove the endpoint first with state absent." % (name, before.interface, interface)
        )
    default_route = given("default_route", True)
    return Endpoint(
        name=name,
        network=network.name,
        addresses=_addresses(name, network, request.get("addresses"), before),
        mac=_mac(name, network, request.get("mac"), before),
        interface=interface,
        default_route=default_route,
        routes=_routes(name, network, request.get("routes"), before, default_route),
        expose=given("expose", ()) if request.get("expose") is None else parse_exposed(request["expose"], name),
        sysctls=given("sysctls", ()) if request.get("sysctls") is None else _sysctls(name, request["sysctls"]),
        nameservers=tuple(
            str(parse_address(text, "nameserver of endpoint %s" % name)) for text in given("nameservers", ())
        ),
        search=tuple(valid_host_name(text, "search domain of endpoint %s" % name) for text in given("search", ())),
        aliases=tuple(valid_host_name(text, "alias of endpoint %s" % name) for text in given("aliases", ())),
        guard=given("guard", True),
    )


def _network_of(topology: Topology, name: str, request: Request, before: Endpoint | None) -> Network:
    asked = request.get("network")
    if not asked:
        if before is None:
            raise InputError("Cannot create endpoint %s: no network is given. Name one in 'network'." % name)
        asked = before.network
    network = known_network(topology, asked, "join endpoint %s to" % name)
    if before is not None and before.network != asked:
        raise InputError(
            "Cannot join endpoint %s to network %s: it is joined to %s, and an endpoint does not move while "
            "something may "
            "run in it. Remove it first with state absent." % (name, asked, before.network)
        )
    return network


def _addresses(
    name: str, network: Network, asked: t.Sequence[str] | None, before: Endpoint | None
) -> tuple[Address, ...]:
    kept = before.addresses if before else ()
    if asked is None:
        return kept
    addresses = tuple(dict.fromkeys(parse_address(text, "address of endpoint %s" % name) for text in asked))
    for address in addresses:
        check_address(name, address, network)
    # A family that is not mentioned keeps its address: giving the IPv4 one does not give up the IPv6 one.
    mentioned = {address.version for address in addresses}
    return addresses + tuple(address for address in kept if address.version not in mentioned)


def _mac(name: str, network: Network, asked: str | None, before: Endpoint | None) -> str:
    if asked is not None:
        return parse_mac(asked, "endpoint %s" % name)
    if before is not None:
        return before.mac
    return derived_mac("endpoint", network.name, name)


def _routes(
    name: str, network: Network, asked: t.Sequence[Request] | None, before: Endpoint | None, default_route: bool
) -> tuple[Route, ...]:
    routes = before.routes if before else ()
    if asked is not None:
        routes = tuple(dict.fromkeys(_route(name, network, item) for item in asked))
    chosen: dict[Subnet, Route] = {}
    for route in routes:
        other = chosen.setdefault(route.destination, route)
        if other is not route:
            raise InputError(
                "Cannot route %s of endpoint %s both %s and %s: the kernel keeps one route to a destination. "
                "Leave one of the two out." % (route.destination, name, _way_of(other), _way_of(route))
            )
        if route.destination.prefixlen == 0 and default_route and not network.sealed:
            raise InputError(
                "Cannot route %s of endpoint %s: its network's gateway is the default route already. "
                "Set 'default_route: false' as well." % (route.destination, name)
            )
    return routes


def _way_of(route: Route) -> str:
    return "on the link itself" if route.via is None else "by way of %s" % route.via


def _route(name: str, network: Network, item: Request) -> Route:
    destination = parse_subnet(item["destination"], "route of endpoint %s" % name)
    if destination.version not in network.families:
        raise InputError(
            "Cannot route %s of endpoint %s: network %s has no IPv%d subnet. Leave the route out."
            % (destination, name, network.name, destination.version)
        )
    if not item.get("via"):
        return Route(destination)
    via = parse_address(item["via"], "gateway of a route of endpoint %s" % name)
    if via.version != destination.version or network.subnet_of(via) is None:
        raise InputError(
            "Cannot route %s of endpoint %s by way of %s: that address is not on network %s (%s). Choose one that is."
            % (destination, name, via, network.name, ", ".join(map(str, network.subnets)))
        )
    return Route(destination, via)


def _sysctls(name: str, asked: t.Mapping[str, t.Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(dict(valid_sysctl(key, value, name) for key, value in asked.items()).items()))


def _allocate(topology: Topology, endpoints: dict[str, Endpoint], names: t.Iterable[str]) -> dict[str, Endpoint]:
    """Give the named endpoints an address of each family that their network speaks, and a MAC address of their own."""
    taken = {address for endpoint in endpoints.values() for address in endpoint.addresses}
    macs = {(e.network, e.mac) for name, e in endpoints.items() if name in topology.endpoints}
    free: dict[tuple[str, int], t.Iterator[Address]] = {}
    for name in dict.fromkeys(names):
        endpoint = endpoints[name]
        network = topology.networks[endpoint.network]
        addresses = list(endpoint.addresses)
        for version in sorted(network.families - {address.version for address in addresses}):
            source = free.setdefault((network.name, version), free_addresses(network, version, taken))
            address = next(source, None)
            if address is None:
                raise exhausted(name, network, version)
            taken.add(address)
            addresses.append(address)
        mac, salt = endpoint.mac, 0
        while name not in topology.endpoints and (network.name, mac) in macs and mac == _derived(network, name, salt):
            salt += 1
            mac = _derived(network, name, salt)
        macs.add((network.name, mac))
        endpoints[name] = _with(endpoint, tuple(addresses), mac)
    return endpoints


def _derived(network: Network, name: str, salt: int) -> str:
    return derived_mac("endpoint", network.name, name, *([str(salt)] if salt else []))


def _with(endpoint: Endpoint, addresses: tuple[Address, ...], mac: str) -> Endpoint:
    # dataclasses.replace() costs more than the whole allocation; most endpoints need no change at all.
    if endpoint.addresses == addresses and endpoint.mac == mac:
        return endpoint
    fields = {**endpoint.__dict__, "addresses": addresses, "mac": mac}
    return Endpoint(**fields)
