# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Debian's Docker on the matrices' host: dockerd in a lab host, each container's namespace under the endpoint's name.

The containers only wait. Services and probes enter their namespaces from the host, so that the very same ones answer
and ask as do for our endpoints. Nothing of it outlives the lab but control groups, which :meth:`Docker.clean` removes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from hostlab import Host, LabError
from hostlab.host import remove_control_groups
from hostlab.process import Process
from matrix.rows import PROTOCOLS, Question
from matrix.topology import NETWORKS, PLACES, PUBLISHED, Net, Place, Port

READY_SECONDS = 60.0
SOCKET = "unix:///run/docker.sock"
IMAGE = "waiting:1"
IMPORT = """
set -e
mkdir -p /run/image/bin
cp "$1" /run/image/bin/busybox
tar -C /run/image -c . | docker import - waiting:1
"""


class Docker:
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
        """Describe it. unpacked: where Debian's packages were unpacked; proxy: with its userland proxy."""
        self.host = host
        self.proxy = proxy
        self.unpacked = unpacked
        self.group = f"hostlab-docker-{host.pid}"
        self.networks = [net for net in networks if net.docker is not None]
        names = {net.name for net in self.networks}
        self.places = [place for place in places if place.network in names]
        self.published = published
        self._daemon: Process | None = None

    def start(self) -> str:
        """Start dockerd; returns its version."""
        self.host.run(["mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"])
        return self._start()

    def restart(self) -> str:
        """Start it anew, which rewrites its rules; the containers go on. Returns its version."""
        assert self._daemon is not None
        self._daemon.stop(READY_SECONDS)
        return self._start()

    def _start(self) -> str:
        options = [
            *("--host", SOCKET, "--bridge", "none", "--storage-driver", "vfs", "--cgroup-parent", f"/{self.group}"),
            *("--data-root", "/var/lib/docker", "--exec-root", "/run/docker", "--pidfile", "/run/docker.pid"),
            *("--experimental", "--ip6tables", f"--userland-proxy={str(self.proxy).lower()}"),
            *("--exec-opt", "native.cgroupdriver=cgroupfs", "--live-restore"),
        ]
        daemon = self._daemon = self.host.start([*self._environment(), "dockerd", *options])
        deadline = time.monotonic() + READY_SECONDS
        while self.host.run([*self._environment(), "docker", "info"], check=False).returncode:
            if time.monotonic() > deadline or not daemon.running():
                raise LabError(f"Starting dockerd on {self.host.name} failed. It said:\n{daemon.output()}")
            time.sleep(0.1)
        return self.run("docker", "version", "--format", "{{.Server.Version}}").strip()

    def make(self) -> None:
        """Make networks and containers."""
        self.run("sh", "-c", IMPORT, "import", str(self.unpacked / "bin/busybox"))
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
        command = ["/bin/busybox", "sleep", "86400"]
        self.run("docker", "run", "--detach", "--name", place.name, *options, IMAGE, *command)
        pid = self.run("docker", "inspect", "--format", "{{.State.Pid}}", place.name).strip()
        self.host.run(["ip", "netns", "attach", place.name, pid])

    def can_be_asked(self, question: Question) -> bool:
        """Whether both who asks and what is asked for is there."""
        there = {place.name for place in self.places} | {"E", "H"}
        return question.place in there and (question.table == "A" or question.row in there)

    def run(self, *command: str) -> str:
        """Run a command with Docker's programs in reach; returns what it prints."""
        return self.host.run([*self._environment(), *command], timeout=120).stdout

    def clean(self) -> None:
        """Remove the containers' control groups, once the lab has ended."""
        remove_control_groups(self.group)

    def _environment(self) -> list[str]:
        usr = self.unpacked / "usr"
        libraries = ":".join(str(path) for path in (*self.unpacked.glob("lib/*-linux-*"), *usr.glob("lib/*-linux-*")))
        return [
            "env",
            f"PATH={usr}/bin:{usr}/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
            f"LD_LIBRARY_PATH={libraries}",
            f"DOCKER_HOST={SOCKET}",
        ]


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
