# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Addresses: which subnet a network gets and which address an endpoint gets. Pure, IPv4 and IPv6 alike."""

from __future__ import annotations

import typing as t
from ipaddress import IPv4Network, ip_network

from ._errors import InputError
from ._model import Address, Endpoint, Network, Subnet

__all__ = (
    "DEFAULT_POOLS",
    "address_problem",
    "allocation_ranges",
    "check_address",
    "check_gateway",
    "check_routes",
    "exhausted",
    "first_host",
    "free_addresses",
    "gateway_problem",
    "pick_subnet",
)


def _pools() -> t.Iterator[IPv4Network]:
    # Docker's default address pools, in its order (moby, libnetwork/ipamutils).
    for second in range(17, 32):
        yield IPv4Network("172.%d.0.0/16" % second)
    yield from t.cast("t.Iterator[IPv4Network]", ip_network("192.168.0.0/16").subnets(new_prefix=20))


DEFAULT_POOLS: tuple[IPv4Network, ...] = tuple(_pools())


def pick_subnet(network: str, taken: t.Iterable[Subnet], avoid: t.Iterable[Address]) -> IPv4Network:
    """Pick the first of Docker's default pools that nothing on this host uses.

    :param taken: subnets of the other networks and of the host's on-link routes.
    :param avoid: addresses that must stay reachable, such as the host's nameservers.
    :raises InputError: every pool is in use.
    """
    used = [subnet for subnet in taken if subnet.version == 4]
    kept = [address for address in avoid if address.version == 4]
    for pool in DEFAULT_POOLS:
        if any(pool.overlaps(subnet) for subnet in used) or any(address in pool for address in kept):
            continue
        return pool
    raise InputError(
        "Cannot pick a subnet for network %s: all %d default pools overlap networks or on-link routes of this host. "
        "Give one in 'subnets'." % (network, len(DEFAULT_POOLS))
    )


def first_host(subnet: Subnet) -> Address:
    """The first address of a subnet that an interface may have (RFC 3021 lets a /31 use both, a /32 its only one)."""
    if subnet.prefixlen >= subnet.max_prefixlen - 1:
        return subnet.network_address
    return subnet.network_address + 1


def _unusable(address: Address, subnet: Subnet) -> str | None:
    if subnet.prefixlen >= subnet.max_prefixlen - 1:
        return None
    if address == subnet.network_address:
        return "the network address" if subnet.version == 4 else "the subnet-router anycast address"
    if subnet.version == 4 and address == subnet.broadcast_address:
        return "the broadcast address"
    return None


def gateway_problem(subnet: Subnet, gateway: Address) -> str | None:
    """Say why a gateway cannot stand on the bridge, or None if it can."""
    if gateway.version != subnet.version or gateway not in subnet:
        return "it is outside the subnet %s" % subnet
    reason = _unusable(gateway, subnet)
    return None if reason is None else "it is %s of %s" % (reason, subnet)


def check_gateway(network: str, subnet: Subnet, gateway: Address) -> None:
    """Check that a gateway can stand on the bridge.

    :raises InputError: outside the subnet, or an address that no interface can have.
    """
    problem = gateway_problem(subnet, gateway)
    if problem:
        raise InputError(
            "Cannot give network %s the gateway %s: %s. Choose an address inside it, or leave it out."
            % (network, gateway, problem)
        )


def address_problem(address: Address, network: Network) -> str | None:
    """Say why no endpoint of ``network`` can have ``address``, or None if one can."""
    subnet = network.subnet_of(address)
    if subnet is None:
        return "it is outside network %s (%s)" % (network.name, ", ".join(map(str, network.subnets)))
    reason = _unusable(address, subnet)
    if reason is None and address in network.gateways and network.mode != "isolated":
        reason = "the gateway"
    return None if reason is None else "it is %s of %s" % (reason, subnet)


def check_address(endpoint: str, address: Address, network: Network) -> None:
    """Check that an endpoint of ``network`` may have ``address``, whoever else has it.

    :raises InputError: outside every subnet; the network, broadcast or a gateway address.
    """
    problem = address_problem(address, network)
    if problem:
        raise InputError(
            "Cannot give endpoint %s the address %s: %s. Choose another address inside it, or leave it out."
            % (endpoint, address, problem)
        )


def check_routes(endpoint: Endpoint, network: Network) -> None:
    """Check that no static route takes the place of the one that the kernel makes of an address.

    :raises InputError: one leads to a subnet in which the endpoint has an address.
    """
    connected = {network.subnet_of(address) for address in endpoint.addresses} if endpoint.routes else ()
    for route in endpoint.routes:
        if route.destination in connected:
            raise InputError(
                "Cannot route %s of endpoint %s: that is the subnet of its own address, which is on the link already. "
                "Leave the route out, or route parts of the subnet." % (route.destination, endpoint.name)
            )


def free_addresses(network: Network, version: int, taken: t.Container[Address]) -> t.Iterator[Address]:
    """The free addresses of one IP version, lowest first: never the network, broadcast or a gateway address.

    ``taken`` is asked anew for each address, so one iterator serves a whole run of allocations.
    """
    reserved = () if network.mode == "isolated" else network.gateways
    for pool in allocation_ranges(network, version):
        subnet = network.subnet_of(pool.network_address)
        for number in range(int(pool.network_address), int(pool.broadcast_address) + 1):
            address = type(pool.network_address)(number)
            if address in reserved or address in taken:
                continue
            if subnet is not None and _unusable(address, subnet):
                continue
            yield address


def allocation_ranges(network: Network, version: int) -> list[Subnet]:
    """Where automatic addresses of one IP version come from: ``allocate_from`` where given, else the subnets."""
    ranges = [pool for pool in network.allocate_from if pool.version == version]
    return ranges or [subnet for subnet in network.subnets if subnet.version == version]


def exhausted(endpoint: str, network: Network, version: int) -> InputError:
    """The error for an endpoint that finds no free address."""
    return InputError(
        "Cannot allocate an IPv%d address for endpoint %s: %s of network %s is exhausted. "
        "Remove endpoints, or widen the network's subnets or allocate_from."
        % (version, endpoint, ", ".join(map(str, allocation_ranges(network, version))), network.name)
    )
