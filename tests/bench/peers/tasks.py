# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Through Ansible: one task of ours for all objects, and what one writes without it, a task's item for each object."""

from __future__ import annotations

import json
from typing import Any

from bench.peers.base import Ground, Peer, Times, Work
from bench.peers.floor import Floor
from bench.peers.ours import OurEndpoints, OurPublishes, endpoint_options, publish_options
from support import ROOT, playbook

PLUGINS = ROOT / "tests" / "bench" / "callback_plugins"


def run_task(peer: Peer, task: dict[str, Any]) -> Times:
    """Run one task by ansible-playbook; the time is the task's, and beside it the whole command's.

    :raises AssertionError: it failed.
    """
    path, durations = (peer.ground.scratch / f"{peer.host.name}-{kind}.json" for kind in ("play", "durations"))
    play = [{"name": "Measured", "hosts": "bench", "gather_facts": False, "tasks": [{"name": "Measured", **task}]}]
    path.write_text(json.dumps(play), encoding="utf-8")
    durations.unlink(missing_ok=True)
    done = playbook(
        peer.ground.lab,
        str(path),
        hosts={"bench": [peer.host.name]},
        timeout=peer.ground.settings.kill_after,
        ANSIBLE_CALLBACK_PLUGINS=str(PLUGINS),
        BENCH_DURATIONS=str(durations),
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    return {"": sum(json.loads(line)["seconds"] for line in durations.read_text(encoding="utf-8").splitlines())}


class PublishTask(OurPublishes):
    """port_publish as a task."""

    def add(self, work: Work) -> Times:
        """Publish."""
        return run_task(self, {"bridgeport.net.port_publish": publish_options(work)})

    def remove(self, work: Work) -> Times:
        """Unpublish."""
        return run_task(self, {"bridgeport.net.port_publish": {**publish_options(work), "state": "absent"}})


class EndpointTask(OurEndpoints):
    """veth_endpoint as a task."""

    def add(self, work: Work) -> Times:
        """Join."""
        return run_task(self, {"bridgeport.net.veth_endpoint": endpoint_options(work)})

    def remove(self, work: Work) -> Times:
        """Remove."""
        return run_task(self, {"bridgeport.net.veth_endpoint": {**endpoint_options(work), "state": "absent"}})


class RulePerItem(Floor, Peer):
    """ansible.builtin.iptables in a loop: one DNAT rule for each port."""

    repeats = True

    def __init__(self, ground: Ground, name: str) -> None:
        super().__init__(ground, name)
        self.only = ground.settings.tasks

    def add(self, work: Work) -> Times:
        """Append the rules."""
        return self._rules("present", work)

    def remove(self, work: Work) -> Times:
        """Delete the rules."""
        return self._rules("absent", work)

    def _rules(self, state: str, work: Work) -> Times:
        rule = {
            "table": "nat",
            "chain": "PREROUTING",
            "protocol": "tcp",
            "destination_port": "{{ item }}",
            "jump": "DNAT",
            "to_destination": "172.17.0.2:{{ item }}",
            "state": state,
        }
        return run_task(self, {"ansible.builtin.iptables": rule, "loop": work.ports})


class CommandPerItem(Floor, Peer):
    """ansible.builtin.shell in a loop: the commands of ip(8) for one endpoint in each item."""

    def __init__(self, ground: Ground, name: str) -> None:
        super().__init__(ground, name)
        self.only = ground.settings.tasks

    def add(self, work: Work) -> Times:
        """Make the namespaces and join them."""
        lines = [
            "ip netns add {{ item }}",
            "ip link add v-{{ item }} type veth peer name eth0 netns {{ item }}",
            "ip link set v-{{ item }} master docker0 up",
            "ip -n {{ item }} address add 172.17.0.{{ ansible_loop.index + 1 }}/16 dev eth0",
            "ip -n {{ item }} link set eth0 up",
            "ip -n {{ item }} route add default via 172.17.0.1",
        ]
        extended = {"loop": work.endpoints, "loop_control": {"extended": True}}
        return run_task(self, {"ansible.builtin.shell": " && ".join(lines), **extended})

    def remove(self, work: Work) -> Times:
        """Delete the pairs and the namespaces."""
        lines = ["ip link delete v-{{ item }}", "ip netns delete {{ item }}"]
        return run_task(self, {"ansible.builtin.shell": " && ".join(lines), "loop": work.endpoints})
