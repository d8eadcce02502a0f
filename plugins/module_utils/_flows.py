# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Flows as values: which of them a change of the rules makes stale. Pure."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ._model import Address, Subnet, parse_address, plain_subnet
from ._nft_table import Key, Table
from ._ruleset import FamilyRules
from ._topology import Topology

__all__ = (
    "AddressFlows",
    "EnteringFlows",
    "Flow",
    "LeavingFlows",
    "OwnFlows",
    "former",
    "redirected",
    "shut_out",
    "slipped_in",
    "uncovered",
    "unrouted",
)


class Flow(t.NamedTuple):
    """The flows to one port of the host, or of an endpoint. ``address`` is "" for those to any address of the host.

    ``allowed`` spares those of the host itself and of these subnets; None spares none.
    """

    version: int
    address: str
    port: int
    protocol: str = "udp"
    allowed: tuple[Subnet, ...] | None = None


@dataclass(frozen=True)
class OwnFlows:
    """The flows of an address or a subnet, whatever their ports, of one protocol or, with "", of any."""

    of: t.Any
    protocol: t.ClassVar[str] = ""

    @property
    def version(self) -> int:
        """The IP version."""
        return int(self.of.version)


@dataclass(frozen=True)
class AddressFlows(OwnFlows):
    """Those that began at an address or that it answers."""

    of: Address


@dataclass(frozen=True)
class EnteringFlows(OwnFlows):
    """Those over the border of a subnet into it.

    But for those that begin or end at the host, and those that come from where the ``trusted`` interfaces lead.
    """

    of: Subnet
    trusted: tuple[str, ...] = ()


@dataclass(frozen=True)
class LeavingFlows(OwnFlows):
    """The UDP flows over the border of a subnet out of it, but for those to the host."""

    of: Subnet
    protocol = "udp"


def former(before: Topology, after: Topology) -> t.Iterator[AddressFlows]:
    """The addresses that an endpoint had before and no longer has: whoever is next to get one has no part in them."""
    for name in sorted(before.endpoints):
        was, will = before.endpoints[name], after.endpoints.get(name)
        if was is not will:
            for address in was.addresses:
                if will is None or address not in will.addresses:
                    yield AddressFlows(address)


def unrouted(before: FamilyRules, after: FamilyRules) -> t.Iterator[Flow]:
    """The endpoints' UDP ports that some could reach by route before and can no longer."""
    old, new = _by_route(before), _by_route(after)
    for key in sorted(old):
        if not old[key] <= new.get(key, frozenset()):
            yield Flow(after.version, *key)


def uncovered(before: FamilyRules, after: FamilyRules) -> t.Iterator[LeavingFlows]:
    """Those that began with another source address than what leaves their subnet is to have."""
    for rule in after.sources:
        if rule not in before.sources:
            yield LeavingFlows(rule.subnet)


def slipped_in(before: FamilyRules, after: FamilyRules) -> t.Iterator[EnteringFlows]:
    """Those that may have begun while the guard of subnets was missing that is there again."""
    guarded = {subnet for network in before.networks if network.guarded for subnet in network.subnets}
    for network in after.networks if guarded else ():
        for subnet in network.subnets if network.guarded else ():
            if subnet in guarded:
                yield EnteringFlows(subnet, network.trusted)


def _by_route(rules: FamilyRules) -> dict[tuple[str, int], frozenset[str]]:
    """By which interfaces, "" for any, each UDP port of an endpoint is reached by route."""
    ways = [
        (network.subnets, frozenset(network.trusted if network.guarded else ("", *network.trusted)))
        for network in rules.networks
        if network.trusted or not network.guarded
    ]
    found = {}
    for port in rules.open_ports if ways else ():
        address = parse_address(port.address, "address of an endpoint")
        if port.protocol == "udp":
            for subnets, interfaces in ways:
                if any(address in subnet for subnet in subnets):
                    found[port.address, port.port] = interfaces
    return found


def redirected(before: Table, after: Table) -> t.Iterator[Flow]:
    """The host's UDP ports that lead elsewhere in one table than in the other, or in only one of them."""
    for name in ("published", "published_at"):
        old, new = before.elements.get(name, {}), after.elements.get(name, {})
        for key in sorted(key for key in old.keys() | new.keys() if _is_port(key)):
            was, will = old.get(key), new.get(key)
            address, protocol, port = key if len(key) == 3 else ("", *key)
            if protocol == "udp" and (was and was.data) != (will and will.data):
                yield Flow(after.version, str(address), int(port))


def shut_out(before: Table, after: Table) -> t.Iterator[Flow]:
    """The ports that were open before and that from now on fewer sources, or others, may connect to."""
    for name, opened in (("limited", "published"), ("limited_at", "published_at"), ("limited_ports", "open_ports")):
        old, new = before.elements.get(name, {}), after.elements.get(name, {})
        there = before.elements.get(opened, {})
        for key in sorted(key for key in new if key in there and old.get(key) != new[key]):
            address, protocol, port = key if len(key) == 3 else ("", *key)
            allowed = after.elements[new[key].data[1]]
            yield Flow(
                after.version, str(address), int(port), str(protocol), tuple(plain_subnet(text) for (text,) in allowed)
            )


def _is_port(key: Key) -> bool:
    """Whether an element is of a port; others may have put in anything that the kernel takes."""
    return len(key) in (2, 3) and isinstance(key[-2], str) and isinstance(key[-1], int)
