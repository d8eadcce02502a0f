# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""What we have in iptables for one IP version, as a value: what two of them differ in, as steps and in words.

Pure. Chains of ours bear our names, so they are known without asking who made them; of the chains of others we only
hold the rules that lead to ours.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ._errors import KernelError

__all__ = (
    "ACCEPT_CHAIN",
    "CHAIN",
    "COMMENT",
    "PROGRAM",
    "TABLES",
    "USER_CHAIN",
    "Place",
    "Rule",
    "Step",
    "Tables",
    "accept_words",
    "drift",
    "foreign",
    "has_our_rules",
    "is_our_chain",
    "restore_text",
    "same",
    "same_table",
    "steps",
)

CHAIN = "BRIDGEPORT"
# The administrator's own: made once, left alone ever after.
USER_CHAIN = CHAIN + "-USER"
# Where others lead to it, it is behind their own rules, so that what they drop stays dropped.
ACCEPT_CHAIN = CHAIN + "-ACCEPT"
# What the comment of every rule of ours begins with.
COMMENT = "bridgeport:"
# The tables that we write to, in the order in which they are written: what guards comes before what opens.
TABLES = ("mangle", "filter", "nat")
PROGRAM = {4: "iptables", 6: "ip6tables"}

# The words of a rule as iptables-save prints them, without the chain.
Rule = t.Tuple[str, ...]
# A table and a chain in it.
Place = t.Tuple[str, str]


@dataclass(frozen=True)
class Tables:
    """What is ours in the tables of one IP version, or should be.

    ``chains`` are our chains with their rules; those of the administrator's chain do not count. ``hooks`` are the rules
    in chains of others that lead to ours, in their order; ``misplaced`` are those of these chains in which a rule of
    others drops what would come to ours behind it.

    Of others it is only known what stands in the way of packets that are forwarded: ``closed`` says why FORWARD drops
    what no rule of it accepts, "" if it does not; ``ahead`` how many of their rules in FORWARD are ahead of the one
    that does so, None if none does; ``asks_docker`` that it leads to the chain in which Docker expects the rules of
    others; ``docker_apart`` that there is the chain by which Docker keeps its bridges apart from each other;
    ``used_by_others`` that there is any rule.
    """

    version: int
    chains: t.Mapping[Place, tuple[Rule, ...]] = field(default_factory=dict)
    hooks: t.Mapping[Place, tuple[Rule, ...]] = field(default_factory=dict)
    closed: str = field(default="", compare=False)
    ahead: int | None = field(default=None, compare=False)
    misplaced: frozenset[Place] = field(default_factory=frozenset, compare=False)
    asks_docker: bool = field(default=False, compare=False)
    docker_apart: bool = field(default=False, compare=False)
    used_by_others: bool = field(default=False, compare=False)

    @property
    def empty(self) -> bool:
        """Whether nothing is there that a teardown would take away."""
        return not self.hooks and all(chain == USER_CHAIN and rules for (_table, chain), rules in self.chains.items())


def is_our_chain(name: str) -> bool:
    """Whether a chain bears a name of ours."""
    return name == CHAIN or name.startswith((CHAIN + "-", CHAIN + "/", CHAIN + "."))


def _is_ours(rule: Rule) -> bool:
    return any(word.startswith(COMMENT) for word in rule)


def has_our_rules(tables: Tables) -> bool:
    """Whether there is any rule that we wrote."""
    return any(_is_ours(rule) for rules in (*tables.chains.values(), *tables.hooks.values()) for rule in rules)


def foreign(tables: Tables) -> str:
    """Words for a rule in a chain of our name that somebody else wrote, or "". The administrator's chain is his."""
    for (table, chain), rules in tables.chains.items():
        if chain != USER_CHAIN:
            for rule in rules:
                if not _is_ours(rule):
                    return "the chain %s in table %s of %s holds the rule '%s'" % (
                        chain,
                        table,
                        PROGRAM[tables.version],
                        " ".join(map(_quoted, rule)),
                    )
    return ""


def accept_words(backend: str, wanted: Tables) -> t.Iterator[str]:
    """A sentence for each chain of others in which ``wanted`` accepts packets."""
    for _table, chain in wanted.hooks:
        bridges = dict.fromkeys(
            rule[place + 1]
            for rules in wanted.chains.values()
            for rule in rules
            for place, word in enumerate(rule)
            if word in ("-i", "-o") and rule[-3].endswith(":" + rule[place + 1])
        )
        why = ", where FORWARD drops what is not accepted: %s" % wanted.closed if wanted.closed else ""
        names = " and ".join(bridges)
        yield "Accept the packets of %s in the chain %s of %s (IPv%d)%s." % (names, chain, backend, wanted.version, why)


def _alike(old: Rule, new: Rule) -> bool:
    """Whether two rules say the same: versions of iptables differ in the order in which they print."""
    return old == new or (len(old) == len(new) and _clauses(old) == _clauses(new))


def _clauses(rule: Rule) -> list[tuple[str, ...]]:
    """The options of a rule with their values, sorted; an option of a match goes with that match."""
    clauses: list[list[str]] = []
    match = ""
    negated = False
    for word in rule:
        if word == "!":
            negated = True
        elif word.startswith("-") and not word.lstrip("-")[:1].isdigit():
            if not word.startswith("--"):
                match = ""
            clauses.append([match, "!" if negated else "", word])
            negated = False
        else:
            clauses[-1].append(word)
            if clauses[-1][2] in ("-m", "-j", "-g"):
                match = word
    return sorted(map(tuple, clauses))


def _same_rules(old: tuple[Rule, ...] | None, new: tuple[Rule, ...] | None) -> bool:
    if old is None or new is None:
        return old is new
    return len(old) == len(new) and all(map(_alike, old, new))


def _changed_places(before: Tables, after: Tables) -> tuple[list[Place], list[Place], list[Place]]:
    """The chains to write, the chains to remove and the foreign chains whose hooks differ."""
    write = [
        place
        for place, rules in after.chains.items()
        if place not in before.chains or (place[1] != USER_CHAIN and not _same_rules(before.chains[place], rules))
    ]
    gone = [
        place
        for place, rules in before.chains.items()
        if place not in after.chains and not (place[1] == USER_CHAIN and rules)
    ]
    hooks = [
        place
        for place in dict.fromkeys((*before.hooks, *after.hooks))
        if place in before.misplaced or not _same_rules(before.hooks.get(place, ()), after.hooks.get(place, ()))
    ]
    return write, gone, hooks


def same(there: Tables, wanted: Tables) -> bool:
    """Whether the kernel's tables are already what is wanted."""
    return not any(_changed_places(there, wanted))


def same_table(table: str, there: Tables, wanted: Tables) -> bool:
    """Whether one of the tables is what is wanted, whatever else differs."""
    return all(place[0] != table for places in _changed_places(there, wanted) for place in places)


class Step(t.NamedTuple):
    """One step in a table: ``make`` a chain or empty the one that is there, ``append`` a rule to it, ``insert`` one
    behind so many others or ``delete`` it, ``flush`` a chain, ``remove`` an empty one."""

    verb: str
    chain: str
    rule: Rule = ()
    behind: int = 0


def steps(before: Tables, after: Tables) -> dict[str, list[Step]]:
    """The steps that turn ``before`` into ``after``, by table in the order in which to write them; each table at once.

    Ours are put before the rules of others, whose order stays as it is; what leads to the chain of accepts behind them.
    """
    found: dict[str, list[Step]] = {}
    places = _changed_places(before, after)
    for table in TABLES if after.chains or after.hooks else reversed(TABLES):
        write, gone, hooks = ([place for place in kind if place[0] == table] for kind in places)
        if write or gone or hooks:
            found[table] = list(_table_steps(before, after, write, gone, hooks))
    return found


def _table_steps(
    before: Tables, after: Tables, write: list[Place], gone: list[Place], hooks: list[Place]
) -> t.Iterator[Step]:
    # Every chain is there before the first rule that leads to it.
    for place in write:
        yield Step("make", place[1])
    for place in hooks:
        for rule in before.hooks.get(place, ()):
            yield Step("delete", place[1], rule)
    for place in write:
        for rule in after.chains[place]:
            yield Step("append", place[1], rule)
    for place in hooks:
        for rule in reversed(after.hooks.get(place, ())):
            if rule[-1] != ACCEPT_CHAIN:
                yield Step("insert", place[1], rule)
            elif before.ahead is None:
                yield Step("append", place[1], rule)
            else:
                yield Step("insert", place[1], rule, before.ahead)
    # They may lead to each other, so all are emptied first.
    for place in gone:
        yield Step("flush", place[1])
    for place in gone:
        yield Step("remove", place[1])


_FORMS = {
    "make": ":{chain} - [0:0]",
    "append": "-A {chain} {rule}",
    "insert": "-I {chain} {number} {rule}",
    "delete": "-D {chain} {rule}",
    "flush": "-F {chain}",
    "remove": "-X {chain}",
}


def restore_text(tables: t.Mapping[str, t.Sequence[Step]]) -> str:
    """The steps as ``iptables-restore --noflush`` reads them; empty if there are none.

    :raises KernelError: a rule of somebody else's has a line break in it, which no quotes protect.
    """
    lines = []
    for table, listed in tables.items():
        lines.append("*" + table)
        for step in listed:
            rule = _one_line(step.rule)
            lines.append(_FORMS[step.verb].format(chain=step.chain, rule=rule, number=step.behind + 1))
        lines.append("COMMIT")
    return "".join(line + "\n" for line in lines)


def _one_line(rule: Rule) -> str:
    text = " ".join(map(_quoted, rule))
    if "\n" in text:
        raise KernelError(
            "Cannot write the rule '%s': it has a line break in it, which iptables-restore takes for the rule's end. "
            "Remove the rule by hand." % text
        )
    return text


def _quoted(word: str) -> str:
    if word and not set(word) & set(" \t\"'\\"):
        return word
    return '"%s"' % word.replace("\\", "\\\\").replace('"', '\\"')


def drift(there: Tables, known: Tables) -> t.Iterator[str]:
    """Sentences on how the kernel's tables differ from those that they were given."""
    write, gone, hooks = _changed_places(there, known)
    name = PROGRAM[known.version]
    for table, chain in sorted(write):
        what = "changed rules of chain" if (table, chain) in there.chains else "missing chain"
        yield "Restore the %s %s in table %s of %s." % (what, chain, table, name)
    for table, chain in sorted(gone):
        yield "Remove the chain %s in table %s of %s, which nothing asks for." % (chain, table, name)
    for table, chain in sorted(hooks):
        yield "Restore the way from chain %s to ours in table %s of %s." % (chain, table, name)
