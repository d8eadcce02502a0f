# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is done of everything, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from faults import crowds, injections, kills
from faults.ground import Ground
from faults.injections import RULES
from faults.states import AFTER, BEFORE, NOTHING
from faults.tally import Tally

# A part that lost something goes on with the next one; each has a lab of its own.
Part = Callable[[Ground, Tally], None]


def parts(seed: int) -> dict[str, tuple[str, Part]]:
    """All parts by name, each with its backend; the longest come first."""
    return {
        "kills-steps-even": ("nftables", partial(step_kills, 0)),
        "kills-steps-odd": ("nftables", partial(step_kills, 1)),
        "kills-random-1": ("nftables", partial(by_chance, kills.random_kills, seed + 1, 80)),
        "kills-random-2": ("nftables", partial(by_chance, kills.random_kills, seed + 2, 60)),
        "kills-random-nft": ("iptables-nft", partial(by_chance, kills.random_kills, seed + 3, 30)),
        "kills-random-legacy": ("iptables-legacy", partial(by_chance, kills.random_kills, seed + 4, 30)),
        "kills-steps-creation": ("nftables", creation_kills),
        "kills-steps-nft": ("iptables-nft", rules_kills),
        "kills-steps-legacy": ("iptables-legacy", rules_kills),
        "kills-calls": ("nftables", partial(by_chance, kills.call_kills, seed + 5, 40)),
        "kills-modules": ("nftables", partial(by_chance, kills.module_kills, seed + 6, 30)),
        "injections-calls": ("nftables", injections.refused_calls),
        "injections-host": ("nftables", host_refuses),
        "injections-nft": ("iptables-nft", rules_refused),
        "injections-legacy": ("iptables-legacy", rules_refused),
        "crowds": ("nftables", crowd),
        "crowds-many": ("nftables", crowds.very_many),
    }


def step_kills(first: int, ground: Ground, tally: Tally) -> None:
    """Kills after every other step of a change."""
    kills.step_kills(kills.Killer(ground, tally), BEFORE, AFTER, first=first, every=2)


def creation_kills(ground: Ground, tally: Tally) -> None:
    """Kills around each step of a creation, and around each writing of the record."""
    killer = kills.Killer(ground, tally)
    kills.step_kills(killer, NOTHING, BEFORE)
    for here, there in ((BEFORE, NOTHING), (NOTHING, BEFORE), (BEFORE, AFTER)):
        killer.go(here)
        kills.record_kills(killer, there)


def by_chance(
    work: Callable[[kills.Killer, int, int], None], seed: int, count: int, ground: Ground, tally: Tally
) -> None:
    """Kills at random, of ``count`` runs."""
    killer = kills.Killer(ground, tally)
    killer.go(NOTHING)
    work(killer, seed, count)


def rules_refused(ground: Ground, tally: Tally) -> None:
    """Of a backend of iptables, each call that writes rules refused."""
    injections.refused_calls(ground, tally, RULES)
    injections.troubles(ground, tally)


def host_refuses(ground: Ground, tally: Tally) -> None:
    """A host on which nothing can be written, opened or undone."""
    injections.troubles(ground, tally)
    injections.few_files(ground, tally, range(8, 50, 4))
    injections.no_way_back(ground, tally)


def crowd(ground: Ground, tally: Tally) -> None:
    """Runs beside each other, and beside others that delete."""
    crowds.at_once(ground, tally, [AFTER] * 2)
    crowds.at_once(ground, tally, [AFTER] * 10)
    crowds.at_once(ground, tally, [AFTER, BEFORE] * 5)
    crowds.ten_different(ground, tally)
    crowds.while_deleted(ground, tally, 12)


def rules_kills(ground: Ground, tally: Tally) -> None:
    """Of a backend whose rules are more than one transaction, kills around those."""
    kills.step_kills(kills.Killer(ground, tally), BEFORE, AFTER, most=3)
    kills.step_kills(kills.Killer(ground, tally), NOTHING, BEFORE, most=2)
