# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""The nftables shape of the rules: pure text and comparison. Nothing here runs ``nft``.

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
from dataclasses import dataclass, field

from ._ruleset import FamilyRules, NetworkRules, SourceRule

__all__ = ("FAMILY", "TABLE", "Chain", "Element", "Table", "parse_table", "render_table", "transaction")

TABLE = "bridgeport"
FAMILY = {4: "ip", 6: "ip6"}

_ADDRESS = {4: "ipv4_addr", 6: "ipv6_addr"}
_LOOPBACK = {4: "127.0.0.0/8", 6: "::1"}
_MULTICAST = {4: "224.0.0.0/4", 6: "ff00::/8"}
# Words of nft's own grammar: other names of protocols are looked up in a file that a small host lacks.
_PING = {4: "icmp", 6: "icmpv6"}
_PROTOCOLS = {"6": "tcp", "17": "udp", "132": "sctp"}

# Behind conntrack (-200), so that replies are known, and before destination NAT (-100), so that the address is
# still the one that the packet came with.
_GUARD_PRIORITY = -150

# The maps whose keys are interface names, which the transaction must quote.
_BY_INTERFACE = ("to_network", "from_network")

Key = t.Tuple[t.Any, ...]


class Element(t.NamedTuple):
    """One element of a set or map: its key, its data ("" in a set) and its comment ("" if none)."""

    key: Key
    data: Key = ()
    comment: str = ""


@dataclass(frozen=True)
class Chain:
    """A chain: ``hook`` is (type, hook, priority), None where others jump to it; ``rules`` are (text, comment)."""

    name: str
    hook: tuple[str, str, int] | None
    rules: tuple[tuple[str, str], ...]

    @property
    def comments(self) -> tuple[str, ...]:
        """The identities of the rules, in order."""
        return tuple(comment for _text, comment in self.rules)


@dataclass(frozen=True)
class Table:
    """What one table holds, or should. ``sets`` maps a set's or map's name to its type; a map's type has a colon."""

    version: int
    exists: bool = False
    sets: t.Mapping[str, str] = field(default_factory=dict)
    elements: t.Mapping[str, t.Mapping[Key, Element]] = field(default_factory=dict)
    chains: t.Mapping[str, Chain] = field(default_factory=dict)


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


def parse_table(version: int, listing: t.Iterable[t.Mapping[str, t.Any]]) -> Table:
    """Read the objects of ``nft -j list table`` (its ``nftables`` array) into a :class:`Table`."""
    exists = False
    sets: dict[str, str] = {}
    elements: dict[str, dict[Key, Element]] = {}
    heads: dict[str, tuple[str, str, int] | None] = {}
    rules: dict[str, list[tuple[str, str]]] = {}
    for item in listing:
        kind, body = next(iter(item.items()))
        if kind == "table":
            exists = True
        elif kind in ("set", "map"):
            sets[body["name"]] = _listed_type(body)
            named = sets[body["name"]].split(" . ").index("inet_proto") if "inet_proto" in sets[body["name"]] else -1
            listed = (_listed_element(item, named) for item in body.get("elem", ()))
            elements[body["name"]] = {element.key: element for element in listed}
        elif kind == "chain":
            heads[body["name"]] = _listed_hook(body)
        elif kind == "rule":
            rules.setdefault(body["chain"], []).append(("", body.get("comment", "")))
    chains = {name: Chain(name, hook, tuple(rules.get(name, ()))) for name, hook in heads.items()}
    return Table(version, exists, sets, elements, chains)


def _listed_hook(body: t.Mapping[str, t.Any]) -> tuple[str, str, int] | None:
    if "hook" not in body:
        return None
    # Ours have the policy accept. Another one shows as another kind of chain, and so replaces the table.
    policy = body.get("policy", "accept")
    kind = body["type"] if policy == "accept" else "%s, policy %s" % (body["type"], policy)
    return kind, body["hook"], body["prio"]


def _listed_type(body: t.Mapping[str, t.Any]) -> str:
    kind = body["type"]
    text = kind if isinstance(kind, str) else " . ".join(kind)
    if "map" not in body:
        return text
    data = body["map"]
    return "%s : %s" % (text, data if isinstance(data, str) else " . ".join(data))


def _listed_element(item: t.Any, protocol_at: int) -> Element:
    """Read one element; ``protocol_at`` is the place of a protocol in its key, -1 for none."""
    data: t.Any = ()
    if isinstance(item, list):
        item, data = item
    comment = ""
    if isinstance(item, dict) and "elem" in item:
        comment = item["elem"].get("comment", "")
        item = item["elem"]["val"]
    key = _listed_value(item)
    if protocol_at >= 0:
        # A host without /etc/protocols, which comes with another package, lists numbers.
        protocol = _PROTOCOLS.get(str(key[protocol_at]), key[protocol_at])
        key = (*key[:protocol_at], protocol, *key[protocol_at + 1 :])
    return Element(key, _listed_value(data) if data != () else (), comment)


def _listed_value(value: t.Any) -> Key:
    if isinstance(value, dict):
        if "concat" in value:
            return tuple(value["concat"])
        if "prefix" in value:
            return ("%s/%s" % (value["prefix"]["addr"], value["prefix"]["len"]),)
        for verdict in ("jump", "goto"):
            if verdict in value:
                return (verdict, value[verdict]["target"])
    return (value,)


def transaction(before: Table, after: Table) -> str:
    """The one ``nft -f`` transaction that turns ``before`` into ``after``; empty if they are alike.

    Elements change one by one. A chain whose rules differ is emptied and filled again inside the same transaction.
    A table whose sets have another shape, or whose chains hook elsewhere, is replaced whole.
    """
    place = "%s %s" % (FAMILY[after.version], TABLE)
    if not after.exists:
        return "delete table %s\n" % place if before.exists else ""
    lines: list[str] = []
    if before.exists and _must_replace(before, after):
        lines.append("delete table %s" % place)
        before = Table(after.version)
    if not before.exists:
        lines.append("add table %s" % place)
    lines += [
        "add %s %s %s { %s }" % (_set_kind(kind), place, name, _set_body(name, kind))
        for name, kind in after.sets.items()
        if name not in before.sets
    ]
    lines += _chain_lines(place, before, after)
    lines += _element_lines(place, before, after)
    lines += _leftover_lines(place, before, after)
    return "".join(line + "\n" for line in lines)


def _must_replace(before: Table, after: Table) -> bool:
    if any(before.sets[name] != kind for name, kind in after.sets.items() if name in before.sets):
        return True
    return any(before.chains[name].hook != chain.hook for name, chain in after.chains.items() if name in before.chains)


def _set_kind(kind: str) -> str:
    return "map" if ":" in kind else "set"


def _set_body(name: str, kind: str) -> str:
    return "type %s;%s" % (kind, " flags interval;" if name == "guarded" else "")


def _chain_lines(place: str, before: Table, after: Table) -> t.Iterator[str]:
    changed = []
    for name, chain in after.chains.items():
        there = before.chains.get(name)
        if there is None:
            hook = " { type %s hook %s priority %d; policy accept; }" % chain.hook if chain.hook else ""
            yield "add chain %s %s%s" % (place, name, hook)
        elif there.comments == chain.comments:
            continue
        elif there.rules:
            yield "flush chain %s %s" % (place, name)
        changed.append(chain)
    # All chains exist before the first rule that jumps to one.
    for chain in changed:
        for text, comment in chain.rules:
            yield 'add rule %s %s %s comment "%s"' % (place, chain.name, text, comment)


def _element_lines(place: str, before: Table, after: Table) -> t.Iterator[str]:
    for name, wanted in after.elements.items():
        there = before.elements.get(name, {})
        gone = [element for key, element in there.items() if wanted.get(key) != element]
        new = [element for key, element in wanted.items() if there.get(key) != element]
        if gone:
            yield "delete element %s %s { %s }" % (
                place,
                name,
                ", ".join(_key_text(name, element.key) for element in gone),
            )
        if new:
            yield "add element %s %s { %s }" % (place, name, ", ".join(_element_text(name, element) for element in new))


def _leftover_lines(place: str, before: Table, after: Table) -> t.Iterator[str]:
    """What stands in our table and is not wanted: emptied first, since chains may refer to each other."""
    chains = [name for name in before.chains if name not in after.chains]
    for name in chains:
        yield "flush chain %s %s" % (place, name)
    for name in before.sets:
        if name not in after.sets:
            yield "delete %s %s %s" % (_set_kind(before.sets[name]), place, name)
    for name in chains:
        yield "delete chain %s %s" % (place, name)


def _key_text(name: str, key: Key) -> str:
    return '"%s"' % key[0] if name in _BY_INTERFACE else " . ".join(map(str, key))


def _element_text(name: str, element: Element) -> str:
    text = _key_text(name, element.key)
    if element.comment:
        text += ' comment "%s"' % element.comment
    if not element.data:
        return text
    if element.data[0] == "jump":
        return "%s : jump %s" % (text, element.data[1])
    return "%s : %s" % (text, " . ".join(map(str, element.data)))


def same(there: Table, wanted: Table) -> bool:
    """Whether the kernel's table is already what is wanted."""
    return not transaction(there, wanted)


def drift(there: Table, known: Table) -> t.Iterator[str]:
    """Sentences on how the kernel's table differs from the one that it was given."""
    name = "%s %s" % (FAMILY[known.version], TABLE)
    if known.exists != there.exists:
        yield (
            "Restore the missing table %s." % name
            if known.exists
            else "Remove the table %s, which nothing asks for." % name
        )
        return
    for chain in sorted(known.chains.keys() | there.chains.keys()):
        old, new = there.chains.get(chain), known.chains.get(chain)
        if old is None:
            yield "Restore the missing chain %s of table %s." % (chain, name)
        elif new is None:
            yield "Remove the chain %s of table %s, which is not ours." % (chain, name)
        elif old.comments != new.comments or old.hook != new.hook:
            yield "Restore the changed rules of chain %s in table %s." % (chain, name)
    for item in sorted(known.sets.keys() | there.sets.keys()):
        old_elements, new_elements = there.elements.get(item, {}), known.elements.get(item, {})
        if item not in known.sets:
            yield "Remove the set %s of table %s, which is not ours." % (item, name)
            continue
        missing = sum(1 for key, element in new_elements.items() if old_elements.get(key) != element)
        extra = sum(1 for key in old_elements if key not in new_elements)
        if missing:
            yield "Restore %s of %s in table %s, missing or changed." % (_count(missing), item, name)
        if extra:
            yield "Remove %s of %s in table %s, not ours." % (_count(extra), item, name)


def _count(number: int) -> str:
    return "1 element" if number == 1 else "%d elements" % number
