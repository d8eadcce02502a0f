# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Which entries of connection tracking are flows that are to be forgotten. Pure."""

from __future__ import annotations

import typing as t
from ipaddress import ip_address

from ._flows import AddressFlows, EnteringFlows, Flow, LeavingFlows, OwnFlows
from ._model import Address, Subnet

__all__ = ("AnyFlow", "Entry", "Here", "Matcher", "matcher_of")

AnyFlow = t.Union[Flow, OwnFlows]


class Entry(t.NamedTuple):
    """One flow: whence and whither its first packet went, and whose answer is expected. Addresses as on the wire."""

    protocol: int
    source: bytes
    destination: bytes
    port: int
    answering: bytes


class Matcher(t.Protocol):
    """Finds flows."""

    def has(self, entry: Entry) -> bool:
        """Whether an entry is one of those to forget."""


class Here(t.NamedTuple):
    """What a host knows of addresses: its own as text, and by which interface it would send to another, "" for none."""

    local: t.Collection[str]
    way_out: t.Callable[[Address], str]

    def has(self, address: Address) -> bool:
        """Whether it is one of the host's."""
        return address.is_loopback or str(address) in self.local


def matcher_of(flows: t.Sequence[AnyFlow], here: Here) -> Matcher:
    """What finds flows, all of one kind."""
    return _MATCHERS[type(flows[0])](flows, here)


class _ToPorts:
    """Flows to ports. One in transit to another machine is not to be forgotten, though its port be the same."""

    def __init__(self, flows: t.Sequence[Flow], here: Here) -> None:
        self._flows = {(flow.address, flow.port): flow for flow in flows}
        self._ports = {flow.port for flow in flows}
        self._here = here

    def has(self, entry: Entry) -> bool:
        if entry.port not in self._ports:
            return False
        destination = ip_address(entry.destination)
        flow = self._flows.get((str(destination), entry.port))
        if flow is None and self._here.has(destination):
            flow = self._flows.get(("", entry.port))
        return flow is not None and (flow.allowed is None or self._shut_out(flow.allowed, entry, destination))

    def _shut_out(self, allowed: tuple[Subnet, ...], entry: Entry, destination: Address) -> bool:
        source = ip_address(entry.source)
        # What the host itself sends is not limited, and what ends at the host goes to a process of its own.
        ends_here = entry.destination == entry.answering and self._here.has(destination)
        return not (ends_here or self._here.has(source) or any(source in subnet for subnet in allowed))


class _OfAddresses:
    """Flows that one of some addresses has a part in."""

    def __init__(self, flows: t.Sequence[AddressFlows], _here: Here) -> None:
        self._addresses = {flow.of.packed for flow in flows}

    def has(self, entry: Entry) -> bool:
        return entry.source in self._addresses or entry.answering in self._addresses


class _Leaving:
    """Flows out of one of some subnets."""

    def __init__(self, flows: t.Sequence[LeavingFlows], here: Here) -> None:
        self._flows = flows
        self._here = here

    def has(self, entry: Entry) -> bool:
        source, destination = ip_address(entry.source), ip_address(entry.destination)
        crossed = any(source in flow.of and destination not in flow.of for flow in self._flows)
        return crossed and not self._here.has(destination)


class _Entering:
    """Flows into one of some subnets."""

    def __init__(self, flows: t.Sequence[EnteringFlows], here: Here) -> None:
        self._flows = flows
        self._here = here

    def has(self, entry: Entry) -> bool:
        source, destination = ip_address(entry.source), ip_address(entry.destination)
        for flow in self._flows:
            if destination in flow.of and source not in flow.of:
                ends_here = self._here.has(source) or self._here.has(destination)
                return not (ends_here or (flow.trusted and self._here.way_out(source) in flow.trusted))
        return False


_MATCHERS: dict[type[AnyFlow], t.Callable[[t.Any, Here], Matcher]] = {
    Flow: _ToPorts,
    AddressFlows: _OfAddresses,
    EnteringFlows: _Entering,
    LeavingFlows: _Leaving,
}
