# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""How long the phases of a run take."""

from __future__ import annotations

import time

__all__ = ("Clock",)


class Clock:
    """Adds up the seconds of each phase. One phase begins where the one before it ends, and may come again."""

    def __init__(self) -> None:
        self._phase = ""
        self._since = 0.0
        self._seconds: dict[str, float] = {}

    def begin(self, phase: str) -> None:
        """End the phase that there is, and begin another; "" begins none."""
        now = time.monotonic()
        if self._phase:
            self._seconds[self._phase] = self._seconds.get(self._phase, 0.0) + now - self._since
        self._phase, self._since = phase, now

    def phases(self) -> dict[str, float]:
        """End the last phase; the seconds of each, to the millisecond."""
        self.begin("")
        return {phase: round(seconds, 3) for phase, seconds in self._seconds.items()}
