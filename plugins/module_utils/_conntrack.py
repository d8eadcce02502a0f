# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Connection tracking: forgetting the UDP flows that would go on as they went before a port was published or moved.

A UDP flow has no end that the kernel could see. As long as packets come, its entry lives and decides where they go, and
the rules are not asked.
"""

from __future__ import annotations

import errno
import socket
import typing as t

from ._errors import KernelError, kernel_words
from ._flows import Flow
from ._model import parse_address
from ._netlink import Socket

__all__ = ("forget_flows",)

_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
# More ports than this are looked for in one listing of all UDP flows, instead of each by itself.
_ONE_BY_ONE = 8


def forget_flows(flows: t.Sequence[Flow]) -> None:
    """Delete the entries of UDP flows whose original destination is one of the host's ports. None is no error.

    :raises KernelError: the kernel refused.
    """
    for version in sorted({flow.version for flow in flows}):
        _forget(version, [flow for flow in flows if flow.version == version])


def _forget(version: int, flows: t.Sequence[Flow]) -> None:
    from pyroute2.conntrack import Conntrack
    from pyroute2.netlink.exceptions import NetlinkError

    ours = _Ours(flows)
    tracker = Conntrack(nfgen_family=_FAMILY[version])
    try:
        for entry in _entries(tracker, version, sorted(ours.ports)):
            if ours.has(entry.tuple_orig.daddr, entry.tuple_orig.dport):
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
                "Cannot forget the UDP flows of the changed ports: the kernel said: %s." % kernel_words(problem.code),
                problem.code,
            ) from None
    finally:
        tracker.close()


def _entries(tracker: t.Any, version: int, ports: t.Sequence[int]) -> list[t.Any]:
    from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple

    wanted: list[dict[str, int]] = [{"dport": port} for port in ports] if len(ports) <= _ONE_BY_ONE else [{}]
    found: list[t.Any] = []
    for match in wanted:
        pattern = NFCTAttrTuple(family=_FAMILY[version], proto=socket.IPPROTO_UDP, **match)
        found += list(tracker.dump_entries(tuple_orig=pattern))
    return found


class _Ours:
    """Which flows are to be forgotten. One in transit to another machine is not, though its port be the same."""

    def __init__(self, flows: t.Sequence[Flow]) -> None:
        self.ports = {flow.port for flow in flows}
        self._anywhere = {flow.port for flow in flows if not flow.address}
        self._at = {(flow.address, flow.port) for flow in flows if flow.address}
        self._local = _local_addresses()

    def has(self, destination: str, port: int) -> bool:
        address = parse_address(destination, "destination of a flow")
        if (str(address), port) in self._at:
            return True
        return port in self._anywhere and (address.is_loopback or str(address) in self._local)


def _local_addresses() -> set[str]:
    with Socket() as sock:
        names = {link.index: name for name, link in sock.links().items()}
        return {str(address.ip) for addresses in sock.addresses(names).values() for address in addresses}
