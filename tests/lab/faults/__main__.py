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
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from faults.ground import Ground, Lost
from faults.parts import Part, parts
from faults.states import AFTER, BEFORE, NOTHING
from faults.tally import SECONDS, Tally


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
