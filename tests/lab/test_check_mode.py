# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A play of several modules: what check mode says of each task, one after the other, and what the run then does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from support import Modules

Task = tuple[str, dict[str, Any]]

NETWORK: Task = ("bridge_network", {"name": "n0", "subnets": ["10.0.0.0/24", "fd00:1::/64"], "mtu": 1500})
MASQUERADE: Task = ("masquerade", {"network": "n0"})
ENDPOINTS: Task = ("veth_endpoint", {"network": "n0", "endpoints": [{"name": "web"}, {"name": "old"}]})
PUBLISH: Task = ("port_publish", {"endpoint": "web", "ports": ["80:5000"]})
STANDING = [NETWORK, MASQUERADE, ENDPOINTS, PUBLISH]
PRUNE: Task = ("veth_endpoint", {"network": "n0", "prune": True, "endpoints": [{"name": "web"}]})
HOOK = "-m comment --comment bridgeport:host -j BRIDGEPORT-ACCEPT"
# What somebody else does meanwhile.
SHELL = "sh"
TOLD = ("changed", "actions", "diff")

# What was there before, and the play.
PLAYS: dict[str, tuple[Sequence[Task], Sequence[Task]]] = {
    "a fresh host": ([], STANDING),
    "nothing to do": (STANDING, STANDING),
    "after a prune": (STANDING, [PRUNE, PUBLISH, MASQUERADE]),
    "made anew": (STANDING, [("veth_endpoint", {"name": "web", "state": "absent"}), ENDPOINTS, PUBLISH]),
    "there and gone": (
        STANDING,
        [("veth_endpoint", {"network": "n0", "name": "new"}), ("veth_endpoint", {"name": "new", "state": "absent"})],
    ),
    "the whole way down": (
        STANDING,
        [
            ("veth_endpoint", {"network": "n0", "prune": True, "endpoints": []}),
            ("masquerade", {"network": "n0", "state": "absent"}),
            ("bridge_network", {"name": "n0", "state": "absent"}),
        ],
    ),
    "changed all over": (
        STANDING,
        [
            ("bridge_network", {"networks": [
                {"name": "n0", "gateways": ["10.0.0.254", "fd00:1::1"], "icc": False, "mtu": 1400},
                {"name": "n1", "subnets": ["10.1.0.0/24"], "mtu": 1500},
            ]}),
            ("veth_endpoint", {"network": "n0", "prune": True, "endpoints": [
                {"name": "web", "mac": "02:42:00:00:00:09", "routes": [{"destination": "10.9.0.0/16", "via": "10.0.0.9"}]},
                {"name": "db", "network": "n1", "aliases": ["x"], "nameservers": ["192.0.2.53"]},
            ]}),
            ("port_publish", {"prune": True, "publishes": [
                {"endpoint": "web", "ports": ["81:5000"], "sources": ["192.0.2.0/24"], "loopback": "none"},
                {"endpoint": "db", "ports": ["9000"]},
            ]}),
        ],
    ),
    "a pair that was deleted": ([*STANDING, (SHELL, {"c": "ip link delete bp-web"})], STANDING),
    "a bridge that was deleted": ([*STANDING, (SHELL, {"c": "ip link delete n0"})], STANDING),
    "an MTU too small for IPv6": (
        [],
        [
            ("bridge_network", {"name": "n0", "subnets": ["10.0.0.0/24"], "mtu": 1200}),
            ("veth_endpoint", {"network": "n0", "name": "web"}),
            PUBLISH,
        ],
    ),
    "a rule of somebody else's ahead of what must be behind it": (
        [
            (SHELL, {"c": "iptables -P FORWARD DROP"}),
            *STANDING,
            (SHELL, {"c": f"iptables -D FORWARD {HOOK}; iptables -A FORWARD -j DROP; iptables -A FORWARD {HOOK}"}),
        ],
        STANDING,
    ),
    "rules that were flushed": ([*STANDING, (SHELL, {"c": "nft flush ruleset"})], [ENDPOINTS, PUBLISH]),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAYS)
def test_check_mode_tells_of_each_task_what_it_will_do(fresh: Callable[[str], Modules], name: str) -> None:
    modules = fresh("pypi")
    before, play = PLAYS[name]
    for module, options in before:
        if module == SHELL:
            modules.host.run(["sh", "-c", options["c"]])
        else:
            modules.ok(module, **options)
    predicted = []
    assume: dict[str, Any] = {}
    for module, options in play:
        predicted.append(modules.ok(module, check=True, **options, **assume))
        assume = {"assume": predicted[-1]["topology"]}
    for (module, options), told in zip(play, predicted, strict=True):
        done = modules.ok(module, **options)
        assert {key: told[key] for key in TOLD} == {key: done[key] for key in TOLD}, module
