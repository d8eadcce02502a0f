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

__all__ = ("AnyFlow", "Entry", "Matcher", "matcher_of")

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


def matcher_of(flows: t.Sequence[AnyFlow], local: t.Collection[str]) -> Matcher:
    """What finds flows, all of one kind.

    :param local: the host's addresses.
    """
    return _MATCHERS[type(flows[0])](flows, local)


class _Here:
    """Who has which address."""

    def __init__(self, local: t.Collection[str]) -> None:
        self._local = local

    def _is_local(self, address: Address) -> bool:
        return address.is_loopback or str(address) in self._local


class _ToPorts(_Here):
    """Flows to ports. One in transit to another machine is not to be forgotten, though its port be the same."""

    def __init__(self, flows: t.Sequence[Flow], local: t.Collection[str]) -> None:
        super().__init__(local)
        self._flows = {(flow.address, flow.port): flow for flow in flows}
        self._ports = {flow.port for flow in flows}

    def has(self, entry: Entry) -> bool:
        if entry.port not in self._ports:
            return False
        destination = ip_address(entry.destination)
        flow = self._flows.get((str(destination), entry.port))
        if flow is None and self._is_local(destination):
            flow = self._flows.get(("", entry.port))
        return flow is not None and (flow.allowed is None or self._shut_out(flow.allowed, entry, destination))

    def _shut_out(self, allowed: tuple[Subnet, ...], entry: Entry, destination: Address) -> bool:
        source = ip_address(entry.source)
        # What the host itself sends is not limited, and what ends at the host goes to a process of its own.
        ends_here = entry.destination == entry.answering and self._is_local(destination)
        return not (ends_here or self._is_local(source) or any(source in subnet for subnet in allowed))


class _OfAddresses:
    """Flows that one of some addresses has a part in."""

    def __init__(self, flows: t.Sequence[AddressFlows], _local: t.Collection[str]) -> None:
        self._addresses = {flow.of.packed for flow in flows}

    def has(self, entry: Entry) -> bool:
        return entry.source in self._addresses or entry.answering in self._addresses


class _Leaving(_Here):
    """Flows out of one of some subnets."""

    def __init__(self, flows: t.Sequence[EnteringFlows | LeavingFlows], local: t.Collection[str]) -> None:
        super().__init__(local)
        self._subnets = [flow.of for flow in flows]

    def has(self, entry: Entry) -> bool:
        return self._leads_out(entry.source, entry.destination)

    def _leads_out(self, inside: bytes, outside: bytes) -> bool:
        inner, outer = ip_address(inside), ip_address(outside)
        crossed = any(inner in subnet and outer not in subnet for subnet in self._subnets)
        return crossed and not self._is_local(outer)


class _Entering(_Leaving):
    """Flows into one of some subnets."""

    def has(self, entry: Entry) -> bool:
        return self._leads_out(entry.destination, entry.source)


_MATCHERS: dict[type[AnyFlow], t.Callable[[t.Any, t.Collection[str]], Matcher]] = {
    Flow: _ToPorts,
    AddressFlows: _OfAddresses,
    EnteringFlows: _Entering,
    LeavingFlows: _Leaving,
}
