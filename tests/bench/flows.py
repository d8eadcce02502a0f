# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Part flows: new connections to the last of many published ports, and throughput through one.

Every subject has a host for each number of ports, all of them at once, so that a round goes over everything.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Book, Key, ports, say
from bench.peers.base import Ground
from bench.peers.carriers import Carrier, DockerRules, Ours, Proxied, Routed
from hostlab import Host
from support import BACKENDS

PART = "flows"
TCP, UDP, THROUGHPUT = "new tcp connection", "new udp flow", "throughput"
ROUTING, PROXY, DOCKER = "plain routing", "docker-proxy", "Docker, NAT"
# The most that Docker publishes in a time that can be waited for.
DOCKER_PORTS = 1000
FIRST_SOURCE_PORT = 10000
SOURCE_PORTS = 50000
CLIENT_ADDRESS = "192.168.52.202/24"


@dataclass(frozen=True)
class Target:
    """Where connections go: to the last of a subject's ports."""

    subject: str
    count: int
    address: str
    port: int


def measure(ground: Ground, book: Book) -> None:
    """Measure the part."""
    client = ground.lab.add_host("client", [CLIENT_ADDRESS])
    program = compiled(ground.scratch)
    targets = []
    for carrier, count in subjects(ground):
        with book.failing(f"{PART}: {carrier.name}, {count} ports"):
            say(f"{PART}: {carrier.name}, {count} ports are being published")
            targets.append(ready(carrier, count, program))
    for number in range(ground.settings.flow_rounds):
        say(f"{PART}: round {number + 1} of {ground.settings.flow_rounds}")
        first = FIRST_SOURCE_PORT + number * (ground.settings.flows + 50) % SOURCE_PORTS
        for target in list(targets):
            # Gone from the next round on, unless it comes through this one.
            targets.remove(target)
            with book.failing(f"{PART}: {target.subject}, {target.count} ports"):
                one_round(ground, book, client, program, target, first)
                targets.append(target)


def subjects(ground: Ground) -> Iterator[tuple[Carrier, int]]:
    """Who is measured, with how many ports."""
    yield Routed(ground, ROUTING), 1
    yield Proxied(ground, PROXY), 1
    for count in ground.settings.flow_ports:
        for backend in BACKENDS:
            yield Ours(ground, f"ours, {backend}", backend), count
        if count <= DOCKER_PORTS:
            yield DockerRules(ground, DOCKER, False), count


def ready(carrier: Carrier, count: int, program: Path) -> Target:
    """Publish and serve."""
    published = ports(count)
    carrier.prepare()
    carrier.open(published)
    carrier.host.start([str(program), "serve", str(published[-1])], netns="web", ready="ready")
    return Target(carrier.name, count, carrier.address, published[-1])


def one_round(ground: Ground, book: Book, client: Host, program: Path, target: Target, first: int) -> None:
    """Measure one target once."""
    where = [target.address, str(target.port)]
    many = [str(ground.settings.flows), str(first)]
    for what, mode in ((TCP, "tcp"), (UDP, "udp")):
        took = client.run([str(program), mode, *where, *many]).stdout
        book.add(Key(PART, target.subject, what, target.count), float(took), "us")
    if target.count == 1:
        rate = client.run([str(program), "throughput", *where, str(ground.settings.throughput_seconds)]).stdout
        book.add(Key(PART, target.subject, THROUGHPUT, 1), float(rate), "Mbit/s")


def compiled(directory: Path) -> Path:
    """The load tool."""
    program = directory / "load"
    source = Path(__file__).with_name("load.c")
    subprocess.run(["gcc", "-O2", "-o", str(program), str(source)], check=True, timeout=60)
    return program
