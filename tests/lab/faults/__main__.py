# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disturb runs in every way; exit status 1 if anything was lost."""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path

from faults import crowds, injections, kills
from faults.ground import Ground, Lost
from faults.injections import RULES
from faults.states import AFTER, BEFORE, NOTHING
from faults.tally import SECONDS, Tally

# A part that lost something goes on with the next one; each has a lab of its own.
Part = Callable[[Ground, Tally], None]


def main() -> int:
    """Run everything."""
    parser = argparse.ArgumentParser(prog="faults", description="Disturb runs in every way.")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30), help="of the kills at random")
    parser.add_argument("--only", nargs="*", default=[], help="parts whose names begin so")
    # Most of the time they wait.
    parser.add_argument("--at-once", type=int, default=3 * (os.cpu_count() or 2), help="labs at once")
    arguments = parser.parse_args()
    print(f"Seed {arguments.seed}", flush=True)
    tally = Tally()
    chosen = {
        name: part
        for name, part in parts(arguments.seed).items()
        if not arguments.only or name.startswith(tuple(arguments.only))
    }
    with (
        tempfile.TemporaryDirectory(prefix="bridgeport-faults-") as scratch,
        ThreadPoolExecutor(arguments.at_once) as pool,
    ):
        futures = [pool.submit(one_part, Path(scratch), name, part, tally) for name, part in chosen.items()]
        for future in futures:
            while not wait([future], SECONDS).done:
                tally.tell()
    print(f"{tally}.", *tally.lost, sep="\n", flush=True)
    return 1 if tally.lost else 0


def parts(seed: int) -> dict[str, tuple[str, Part]]:
    """All parts by name, each with its backend; the longest come first."""

    def step_kills(ground: Ground, tally: Tally) -> None:
        kills.step_kills(kills.Killer(ground, tally), BEFORE, AFTER)

    def creation_kills(ground: Ground, tally: Tally) -> None:
        killer = kills.Killer(ground, tally)
        kills.step_kills(killer, NOTHING, BEFORE)
        for here, there in ((BEFORE, NOTHING), (NOTHING, BEFORE), (BEFORE, AFTER)):
            killer.go(here)
            kills.record_kills(killer, there)

    def by_chance(
        work: Callable[[kills.Killer, int, int], None], count: int, extra: int, ground: Ground, tally: Tally
    ) -> None:
        killer = kills.Killer(ground, tally)
        killer.go(NOTHING)
        work(killer, seed + extra, count)

    def rules_refused(ground: Ground, tally: Tally) -> None:
        injections.refused_calls(ground, tally, RULES)
        injections.troubles(ground, tally)

    def host_refuses(ground: Ground, tally: Tally) -> None:
        injections.troubles(ground, tally)
        injections.few_files(ground, tally, range(8, 50, 4))
        injections.no_way_back(ground, tally)

    def crowd(ground: Ground, tally: Tally) -> None:
        crowds.at_once(ground, tally, [AFTER] * 2)
        crowds.at_once(ground, tally, [AFTER] * 10)
        crowds.at_once(ground, tally, [AFTER, BEFORE] * 5)
        crowds.ten_different(ground, tally)
        crowds.while_deleted(ground, tally, 12)

    found: dict[str, tuple[str, Part]] = {
        "kills-steps": ("nftables", step_kills),
        "kills-random-1": ("nftables", partial(by_chance, kills.random_kills, 80, 1)),
        "kills-random-2": ("nftables", partial(by_chance, kills.random_kills, 60, 2)),
        "kills-random-nft": ("iptables-nft", partial(by_chance, kills.random_kills, 30, 3)),
        "kills-random-legacy": ("iptables-legacy", partial(by_chance, kills.random_kills, 30, 4)),
        "kills-steps-creation": ("nftables", creation_kills),
        "kills-steps-nft": ("iptables-nft", rules_kills),
        "kills-steps-legacy": ("iptables-legacy", rules_kills),
        "kills-calls": ("nftables", partial(by_chance, kills.call_kills, 40, 5)),
        "kills-modules": ("nftables", partial(by_chance, kills.module_kills, 30, 6)),
        "injections-calls": ("nftables", injections.refused_calls),
        "injections-host": ("nftables", host_refuses),
        "injections-nft": ("iptables-nft", rules_refused),
        "injections-legacy": ("iptables-legacy", rules_refused),
        "crowds": ("nftables", crowd),
        "crowds-many": ("nftables", crowds.very_many),
    }
    return found


def rules_kills(ground: Ground, tally: Tally) -> None:
    """Of a backend whose rules are more than one transaction, kills around those."""
    kills.step_kills(kills.Killer(ground, tally), BEFORE, AFTER, most=3)
    kills.step_kills(kills.Killer(ground, tally), NOTHING, BEFORE, most=2)


def one_part(scratch: Path, name: str, part: tuple[str, Part], tally: Tally) -> None:
    """One part on a ground of its own."""
    backend, work = part
    try:
        with Ground(scratch / name, backend) as ground:
            ground.make_references([NOTHING, BEFORE, AFTER])
            work(ground, tally)
    except Lost as problem:
        tally.lose(f"{name}: {problem}")
    except Exception as problem:
        tally.lose(f"{name} broke off: {type(problem).__name__}: {problem}")


if __name__ == "__main__":
    sys.exit(main())
