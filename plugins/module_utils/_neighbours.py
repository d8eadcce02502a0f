# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Telling those on a bridge who has an address from now on: they may remember another MAC address for it.

The frames leave by the bridge itself, as the endpoint would send them. That takes one socket for any number of
endpoints and no waiting until their own ports forward.
"""

from __future__ import annotations

import errno
import socket
import struct
import typing as t
from ipaddress import IPv6Address

from ._model import Address
from ._netlink import Batch, Socket
from ._state import EndpointState

__all__ = ("bridges_in_use", "introduce")

_BROADCAST = b"\xff" * 6
_ALL_NODES = IPv6Address("ff02::1").packed
_ALL_NODES_MAC = bytes.fromhex("333300000001")
_ARP, _IPV6 = 0x0806, 0x86DD
_ICMPV6, _ADVERTISEMENT = 58, 136
# The sender overrides what was known before; the option is the target's MAC address.
_OVERRIDE = 0x20000000
_TARGET_MAC = b"\x02\x01"


def bridges_in_use() -> frozenset[str]:
    """The bridges of the host that have a port.

    :raises KernelError: the kernel refused.
    """
    with Socket() as sock:
        links = sock.links()
    masters = {link.master for link in links.values()}
    return frozenset(name for name, link in links.items() if link.index in masters)


def introduce(endpoints: t.Sequence[EndpointState], bridges: t.Collection[str]) -> None:
    """Make the host and the neighbours forget who had the endpoints' addresses before.

    :param bridges: those on which there may be neighbours to tell.
    :raises KernelError: the kernel refused.
    """
    _forget_others(endpoints)
    told = [endpoint for endpoint in endpoints if endpoint.bridge in bridges]
    if not told:
        return
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC) as raw:
        for endpoint in told:
            mac = bytes.fromhex(endpoint.mac.replace(":", ""))
            for item in endpoint.addresses:
                try:
                    raw.sendto(_frame(mac, item.ip), (endpoint.bridge, 0))
                except OSError:
                    # A bridge that is down has nobody on it who could hear.
                    continue


def _forget_others(endpoints: t.Sequence[EndpointState]) -> None:
    """What the host itself remembers of the addresses: it does not hear what its own bridge sends."""
    macs = {str(item.ip): endpoint.mac for endpoint in endpoints for item in endpoint.addresses}
    batch = Batch()
    with Socket() as sock:
        for index, address, mac in sock.neighbours():
            if macs.get(str(address), mac) != mac:
                batch.add(
                    "forget the neighbour %s" % address,
                    "neigh",
                    "del",
                    ifindex=index,
                    dst=str(address),
                    family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                    tolerate=(errno.ENOENT,),
                )
        batch.send(sock)


def _frame(mac: bytes, address: Address) -> bytes:
    """An unsolicited ARP request or neighbour advertisement."""
    if not isinstance(address, IPv6Address):
        body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + address.packed + _BROADCAST + address.packed
        return _BROADCAST + mac + struct.pack("!H", _ARP) + body
    body = struct.pack("!I", _OVERRIDE) + address.packed + _TARGET_MAC + mac
    length = 4 + len(body)
    pseudo = address.packed + _ALL_NODES + struct.pack("!II", length, _ICMPV6)
    head = struct.pack("!BB", _ADVERTISEMENT, 0)
    message = head + struct.pack("!H", _checksum(pseudo + head + b"\0\0" + body)) + body
    header = struct.pack("!IHBB", 6 << 28, length, _ICMPV6, 255) + address.packed + _ALL_NODES
    return _ALL_NODES_MAC + mac + struct.pack("!H", _IPV6) + header + message


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
