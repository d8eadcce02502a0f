# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Connection tracking: forgetting the flows that would go on as they went before the rules were changed.

A UDP flow has no end that the kernel could see. As long as packets come, its entry lives and decides where they go, and
the rules are not asked. A connection of a source that may no longer connect must end, whatever its protocol.
"""

from __future__ import annotations

import errno
import socket
import typing as t

from ._errors import KernelError, kernel_words
from ._flows import Flow
from ._model import Address, Subnet, plain_address
from ._netlink import Socket

__all__ = ("forget_flows",)

_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_PROTOCOL = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP, "sctp": socket.IPPROTO_SCTP}
# More ports than this are looked for in one listing of all flows, instead of each by itself.
_ONE_BY_ONE = 8


def forget_flows(flows: t.Sequence[Flow]) -> None:
    """Delete the entries of flows by their original destination. None is no error.

    :raises KernelError: the kernel refused.
    """
    kinds: dict[tuple[int, str], list[Flow]] = {}
    for flow in flows:
        kinds.setdefault((flow.version, flow.protocol), []).append(flow)
    for (version, protocol), same in sorted(kinds.items()):
        _forget(version, protocol, same)


def _forget(version: int, protocol: str, flows: t.Sequence[Flow]) -> None:
    from pyroute2.conntrack import Conntrack
    from pyroute2.netlink.exceptions import NetlinkError

    ours = _Ours(flows)
    tracker = Conntrack(nfgen_family=_FAMILY[version])
    try:
        for entry in _entries(tracker, version, protocol, sorted(ours.ports)):
            if ours.has(entry.tuple_orig, entry.tuple_reply):
                try:
                    tracker.entry("del", tuple_orig=entry.tuple_orig)
                except NetlinkError as problem:
                    # It may have run out meanwhile.
                    if problem.code != errno.ENOENT:
                        raise
    except NetlinkError as problem:
        # A kernel that does not tell of its flows, or has none of this version, has nothing to forget.
        if problem.code not in (errno.EINVAL, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT):
            raise KernelError(
                "Cannot forget the %s flows of the changed ports: the kernel said: %s."
                % (protocol.upper(), kernel_words(problem.code)),
                problem.code,
            ) from None
    finally:
        tracker.close()


def _entries(tracker: t.Any, version: int, protocol: str, ports: t.Sequence[int]) -> list[t.Any]:
    from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple

    wanted: list[dict[str, int]] = [{"dport": port} for port in ports] if len(ports) <= _ONE_BY_ONE else [{}]
    found: list[t.Any] = []
    for match in wanted:
        pattern = NFCTAttrTuple(family=_FAMILY[version], proto=_PROTOCOL[protocol], **match)
        found += list(tracker.dump_entries(tuple_orig=pattern))
    return found


class _Ours:
    """Which flows are to be forgotten. One in transit to another machine is not, though its port be the same."""

    def __init__(self, flows: t.Sequence[Flow]) -> None:
        self.ports = {flow.port for flow in flows}
        self._flows = {(flow.address, flow.port): flow for flow in flows}
        self._local = _local_addresses()

    def has(self, original: t.Any, reply: t.Any) -> bool:
        destination = plain_address(original.daddr)
        flow = self._flows.get((str(destination), original.dport))
        if flow is None and self._is_local(destination):
            flow = self._flows.get(("", original.dport))
        return flow is not None and (flow.allowed is None or self._shut_out(flow.allowed, original, reply, destination))

    def _shut_out(self, allowed: tuple[Subnet, ...], original: t.Any, reply: t.Any, destination: Address) -> bool:
        source = plain_address(original.saddr)
        # What the host itself sends is not limited, and what ends at the host goes to a process of its own.
        ends_here = original.daddr == reply.saddr and self._is_local(destination)
        return not (ends_here or self._is_local(source) or any(source in subnet for subnet in allowed))

    def _is_local(self, address: Address) -> bool:
        return address.is_loopback or str(address) in self._local


def _local_addresses() -> set[str]:
    with Socket() as sock:
        names = {link.index: name for name, link in sock.links().items()}
        return {str(address.ip) for addresses in sock.addresses(names).values() for address in addresses}
