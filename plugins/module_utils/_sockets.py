# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Who holds the host's ports: a dump of the kernel's socket tables (sock_diag), and the names of the processes."""

from __future__ import annotations

import errno
import os
import socket
import struct
import typing as t
from ipaddress import IPv6Address, ip_address

from ._errors import KernelError, kernel_words
from ._hold import NOWHERE
from ._hostports import Holder

__all__ = ("has_protocol", "port_holders")

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST_DUMP = 0x301
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
_DIAG_SIZE = 72
_INTERFACE_OFFSET = 40
_SKV6ONLY = 11
# TCP waits for connections in LISTEN (10); a UDP socket that is bound and not connected is in CLOSE (7).
_STATES = {"tcp": 1 << 10, "udp": 1 << 7, "sctp": 1 << 10}
_PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP, "sctp": socket.IPPROTO_SCTP}
_ANY = ("0.0.0.0", "::")


class _Socket(t.NamedTuple):
    version: int
    protocol: str
    address: str
    port: int
    inode: int


def has_protocol(protocol: str) -> bool:
    """Whether the kernel can open a socket of a protocol; it loads the protocol's module if there is one."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, _PROTOCOLS[protocol]).close()
    except OSError as problem:
        return problem.errno not in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT)
    return True


def port_holders() -> tuple[Holder, ...]:
    """Every host port that a process waits on, with the process named; our own reservations are none. A wildcard IPv6
    socket that takes IPv4 too stands for both.

    :raises KernelError: the kernel does not tell.
    """
    found: list[_Socket] = []
    for protocol in _STATES:
        for family in (socket.AF_INET, socket.AF_INET6):
            found += _sockets(protocol, family)
    names = _processes({item.inode for item in found})
    return tuple(
        Holder(
            item.version,
            item.protocol,
            item.address,
            item.port,
            names.get(item.inode) or "the kernel or a hidden process",
        )
        for item in found
    )


def _sockets(protocol: str, family: int) -> t.Iterator[_Socket]:
    request = struct.pack("=BBBxI48x", family, _PROTOCOLS[protocol], 0, _STATES[protocol])
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as diag:
        diag.settimeout(60)
        diag.send(_HEADER.pack(16 + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP, 1, 0) + request)
        while True:
            data = diag.recv(1 << 18)
            offset = 0
            while offset < len(data):
                length, kind, _flags, _sequence, _port = _HEADER.unpack_from(data, offset)
                if length < _HEADER.size:
                    raise _not_understood(protocol)
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR:
                    _refused(protocol, -struct.unpack_from("=i", data, offset + 16)[0])
                    return
                yield from _decode(protocol, data[offset + 16 : offset + length])
                offset += (length + 3) & ~3


def _refused(protocol: str, code: int) -> None:
    # A kernel without a protocol has no sockets of it.
    if code not in (errno.ENOENT, errno.EINVAL):
        raise KernelError(
            "Cannot list the %s sockets of this host: the kernel said: %s." % (protocol, kernel_words(code)), code
        )


def _not_understood(protocol: str) -> KernelError:
    return KernelError(
        "Cannot list the %s sockets of this host: what the kernel said of one cannot be understood." % protocol
    )


def _decode(protocol: str, message: bytes) -> t.Iterator[_Socket]:
    if len(message) < _DIAG_SIZE:
        raise _not_understood(protocol)
    family, _state = struct.unpack_from("=BB", message)
    port = struct.unpack_from("!H", message, 4)[0]
    packed = message[8:12] if family == socket.AF_INET else message[8:24]
    inode = struct.unpack_from("=I", message, _DIAG_SIZE - 4)[0]
    address = ip_address(packed)
    if not port or struct.unpack_from("=I", message, _INTERFACE_OFFSET)[0] == NOWHERE:
        return
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    text = "" if str(address) in _ANY else str(address)
    yield _Socket(address.version, protocol, text, port, inode)
    if address.version == 6 and not text and not _v6_only(message):
        yield _Socket(4, protocol, "", port, inode)


def _v6_only(message: bytes) -> bool:
    offset = _DIAG_SIZE
    while offset + 4 < len(message):
        length, kind = struct.unpack_from("=HH", message, offset)
        if length < 4:
            break
        if kind == _SKV6ONLY:
            return bool(message[offset + 4])
        offset += (length + 3) & ~3
    return False


def _processes(inodes: set[int]) -> dict[int, str]:
    """Name the processes that have sockets open, by the sockets' inodes."""
    names: dict[int, str] = {}
    if not inodes:
        return names
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            files = os.listdir("/proc/%s/fd" % pid)
        except OSError:
            continue
        for file in files:
            try:
                target = os.readlink("/proc/%s/fd/%s" % (pid, file))
            except OSError:
                continue
            if target.startswith("socket:["):
                inode = int(target[8:-1])
                if inode in inodes and inode not in names:
                    names[inode] = "process %s (pid %s)" % (_command(pid), pid)
    return names


def _command(pid: str) -> str:
    try:
        with open("/proc/%s/comm" % pid, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "unknown"
