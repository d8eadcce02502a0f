# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run molecule's scenarios on several Debian releases, two at a time, with a line of progress every half minute.

    scenarios.py [--tier vm|nspawn] [--suite SUITE ...] [--jobs NUMBER] [SCENARIO|SUITE/SCENARIO ...]

Without names it runs every scenario there is, and one without a release on each. The output of each is in .cache/molecule/logs; that of a failed one is
shown. Fails if a scenario fails, leaves out a step, or if there was nothing to run.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hostlab.process import kill_group
from machines import CACHE, down

ROOT = Path(__file__).resolve().parents[2]
SUITES = ("bookworm", "trixie")
STEPS = ("create", "converge", "idempotence", "verify", "destroy")
PROGRESS_SECONDS = 30.0
LOOK_SECONDS = 0.5
LIMIT_SECONDS = 3600.0
SHOWN_LINES = 120


class Run:
    """One scenario on one release, running from the start."""

    def __init__(self, tier: str, suite: str, scenario: str) -> None:
        self.name = f"{tier}-{suite}-{scenario}"
        self.log = CACHE / "molecule" / "logs" / f"{self.name}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.since = time.monotonic()
        environment = {
            **os.environ,
            "MOLECULE_TIER": tier,
            "MOLECULE_SUITE": suite,
            # One scenario may run on several releases at once.
            "MOLECULE_EPHEMERAL_DIRECTORY": str(ROOT / ".ansible" / "tmp" / self.name),
            "MOLECULE_COMMAND_BORDERS": "0",
            "NO_COLOR": "1",
            "ANSIBLE_NOCOLOR": "1",
        }
        with open(self.log, "w", encoding="utf-8") as output:
            self.popen = subprocess.Popen(
                ["molecule", "test", "--scenario-name", scenario],
                cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, text=True,
                start_new_session=True,
            )  # fmt: skip

    def seconds(self) -> int:
        """How long it has run."""
        return int(time.monotonic() - self.since)

    def output(self) -> str:
        """What it has printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def step(self) -> str:
        """The step that it is at."""
        return (re.findall(r"> (\w+)\] Executing", self.output()) or ["start"])[-1]

    def stop(self) -> None:
        """End it, and its machines with it."""
        kill_group(self.popen)
        down(CACHE / "molecule" / self.name)

    def problem(self) -> str:
        """Why a finished run does not count as passed; nothing if it does."""
        if self.popen.returncode:
            return f"molecule ended with status {self.popen.returncode}"
        missing = [step for step in STEPS if f"> {step}] Executed: Successful" not in self.output()]
        return f"these steps did not run: {', '.join(missing)}" if missing else ""


def scenarios() -> list[str]:
    """The names of all scenarios."""
    return sorted(path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml"))


def run_all(tier: str, wanted: list[tuple[str, str]], jobs: int) -> list[str]:
    """Run (suite, scenario) pairs, so many at a time; returns the names of those that failed."""
    waiting, running, failed = list(wanted), list[Run](), list[str]()
    said = time.monotonic()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(Run(tier, *waiting.pop(0)))
            time.sleep(LOOK_SECONDS)
            for run in [run for run in running if run.popen.poll() is not None or run.seconds() > LIMIT_SECONDS]:
                running.remove(run)
                failed += finish(run)
            if time.monotonic() > said + PROGRESS_SECONDS:
                said = time.monotonic()
                steps = "; ".join(f"{run.name}: {run.step()}, {run.seconds()} s" for run in running)
                print(f"-- molecule: {steps}; {len(waiting)} to come", flush=True)
    finally:
        for run in running:
            run.stop()
    return failed


def finish(run: Run) -> list[str]:
    """Say how a run ended; returns its name if it failed."""
    problem = run.problem() if run.popen.returncode is not None else f"no end after {LIMIT_SECONDS:.0f} s"
    run.stop()
    if not problem:
        print(f"-- molecule: {run.name} passed after {run.seconds()} s", flush=True)
        return []
    print(*run.output().splitlines()[-SHOWN_LINES:], sep="\n")
    print(f"-- molecule: {run.name} FAILED after {run.seconds()} s: {problem}. All of it: {run.log}", flush=True)
    return [run.name]


def on_suites(name: str, suites: Sequence[str]) -> list[tuple[str, str]]:
    """The (suite, scenario) pairs of a scenario that may bring its suite along."""
    suite, _slash, scenario = name.rpartition("/")
    return [(suite, scenario) for suite in ([suite] if suite else suites)]


def is_known(name: str, known: Sequence[str]) -> bool:
    """Whether a scenario is there, and the suite that it may bring along is one."""
    suite, _slash, scenario = name.rpartition("/")
    return scenario in known and suite in ("", *SUITES)


def main() -> int:
    """Run what the command line names; returns the exit status."""
    parser = argparse.ArgumentParser(description="Run molecule's scenarios on several Debian releases.")
    parser.add_argument("--tier", choices=["vm", "nspawn"], default="vm")
    parser.add_argument("--suite", action="append", choices=SUITES, help="a Debian release; default: all")
    parser.add_argument("--jobs", type=int, default=2, help="how many run at a time")
    parser.add_argument("scenario", nargs="*")
    options = parser.parse_args()
    known = scenarios()
    unknown = [name for name in options.scenario if not is_known(name, known)]
    if unknown or not known:
        print(f"There is no scenario {', '.join(unknown) or 'at all'}. Known: {', '.join(known)}.", file=sys.stderr)
        return 1
    wanted = [pair for name in options.scenario or known for pair in on_suites(name, options.suite or SUITES)]
    # Told to end, it ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_unused: sys.exit(143))
    failed = run_all(options.tier, wanted, options.jobs)
    print(f"-- molecule: {len(wanted) - len(failed)} of {len(wanted)} passed.", *failed, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
