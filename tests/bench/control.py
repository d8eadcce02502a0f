# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Setting up, asking again and taking down, of more and more objects, by all subjects in turn."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from functools import partial

from bench.measure import ADD, AGAIN, REMOVE, Book, Key, Settings, say
from bench.peers.base import Peer, Work
from hostlab import LabError

Between = Callable[[Peer, int], None]


class Control:
    """The control-plane measurements of one part: ``publish`` or ``attach``."""

    def __init__(self, book: Book, settings: Settings, part: str, work_of: Callable[[int], Work]) -> None:
        """work_of: the objects for a count."""
        self.book = book
        self.settings = settings
        self.part = part
        self.work_of = work_of
        # Called while the objects are up.
        self.between: Between | None = None
        self._lost: set[str] = set()

    def measure(self, peers: Sequence[Peer], counts: Sequence[int]) -> None:
        """Measure all subjects; one that fails is left out from then on."""
        for peer in peers:
            self._guarded(peer, "prepare", peer.prepare)
        for count in sorted({count for peer in peers for count in self._counts(peer, counts)}):
            wanted = [peer for peer in peers if count in self._counts(peer, counts)]
            for peer in wanted:
                if self._too_long(peer, count):
                    self._extrapolate(peer, count)
            for number in range(self.settings.rounds):
                for peer in wanted:
                    if self._once_more(peer, count):
                        say(f"{self.part}: {peer.name}, {count}, round {number + 1}")
                        self._guarded(peer, f"of {count}", partial(self._cycle, peer, count))
        for peer in peers:
            if peer.only:
                for count in counts:
                    self._extrapolate(peer, count)

    def _counts(self, peer: Peer, counts: Sequence[int]) -> list[int]:
        """The counts that one subject is measured with: none at all too, where that leaves something to be made."""
        if peer.only:
            return [peer.only]
        return [0, *counts] if peer.makes_endpoint and self.work_of(0).endpoints else list(counts)

    def _guarded(self, peer: Peer, what: str, action: Callable[[], None]) -> None:
        if peer.name in self._lost:
            return
        before = len(self.book.failures)
        with self.book.failing(f"{self.part}: {peer.name}, {what}"):
            action()
        if len(self.book.failures) > before:
            self._lost.add(peer.name)

    def _cycle(self, peer: Peer, count: int) -> None:
        work = self.work_of(count)
        for what, operate in peer.operations.items():
            if what == REMOVE and self.between:
                self.between(peer, count)
            try:
                times = operate(work)
            except (LabError, subprocess.TimeoutExpired) as error:
                if not isinstance(error.__cause__ or error, subprocess.TimeoutExpired):
                    raise
                self.book.cut_off(Key(self.part, peer.name, what, count), self.settings.kill_after)
                # Nobody knows what it has set up by now.
                self._lost.add(peer.name)
                return
            for which, seconds in times.items():
                self.book.add(Key(self.part, peer.name + which, what, count), seconds)

    def _once_more(self, peer: Peer, count: int) -> bool:
        """Whether there is to be one more round of a subject; never when the count was extrapolated."""
        found = [self.book.measurements.get(Key(self.part, peer.name, what, count)) for what in (ADD, REMOVE)]
        if any(each and each.estimated_from is not None for each in found):
            return False
        return sum(sum(each.values) for each in found if each) < self.settings.patience

    def _foreseen(self, peer: Peer, what: str, count: int) -> tuple[float, int] | None:
        """The seconds for a count, on a line through the two largest that were measured, and the largest of these.

        Through the only one it is in proportion; None if there is none.
        """
        measured = sorted(
            (key.number, found.median)
            for key, found in self.book.measurements.items()
            if key[:3] == (self.part, peer.name, what) and found.estimated_from is None
        )
        if not measured or not measured[-1][0]:
            return None
        (fewer, less), (most, seconds) = measured[-2] if len(measured) > 1 else (0, 0.0), measured[-1]
        return seconds + max(0.0, seconds - less) * (count - most) / (most - fewer), most

    def _too_long(self, peer: Peer, count: int) -> bool:
        foreseen = [self._foreseen(peer, what, count) for what in (ADD, REMOVE)]
        return not peer.always and any(each and each[0] > self.settings.limit for each in foreseen)

    def _extrapolate(self, peer: Peer, count: int) -> None:
        """Write down what is foreseen."""
        for what in (ADD, AGAIN, REMOVE):
            foreseen = self._foreseen(peer, what, count)
            if peer.name not in self._lost and foreseen and foreseen[1] != count:
                self.book.estimate(Key(self.part, peer.name, what, count), *foreseen)
