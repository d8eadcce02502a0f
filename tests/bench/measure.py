# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is measured, and the book that it is written into."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

FIRST_PORT = 20000
# What is measured of a peer.
ADD, AGAIN, REMOVE = "add", "no change", "remove"


class Key(NamedTuple):
    """What a measurement is of.

    part: publish, attach, flows or site. subject: who is measured. what: the operation or quantity. number: of how many.
    """

    part: str
    subject: str
    what: str
    number: int


@dataclass
class Measurement:
    """The values of all rounds. unit: "s" for the operation as a whole, "us" for one connection, and so on."""

    unit: str
    values: list[float] = field(default_factory=list)
    estimated_from: int | None = None
    # It was stopped after the time that stands here.
    cut_off: bool = False

    @property
    def mark(self) -> str:
        """What stands before the value where it was not measured: ~ or >."""
        return ">" if self.cut_off else "~" if self.estimated_from is not None else ""

    @property
    def median(self) -> float:
        """The middle value."""
        return statistics.median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """Between which values the middle half of the rounds lies."""
        if len(self.values) < 2:
            return self.values[0], self.values[0]
        low, _middle, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return low, high


@dataclass
class Book:
    """Everything that was measured, what failed, and where the time went."""

    measurements: dict[Key, Measurement] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    where: dict[Key, str] = field(default_factory=dict)
    # Listings for the report, by the name of their file.
    profiles: dict[str, str] = field(default_factory=dict)

    def add(self, key: Key, value: float, unit: str = "s") -> None:
        """Write down one value."""
        self.measurements.setdefault(key, Measurement(unit)).values.append(value)

    def estimate(self, key: Key, value: float, measured: int) -> None:
        """Write down what would have taken too long, computed from what was measured of fewer."""
        self.measurements[key] = Measurement("s", [value], measured)

    def cut_off(self, key: Key, seconds: float) -> None:
        """Write down what was stopped because it took too long."""
        say(f"stopped after {seconds:.0f} s")
        self.measurements[key] = Measurement("s", [seconds], cut_off=True)

    def median(self, part: str, subject: str, what: str, count: int) -> float | None:
        """A median; None where there is nothing measured."""
        found = self.measurements.get(Key(part, subject, what, count))
        return found.median if found else None

    def subjects(self, part: str, what: str) -> list[str]:
        """Who was measured, in the order of the first value."""
        return list(dict.fromkeys(key.subject for key in self.measurements if key[0] == part and key[2] == what))

    def columns(self, part: str, what: str) -> list[int]:
        """Of how many, ascending, but for what only one of several was measured with, to be extrapolated."""
        subjects = self.subjects(part, what)
        keys = [key for key in self.measurements if (key.part, key.what) == (part, what)]
        numbers = [key.number for key in keys]
        return sorted({number for number in numbers if numbers.count(number) > 1 or len(subjects) == 1})

    def as_json(self) -> list[dict[str, Any]]:
        """All measurements."""
        return [{**key._asdict(), **asdict(found), "median": found.median} for key, found in self.measurements.items()]

    @contextmanager
    def failing(self, what: str) -> Iterator[None]:
        """Note the failure of a measurement, and go on with the next."""
        try:
            yield
        # Whatever a subject does wrong is its own failure and must not cost the others their figures.
        except Exception as error:
            say(f"FAILED: {what}: {error}")
            self.failures.append(f"{what}: {error}")


@dataclass(frozen=True)
class Settings:
    """How much is measured."""

    ports: tuple[int, ...] = (1, 10, 100, 1000, 10000)
    endpoints: tuple[int, ...] = (1, 10, 100, 1000)
    flow_ports: tuple[int, ...] = (1, 10, 100, 1000, 10000)
    site_hosts: tuple[int, ...] = (1, 10, 50)
    rounds: int = 3
    flow_rounds: int = 15
    flows: int = 500
    throughput_seconds: float = 0.4
    tasks: int = 50
    # An operation that would take longer is extrapolated from a smaller one instead.
    limit: float = 100.0
    # Once an operation's rounds have taken that long together, there is no further one.
    patience: float = 15.0

    @property
    def kill_after(self) -> float:
        """An operation that takes longer than was foreseen is stopped after these seconds."""
        return 60 + 3 * self.limit


FULL = Settings()
QUICK = Settings(
    ports=(20,),
    endpoints=(4,),
    flow_ports=(1, 20),
    site_hosts=(1,),
    rounds=1,
    flow_rounds=1,
    flows=30,
    throughput_seconds=0.05,
    tasks=2,
)


def ports(count: int) -> list[int]:
    """The host ports that are published."""
    return list(range(FIRST_PORT, FIRST_PORT + count))


def say(text: str) -> None:
    """Tell what is going on, apart from the tables."""
    print(f"... {time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
