# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Debian's Docker on the matrices' host, each container's namespace under the endpoint's name.

Services and probes enter the containers' namespaces from the host, so that the very same ones answer and ask as do for
our endpoints.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from hostlab import Host
from hostlab.dockerd import WAITING, Dockerd
from matrix.rows import PROTOCOLS, Question
from matrix.topology import NETWORKS, PLACES, PUBLISHED, Net, Place, Port

IPV6 = ["--experimental", "--ip6tables"]


class Docker(Dockerd):
    """A dockerd on a lab host, with what Docker can do of a topology, by default of the matrices'."""

    def __init__(
        self,
        host: Host,
        unpacked: Path,
        proxy: bool,
        networks: Sequence[Net] = NETWORKS,
        places: Iterable[Place] = PLACES,
        published: Sequence[Port] = PUBLISHED,
    ) -> None:
        super().__init__(host, unpacked, proxy)
        self.networks = [net for net in networks if net.docker is not None]
        names = {net.name for net in self.networks}
        self.places = [place for place in places if place.network in names]
        self.published = published

    def make(self) -> None:
        """Make networks and containers."""
        for net in self.networks:
            self.add_network(net)
        for place in self.places:
            self.add_container(place, next(net for net in self.networks if net.name == place.network))

    def add_network(self, net: Net) -> None:
        """Make one network."""
        self.run("docker", "network", "create", *network_options(net), net.name)

    def add_container(self, place: Place, net: Net) -> None:
        """Make one container."""
        options = container_options(place, net, self.published)
        self.run("docker", "run", "--detach", "--name", place.name, *options, *WAITING)
        self.name_namespace(place.name)

    def can_be_asked(self, question: Question) -> bool:
        """Whether both who asks and what is asked for is there."""
        there = {place.name for place in self.places} | {"E", "H"}
        return question.place in there and (question.table == "A" or question.row in there)


def network_options(net: Net) -> list[str]:
    """What `docker network create` is asked for."""
    options = ["--opt", f"com.docker.network.bridge.name={net.name}", *(net.docker or ())]
    for version in net.versions:
        options += ["--subnet", net.subnet(version), "--gateway", net.address(version, 1)]
    return [*options, *(["--ipv6"] if 6 in net.versions else [])]


def container_options(place: Place, net: Net, published: Iterable[Port]) -> list[str]:
    """What `docker run` is asked for."""
    options = ["--network", net.name, "--ip", net.address(4, place.host)]
    if 6 in net.versions:
        options += ["--ip6", net.address(6, place.host)]
    for port in published:
        if port.endpoint == place.name:
            for protocol in PROTOCOLS:
                options += ["--publish", port.spec(protocol)]
    return options
