# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the time of a module goes, from a run under cProfile: its phases, and whose own time it is."""

from __future__ import annotations

import io
import pstats
import re
from pathlib import Path
from typing import Any

from bench.measure import Book, Key
from bench.peers.base import Work
from bench.peers.ours import Ours

# The files that only lead through: what these call is a phase.
WAY = re.compile(r"/plugins/(modules/[a-z_]+|module_utils/(_engine|_ansible))\.py$")
SHOWN = 4
LONG_LIST = 40


def profile_all(book: Book, part: str, peer: Ours, work: Work) -> None:
    """Run all three operations once more under the profiler, and note for each where its time goes."""
    for what, operate in peer.operations.items():
        name = f"profile-{part}-{peer.backend}-{what.replace(' ', '-')}"
        peer.profile = peer.ground.scratch / name
        with book.failing(f"{part}: {peer.name}, profile of {what}"):
            operate(work)
            book.where[Key(part, peer.name, what, work.count)] = sentence(peer.profile)
            book.profiles[f"{name}.txt"] = listing(peer.profile)
        peer.profile = None


def sentence(path: Path) -> str:
    """The largest shares of the time, as phases and as functions' own time."""
    stats: dict[Any, Any] = vars(pstats.Stats(str(path)))["stats"]
    total = sum(own for _calls, _all_calls, own, _time, _callers in stats.values())
    phases: dict[str, float] = {}
    functions: dict[str, float] = {}
    for (file, _line, name), (_calls, _all_calls, own, _time, callers) in stats.items():
        functions[name_of(file, name)] = functions.get(name_of(file, name), 0.0) + own
        if not WAY.search(file):
            seconds = sum(caller[3] for (calling, _l, _n), caller in callers.items() if WAY.search(calling))
            phases[name_of(file, name)] = phases.get(name_of(file, name), 0.0) + seconds
    return f"phases: {shares(phases, total)}; own time: {shares(functions, total)}"


def shares(seconds: dict[str, float], total: float) -> str:
    """The largest, in percent."""
    largest = sorted(seconds.items(), key=lambda item: -item[1])[:SHOWN]
    return ", ".join(f"{name} {100 * value / total:.0f} %" for name, value in largest if value > 0)


def name_of(file: str, name: str) -> str:
    """A function as it is shown: with its file's name, if it has one, and without what cProfile puts around others."""
    short = re.sub(r"[<>']|built-in method |method | objects?\b| at 0x[0-9a-f]+", "", name)
    return short if file == "~" or file.startswith("<") else f"{Path(file).stem}.{short}"


def listing(path: Path) -> str:
    """The usual table of cProfile, by time with callees."""
    out = io.StringIO()
    stats = pstats.Stats(str(path), stream=out)
    stats.strip_dirs().sort_stats("cumulative").print_stats(LONG_LIST)
    stats.sort_stats("tottime").print_stats(LONG_LIST)
    return out.getvalue()
