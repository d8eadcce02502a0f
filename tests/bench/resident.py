# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The processes that a host keeps for its ports, and their memory."""

from __future__ import annotations

import os
from pathlib import Path

from hostlab import Host

PROCESSES, PSS, RSS = "resident processes", "memory, PSS", "memory, RSS"
UNITS = {PROCESSES: "", PSS: "MiB", RSS: "MiB"}


def of(host: Host) -> dict[str, float]:
    """Count the processes of a host, but for its process 1 and for what runs in containers of its own.

    PSS is their share of memory, with what several use divided among them; RSS counts that again for each.
    """
    own = os.readlink(f"/proc/{host.pid}/ns/pid")
    found = {PROCESSES: 0.0, PSS: 0.0, RSS: 0.0}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == host.pid:
            continue
        try:
            if os.readlink(entry / "ns/pid") != own:
                continue
            words = (entry / "smaps_rollup").read_text(encoding="ascii").split()
        except OSError:
            continue
        found[PROCESSES] += 1
        found[PSS] += int(words[words.index("Pss:") + 1]) / 1024
        found[RSS] += int(words[words.index("Rss:") + 1]) / 1024
    return found
