# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run costs as the topology grows: how often it speaks to the kernel, which no other load on the host changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support import Modules

COUNTER = Path(__file__).with_name("count_calls.py")


def calls(modules: Modules, module: str, changed: bool, **options: Any) -> dict[str, int]:
    """How often a module spoke to the kernel, by kind."""
    command = [*modules.command(module)[:-2], str(COUNTER), module]
    done = modules.host.run(command, check=False, input=modules.arguments(False, **options), timeout=120)
    result = json.loads(done.stdout)
    assert not result.get("failed"), result
    assert result["changed"] is changed
    return dict(json.loads(done.stderr.splitlines()[-1]))


def test_publishes_cost_the_kernel_the_same_however_many(fresh: Callable[[str], Modules]) -> None:
    modules = fresh("pypi")
    modules.host.run(
        ["nft", "add table inet theirs; add set inet theirs many { type ipv4_addr; elements = { 192.0.2.1 } }"]
    )
    modules.ok("bridge_network", name="docker0", subnets=["172.17.0.0/16"])
    modules.ok("veth_endpoint", network="docker0", endpoints=[{"name": f"e{number}"} for number in range(20)])
    few: dict[str, Any] = {"endpoint": "e1", "ports": ["80:80"]}
    many: dict[str, Any] = {"publishes": [{"endpoint": "e1", "ports": ["80:80", "1000-1999:1000-1999"]}]}
    first, again = calls(modules, "port_publish", True, **few), calls(modules, "port_publish", False, **few)
    assert calls(modules, "port_publish", True, **many) == first
    assert calls(modules, "port_publish", False, **many) == again
    # Two of our tables are there. To list tables, or anything of all tables but chains, nft would read every set.
    assert {word: number for word, number in again.items() if word.startswith("nft ")} == {
        "nft list chains": again["nft list chains"],
        "nft list table": 2,
    }
    assert first["nft list table"] == 2
    assert sum(first.values()) - sum(again.values()) <= 6


def test_endpoints_cost_the_kernel_a_few_calls_each(fresh: Callable[[str], Modules]) -> None:
    modules = fresh("pypi")
    networks = [{"name": f"br{number}", "subnets": [f"10.{number}.0.0/16"]} for number in (1, 2)]
    modules.ok("bridge_network", networks=networks)
    counted: dict[int, dict[str, dict[str, int]]] = {}
    for size in (10, 60):
        endpoints = [{"name": f"e{number}", "network": f"br{1 + number % 2}"} for number in range(size)]
        counted[size] = {
            "create": calls(modules, "veth_endpoint", True, endpoints=endpoints),
            "again": calls(modules, "veth_endpoint", False, endpoints=endpoints),
            "one": calls(modules, "veth_endpoint", False, endpoints=endpoints[:1]),
            "remove": calls(modules, "veth_endpoint", True, endpoints=endpoints, state="absent"),
        }
    # For each endpoint a socket and a batch in its namespace to make it, a socket and three dumps there to look at it.
    # What else there is goes by batches of 64 requests.
    assert more(counted, "create") == {"socket": 50, "batch": 50 + 1}
    assert more(counted, "again") == {"socket": 50, "dump": 150}
    assert more(counted, "one") == {}
    assert more(counted, "remove") == {}


def more(counted: dict[int, dict[str, dict[str, int]]], step: str) -> dict[str, int]:
    """What fifty more endpoints added to the calls of one step."""
    few, many = counted[10][step], counted[60][step]
    return {word: many[word] - few.get(word, 0) for word in many if many[word] != few.get(word, 0)}
