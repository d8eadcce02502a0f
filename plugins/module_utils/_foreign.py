# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""What others do to forwarded packets in nftables, and what is to be said or done about it. Pure.

A packet that one table accepts may be dropped by the next. In iptables there is a place for an accept of ours, in
firewalld its own configuration; a table that an administrator wrote by hand is his, and he is told.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

from ._backends import bridge_words
from ._ipt_table import PROGRAM, USER_CHAIN
from ._ipt_table import Tables as IptTables
from ._model import Network
from ._ruleset import link_rules_of, rules_of
from ._topology import Topology

__all__ = (
    "FIREWALLD_FILES",
    "ForeignChains",
    "firewalld_files",
    "foreign_warnings",
    "is_written_by_us",
    "parse_chains",
)

# Of these names and this mark are the files that we write into firewalld's configuration.
_MARK = "<!-- Written by bridgeport.net. -->"
_DIRECTORY = "/etc/firewalld"
_ZONE = _DIRECTORY + "/zones/bridgeport.xml"
_POLICIES = {"in": ("ANY", "bridgeport"), "out": ("bridgeport", "ANY")}
_POLICY = _DIRECTORY + "/policies/bridgeport-%s.xml"
FIREWALLD_FILES = (_ZONE, *(_POLICY % name for name in _POLICIES))

_TABLE = re.compile(r"table (\S+) (\S+) \{")
_CHAIN = re.compile(r"\s+chain (\S+) \{")
_HOOK = re.compile(r"\s+type filter hook forward priority .*; policy drop;")
_FIREWALLD = ("inet", "firewalld")


@dataclass(frozen=True)
class ForeignChains:
    """``closed`` are (family, table, chain) that drop what they do not accept. ``firewalld``: it is running."""

    closed: tuple[tuple[str, str, str], ...] = ()
    firewalld: bool = False


def parse_chains(text: str) -> ForeignChains:
    """Read what ``nft list chains`` prints."""
    table, chain, firewalld = ("", ""), "", False
    closed = []
    for line in text.splitlines():
        found = _TABLE.match(line)
        if found:
            table = found.group(1), found.group(2)
            firewalld = firewalld or table == _FIREWALLD
            continue
        found = _CHAIN.match(line)
        if found:
            chain = found.group(1)
        elif _HOOK.match(line) and table[1] != "bridgeport":
            closed.append((*table, chain))
    return ForeignChains(tuple(closed), firewalld)


def firewalld_files(topology: Topology) -> dict[str, str]:
    """The files by which firewalld lets the packets of the networks pass: a zone, and policies to and from it.

    The zone lets nothing into the host itself beyond what firewalld lets in everywhere.
    """
    bridges = [network.name for network in _forwarding(topology)]
    if not bridges:
        return {}
    interfaces = "".join("  <interface name=%s/>\n" % quoteattr(name) for name in bridges)
    head = '<?xml version="1.0" encoding="utf-8"?>\n%s\n' % _MARK
    files = {_ZONE: "%s<zone>\n  <short>bridgeport</short>\n%s  <forward/>\n</zone>\n" % (head, interfaces)}
    for name, (ingress, egress) in _POLICIES.items():
        files[_POLICY % name] = (
            '%s<policy target="ACCEPT">\n  <short>bridgeport-%s</short>\n  <ingress-zone name="%s"/>\n'
            '  <egress-zone name="%s"/>\n</policy>\n' % (head, name, ingress, egress)
        )
    return files


def is_written_by_us(text: str) -> bool:
    """Whether we wrote a file of firewalld's."""
    return _MARK in text


def _forwarding(topology: Topology) -> list[Network]:
    return [topology.networks[name] for name in sorted(topology.networks) if not topology.networks[name].sealed]


def foreign_warnings(
    topology: Topology, chains: ForeignChains, tables: t.Mapping[str, t.Mapping[int, t.Any]], backend: str
) -> t.Iterator[str]:
    """What an administrator must know, and nobody else can mend.

    :param tables: what each backend holds; iptables on nf_tables sees to its own chains.
    :param backend: the one that carries the rules.
    """
    yield from _left_behind(topology, tables, backend)
    bridges = ", ".join('"%s"' % network.name for network in _forwarding(topology))
    if bridges:
        for family, table, chain in chains.closed:
            if (table, chain) == ("filter", "FORWARD") and "iptables-nft" in tables:
                continue
            yield (
                "The chain %s of table %s %s drops what it does not accept, the packets of our networks too. Nothing "
                "was put into it. Where it is configured, add the rules 'ct state { established, related } accept', "
                "'iifname { %s } accept' and 'oifname { %s } ct status dnat accept'."
                % (chain, family, table, bridges, bridges)
            )
    missing, remedy = bridge_words(tables)
    if missing and not link_rules_of(topology).empty:
        yield (
            "nftables alone can look at frames on a bridge, and %s. So the endpoints are not kept from sending with "
            "addresses of others. %s." % (missing, remedy)
        )
    used = [name for name in ("iptables-nft", "iptables-legacy") if _others_use(tables.get(name, {}))]
    if len(used) > 1:
        yield (
            "This host has rules of others both in iptables on nf_tables and in legacy iptables. Each packet must pass "
            "both, and 'iptables -S' shows only one of them. Look at 'iptables-nft-save' and 'iptables-legacy-save'."
        )


def _left_behind(topology: Topology, tables: t.Mapping[str, t.Mapping[int, t.Any]], backend: str) -> t.Iterator[str]:
    """Rules in an administrator's chain that nothing leads to, since what led there went with the backend."""
    rules = rules_of(topology)
    for name in ("iptables-nft", "iptables-legacy"):
        for version, family in sorted(tables.get(name, {}).items()):
            count = len(family.chains.get(("filter", USER_CHAIN), ()))
            if count and not (name == backend and rules[version].networks):
                program = PROGRAM[version] + name[len("iptables") :]
                yield (
                    "The chain %s of %s (IPv%d) was kept with %s in it, which no packet meets any more: no rules of "
                    "networks are there now. If nobody needs it, remove it by '%s -F %s' and '%s -X %s'."
                    % (
                        USER_CHAIN,
                        name,
                        version,
                        "%d rule%s" % (count, "s" * (count > 1)),
                        program,
                        USER_CHAIN,
                        program,
                        USER_CHAIN,
                    )
                )


def _others_use(tables: t.Mapping[int, IptTables]) -> bool:
    return any(family.used_by_others for family in tables.values())
