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
from bench.peers.base import Ground, Peer, Work
from bench.peers.docker import Docker
from bench.peers.floor import Floor
from bench.peers.ours import OurPublishes
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


class Proxied(Floor):
    """docker-proxy alone, without any rules: what carries a connection where Docker does not translate it."""

    def prepare(self) -> None:
        """Join the endpoint and start the proxies."""
        super().prepare()
        self.join(["web"])
        program = self.ground.docker / "usr/sbin/docker-proxy"
        for protocol in ("tcp", "udp"):
            here = f"-host-ip 0.0.0.0 -host-port {ports(1)[0]}"
            there = f"-container-ip 172.17.0.2 -container-port {ports(1)[0]}"
            # It tells its parent by descriptor 3 that it listens.
            command = f"exec {program} -proto {protocol} {here} {there} 3>&1"
            self.host.start(["sh", "-c", command], ready="0\n")


class DockerBoth(Docker):
    """The last port over udp as well, which is after all the others."""

    def publish_options(self, work: Work) -> list[str]:
        """The range, and one more."""
        last = [f"--publish {port}:{port}/udp" for port in work.ports[-1:]]
        return [*super().publish_options(work), *last]


class Routed(Floor):
    """A host that does nothing but forward."""

    def prepare(self) -> None:
        """Join the endpoint."""
        super().prepare()
        self.join(["web"])


def measure(ground: Ground, book: Book) -> None:
    """Measure the part."""
    client = ground.lab.add_host("client", [CLIENT_ADDRESS])
    program = compiled(ground.scratch)
    targets = []
    for peer, count in subjects(ground):
        with book.failing(f"{PART}: {peer.name}, {count} ports"):
            say(f"{PART}: {peer.name}, {count} ports are being published")
            targets.append(ready(peer, count, client, program))
    for number in range(ground.settings.flow_rounds):
        say(f"{PART}: round {number + 1} of {ground.settings.flow_rounds}")
        first = FIRST_SOURCE_PORT + number * (ground.settings.flows + 50) % SOURCE_PORTS
        for target in list(targets):
            # Gone from the next round on, unless it comes through this one.
            targets.remove(target)
            with book.failing(f"{PART}: {target.subject}, {target.count} ports"):
                one_round(ground, book, client, program, target, first)
                targets.append(target)


def subjects(ground: Ground) -> Iterator[tuple[Peer, int]]:
    """Who is measured, with how many ports."""
    counts = ground.settings.flow_ports
    yield Routed(ground, ROUTING), 1
    yield Proxied(ground, PROXY), 1
    for count in counts:
        for backend in BACKENDS:
            yield OurPublishes(ground, f"ours, {backend}", backend), count
        if count <= DOCKER_PORTS:
            yield DockerBoth(ground, DOCKER, False), count


def ready(peer: Peer, count: int, client: Host, program: Path) -> Target:
    """Publish and serve."""
    peer.prepare()
    published = ports(count)
    if isinstance(peer, OurPublishes):
        # The same numbers for both protocols, so that each look-up is among twice as many.
        both = [f"{port}:{port}/{protocol}" for port in published for protocol in ("tcp", "udp")]
        peer.module("port_publish", endpoint="web", ports=both)
    elif not isinstance(peer, Floor):
        peer.add(Work(["web"], published))
    if isinstance(peer, Docker):
        peer.docker.name_namespace("web")
    peer.host.start([str(program), "serve", str(published[-1])], netns="web", ready="ready")
    address = peer.host.addresses[0].partition("/")[0]
    if isinstance(peer, Routed):
        client.run(["ip", "route", "add", "172.17.0.0/16", "via", address])
        address = "172.17.0.2"
    return Target(peer.name, count, address, published[-1])


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
