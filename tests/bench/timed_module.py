# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs one module of the collection and writes down how long it took, Python's start and imports left out.

Usage: timed_module.py MODULE TIMES [PROFILE] < arguments

TIMES gets {"wall": seconds, "cpu": seconds, those of child processes included}; PROFILE, if named, cProfile's statistics.
"""

from __future__ import annotations

import cProfile
import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))

from run_module import load


def main() -> None:
    """Run the module under the clock, and leave as it leaves."""
    module = load(sys.argv[1], json.load(sys.stdin))
    profiler = cProfile.Profile() if len(sys.argv) > 3 else None
    wall, cpu = time.perf_counter(), sum(os.times()[:4])
    try:
        if profiler is None:
            module()
        else:
            profiler.runcall(module)
    finally:
        sys.stdout.flush()
        times = {"wall": time.perf_counter() - wall, "cpu": sum(os.times()[:4]) - cpu}
        Path(sys.argv[2]).write_text(json.dumps(times), encoding="utf-8")
        if profiler is not None:
            profiler.dump_stats(sys.argv[3])


if __name__ == "__main__":
    main()
