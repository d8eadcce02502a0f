# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all subjects have in common."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.measure import ADD, AGAIN, REMOVE, Settings
from hostlab import Host, Lab

# Seconds that an operation took: under "" the operation itself, under other names what else was timed of it.
Times = dict[str, float]


@dataclass(frozen=True)
class Work:
    """What a subject sets up: endpoints, and the ports that are published on the only one of them."""

    endpoints: list[str]
    ports: list[int] = field(default_factory=list)

    @property
    def count(self) -> int:
        """The number of objects."""
        return len(self.ports or self.endpoints)


class Ground:
    """The lab that a part is measured in, and where the peers' programs were unpacked."""

    def __init__(self, lab: Lab, settings: Settings, docker: Path, peers: Path) -> None:
        self.lab = lab
        self.settings = settings
        self.docker = docker
        self.peers = peers
        self.subjects: list[Subject] = []

    @property
    def scratch(self) -> Path:
        """A directory that hosts and caller share."""
        return self.lab.directory

    def host(self) -> Host:
        """A fresh host."""
        number = len(self.lab.hosts)
        return self.lab.add_host(f"h{number}", [f"192.168.52.{10 + number}/24"])


class Subject:
    """Something that is measured, on a host of its own."""

    def __init__(self, ground: Ground, name: str) -> None:
        """Give it a host. name: as in the tables."""
        self.ground = ground
        self.name = name
        self.host = ground.host()
        ground.subjects.append(self)

    def prepare(self) -> None:
        """Do what is not measured."""

    def clean(self) -> None:
        """Remove what outlives the lab."""

    def timed(self, command: Sequence[str], script: str | None = None) -> Times:
        """Run a command on the host under the clock."""
        return {"": clock(lambda: self.host.run(command, input=script, timeout=self.ground.settings.kill_after))}


class Peer(Subject, ABC):
    """A subject that sets objects up and takes them down."""

    # It publishes by making the endpoint anew, so that its time without any port is of interest too.
    makes_endpoint = False
    # It is measured however long it takes.
    always = False
    # It can be asked for the same once more.
    repeats = False
    # If it is slow and linear: the only number that is measured.
    only: int | None = None

    @property
    def operations(self) -> dict[str, Callable[[Work], Times]]:
        """What is measured of it, in turn."""
        return {ADD: self.add, **({AGAIN: self.add} if self.repeats else {}), REMOVE: self.remove}

    @abstractmethod
    def add(self, work: Work) -> Times:
        """Set all of it up; where it is there already, that is asking for the same once more."""

    @abstractmethod
    def remove(self, work: Work) -> Times:
        """Take all of it down."""


def clock(action: Callable[[], object]) -> float:
    """The seconds that an action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start
