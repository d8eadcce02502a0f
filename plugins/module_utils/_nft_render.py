# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""The nftables shape of the rules. Pure.

One table of our own for each IP version; that of the bridges is :mod:`_nft_bridge`'s. Publishes are elements of two
maps, so that a look-up costs the same for one port and for ten thousand:

* ``published_at``: host address . protocol . port → endpoint address . port
* ``published``: protocol . port → endpoint address . port

A list of sources is an interval set with a chain that looks it up, named after its content and shared by all publishes
that have it. ``limited_at``, ``limited`` and ``limited_ports`` lead from a port to its list. One set of source . port
would grow with the product of both, and its insertion is quadratic in the kernel.

Chains hold a handful of rules for each network. Every rule carries a comment that ends in a digest of its own text:
that, and not the listing's expressions, which change with nft's version, is how a rule is recognised again.
"""

from __future__ import annotations

import typing as t

from ._model import Subnet, source_text
from ._nft_bridge import render_bridges
from ._nft_table import FAMILY, LINK, SOURCES, Chain, Element, Key, Table, chain_of, digest
from ._ruleset import FamilyRules, NetworkRules, SourceRule, link_rules_of, rules_of
from ._topology import Topology, once_for_each

__all__ = ("render_table", "tables_of")

_ADDRESS = {4: "ipv4_addr", 6: "ipv6_addr"}
_LOOPBACK = {4: "127.0.0.0/8", 6: "::1"}
_MULTICAST = {4: "224.0.0.0/4", 6: "ff00::/8"}
# Words of nft's own grammar: other names of protocols are looked up in a file that a small host lacks.
_PING = {4: "icmp", 6: "icmpv6"}

# Behind conntrack (-200), so that replies are known, and before destination NAT (-100), so that the address is
# still the one that the packet came with.
_GUARD_PRIORITY = -150


def _set_types(version: int) -> dict[str, str]:
    address = _ADDRESS[version]
    return {
        "published": "inet_proto . inet_service : %s . inet_service" % address,
        "published_at": "%s . inet_proto . inet_service : %s . inet_service" % (address, address),
        "open_ports": "%s . inet_proto . inet_service" % address,
        "silent_loopback": "inet_proto . inet_service",
        "guarded": address,
        "to_network": "ifname : verdict",
        "from_network": "ifname : verdict",
    }


def _limit_types(version: int) -> dict[str, str]:
    port = "inet_proto . inet_service : verdict"
    at = "%s . %s" % (_ADDRESS[version], port)
    return {"limited": port, "limited_at": at, "limited_ports": at, "limited_answers": at}


@once_for_each
def tables_of(topology: Topology) -> dict[int, Table]:
    """All our tables as a topology wants them, by IP version, and that of the bridges."""
    tables = {version: render_table(rules) for version, rules in rules_of(topology).items()}
    return {**tables, LINK: render_bridges(link_rules_of(topology))}


def render_table(rules: FamilyRules) -> Table:
    """The table that carries the rules of one IP version."""
    version = rules.version
    if rules.empty:
        return Table(version)
    lists = _Lists(version)
    types = _set_types(version)
    limits = any(port.allowed is not None for port in rules.open_ports)
    if limits or any(item.allowed is not None for item in rules.translations):
        types.update(_limit_types(version))
    elements: dict[str, dict[Key, Element]] = {name: {} for name in types}

    def put(name: str, key: Key, data: Key = (), comment: str = "") -> None:
        elements[name][key] = Element(key, data, comment)

    for item in rules.translations:
        key: Key = (item.protocol, item.host_port)
        at = "_at" if item.host_address else ""
        if at:
            key = (item.host_address, *key)
        put("published" + at, key, (item.to_address, item.to_port), item.owner)
        if item.allowed is not None:
            put("limited" + at, key, ("jump", lists.name_of(item.allowed)))
    for port in rules.open_ports:
        put("open_ports", port[:3])
        if port.allowed is not None:
            put("limited_ports", port[:3], ("jump", lists.name_of(port.allowed)))
            put("limited_answers", port[:3], ("jump", lists.answers_of(port.allowed)))
    for pair in rules.silent_loopback:
        put("silent_loopback", tuple(pair))
    for network in rules.networks:
        put("to_network", (network.bridge,), ("jump", "to_" + network.bridge))
        if network.sealed or limits:
            put("from_network", (network.bridge,), ("jump", "from_" + network.bridge))
        if network.guarded:
            for subnet in network.subnets:
                put("guarded", (str(subnet),))
    types.update(lists.types)
    elements.update(lists.elements)
    chains = [*lists.chains.values(), *_chains(rules, limits)]
    return Table(version, True, types, elements, {chain.name: chain for chain in chains})


class _Lists:
    """The lists of sources of one table: each once, as a set and the chains that drop what is not in it."""

    def __init__(self, version: int) -> None:
        self._version = version
        self._names: dict[tuple[Subnet, ...], str] = {}
        self.types: dict[str, str] = {}
        self.elements: dict[str, dict[Key, Element]] = {}
        self.chains: dict[str, Chain] = {}

    def name_of(self, subnets: tuple[Subnet, ...]) -> str:
        """The name of a list's set, and of the chain for what comes from a source."""
        name = self._names.get(subnets)
        if name is None:
            texts = [source_text(subnet) for subnet in subnets]
            name = self._names[subnets] = SOURCES + digest(" ".join(texts))
            self.types[name] = _ADDRESS[self._version]
            self.elements[name] = {(text,): Element((text,)) for text in texts}
            self._drop(name, "saddr", name)
        return name

    def answers_of(self, subnets: tuple[Subnet, ...]) -> str:
        """The name of the chain for what goes to a source."""
        listed = self.name_of(subnets)
        name = "answers_" + listed[len(SOURCES) :]
        if name not in self.chains:
            self._drop(name, "daddr", listed)
        return name

    def _drop(self, chain: str, field: str, listed: str) -> None:
        rule = "%s %s != @%s drop" % (FAMILY[self._version], field, listed)
        self.chains[chain] = chain_of(chain, None, [(rule, "not among the sources")])


def _chains(rules: FamilyRules, limits: bool) -> t.Iterator[Chain]:
    family, loopback = FAMILY[rules.version], _LOOPBACK[rules.version]
    for network in rules.networks:
        yield chain_of("to_" + network.bridge, None, _inbound(network, family, _PING[rules.version], limits))
        if network.sealed or limits:
            yield chain_of("from_" + network.bridge, None, _outbound(network, family))
    yield from _guard_chains(rules, family, loopback)
    at = "%s daddr . meta l4proto . th dport map @published_at" % family
    yield chain_of(
        "publish",
        None,
        [
            *(
                [("ip6 saddr fe80::/10 return", "a link-local client cannot be answered from elsewhere")]
                if rules.version == 6
                else []
            ),
            ("dnat %s to %s" % (family, at), "published on one host address"),
            ("dnat %s to meta l4proto . th dport map @published" % family, "published on every host address"),
        ],
    )
    to_publish = ("fib daddr type local jump publish", "only what is addressed to this host")
    yield chain_of("prerouting", ("nat", "prerouting", -100), [to_publish])
    yield chain_of("output", ("nat", "output", -100), [_loopback_rule(rules.version, loopback), to_publish])
    yield chain_of(
        "forward",
        ("filter", "forward", 0),
        [("iifname vmap @from_network", "by network"), ("oifname vmap @to_network", "by network")],
    )
    yield chain_of("postrouting", ("nat", "postrouting", 100), [*_returns(rules, family), *_sources(rules, family)])


def _guard_chains(rules: FamilyRules, family: str, loopback: str) -> t.Iterator[Chain]:
    """What is stopped before its destination is translated, and the chains that this leads to."""
    yield chain_of("closed", None, [*_doors(rules, family), ("drop", "endpoints are not addressed from outside")])
    guard = [
        (
            "%s daddr @guarded fib daddr type != local ct state != { established, related } jump closed" % family,
            "guard endpoints",
        )
    ]
    guard[:0] = _origins(rules, family)
    if rules.version == 4:
        guard[:0] = [
            ('iifname != "lo" ip %s %s drop' % (end, loopback), "loopback addresses do not come by wire")
            for end in ("daddr", "saddr")
        ]
    if any(item.allowed is not None for item in rules.translations):
        service = "meta l4proto . th dport"
        yield chain_of(
            "listed",
            None,
            [
                ("%s daddr . %s vmap @limited_at" % (family, service), "published on one host address"),
                ("%s vmap @limited" % service, "published on every host address"),
            ],
        )
        guard.append(("ct state != { established, related } fib daddr type local jump listed", "lists of sources"))
    yield chain_of("guard", ("filter", "prerouting", _GUARD_PRIORITY), guard)


def _origins(rules: FamilyRules, family: str) -> t.Iterator[tuple[str, str]]:
    """Whoever has an address of a network comes from its bridge. A list of sources may name it."""
    for network in rules.networks:
        if not network.addressed:
            # The kernel would answer at any address of its own, and take the way out that it has for the answer.
            yield 'iifname "%s" fib daddr type local drop' % network.bridge, "%s: apart from the host" % network.bridge
        for subnet in network.subnets if network.addressed else ():
            rule = '%s saddr %s iifname != { "lo", "%s" } drop' % (family, subnet, network.bridge)
            yield rule, "%s: its addresses do not come from elsewhere" % network.bridge


def _loopback_rule(version: int, loopback: str) -> tuple[str, str]:
    if version == 6:
        return "ip6 daddr %s return" % loopback, "the kernel cannot translate the loopback address"
    return "ip daddr %s meta l4proto . th dport @silent_loopback return" % loopback, "not published on loopback"


def _inbound(network: NetworkRules, family: str, ping: str, limits: bool) -> t.Iterator[tuple[str, str]]:
    """What may come in to a bridge from the forward path."""
    if limits and not network.sealed:
        # Before answers: the connections of a source that was taken from the list end.
        port = "%s daddr . meta l4proto . th dport vmap @limited_ports" % family
        yield 'iifname != "%s" %s' % (network.bridge, port), "sources of endpoint ports"
    if network.sealed:
        # Before answers: what flowed when the network was not yet sealed ends.
        yield 'iifname != "%s" drop' % network.bridge, "sealed: nothing enters"
    yield "ct state { established, related } accept", "answers"
    if network.icc:
        yield 'iifname "%s" accept' % network.bridge, "within the network"
    if network.sealed:
        yield "drop", "neighbours are kept apart"
        return
    if not network.icc:
        # By way of the host's address; by no other, be it over the gateway.
        yield 'iifname "%s" ct status dnat accept' % network.bridge, "published ports, within the network"
        yield 'iifname "%s" drop' % network.bridge, "neighbours are kept apart"
    yield "%s daddr . meta l4proto . th dport @open_ports accept" % family, "published ports"
    if network.pings:
        yield "meta l4proto %s accept" % ping, "routed"
    yield "drop", "not published"


def _outbound(network: NetworkRules, family: str) -> t.Iterator[tuple[str, str]]:
    """What must not leave a bridge by the forward path."""
    out = 'oifname != "%s"' % network.bridge
    if network.sealed:
        yield "%s drop" % out, "sealed: nothing leaves"
    else:
        # What an endpoint still sends on a connection that was ended would begin it anew in the other direction.
        port = "%s saddr . meta l4proto . th sport vmap @limited_answers" % family
        yield "%s ct state new %s" % (out, port), "sources of endpoint ports"


def _doors(rules: FamilyRules, family: str) -> t.Iterator[tuple[str, str]]:
    for network in rules.networks:
        if network.guarded:
            interfaces = ", ".join('"%s"' % name for name in (network.bridge, *network.trusted))
            for subnet in network.subnets:
                yield "%s daddr %s iifname { %s } return" % (family, subnet, interfaces), network.bridge


def _returns(rules: FamilyRules, family: str) -> t.Iterator[tuple[str, str]]:
    """A translated connection whose answer would otherwise not pass this host again must seem to come from it."""
    for network in rules.networks:
        for subnet in network.subnets:
            yield (
                'oifname "%s" ct status dnat %s saddr %s masquerade' % (network.bridge, family, subnet),
                "%s: from the same network" % network.bridge,
            )
        yield (
            'oifname "%s" ct status dnat fib saddr type local masquerade' % network.bridge,
            "%s: from this host" % network.bridge,
        )


def _sources(rules: FamilyRules, family: str) -> t.Iterator[tuple[str, str]]:
    for rule in rules.sources:
        yield _source(rule, family, _MULTICAST[rules.version]), "masquerade %s" % rule.owner


def _source(rule: SourceRule, family: str, multicast: str) -> str:
    interfaces = ", ".join('"%s"' % name for name in ("lo", rule.except_out) if name)
    act = "masquerade" if rule.to_source is None else "snat %s to %s" % (family, rule.to_source)
    return "%s saddr %s %s daddr != %s oifname != { %s } %s" % (family, rule.subnet, family, multicast, interfaces, act)
