# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Lists of sources in the shape of iptables: chains that let what is listed go on and drop the rest. Pure.

Publishes with the same list share its chain. iptables has no sets of its own, so a chain is as long as its list.
"""

from __future__ import annotations

import hashlib
import typing as t

from ._ipt_table import CHAIN, COMMENT, Place, Rule
from ._ipt_tree import Spot, plant
from ._model import Subnet, parse_address
from ._ruleset import FamilyRules

__all__ = ("ANSWERING", "LIMITED", "limits_before", "limits_behind", "subnet_match")

# What leads from a port to its list; and from an endpoint's port, for what it sends by itself.
LIMITED = CHAIN + "-LIMITED"
ANSWERING = CHAIN + "-ANSWERS"
_LENGTH = {4: 32, 6: 128}

Chains = t.Dict[Place, t.List[Rule]]


def subnet_match(option: str, subnet: Subnet) -> list[str]:
    """The words that match a subnet; none for all addresses, as iptables-save prints it."""
    return [option, str(subnet)] if subnet.prefixlen else []


def limits_before(rules: FamilyRules) -> Chains:
    """The lists of publishes for the guard, before translation. Empty if no publish has one."""
    lists = _Lists("mangle")
    spots = []
    for item in sorted(rules.translations, key=lambda item: not item.host_address):
        if item.allowed is not None:
            match = ["-d", "%s/%d" % (item.host_address, _LENGTH[rules.version])] if item.host_address else []
            match += _service(item.protocol, "--dport", item.host_port)
            rule = _rule(match, item.owner, lists.chain_of("-s", item.allowed))
            spots.append(Spot(0, item.protocol, item.host_port, rule))
    lists.lead(LIMITED, spots, 0)
    return lists.chains


def limits_behind(rules: FamilyRules) -> Chains:
    """The lists of endpoints' ports, for every packet that is forwarded there, and for what an endpoint sends anew."""
    lists = _Lists("filter")
    inward: list[Spot] = []
    outward: list[Spot] = []
    for port in sorted(rules.open_ports, key=lambda port: (port.address, port.protocol, port.port)):
        if port.allowed is None:
            continue
        number = int(parse_address(port.address, "address of an endpoint"))
        address = "%s/%d" % (port.address, _LENGTH[rules.version])
        for spots, here, side, there in ((inward, "-d", "--dport", "-s"), (outward, "-s", "--sport", "-d")):
            match = [here, address, *_service(port.protocol, side, port.port)]
            rule = _rule(match, "host", lists.chain_of(there, port.allowed))
            spots.append(Spot(number, port.protocol, port.port, rule))
    lists.lead(LIMITED, inward, rules.version)
    lists.lead(ANSWERING, outward, rules.version, answers=True)
    return lists.chains


def _service(protocol: str, side: str, port: int) -> list[str]:
    return ["-p", protocol, "-m", protocol, side, str(port)]


def _rule(match: t.Sequence[str], owner: str, target: str) -> Rule:
    return (*match, "-m", "comment", "--comment", COMMENT + owner, "-j", target)


class _Lists:
    """The lists of one table, each once."""

    def __init__(self, table: str) -> None:
        self._table = table
        self.chains: Chains = {}

    def chain_of(self, option: str, subnets: tuple[Subnet, ...]) -> str:
        """The name of the chain that drops packets whose source (``-s``) or destination (``-d``) is not listed."""
        digest = hashlib.sha256(" ".join(map(str, subnets)).encode()).hexdigest()[:12]
        name = "%s.%s%s" % (CHAIN, option[1:], digest)
        if (self._table, name) not in self.chains:
            listed = [_rule(subnet_match(option, subnet), "host", "RETURN") for subnet in subnets]
            self.chains[self._table, name] = [*listed, _rule((), "host", "DROP")]
        return name

    def lead(self, chain: str, spots: t.Sequence[Spot], version: int, answers: bool = False) -> None:
        """Make the chain that leads to the lists, if there is any."""
        if spots:
            lines, below = plant(spots, version, chain[len(CHAIN) + 1 :].lower(), answers)
            self.chains[self._table, chain] = lines
            self.chains.update({(self._table, name): rules for name, rules in below.items()})
