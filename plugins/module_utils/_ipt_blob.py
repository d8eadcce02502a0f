# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Rules as legacy iptables hands them to the kernel: many of one shape from one that was built. Pure.

python-iptables takes a fifth of a millisecond to build a rule, and ten thousand publishes are forty thousand rules. But
they are of a few shapes, which differ in an address, a port, a comment or the name of a chain: those are put into the
bytes of the first one. The second of each shape is built as well and compared, so nothing rests on what this file
believes about the layout; a shape that does not come out alike is built rule by rule.
"""

from __future__ import annotations

import struct
import typing as t
from ipaddress import ip_address, ip_network

from ._ipt_table import Rule, is_our_chain

__all__ = ("BlobMaker", "meaning")

# sizeof(struct ipt_entry) and sizeof(struct ip6t_entry), and where in them the sizes of what follows stand.
_ENTRY = {4: 112, 6: 168}
_SIZES = {4: 88, 6: 140}
# Destination address and its mask.
_DESTINATION = {4: (4, 12), 6: (16, 48)}
# Behind the common header of a match or target.
_DATA = 32
_NAME = slice(2, 31)
# In xt_tcp and xt_udp the source ports come first, in xt_sctp_info the destination ports.
_DPORT = {"tcp": 4, "udp": 4, "sctp": 0}
_COMMENT_SIZE = 256
_HOLE = "?"

Build = t.Callable[[Rule], bytes]


class BlobMaker:
    """Makes the bytes of rules of one IP version.

    :param build: builds one rule properly.
    """

    def __init__(self, version: int, build: Build) -> None:
        self._version = version
        self._build = build
        self._first: dict[Rule, bytes] = {}
        self._proven: dict[Rule, bool] = {}

    def make(self, rule: Rule) -> bytes:
        """The bytes of a rule."""
        shape, values = _shape(rule)
        first = self._first.get(shape)
        if first is None:
            self._first[shape] = blob = self._build(rule)
            return blob
        if shape not in self._proven:
            blob = self._build(rule)
            self._proven[shape] = meaning(self._version, _patched(self._version, first, values)) == meaning(
                self._version, blob
            )
            return blob
        return _patched(self._version, first, values) if self._proven[shape] else self._build(rule)


def _shape(rule: Rule) -> tuple[Rule, list[tuple[str, str]]]:
    """A rule with holes, and what stands in them: (option, value)."""
    words = list(rule)
    values = []
    for place, option in enumerate(rule[:-1]):
        value = rule[place + 1]
        if option in ("-d", "--dport", "--comment", "--to-destination") or (
            option in ("-j", "-g") and is_our_chain(value)
        ):
            words[place + 1] = _HOLE
            values.append((option, value))
    return tuple(words), values


def _parts(version: int, blob: bytes | bytearray) -> list[tuple[int, int, str]]:
    """The matches and, last, the target of a rule: offset, size and name of each."""
    target, end = struct.unpack_from("=HH", blob, _SIZES[version])
    offset, found = _ENTRY[version], []
    while offset < end:
        (size,) = struct.unpack_from("=H", blob, offset)
        name = bytes(blob[offset:][_NAME]).partition(b"\0")[0].decode()
        found.append((offset, size, name))
        offset += size or end
        if offset > target and found[-1][0] >= target:
            break
    return found


def _patched(version: int, first: bytes, values: t.Sequence[tuple[str, str]]) -> bytes:
    blob = bytearray(first)
    parts = _parts(version, blob)
    places = {name: offset + _DATA for offset, _size, name in parts}
    target_offset, target_size, _name = parts[-1]
    for option, value in values:
        if option == "-d":
            network = ip_network(value)
            address_at, mask_at = _DESTINATION[version]
            _put(blob, address_at, network.network_address.packed)
            _put(blob, mask_at, network.netmask.packed)
        elif option == "--dport":
            low, _colon, high = value.partition(":")
            name = next((name for name in _DPORT if name in places), "")
            if name:
                _put(blob, places[name] + _DPORT[name], struct.pack("=HH", int(low), int(high or low)))
        elif option == "--comment" and "comment" in places:
            _put(blob, places["comment"], value.encode().ljust(_COMMENT_SIZE, b"\0"))
        elif option == "--to-destination":
            _put(blob, target_offset + _DATA, _destination(value, target_size - _DATA))
        elif option in ("-j", "-g"):
            _put(blob, target_offset + _NAME.start, value.encode().ljust(_NAME.stop - _NAME.start, b"\0"))
    return bytes(blob)


def _destination(value: str, room: int) -> bytes:
    """What DNAT's revisions have in common is told apart by size: the first of IPv4 has a range of its own form."""
    text, _colon, port = value.rpartition(":")
    address = ip_address(text.strip("[]")).packed
    number = struct.pack(">H", int(port))
    if room < 36:
        return struct.pack("=II", 1, 3) + address * 2 + number * 2
    wide = address.ljust(16, b"\0")
    return (struct.pack("=I", 3) + wide * 2 + number * 2).ljust(room, b"\0")


def _put(blob: bytearray, offset: int, data: bytes) -> None:
    blob[offset : offset + len(data)] = data


def meaning(version: int, blob: bytes) -> bytes:
    """The bytes of a rule without those that mean nothing: counters, and what is behind the end of a name."""
    plain = bytearray(blob)
    sizes = _SIZES[version]
    _put(plain, sizes - 4, bytes(4))
    _put(plain, sizes + 4, bytes(_ENTRY[version] - sizes - 4))
    for offset, _size, name in _parts(version, plain):
        start = offset + _NAME.start
        _put(plain, start, name.encode().ljust(_NAME.stop - _NAME.start, b"\0"))
    return bytes(plain)
