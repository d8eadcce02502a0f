# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs that are not alone: others at once, somebody who deletes links meanwhile, and very many endpoints."""

from __future__ import annotations

from typing import Any

from faults.ground import Ended, Ground, Lost
from faults.injections import settle_all, told_well
from faults.kills import KEPT
from faults.states import AFTER, BEFORE, State
from faults.tally import Tally

# Deletes something of ours twenty times a second for as long as the runs take, at most 15 seconds.
DELETIONS = """
i=0
while [ $i -lt 300 ]; do
  i=$((i+1))
  case $((i % 6)) in
    0) ip link del bp-store;; 1) ip netns del extra;; 2) ip link set bp-peer nomaster;; 3) ip link del br-old;;
    4) ip -n peer addr flush dev eth0;; 5) ip link del br-far;;
  esac 2>/dev/null
  sleep 0.05
done
true
"""
# A thousand, on two bridges. What a bridge floods waits for a processor in one queue of net.core.netdev_max_backlog
# packets, 1,000 by default. Measured with 1,023 ports: of each ARP request 22 copies are dropped, those for the ports that
# joined first, so that nobody finds these endpoints any more; with 1,000 ports none.
MANY, SOME = 900, 100
# With web and peer, one more than the kernel gives a bridge.
TOO_MANY = 1024 - MANY - 2


def at_once(ground: Ground, tally: Tally, states: list[State]) -> None:
    """Runs that begin together, each towards a state: all end well, and the host is in the state of one of them.

    :raises Lost: one failed, or the host is in no state at all.
    """
    tally.count("concurrency cases")
    ground.settle(BEFORE)
    runs = [ground.start("target", ground.target(state)) for state in states]
    results = [ground.end(run).result for run in runs]
    failed = [result["msg"] for result in results if result.get("failed")]
    if failed:
        raise Lost(f"{len(failed)} of {len(states)} runs at once failed: {failed[0]}")
    if len({state.name for state in states}) == 1 and sum(result["changed"] for result in results) != 1:
        raise Lost(f"of {len(states)} runs at once for the same, not exactly one changed the host")
    for state in {state.name: state for state in states}.values():
        if not ground.to(state).result["changed"]:
            ground.compare(ground.references[state.name])
            return
        ground.settle(states[-1])
    ground.compare(ground.references[states[-1].name])


def ten_different(ground: Ground, tally: Tally) -> None:
    """Ten runs at once, each for something of its own by a module: nothing of any is lost, on either way.

    :raises Lost: an endpoint, an address or a port was lost.
    """
    tally.count("concurrency cases")
    ground.settle(BEFORE)
    names = [f"more-{number}" for number in range(10)]
    _all_well(ground, [("veth_endpoint", {"network": "docker0", "name": name}) for name in names])
    ports = [("port_publish", {"endpoint": name, "ports": [f"{9100 + n}:5000"]}) for n, name in enumerate(names)]
    _all_well(ground, ports)
    info = ground.run("topology_info", {}).result
    addresses = [tuple(endpoint["addresses"]) for endpoint in info["endpoints"]]
    there = {endpoint["name"] for endpoint in info["endpoints"]} >= set(names)
    if info["drift"] or not there or len(set(addresses)) != len(addresses):
        raise Lost(f"after ten runs at once: drift {info['drift']}, endpoints {info['endpoints']}")
    _all_well(ground, [("veth_endpoint", {"name": name, "state": "absent"}) for name in names])
    ground.settle(BEFORE)
    ground.compare(ground.references[BEFORE.name])


def _all_well(ground: Ground, tasks: list[tuple[str, dict[str, Any]]]) -> None:
    runs = [ground.start(module, options) for module, options in tasks]
    for run in runs:
        result = ground.end(run).result
        if result.get("failed") or not result["changed"]:
            raise Lost(f"one of {len(tasks)} runs at once: {result.get('msg', 'changed nothing')}")


def while_deleted(ground: Ground, tally: Tally, runs: int) -> None:
    """Runs while somebody deletes links, namespaces and addresses: each ends well or in words; the next one mends all.

    :raises Lost: one did neither.
    """
    tally.count("concurrency cases")
    ground.settle(BEFORE)
    loop = ground.host.start(["sh", "-c", DELETIONS])
    try:
        for number in range(runs):
            _well_or_in_words(ground.to(AFTER if number % 2 == 0 else BEFORE))
    finally:
        loop.stop()
    settle_all(ground, (AFTER, BEFORE))


def _well_or_in_words(ended: Ended) -> None:
    result = ended.result
    if result.get("failed") and "foreign" not in result["msg"]:
        message = result["msg"]
        # What was deleted by somebody else cannot always be put back either: the next run does.
        told_well(message.replace("failed as well", "was tried"), "")


def very_many(ground: Ground, tally: Tally) -> None:
    """The 1,024th endpoint of a bridge is refused; a thousand go while others' traffic flows.

    :raises Lost: the last one was not refused, or changed something; or a connection of others was cut.
    """
    tally.count("concurrency cases", 2)
    ground.settle(BEFORE)
    many = [{"network": "docker0", "name": f"m{number}"} for number in range(MANY)]
    many += [{"network": "br-back", "name": f"s{number}"} for number in range(SOME)]
    _task(ground, "veth_endpoint", {"endpoints": many})
    known = ground.snapshot(inside=False)
    more = [{"network": "docker0", "name": f"more{number}"} for number in range(TOO_MANY)]
    message = ground.run("veth_endpoint", {"endpoints": more}).result.get("msg", "no refusal")
    told_well(message, "a Linux bridge takes at most 1023 ports")
    ground.compare(known, inside=False)
    ground.wait_for(KEPT)
    ground.watch(KEPT)
    try:
        kept = [{"name": endpoint["name"], "network": endpoint["network"]} for endpoint in BEFORE.endpoints]
        _task(ground, "veth_endpoint", {"endpoints": kept, "prune": True})
    finally:
        knocked = ground.watched()
    tally.count("knocks", knocked.knocks)
    if knocked.lost:
        raise Lost(f"while a thousand endpoints were removed: {'; '.join(knocked.lost[:5])}")
    ground.settle(BEFORE)
    ground.compare(ground.references[BEFORE.name])


def _task(ground: Ground, module: str, options: dict[str, Any]) -> None:
    result = ground.run(module, options).result
    if result.get("failed") or not result["changed"]:
        raise Lost(f"{module}: {result.get('msg', 'changed nothing')}")
