# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""The nftables shape of the rules. Pure.

One table of our own for each IP version. Publishes are elements of two maps, so that a look-up costs the same for one
port and for ten thousand:

* ``published_at``: host address . protocol . port → endpoint address . port
* ``published``: protocol . port → endpoint address . port

Chains hold a handful of rules for each network. Every rule carries a comment that ends in a digest of its own text:
that, and not the listing's expressions, which change with nft's version, is how a rule is recognised again.
"""

from __future__ import annotations

import hashlib
import typing as t

from ._nft_table import FAMILY, Chain, Element, Key, Table
from ._ruleset import FamilyRules, NetworkRules, SourceRule

__all__ = ("render_table",)

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


def render_table(rules: FamilyRules) -> Table:
    """The table that carries the rules of one IP version."""
    version = rules.version
    if rules.empty:
        return Table(version)
    elements: dict[str, dict[Key, Element]] = {name: {} for name in _set_types(version)}

    def put(name: str, key: Key, data: Key = (), comment: str = "") -> None:
        elements[name][key] = Element(key, data, comment)

    for item in rules.translations:
        service = (item.protocol, item.host_port)
        target = (item.to_address, item.to_port)
        if item.host_address:
            put("published_at", (item.host_address, *service), target, item.owner)
        else:
            put("published", service, target, item.owner)
    for port in rules.open_ports:
        put("open_ports", tuple(port))
    for pair in rules.silent_loopback:
        put("silent_loopback", tuple(pair))
    for network in rules.networks:
        put("to_network", (network.bridge,), ("jump", "to_" + network.bridge))
        if network.sealed:
            put("from_network", (network.bridge,), ("jump", "from_" + network.bridge))
        if network.guarded:
            for subnet in network.subnets:
                put("guarded", (str(subnet),))
    return Table(version, True, _set_types(version), elements, {chain.name: chain for chain in _chains(rules)})


def _chains(rules: FamilyRules) -> t.Iterator[Chain]:
    family, loopback = FAMILY[rules.version], _LOOPBACK[rules.version]
    for network in rules.networks:
        yield _chain("to_" + network.bridge, None, _inbound(network, family, _PING[rules.version]))
        if network.sealed:
            yield _chain(
                "from_" + network.bridge, None, [('oifname != "%s" drop' % network.bridge, "sealed: nothing leaves")]
            )
    yield _chain("closed", None, [*_doors(rules, family), ("drop", "endpoints are not addressed from outside")])
    guard = [
        (
            "%s daddr @guarded fib daddr type != local ct state != { established, related } jump closed" % family,
            "guard endpoints",
        )
    ]
    if rules.version == 4:
        guard.insert(0, ('iifname != "lo" ip daddr %s drop' % loopback, "loopback addresses do not come by wire"))
    yield _chain("guard", ("filter", "prerouting", _GUARD_PRIORITY), guard)
    at = "%s daddr . meta l4proto . th dport map @published_at" % family
    yield _chain(
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
    yield _chain("prerouting", ("nat", "prerouting", -100), [to_publish])
    yield _chain("output", ("nat", "output", -100), [_loopback_rule(rules.version, loopback), to_publish])
    yield _chain(
        "forward",
        ("filter", "forward", 0),
        [("iifname vmap @from_network", "by network"), ("oifname vmap @to_network", "by network")],
    )
    yield _chain("postrouting", ("nat", "postrouting", 100), [*_returns(rules, family), *_sources(rules, family)])


def _loopback_rule(version: int, loopback: str) -> tuple[str, str]:
    if version == 6:
        return "ip6 daddr %s return" % loopback, "the kernel cannot translate the loopback address"
    return "ip daddr %s meta l4proto . th dport @silent_loopback return" % loopback, "not published on loopback"


def _inbound(network: NetworkRules, family: str, ping: str) -> t.Iterator[tuple[str, str]]:
    """What may come in to a bridge from the forward path."""
    yield "ct state { established, related } accept", "answers"
    if network.icc:
        yield 'iifname "%s" accept' % network.bridge, "within the network"
    if network.sealed:
        yield "drop", "sealed: nothing enters"
        return
    yield "%s daddr . meta l4proto . th dport @open_ports accept" % family, "published ports"
    if network.pings:
        yield "meta l4proto %s accept" % ping, "routed"
    yield "drop", "not published"


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


def _chain(name: str, hook: tuple[str, str, int] | None, rules: t.Iterable[tuple[str, str]]) -> Chain:
    return Chain(name, hook, tuple((text, "%s #%s" % (why, _digest(text))) for text, why in rules))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
