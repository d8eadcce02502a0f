# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Who can carry the rules: what each backend makes of them, and how two of its states compare. Pure.

A backend is known by its full name: ``nftables``, ``iptables-nft`` or ``iptables-legacy``. The last two share one shape
of the rules and differ in the part of the kernel that holds them, so a host may have rules in both.
"""

from __future__ import annotations

import typing as t

from . import _ipt_render, _ipt_table, _nft_render, _nft_table
from ._errors import StateError
from ._ruleset import FamilyRules, rules_of
from ._topology import Topology, once_for_each

__all__ = (
    "BACKENDS",
    "NFTABLES",
    "Backend",
    "Tables",
    "bridge_words",
    "check_names",
    "parts_held",
    "rendered",
    "wanted_tables",
)

# The state of one backend in one IP version: a Table of nftables, or Tables of iptables.
Tables = t.Any


class Backend(t.NamedTuple):
    """One shape of the rules.

    :ivar render: the states that carry the rules of a topology, by IP version; in nftables one for the bridges too.
    :ivar same: whether the first state is already the second.
    :ivar drift: sentences on how the first state differs from the second, which it should be.
    :ivar foreign: words for what somebody else has put under a name of ours, or "".
    :ivar spelled: the first state, which was read from the kernel, with what reading leaves out and the others know.
    :ivar fit: fits a state that carries the rules in with what others have there; None where nobody else has anything.
    :ivar accepts: what lets packets pass where it is another backend that carries the rules; None where nothing can.
    """

    render: t.Callable[[Topology], t.Dict[int, Tables]]
    same: t.Callable[[Tables, Tables], bool]
    drift: t.Callable[[Tables, Tables], t.Iterator[str]]
    foreign: t.Callable[[Tables], str]
    spelled: t.Callable[[Tables, t.Iterable[Tables]], Tables]
    fit: t.Callable[[FamilyRules, Tables, Tables], Tables] | None = None
    accepts: t.Callable[[FamilyRules, Tables], Tables] | None = None


@once_for_each
def _iptables_of(topology: Topology) -> dict[int, Tables]:
    return {version: _ipt_render.render_tables(rules) for version, rules in rules_of(topology).items()}


def _nothing_foreign(_tables: Tables) -> str:
    """The nftables of our name are ours whole."""
    return ""


def _spelled_already(tables: Tables, _known: t.Iterable[Tables]) -> Tables:
    """What iptables-save prints can be written again."""
    return tables


_NFTABLES = Backend(_nft_render.tables_of, _nft_table.same, _nft_table.drift, _nothing_foreign, _nft_table.spelled)
_IPTABLES = Backend(
    _iptables_of,
    _ipt_table.same,
    _ipt_table.drift,
    _ipt_table.foreign,
    _spelled_already,
    _ipt_render.fit_tables,
    _ipt_render.render_accepts,
)

NFTABLES = "nftables"

BACKENDS: t.Mapping[str, Backend] = {
    NFTABLES: _NFTABLES,
    "iptables-nft": _IPTABLES,
    "iptables-legacy": _IPTABLES,
}


def rendered(backend: str, topology: Topology) -> dict[int, Tables]:
    """The states of a backend, by IP version, that carry a topology."""
    return BACKENDS[backend].render(topology)


def parts_held(backend: str, there: Tables | None, known: Tables) -> tuple[bool, bool]:
    """Whether a state has the guard that another has, and whether it has its source addresses' translations.

    :param there: None where nothing could be read.
    """
    if there is None:
        return False, False
    if backend != NFTABLES:
        return _ipt_table.same_table("mangle", there, known), _ipt_table.same_table("nat", there, known)
    guard, post = (_nft_table.same_chains(there, known, names) for names in (("guard", "closed"), ("postrouting",)))
    return guard and there.elements.get("guarded", {}).keys() == known.elements.get("guarded", {}).keys(), post


def bridge_words(tables: t.Mapping[str, t.Mapping[int, Tables]]) -> tuple[str, str]:
    """Why frames on a bridge cannot be looked at on this host, and what can be done about it; empty if they can.

    :param tables: what each backend of the host holds.
    """
    if NFTABLES not in tables:
        return "this host has none", "Install nftables; iptables may go on carrying the other rules"
    if _nft_table.LINK not in tables[NFTABLES]:
        return (
            "the kernel of this host has no nf_tables for bridges",
            "Run one that has it (CONFIG_NF_TABLES_BRIDGE), as those of all distributions do",
        )
    return "", ""


def wanted_tables(
    name: str, backend: str, topology: Topology, there: t.Mapping[int, Tables]
) -> tuple[dict[int, Tables], tuple[str, ...]]:
    """What a backend is to hold of a topology, and sentences on what of it is for the sake of other firewalls.

    :param backend: the one that carries the rules. In iptables, another one may need to let their packets pass.
    :param there: what it holds now, ours and what others do to forwarded packets; without what the kernel cannot hold.
    """
    if name == backend:
        return _fitted(name, topology, there), ()
    accepts = BACKENDS[name].accepts
    if accepts is None:
        # Only nftables can look at frames on a bridge, whoever sees to the rest.
        link = rendered(name, topology if backend else Topology())[_nft_table.LINK]
        wanted = {**rendered(name, Topology()), _nft_table.LINK: link}
        return {version: wanted[version] for version in there}, ()
    rules = rules_of(topology)
    wanted = {version: accepts(rules[version], tables) for version, tables in there.items()}
    return wanted, tuple(words for tables in wanted.values() for words in _ipt_table.accept_words(name, tables))


def _fitted(name: str, topology: Topology, there: t.Mapping[int, Tables]) -> dict[int, Tables]:
    """The states that carry a topology beside what others have in them."""
    wanted, fit = rendered(name, topology), BACKENDS[name].fit
    if fit is None:
        return {version: wanted[version] for version in there}
    rules = rules_of(topology)
    return {version: fit(rules[version], wanted[version], tables) for version, tables in there.items()}


def check_names(backend: str, there: t.Mapping[int, Tables], wanted: t.Mapping[int, Tables]) -> bool:
    """Whether what bears our names is ours, on a host that is not known to have rules of ours.

    :raises StateError: somebody else made it, and something is wanted there.
    """
    for version in sorted(there):
        words = BACKENDS[backend].foreign(there[version])
        if words and BACKENDS[backend].same(wanted[version], rendered(backend, Topology())[version]):
            return False
        if words:
            raise StateError(
                "Cannot write the firewall rules by %s: %s and was not made by this collection. "
                "It was left alone; remove it or rename it." % (backend, words)
            )
    return True
