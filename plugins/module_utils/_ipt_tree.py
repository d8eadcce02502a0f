# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Many rules, each for one address and port, as chains under chains by range, so that a packet meets few of them. Pure.

A list of ten thousand rules costs every new connection ten thousand comparisons. Here each chain has at most sixteen
ways on, and at most :data:`LEAF` rules at the end of them.
"""

from __future__ import annotations

import hashlib
import typing as t
from ipaddress import ip_network
from itertools import groupby

from ._ipt_table import CHAIN, COMMENT, Rule

__all__ = ("LEAF", "Spot", "plant")

LEAF = 24
_WAYS_BITS = 4
_PROTOCOLS = ("tcp", "udp", "sctp")
_PROTOCOL_BITS = 2
_PORT_BITS = 16
ADDRESS_BITS = {0: 0, 4: 32, 6: 128}


class Spot(t.NamedTuple):
    """A rule and what it is for. ``address`` is a number, 0 where the tree is by protocol and port only."""

    address: int
    protocol: str
    port: int
    rule: Rule


def plant(
    spots: t.Sequence[Spot], version: int, owner: str, answers: bool = False, last: Rule | None = None
) -> tuple[list[Rule], dict[str, list[Rule]]]:
    """The rules of the first chain, and the chains below it.

    :param spots: rules for the same address and port stay in this order.
    :param version: 4 or 6 where the spots have addresses, 0 where they have none.
    :param owner: whose they are, for the comments.
    :param answers: the packets come from these addresses and ports, in place of going there.
    :param last: the last rule of the first chain, which the caller puts there, where a packet that leaves a chain below
        by RETURN is to leave the first one with it: they are then gone to, not called, and each ends with this rule.
    """
    return _Tree(version, owner, answers, last).grow(sorted(spots, key=_key))


def _key(spot: Spot) -> int:
    """Address, protocol and port as one number: what has its first bits in common is a range of them."""
    protocol = _PROTOCOLS.index(spot.protocol)
    return ((spot.address << _PROTOCOL_BITS) | protocol) << _PORT_BITS | spot.port


class _Tree:
    def __init__(self, version: int, owner: str, answers: bool, last: Rule | None) -> None:
        self.address_option, self.port_option = ("-s", "--sport") if answers else ("-d", "--dport")
        self.owner = owner
        self.lead, self.ends = ("-g", [last]) if last else ("-j", [])
        self.version = version
        self.address_bits = ADDRESS_BITS[version]
        self.protocol_end = self.address_bits + _PROTOCOL_BITS
        self.width = self.protocol_end + _PORT_BITS

    def grow(self, spots: t.Sequence[Spot]) -> tuple[list[Rule], dict[str, list[Rule]]]:
        low, high = (_key(spots[0]), _key(spots[-1])) if spots else (0, 0)
        if len(spots) <= LEAF or low == high:
            return [spot.rule for spot in spots], {}
        # No more ways than are needed to end at chains of LEAF rules.
        needed = (len(spots) // LEAF).bit_length()
        depth = self._next_stop(self.width - (low ^ high).bit_length(), min(needed, _WAYS_BITS))
        rules: list[Rule] = []
        below: dict[str, list[Rule]] = {}
        for prefix, members in groupby(spots, lambda spot: _key(spot) >> (self.width - depth)):
            group = list(members)
            if len(group) == 1:
                rules.append(group[0].rule)
                continue
            match = self._range(prefix, depth)
            name = "%s.%s" % (CHAIN, hashlib.sha256(" ".join((self.owner, *match)).encode()).hexdigest()[:12])
            rules.append((*match, "-m", "comment", "--comment", COMMENT + self.owner, self.lead, name))
            inner, deeper = self.grow(group)
            below[name] = [*inner, *self.ends]
            below.update(deeper)
        return rules, below

    def _next_stop(self, common: int, bits: int) -> int:
        """The bits by which to divide what has the first ``common`` bits the same; a rule can only say whole parts."""
        if common < self.address_bits:
            return min(common + bits, self.address_bits)
        if common < self.protocol_end:
            return self.protocol_end
        return min(common + bits, self.width)

    def _range(self, prefix: int, depth: int) -> Rule:
        """The words that match what has these first bits."""
        low = prefix << (self.width - depth)
        words: list[str] = []
        bits = min(depth, self.address_bits)
        if bits:
            number = low >> (_PROTOCOL_BITS + _PORT_BITS)
            address = (
                ip_network((number, bits)) if self.version == 4 else ip_network((number.to_bytes(16, "big"), bits))
            )
            words += [self.address_option, str(address)]
        if depth >= self.protocol_end:
            protocol = _PROTOCOLS[(low >> _PORT_BITS) & (2**_PROTOCOL_BITS - 1)]
            words += ["-p", protocol]
            if depth > self.protocol_end:
                first = low & (2**_PORT_BITS - 1)
                last = first + 2 ** (self.width - depth) - 1
                words += ["-m", protocol, self.port_option, str(first) if first == last else "%d:%d" % (first, last)]
        return tuple(words)
