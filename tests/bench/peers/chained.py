# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What sets up one namespace per call and is driven by JSON: the CNI plugins, and podman's netavark."""

from __future__ import annotations

import json
from abc import abstractmethod
from pathlib import Path
from typing import Any

from bench.peers import steps
from bench.peers.base import Peer, Times, Work

SUBNET = "172.17.0.0/16"
Steps = list[dict[str, Any]]


class Chained(Peer):
    """Namespaces by `ip netns`, and everything in them by the tool."""

    makes_endpoint = True

    def add(self, work: Work) -> Times:
        """Set up one after the other."""
        return self._run([step for name in work.endpoints for step in [_ip("add", name), *self.setup(name, work)]])

    def remove(self, work: Work) -> Times:
        """Take down one after the other."""
        return self._run(
            [step for name in work.endpoints for step in [*self.teardown(name, work), _ip("delete", name)]]
        )

    @abstractmethod
    def setup(self, name: str, work: Work) -> Steps:
        """The tool's calls for one endpoint."""

    @abstractmethod
    def teardown(self, name: str, work: Work) -> Steps:
        """The tool's calls for its end."""

    def _run(self, wanted: Steps) -> Times:
        command = [self.host.python, "-I", "-S", steps.__file__]
        limit = self.ground.settings.kill_after
        return {"": float(self.host.run(command, input=json.dumps(wanted), timeout=limit).stdout)}


class Cni(Chained):
    """The plugins bridge, host-local and portmap."""

    def setup(self, name: str, work: Work) -> Steps:
        """Bridge first, then the ports with what it said."""
        calls = [self._call("ADD", name, "bridge", self._bridge())]
        if work.ports:
            calls.append({**self._call("ADD", name, "portmap", self._portmap(work)), "previous": True})
        return calls

    def teardown(self, name: str, work: Work) -> Steps:
        """In the opposite order."""
        ports = [self._call("DEL", name, "portmap", self._portmap(work))] if work.ports else []
        return [*ports, self._call("DEL", name, "bridge", self._bridge())]

    def _plugins(self) -> Path:
        return self.ground.peers / "usr/lib/cni"

    def _call(self, command: str, name: str, plugin: str, config: dict[str, Any]) -> dict[str, Any]:
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": name,
            "CNI_NETNS": f"/run/netns/{name}",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(self._plugins()),
        }
        about = {"cniVersion": "0.4.0", "name": "bench", "type": plugin}
        return {"argv": [str(self._plugins() / plugin)], "env": environment, "input": {**about, **config}}

    def _bridge(self) -> dict[str, Any]:
        ipam = {"type": "host-local", "ranges": [[{"subnet": SUBNET}]], "routes": [{"dst": "0.0.0.0/0"}]}
        return {"bridge": "cni0", "isGateway": True, "ipMasq": True, "hairpinMode": True, "ipam": ipam}

    def _portmap(self, work: Work) -> dict[str, Any]:
        mappings = [{"hostPort": port, "containerPort": port, "protocol": "tcp"} for port in work.ports]
        return {"capabilities": {"portMappings": True}, "snat": True, "runtimeConfig": {"portMappings": mappings}}


class Netavark(Chained):
    """What podman 4 calls, with each port a mapping of its own."""

    def setup(self, name: str, work: Work) -> Steps:
        """One call."""
        return [self._call("setup", name, work)]

    def teardown(self, name: str, work: Work) -> Steps:
        """One call."""
        return [self._call("teardown", name, work)]

    def _call(self, command: str, name: str, work: Work) -> dict[str, Any]:
        number = int("0" + "".join(filter(str.isdigit, name)))
        about = {
            "name": "bench",
            "id": "b" * 64,
            "driver": "bridge",
            "network_interface": "podman0",
            "subnets": [{"subnet": SUBNET, "gateway": "172.17.0.1"}],
            "ipv6_enabled": False,
            "internal": False,
            "dns_enabled": False,
            "ipam_options": {"driver": "host-local"},
        }
        mapping = {"host_ip": "", "protocol": "tcp", "range": 1}
        given = {
            "container_id": name.encode().hex().ljust(64, "0"),
            "container_name": name,
            "networks": {
                "bench": {"static_ips": [f"172.17.{1 + number // 250}.{2 + number % 250}"], "interface_name": "eth0"}
            },
            "network_info": {"bench": about},
            "port_mappings": [{**mapping, "host_port": port, "container_port": port} for port in work.ports],
        }
        program = self.ground.peers / "usr/lib/podman/netavark"
        return {"argv": [str(program), "--config", "/run/netavark", command, f"/run/netns/{name}"], "input": given}


def _ip(command: str, name: str) -> dict[str, Any]:
    return {"argv": ["ip", "netns", command, name]}
