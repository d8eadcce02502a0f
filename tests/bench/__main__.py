# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measure, print the tables and write the report; exit status 1 if a measurement failed, not if a figure is missed."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench import attach, flows, publish, report, sites
from bench.measure import FULL, QUICK, Book, Settings, say
from bench.peers.base import Ground
from hostlab import Lab
from support import ROOT

IN_ONE_LAB: dict[str, Callable[[Ground, Book], None]] = {
    publish.PART: publish.measure,
    attach.PART: attach.measure,
    flows.PART: flows.measure,
}
PARTS = [*IN_ONE_LAB, sites.PART]


def main() -> int:
    """Run everything the command line asks for."""
    parser = argparse.ArgumentParser(prog="bench", description="The collection and its peers at the same work.")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS, help="measure these parts")
    parser.add_argument("--quick", action="store_true", help="a few objects and one round, to try the bench itself")
    parser.add_argument("--rounds", type=int, help="how often everything is measured that does not take long")
    parser.add_argument(
        "--limit", type=float, help="seconds; peers' operations that would take longer are extrapolated"
    )
    parser.add_argument("--report", type=Path, default=ROOT / "tests/output/bench", help="folder of the report")
    parser.add_argument("--docker", type=Path, default=ROOT / ".cache/docker", help="where Docker was unpacked")
    parser.add_argument("--peers", type=Path, default=ROOT / ".cache/peers", help="where the other peers were")
    arguments = parser.parse_args()
    settings = QUICK if arguments.quick else FULL
    if arguments.rounds:
        settings = replace(settings, rounds=arguments.rounds, flow_rounds=arguments.rounds)
    if arguments.limit:
        settings = replace(settings, limit=arguments.limit)
    book, about = Book(), report.surroundings()
    with tempfile.TemporaryDirectory(prefix="bridgeport-bench-") as scratch:
        for part in arguments.only:
            with book.failing(part):
                measure(part, Path(scratch), settings, book, arguments)
    print(report.write(book, arguments.report, about))
    print(f"The report is in {arguments.report}. {len(book.failures)} measurements failed.")
    return 1 if book.failures else 0


def measure(part: str, scratch: Path, settings: Settings, book: Book, arguments: argparse.Namespace) -> None:
    """Measure one part in a lab of its own."""
    say(part)
    if part == sites.PART:
        sites.measure(scratch, settings, book)
        return
    lab = Lab(scratch / part)
    ground = Ground(lab, settings, arguments.docker.resolve(), arguments.peers.resolve())
    try:
        with lab:
            IN_ONE_LAB[part](ground, book)
    finally:
        for subject in ground.subjects:
            subject.clean()


if __name__ == "__main__":
    sys.exit(main())
