# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs many module calls in this one process, on the host that it is started on, and looks at the kernel after each.

Reads a list of calls, [module, options], from standard input, and [command, words] between them for what somebody
else does. Prints a JSON object: how many calls changed something, and how many were refused. Any broken promise ends it.
"""

from __future__ import annotations

import collections
import json
import re
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))

from running import check_refusal, run

RECORD = Path("/var/lib/bridgeport/topology.json")
LOOK = (["ip", "-br", "addr"], ["ip", "netns"], ["nft", "list", "ruleset"], ["sysctl", "-e", "net.ipv4.ip_forward"])


def state() -> list[str]:
    """What a call could have changed, in a form that does not change by itself."""
    said = [subprocess.run(command, check=False, capture_output=True, text=True).stdout for command in LOOK]
    # The peer's index, and whether a link has a carrier yet.
    said[0] = re.sub(r"@if\d+|\b(UP|UNKNOWN|DOWN|LOWERLAYERDOWN)\b| +|fe80:\S+", " ", said[0])
    said[2] = "\n".join(sorted(re.findall(r"[^,{}\n]+", said[2].replace("elements = ", ""))))
    return [*map(str.strip, said), RECORD.read_text() if RECORD.exists() else ""]


def settle() -> None:
    """Wait until nothing changes any more: the kernel takes its time with the links of a namespace that is deleted."""
    end = time.monotonic() + 10
    last, since = state(), time.monotonic()
    while time.monotonic() < min(end, since + 0.5):
        time.sleep(0.05)
        now = state()
        if now != last:
            last, since = now, time.monotonic()


def main() -> None:
    count: collections.Counter[str] = collections.Counter()
    for name, options in json.load(sys.stdin):
        if name == "command":
            subprocess.run(options, check=False, capture_output=True)
            settle()
            continue
        before = state()
        done = run(name, options)
        if done.get("failed"):
            count["refused"] += 1
            if done["msg"].startswith("Cannot"):
                check_refusal(done)
            assert state() == before, (name, options, done, before, state())
            continue
        count["changed" if done["changed"] else "unchanged"] += 1
        again = run(name, options)
        assert not again.get("failed") and not again["changed"], (name, options, done, again)
    json.dump(count, sys.stdout)


if __name__ == "__main__":
    main()
