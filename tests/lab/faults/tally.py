# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was tried and what was lost, and a word about it every now and then."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter

SECONDS = 20.0


class Tally:
    """Counts for all threads."""

    def __init__(self) -> None:
        """Begin with nothing tried."""
        self.tried: Counter[str] = Counter()
        self.lost: list[str] = []
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def count(self, kind: str, number: int = 1) -> None:
        """So many of a kind were tried: kills, injections, concurrency cases, questions or knocks."""
        with self._lock:
            self.tried[kind] += number

    def lose(self, words: str) -> None:
        """Something was lost."""
        with self._lock:
            self.lost.append(words)
            print(f"LOST: {words}", file=sys.stderr, flush=True)

    def tell(self) -> None:
        """Print how far it is."""
        with self._lock:
            print(f"... {time.monotonic() - self._began:.0f} s: {self}", file=sys.stderr, flush=True)

    def __str__(self) -> str:
        """All counts in one line."""
        counts = ", ".join(f"{number:,} {kind}" for kind, number in self.tried.items())
        return f"{counts or 'nothing tried'}; {len(self.lost)} lost"
