# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who carries connections: subjects with an endpoint "web" that is reached by the ports that open() publishes."""

from __future__ import annotations

from abc import ABC, abstractmethod

from bench.peers.base import Subject, Work
from bench.peers.docker import Docker
from bench.peers.floor import Floor
from bench.peers.ours import OurPublishes


class Carrier(Subject, ABC):
    """A subject of the part flows."""

    @property
    def address(self) -> str:
        """What its client connects to."""
        return self.host.addresses[0].partition("/")[0]

    @abstractmethod
    def open(self, published: list[int]) -> None:
        """Publish ports of the endpoint over both protocols."""


class Ours(OurPublishes, Carrier):
    """Our rules."""

    def open(self, published: list[int]) -> None:
        """All ports over tcp and udp, so that each look-up is among twice as many."""
        both = [f"{port}:{port}/{protocol}" for port in published for protocol in ("tcp", "udp")]
        self.module("port_publish", endpoint="web", ports=both)


class DockerRules(Docker, Carrier):
    """Docker's rules."""

    def open(self, published: list[int]) -> None:
        """Run the container, and name its namespace."""
        self.add(Work(["web"], published))
        self.docker.name_namespace("web")

    def publish_options(self, work: Work) -> list[str]:
        """Of udp only the last port, which comes after all the others: half the time, and as long a way."""
        last = [f"--publish {port}:{port}/udp" for port in work.ports[-1:]]
        return [*super().publish_options(work), *last]


class Routed(Floor, Carrier):
    """A host that does nothing but forward to the endpoint's own address."""

    address = "172.17.0.2"

    def prepare(self) -> None:
        """Join the endpoint."""
        super().prepare()
        self.join(["web"])

    def open(self, published: list[int]) -> None:  # noqa: ARG002
        """Show the client the way."""
        client = self.ground.lab.hosts["client"]
        client.run(["ip", "route", "add", "172.17.0.0/16", "via", self.host.addresses[0].partition("/")[0]])


class Proxied(Floor, Carrier):
    """docker-proxy alone, without any rules: what carries a connection where Docker does not translate it."""

    def prepare(self) -> None:
        """Join the endpoint."""
        super().prepare()
        self.join(["web"])

    def open(self, published: list[int]) -> None:
        """Start a proxy for each port and protocol, as Docker does."""
        program = self.ground.docker / "usr/sbin/docker-proxy"
        for port in published:
            for protocol in ("tcp", "udp"):
                ends = f"-host-ip 0.0.0.0 -host-port {port} -container-ip 172.17.0.2 -container-port {port}"
                # It tells its parent by descriptor 3 that it listens.
                command = f"exec {program} -proto {protocol} {ends} 3>&1"
                self.host.start(["sh", "-c", command], ready="0\n")
