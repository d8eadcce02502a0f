# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Reading what ``iptables-save`` prints. Pure."""

from __future__ import annotations

import re
import typing as t

from ._errors import KernelError
from ._ipt_table import ACCEPT_CHAIN, CHAIN, PROGRAM, Place, Rule, Tables, is_our_chain

__all__ = ("parse_save",)

# Where Docker looks for the rules of others before it applies its own.
_DOCKER_CHAIN = "DOCKER-USER"
_DOCKER_APART = "DOCKER-ISOLATION-STAGE-2"
_FORWARD = "FORWARD"
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_ESCAPED = re.compile(r"\\(.)")


def parse_save(version: int, text: str) -> Tables:
    """Read what is ours in the output of ``iptables-save`` or ``ip6tables-save``.

    :raises KernelError: it cannot be understood.
    """
    try:
        return _parse(version, text)
    except (KeyError, IndexError, ValueError) as problem:
        raise KernelError(
            "Cannot read the rules of IPv%d: %s-save printed what cannot be understood (%s: %s). Look at its output."
            % (version, PROGRAM[version], type(problem).__name__, problem)
        ) from None


def _parse(version: int, text: str) -> Tables:
    chains: dict[Place, list[Rule]] = {}
    hooks: dict[Place, list[Rule]] = {}
    forward = _Forward()
    table, used_by_others = "", False
    for line in _lines(text):
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(":"):
            chain, policy = line[1:].split(" ", 2)[:2]
            if is_our_chain(chain):
                chains[table, chain] = []
            elif table == "filter":
                forward.chain(chain, policy)
        elif line.startswith("-A "):
            chain, _space, words = line[3:].partition(" ")
            if is_our_chain(chain):
                chains[table, chain].append(_words(words))
            elif is_our_chain(_target(words)):
                hooks.setdefault((table, chain), []).append(_words(words))
                if table == "filter":
                    forward.ours(chain, _target(words))
            else:
                used_by_others = True
                if table == "filter":
                    forward.rule(chain, words)
    return Tables(
        version,
        {place: tuple(rules) for place, rules in chains.items()},
        {place: tuple(rules) for place, rules in hooks.items()},
        forward.closed(),
        forward.ahead(),
        frozenset(hooks) & forward.misplaced(),
        forward.leads_to(_DOCKER_CHAIN),
        forward.has(_DOCKER_APART),
        used_by_others,
    )


def _lines(text: str) -> t.Iterator[str]:
    """The lines of a listing. A comment may hold line breaks, and much else that would end a line elsewhere."""
    begun: list[str] = []
    for line in text.split("\n"):
        if line.count('"') % 2 == 0 if "\\" not in line else _even(line):
            if begun:
                begun.append(line)
            else:
                yield line
        elif begun:
            yield "\n".join((*begun, line))
            begun = []
        else:
            begun = [line]
    # Where a quote never ends, it was none.
    yield from begun


def _even(line: str) -> bool:
    return _ESCAPED.sub("", line).count('"') % 2 == 0


class _Forward:
    """What others have in the table filter, as far as it stops packets that no rule of theirs accepts."""

    def __init__(self) -> None:
        self._policy = "ACCEPT"
        # Where each rule of others leads that every packet matches, "" for a rule that is only for some.
        self._ends: dict[str, list[str]] = {}
        self._before_accepts: int | None = None

    def chain(self, name: str, policy: str) -> None:
        self._ends[name] = []
        if name == _FORWARD:
            self._policy = policy

    def rule(self, chain: str, words: str) -> None:
        """Note a rule of others."""
        self._ends[chain].append(words.split(" ", 2)[1] if words.startswith(("-j ", "-g ")) else "")

    def ours(self, chain: str, target: str) -> None:
        """Note a rule that leads to a chain of ours."""
        if (chain, target) == (_FORWARD, ACCEPT_CHAIN):
            self._before_accepts = len(self._ends[chain])

    def has(self, chain: str) -> bool:
        """Whether there is such a chain."""
        return chain in self._ends

    def leads_to(self, chain: str) -> bool:
        """Whether every forwarded packet comes to a chain."""
        return self.has(chain) and chain in self._ends.get(_FORWARD, ())

    def ahead(self) -> int | None:
        """How many rules of FORWARD are ahead of the one that drops all the rest."""
        for place, target in enumerate(self._ends.get(_FORWARD, ())):
            verdict = self._verdict_of(target, frozenset())
            # RETURN is to the policy.
            if target == "RETURN" or verdict:
                return None if verdict == "ACCEPT" else place
        return None

    def misplaced(self) -> frozenset[Place]:
        """FORWARD, if our accepts are behind the rule that drops all the rest."""
        ahead = self.ahead()
        late = ahead is not None and self._before_accepts is not None and self._before_accepts > ahead
        return frozenset([("filter", _FORWARD)] if late else [])

    def closed(self) -> str:
        """Why the packets that nothing accepts are dropped, "" if they pass."""
        verdict = self._verdict(_FORWARD, frozenset())
        if verdict in ("DROP", "REJECT"):
            return "a rule of it ends in %s" % verdict
        return "its policy is %s" % self._policy if not verdict and self._policy != "ACCEPT" else ""

    def _verdict(self, chain: str, seen: frozenset[str]) -> str:
        """The verdict of a chain on a packet that meets only the rules that every packet matches, "" for none."""
        if chain in seen:
            return ""
        for target in self._ends.get(chain, ()):
            if target == "RETURN":
                return ""
            verdict = self._verdict_of(target, seen | {chain})
            if verdict:
                return verdict
        return ""

    def _verdict_of(self, target: str, seen: frozenset[str]) -> str:
        return target if target in ("ACCEPT", "DROP", "REJECT") else self._verdict(target, seen)


def _target(words: str) -> str:
    """The chain of our name that a rule leads to, or else any text that is none."""
    if CHAIN not in words:
        return ""
    words = _QUOTED.sub('""', words)
    for option in ("-j ", "-g "):
        _before, found, name = words.rpartition(option)
        if found:
            return name.partition(" ")[0]
    return ""


def _words(text: str) -> Rule:
    """The words of a rule, without their quotes."""
    # Most have a quoted comment of one word, and there may be many.
    if "\\" not in text and all(part.split() == [part] for part in text.split('"')[1::2]):
        return tuple(text.replace('"', "").split())
    return tuple(_plain(match) for match in _WORD.finditer(text))


def _plain(match: t.Match[str]) -> str:
    quoted, bare = match.groups()
    return bare if quoted is None else _ESCAPED.sub(r"\1", quoted)
