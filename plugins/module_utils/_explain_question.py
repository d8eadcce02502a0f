# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""What the operator asks to have explained: from "outside" to "192.0.2.10:80/tcp", as addresses of a topology. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ._errors import InputError
from ._facts import HostFacts
from ._model import PROTOCOLS, Address, Endpoint, parse_address, plain_address
from ._topology import Topology

__all__ = ("HOST", "OUTSIDE", "Asked", "read_question")

HOST, OUTSIDE = "host", "outside"
# Addresses for documentation: a host reaches them as it reaches all that it does not know.
_ELSEWHERE = {4: plain_address("192.0.2.1"), 6: plain_address("2001:db8::1")}
_GRAMMAR = "Write it as 192.0.2.10:80, [2001:db8::10]:80/tcp, web:5000/udp or 192.0.2.10/icmp."


@dataclass(frozen=True)
class Asked:
    """One packet. It comes from ``endpoint``, from the host itself (``by`` is empty), or in by the interface ``by``.

    ``source`` is its source address, None for any address outside. ``port`` is 0 for a ping, protocol ``icmp``.
    """

    version: int
    protocol: str
    destination: Address
    port: int
    source: Address | None = None
    endpoint: Endpoint | None = None
    by: str = ""


def read_question(topology: Topology, facts: HostFacts, source: str, destination: str) -> Asked:
    """Find out which packet is meant.

    :param source: the name of an endpoint, ``host``, ``outside``, or an address.
    :param destination: ``address:port/protocol``, an endpoint's name for the address, or ``address/icmp`` for a ping.
    :raises InputError: one of them says nothing that this host knows of.
    """
    where, port, protocol = _split(destination)
    here = _plain(source)
    versions: tuple[int, ...] = (4, 6) if here is None else (here.version,)
    endpoint = _sender(topology, source, here)
    if endpoint is not None and here is None:
        versions = tuple(version for version in versions if endpoint.address(version) is not None)
    target = _target(topology, where, versions, destination)
    asked = Asked(target.version, protocol, target, port)
    if endpoint is not None and here is None:
        here = endpoint.address(target.version)
    if (here is not None and here.version != target.version) or (endpoint is not None and here is None):
        raise InputError(
            "Cannot explain the way from %s to %s: they have no IP version in common. Name two of one kind."
            % (source, destination)
        )
    if endpoint is not None:
        return replace(asked, source=here, endpoint=endpoint)
    if here is None and source not in (HOST, OUTSIDE):
        raise InputError(
            "Cannot explain a packet from %r: it is no endpoint and no address. Name an endpoint, an address, 'host' "
            "or 'outside'." % source
        )
    if source == HOST or (here is not None and _is_local(facts, here)):
        return replace(asked, source=here)
    return replace(asked, source=here, by=_incoming(topology, facts, here, target.version))


def _split(destination: str) -> tuple[str, int, str]:
    """Address or name, port and protocol."""
    place, slash, protocol = destination.rpartition("/")
    if not slash:
        place, protocol = destination, "tcp"
    if protocol == "icmp":
        return place.strip("[]"), 0, protocol
    address, colon, number = place.rpartition(":")
    good = protocol in PROTOCOLS and colon and number.isascii() and number.isdigit() and 0 < int(number) < 65536
    if not good or (":" in address and not (address.startswith("[") and address.endswith("]"))):
        raise InputError("Cannot explain a packet to %r: it is no address with a port. %s" % (destination, _GRAMMAR))
    return address.strip("[]"), int(number), protocol


def _plain(text: str) -> Address | None:
    try:
        return parse_address(text, "source")
    except InputError:
        return None


def _sender(topology: Topology, source: str, here: Address | None) -> Endpoint | None:
    if source in topology.endpoints:
        return topology.endpoints[source]
    for endpoint in topology.endpoints.values():
        if here is not None and here in endpoint.addresses:
            return endpoint
    return None


def _target(topology: Topology, where: str, versions: tuple[int, ...], destination: str) -> Address:
    endpoint = topology.endpoints.get(where)
    if endpoint is None:
        address = _plain(where)
        if address is None:
            raise InputError(
                "Cannot explain a packet to %r: %r is no endpoint and no address. %s" % (destination, where, _GRAMMAR)
            )
        return address
    for version in versions:
        found = endpoint.address(version)
        if found is not None:
            return found
    raise InputError(
        "Cannot explain a packet to %r: endpoint %s has no address of the source's IP version. Name another source."
        % (destination, where)
    )


def _is_local(facts: HostFacts, address: Address) -> bool:
    way = facts.route(address)
    return way is not None and way.local


def _incoming(topology: Topology, facts: HostFacts, source: Address | None, version: int) -> str:
    """The interface by which a packet from outside comes in: the one by which its answer would go."""
    way = facts.route(source or _ELSEWHERE[version])
    if way is not None:
        return way.interface
    ours = {*topology.networks, "lo"}
    for subnet, interface in facts.on_link():
        if source is None and subnet.version == version and interface not in ours:
            return interface
    raise InputError(
        "Cannot explain a packet from %s: this host has no route back to it, so it is not known by which interface it "
        "comes. Name an address that the host reaches." % (source or OUTSIDE)
    )
