# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""A table of ours in nftables as a value: what two of them differ in, as a transaction and in words. Pure."""

from __future__ import annotations

import hashlib
import typing as t
from dataclasses import dataclass, field, replace

__all__ = (
    "FAMILY",
    "LINK",
    "SOURCES",
    "TABLE",
    "Chain",
    "Element",
    "Key",
    "Table",
    "chain_of",
    "digest",
    "drift",
    "same",
    "set_flags",
    "spelled",
    "target_text",
    "transaction",
)

TABLE = "bridgeport"
# In place of an IP version: the link layer, frames that pass through a bridge.
LINK = 2
FAMILY = {4: "ip", 6: "ip6", LINK: "bridge"}

# How the names of sets begin that hold a list of sources.
SOURCES = "sources_"

# The sets and maps whose keys begin with an interface name, which the transaction must quote.
_BY_INTERFACE = {
    *("to_network", "from_network"),
    *("guarded_ports", "own_macs", "own_ipv4", "own_ipv6", "own_targets"),
    *("apart_ports", "apart_macs"),
}
# The target of neighbour discovery, for which nft 1.0.6 has no name.
_TYPEOF = {"ifname . ether_addr . integer": "typeof iifname . ether saddr . @th,64,128;"}

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
    """What one table holds, or should. ``version`` is an IP version or :data:`LINK`.

    ``sets`` maps a set's or map's name to its type; a map's type has a colon.

    ``flagged``: it bears a flag, such as dormant, which switches all of it off. Ours bear none.
    """

    version: int
    exists: bool = False
    sets: t.Mapping[str, str] = field(default_factory=dict)
    elements: t.Mapping[str, t.Mapping[Key, Element]] = field(default_factory=dict)
    chains: t.Mapping[str, Chain] = field(default_factory=dict)
    flagged: bool = False


def chain_of(name: str, hook: tuple[str, str, int] | None, rules: t.Iterable[tuple[str, str]]) -> Chain:
    """A chain of (text, reason) rules, whose comments are the reason and a digest of the text."""
    return Chain(name, hook, tuple((text, "%s #%s" % (why, digest(text))) for text, why in rules))


def digest(text: str) -> str:
    """Eight characters that change with the text."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def target_text(number: int) -> str:
    """Spell an IPv6 address where nft takes it for a number."""
    return "0x%032x" % number


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
    if before.flagged:
        return True
    if any(before.sets[name] != kind for name, kind in after.sets.items() if name in before.sets):
        return True
    return any(before.chains[name].hook != chain.hook for name, chain in after.chains.items() if name in before.chains)


def _set_kind(kind: str) -> str:
    return "map" if ":" in kind else "set"


def _set_body(name: str, kind: str) -> str:
    if kind in _TYPEOF:
        return _TYPEOF[kind]
    flags = set_flags(name)
    return "type %s;%s" % (kind, " flags %s;" % flags if flags else "")


def set_flags(name: str) -> str:
    """The flags of a set or map of ours, "" for none."""
    return "interval" if name == "guarded" or name.startswith(SOURCES) else ""


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
            if text:
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
    # The star stands for all that is not listed.
    first = '"%s"' % key[0] if name in _BY_INTERFACE and key[0] != "*" else str(key[0])
    return " . ".join((first, *map(str, key[1:])))


def _element_text(name: str, element: Element) -> str:
    text = _key_text(name, element.key)
    if element.comment:
        text += ' comment "%s"' % element.comment
    if not element.data:
        return text
    if element.data[0] == "jump":
        return "%s : jump %s" % (text, element.data[1])
    return "%s : %s" % (text, " . ".join(map(str, element.data)))


def spelled(there: Table, known: t.Iterable[Table]) -> Table:
    """The kernel's table with the texts of its rules, which a listing does not tell, so that it can be made again.

    A rule that none of the known tables has, somebody else's, stays without a text and would not be made again.
    """
    texts = {comment: text for table in known for chain in table.chains.values() for text, comment in chain.rules}
    chains = {
        name: replace(chain, rules=tuple((texts.get(comment, ""), comment) for _text, comment in chain.rules))
        for name, chain in there.chains.items()
    }
    return replace(there, chains=chains)


def same(there: Table, wanted: Table) -> bool:
    """Whether the kernel's table is already what is wanted."""
    return not transaction(there, wanted)


def same_chains(there: Table, known: Table, names: t.Iterable[str]) -> bool:
    """Whether the kernel's table has these chains as the other has them, and carries them out."""
    alike = all(_identity(there.chains.get(name)) == _identity(known.chains.get(name)) for name in names)
    return alike and there.flagged == known.flagged


def _identity(chain: Chain | None) -> tuple[t.Any, ...] | None:
    return None if chain is None else (chain.hook, chain.comments)


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
    if there.flagged:
        yield "Restore the table %s, which somebody has given flags." % name
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
        if there.sets.get(item) != known.sets.get(item) and item in known.sets:
            yield "Restore the %s set %s of table %s." % ("changed" if item in there.sets else "missing", item, name)
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
