# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Debian's Docker, with and without its userland proxy: `docker run --publish` and `docker rm --force`."""

from __future__ import annotations

from bench.peers.base import Ground, Peer, Times, Work, clock
from hostlab.dockerd import WAITING, Dockerd

NETWORK = ["--subnet", "172.17.0.0/16", "--opt", "com.docker.network.bridge.name=docker0", "bench"]


class Docker(Peer):
    """A container for each endpoint."""

    makes_endpoint = True

    def __init__(self, ground: Ground, name: str, proxy: bool) -> None:
        super().__init__(ground, name)
        self.docker = Dockerd(self.host, ground.docker, proxy)

    def prepare(self) -> None:
        """Start dockerd and make the network; one container warms it up."""
        self.docker.start()
        self.docker.run("docker", "network", "create", *NETWORK)
        warm = Work(["warm"])
        self.add(warm)
        self.remove(warm)

    def add(self, work: Work) -> Times:
        """Run the containers, one after the other."""
        options = " ".join(["--network bench", *self.publish_options(work)])
        run = f"docker run --detach {options} --name $name {' '.join(WAITING)}"
        return self._timed("sh", "-c", f"set -e; for name in {' '.join(work.endpoints)}; do {run}; done")

    def remove(self, work: Work) -> Times:
        """Remove them in one command."""
        return self._timed("docker", "rm", "--force", *work.endpoints)

    def clean(self) -> None:
        """Remove the containers' control groups."""
        self.docker.clean()

    def publish_options(self, work: Work) -> list[str]:
        """One range."""
        first_to_last = f"{work.ports[0]}-{work.ports[-1]}" if work.ports else ""
        return [f"--publish {first_to_last}:{first_to_last}"] if work.ports else []

    def _timed(self, *command: str) -> Times:
        limit = self.ground.settings.kill_after
        return {"": clock(lambda: self.docker.run(*command, timeout=limit))}
