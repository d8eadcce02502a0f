# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection's own modules, each run a process of its own, without Ansible around it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from bench.peers.base import Ground, Peer, Times, Work, clock
from support import COLLECTIONS, choose_backend

TIMED = Path(__file__).resolve().parents[1] / "timed_module.py"
NETWORKS = {"docker0": "172.17.0.0/16", "br1": "172.18.0.0/16"}
# A second time that is taken of every run: that of its process, with the start of Python and all imports.
PROCESS = ", its process"


class Ours(Peer):
    """The modules on one host, with one backend."""

    always = True
    repeats = True

    def __init__(self, ground: Ground, name: str, backend: str = "nftables") -> None:
        super().__init__(ground, name)
        self.backend = backend
        self.profile: Path | None = None

    def prepare(self) -> None:
        """Make two networks."""
        networks = [{"name": name, "subnets": [subnet]} for name, subnet in NETWORKS.items()]
        self.module("bridge_network", **choose_backend(self.host, self.backend), networks=networks)
        self.module("masquerade", masquerades=[{"network": name} for name in NETWORKS])

    def module(self, which: str, **options: Any) -> Times:
        """Run a module; with `profile` set, its statistics go there.

        :raises LabError: it failed.
        """
        times = self.ground.scratch / f"{self.host.name}-times.json"
        command = ["env", f"PYTHONPATH={COLLECTIONS}", sys.executable, str(TIMED), which, str(times)]
        command += [str(self.profile)] if self.profile else []
        text = json.dumps(options)
        limit = self.ground.settings.kill_after
        process = clock(lambda: self.host.run(command, input=text, timeout=limit))
        return {"": json.loads(times.read_text(encoding="utf-8"))["wall"], PROCESS: process}


class OurPublishes(Ours):
    """Ports of one endpoint that is there already."""

    def prepare(self) -> None:
        """Join the endpoint as well."""
        super().prepare()
        self.module("veth_endpoint", network="docker0", name="web", addresses=["172.17.0.2"])

    def add(self, work: Work) -> Times:
        """Publish, each port an entry of its own."""
        return self.module("port_publish", **publish_options(work))

    def remove(self, work: Work) -> Times:
        """Unpublish."""
        return self.module("port_publish", **publish_options(work), state="absent")


class OurEndpoints(Ours):
    """Endpoints, on two networks by turns: a bridge has 1,023 ports."""

    def add(self, work: Work) -> Times:
        """Join them."""
        return self.module("veth_endpoint", **endpoint_options(work))

    def remove(self, work: Work) -> Times:
        """Remove them."""
        return self.module("veth_endpoint", **endpoint_options(work), state="absent")


def publish_options(work: Work) -> dict[str, Any]:
    """What port_publish is asked for."""
    return {"endpoint": work.endpoints[0], "ports": [f"{port}:{port}" for port in work.ports]}


def endpoint_options(work: Work) -> dict[str, Any]:
    """What veth_endpoint is asked for."""
    names = list(NETWORKS)
    return {
        "endpoints": [{"name": name, "network": names[i % len(names)]} for i, name in enumerate(work.endpoints)],
    }
