# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs programs one after the other on a host, each with JSON on standard input, and prints the seconds they took.

Standard input: a list of {"argv", "env", "input"}. With "previous" true, "input" gets the JSON that the step before
printed as its "prevResult", which is how CNI plugins are chained. The first failure ends it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any


def main(steps: list[dict[str, Any]]) -> None:
    """Run all steps."""
    start = time.perf_counter()
    printed = ""
    for step in steps:
        given = step.get("input", {})
        if step.get("previous"):
            given = {**given, "prevResult": json.loads(printed)}
        environment = {**os.environ, **step.get("env", {})}
        done = subprocess.run(
            step["argv"], input=json.dumps(given), env=environment, capture_output=True, text=True, check=False
        )
        printed = done.stdout
        if done.returncode:
            sys.exit(f"{step['argv']} failed: {done.stdout}{done.stderr}")
    print(time.perf_counter() - start)


if __name__ == "__main__":
    main(json.load(sys.stdin))
