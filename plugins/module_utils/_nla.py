# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Netlink attributes: reading them and writing them. Pure."""

from __future__ import annotations

import struct

__all__ = ("NESTED", "pack_attribute", "read_attributes")

_HEAD = struct.Struct("=HH")
# The two highest bits of a type are flags: that there are attributes inside, and the order of bytes.
NESTED = 0x8000
_TYPE = 0x3FFF


def read_attributes(message: memoryview, offset: int) -> dict[int, memoryview]:
    """The attributes behind ``offset``, by type; of several of one type the last."""
    found = {}
    end = len(message)
    while offset + 4 <= end:
        length, kind = _HEAD.unpack_from(message, offset)
        if length < 4:
            break
        found[kind & _TYPE] = message[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def pack_attribute(kind: int, value: bytes | memoryview) -> bytes:
    """One attribute with its padding."""
    return _HEAD.pack(4 + len(value), kind) + bytes(value) + bytes(-len(value) % 4)
