# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Connection tracking: forgetting the flows that would go on as they went before the rules were changed.

A UDP flow has no end that the kernel could see. As long as packets come, its entry lives and decides where they go, and
the rules are not asked. A connection of a source that may no longer connect must end, whatever its protocol.

A busy host tracks hundreds of thousands of flows, and a general decoder takes a quarter of a millisecond for each. So
of each entry only the ends are read, and what the kernel sent of them is sent back as it is to delete it.
"""

from __future__ import annotations

import errno
import functools
import socket
import struct
import typing as t

from ._errors import KernelError
from ._flow_match import AnyFlow, Entry, Here, Matcher, matcher_of
from ._model import Address
from ._netlink import Request, Socket
from ._nla import NESTED, pack_attribute, read_attributes

__all__ = ("forget_flows",)

_NETLINK_NETFILTER = 12
_CT_GET, _CT_DELETE = 0x101, 0x102
# struct nfgenmsg: the family, the version, the resource.
_PREFIX = struct.Struct("=BBH")
_ORIGINAL, _REPLY, _ZONE = 1, 2, 18
_TUPLE_ADDRESSES, _TUPLE_PROTOCOL = 1, 2
# The attributes of source and destination.
_ENDS = {4: (1, 2), 6: (3, 4)}
_NUMBER, _DESTINATION_PORT = 1, 3
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_PROTOCOL = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP, "sctp": socket.IPPROTO_SCTP}
# Deleted in one go.
_CHUNK = 64
# What a kernel says that does not tell of its flows, or has none of this version: it has nothing to forget.
_TELLS_NOTHING = (errno.EINVAL, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT)


def forget_flows(flows: t.Sequence[AnyFlow]) -> None:
    """Delete the entries of flows. None is no error.

    :raises KernelError: the kernel refused.
    """
    if not flows:
        return
    try:
        sock = Socket(_NETLINK_NETFILTER)
    except OSError as problem:
        if problem.errno in _TELLS_NOTHING:
            return
        raise
    with sock, Socket() as routes:
        here = _here(routes)
        for version in sorted({flow.version for flow in flows}):
            _forget(sock, version, list(_matchers([flow for flow in flows if flow.version == version], here)))


def _matchers(flows: t.Iterable[AnyFlow], here: Here) -> t.Iterator[tuple[int | None, Matcher]]:
    """What finds flows, by the protocol that they are of, None for any."""
    kinds: dict[tuple[str, str], list[AnyFlow]] = {}
    for flow in flows:
        kinds.setdefault((flow.protocol, type(flow).__name__), []).append(flow)
    for (protocol, _kind), same in sorted(kinds.items()):
        yield _PROTOCOL.get(protocol), matcher_of(same, here)


def _forget(sock: Socket, version: int, matchers: t.Sequence[tuple[int | None, Matcher]]) -> None:
    prefix = _PREFIX.pack(_FAMILY[version], 0, 0)

    def keep(message: memoryview) -> bool:
        entry = _entry(message, version)
        return entry is not None and any(
            protocol in (None, entry.protocol) and matcher.has(entry) for protocol, matcher in matchers
        )

    try:
        found = sock.dump("tracked flows", _CT_GET, prefix, keep)
    except KernelError as problem:
        if problem.code in _TELLS_NOTHING:
            return
        raise
    attempt = "forget a flow that would go on as before"
    requests = [Request.of(attempt, (errno.ENOENT,), _CT_DELETE, prefix + _name_of(message)) for message in found]
    for start in range(0, len(requests), _CHUNK):
        sock.transact(requests[start : start + _CHUNK])


def _entry(message: memoryview, version: int) -> Entry | None:
    """The ends of a flow; None for one without ports and addresses of this version."""
    parts = read_attributes(message, _PREFIX.size)
    if _ORIGINAL not in parts or _REPLY not in parts:
        return None
    original, reply = read_attributes(parts[_ORIGINAL], 0), read_attributes(parts[_REPLY], 0)
    ends, answers = read_attributes(original[_TUPLE_ADDRESSES], 0), read_attributes(reply[_TUPLE_ADDRESSES], 0)
    source, destination = _ENDS[version]
    if source not in ends or source not in answers:
        return None
    protocol = read_attributes(original[_TUPLE_PROTOCOL], 0)
    port = protocol.get(_DESTINATION_PORT)
    return Entry(
        protocol[_NUMBER][0],
        bytes(ends[source]),
        bytes(ends[destination]),
        struct.unpack("!H", port)[0] if port is not None else 0,
        bytes(answers[source]),
    )


def _name_of(message: memoryview) -> bytes:
    """What names the entry that a message tells of."""
    parts = read_attributes(message, _PREFIX.size)
    zone = pack_attribute(_ZONE, parts[_ZONE]) if _ZONE in parts else b""
    return pack_attribute(_ORIGINAL | NESTED, parts[_ORIGINAL]) + zone


def _here(sock: Socket) -> Here:
    names = {link.index: name for name, link in sock.links().items()}
    local = {str(address.ip) for addresses in sock.addresses(names).values() for address in addresses}

    @functools.cache
    def way_out(address: Address) -> str:
        way = sock.route_to(address)
        return way.interface if way else ""

    return Here(local, way_out)
