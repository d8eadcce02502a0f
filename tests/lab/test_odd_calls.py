# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules with odd arguments, one after the other on one host whose administrator does odd things in between."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hostlab import Host
from support import COLLECTIONS, ROOT, Modules, differences

sys.path += [str(COLLECTIONS), str(ROOT / "tests" / "fuzz")]
requests = importlib.import_module("running").requests

Call = list[Any]

WRITING = ["bridge_network", "veth_endpoint", "port_publish", "masquerade"]
CALLS = 120
START: list[Call] = [
    [
        "bridge_network",
        {
            "networks": [
                {"name": "lan0", "subnets": ["10.0.0.0/24"]},
                {"name": "dual0", "subnets": ["10.0.1.0/24", "fd00:1::/64"]},
            ]
        },
    ],
    [
        "veth_endpoint",
        {
            "endpoints": [
                {"name": "web", "network": "lan0"},
                {"name": "db", "network": "lan0"},
                {"name": "both", "network": "dual0"},
            ]
        },
    ],
    ["port_publish", {"endpoint": "web", "ports": ["80:80"], "sources": ["192.0.2.0/24"]}],
]
STRIKES = [
    ["ip", "link", "delete", "bp-web"],
    ["ip", "netns", "delete", "db"],
    ["ip", "link", "set", "lan0", "down"],
    ["ip", "link", "add", "fresh0", "type", "dummy"],
    ["nft", "delete table ip bridgeport"],
    ["nft", "add element ip bridgeport published { * : 10.0.0.2 . 80 }"],
    ["nft", "add element ip bridgeport to_network { * : accept }"],
    ["nft", "add element ip bridgeport guarded { 10.99.0.1-10.99.0.9 }"],
    [
        "nft",
        "add set ip6 bridgeport x { type ipv6_addr . inet_service; flags interval; elements = { ::1.2.3.4/128 . 1-9 }; }",
    ],
    ["iptables-nft", "-A", "INPUT", "-j", "LOG", "--log-prefix", "-j BRIDGEPORT "],
    ["iptables-nft", "-A", "INPUT", "-m", "comment", "--comment", "a\n-A BRIDGEPORT -j DROP", "-j", "ACCEPT"],
    ["sh", "-c", "iptables-nft -N BRIDGEPORT; iptables-nft -A BRIDGEPORT -j DROP"],
]


def drawn_calls() -> list[Call]:
    """The same calls in every run."""
    found: list[Call] = []

    @settings(
        max_examples=CALLS,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(WRITING).flatmap(lambda name: st.tuples(st.just(name), requests(name))))
    def draw(call: tuple[str, dict[str, Any]]) -> None:
        # No half of a surrogate pair comes through a pipe; an odd backend or interface is another test's.
        options = json.loads(json.dumps(call[1], ensure_ascii=False).encode(errors="replace"))
        found.append([call[0], {key: value for key, value in options.items() if key not in ("backend", "assume")}])

    draw()
    return found


def test_odd_calls_on_one_host(host: Host, modules: Modules) -> None:
    calls = drawn_calls()
    for number, strike in enumerate(STRIKES):
        calls.insert(10 * number + 5, ["command", strike])
    before = host.snapshot()
    script = Path(__file__).with_name("fuzz_calls.py")
    done = host.run(
        ["env", f"PYTHONPATH={COLLECTIONS}", sys.executable, str(script)],
        check=False,
        input=json.dumps([*START, *calls]),
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    count = json.loads(done.stdout)
    print(count)
    assert count["changed"] >= 10 and count["refused"] >= 20, count
    clean(host, modules)
    left = differences(before, host.snapshot())
    assert [line for line in left if not line.startswith(("nftables: ", "sysctls: "))] == []


def clean(host: Host, modules: Modules) -> None:
    """Remove all that is there of ours, and what the administrator did."""
    info = modules.ok("topology_info")
    modules.ok("veth_endpoint", endpoints=[{"name": item["name"]} for item in info["endpoints"]], state="absent")
    keys = ("network", "source")
    gone = [{key: item[key] for key in keys if item.get(key)} for item in info["masquerades"]]
    modules.ok("masquerade", masquerades=gone, state="absent")
    modules.ok("bridge_network", networks=[{"name": item["name"]} for item in info["networks"]], state="absent")
    assert "bridgeport" not in host.run(["nft", "list", "tables"]).stdout
    rules = host.run(["iptables-nft-save"]).stdout
    # What was somebody else's is there as it was.
    assert '--log-prefix "-j BRIDGEPORT "' in rules and "-A BRIDGEPORT -j DROP\n" in rules
    host.run(["sh", "-c", "ip link delete fresh0; iptables-nft -F; iptables-nft -X BRIDGEPORT"], check=False)
