# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules with any arguments on any host: a sentence, or a plan that leads to a host on which nothing is left to do."""

from __future__ import annotations

import typing as t
from unittest import mock

from ansible_collections.bridgeport.net.plugins.module_utils import _ansible
from ansible_collections.bridgeport.net.plugins.module_utils._changes import Change
from ansible_collections.bridgeport.net.plugins.module_utils._codec import topology_from_json, topology_to_json
from ansible_collections.bridgeport.net.plugins.module_utils._engine import (
    Assumed,
    Decide,
    Inspection,
    Outcome,
    Touched,
)
from ansible_collections.bridgeport.net.plugins.module_utils._explain import Explanation, explain
from ansible_collections.bridgeport.net.plugins.module_utils._foreign import foreign_warnings
from ansible_collections.bridgeport.net.plugins.module_utils._plan import make_plan, scope_of
from ansible_collections.bridgeport.net.plugins.module_utils._report import actions_of, warnings_of
from ansible_collections.bridgeport.net.plugins.modules import port_publish, topology_info
from carrying import carried_out
from cases import cases
from hostile import spoiled_options
from hosts import FACTS, INTACT, TOPOLOGIES, World, worlds
from hypothesis import event
from hypothesis import strategies as st
from running import Result, check_refusal, requests, run
from safety import check_texts

WRITING = ("bridge_network", "veth_endpoint", "port_publish", "masquerade")


class PureEngine:
    """The engine on a host that is a value."""

    def __init__(self, world: World) -> None:
        self.topology, self.seen, self.backend = world
        self.plan: list[Change] = []

    def run(
        self,
        decide: Decide,
        touched: Touched,
        check: bool,
        _assume: Assumed | None = None,
        _backend: str | None = None,
    ) -> Outcome:
        before = self.topology
        after = decide(before, FACTS)
        scope = scope_of(before, after, touched.networks, touched.endpoints, touched.everything)
        plan = make_plan(before, after, self.seen, scope, self.backend, "" if before.empty else self.backend)
        actions = actions_of(before, after, plan)
        warnings = [
            *warnings_of(after, touched.networks, self.seen.links),
            *foreign_warnings(after, self.seen.foreign, self.seen.tables, self.backend),
        ]
        outcome = Outcome(before, after, plan, actions, warnings=warnings)
        self.plan = plan
        if not check:
            self.topology, self.seen = after, carried_out(plan, self.seen)
        return outcome

    def explain(self, packets: t.Sequence[tuple[str, str]]) -> list[Explanation]:
        return [explain(self.topology, FACTS, source, destination) for source, destination in packets]

    def inspect(self) -> Inspection:
        scope = scope_of(self.topology, self.topology, (), (), True)
        plan = make_plan(self.topology, self.topology, self.seen, scope, self.backend, self.backend)
        return Inspection(self.topology, actions_of(self.topology, self.topology, plan), False, self.backend, {})


def run_on(engine: PureEngine, name: str, options: dict[str, t.Any], check: bool = False) -> Result:
    with (
        mock.patch.object(_ansible, "Engine", return_value=engine),
        mock.patch.object(topology_info, "Engine", return_value=engine),
        mock.patch.object(port_publish, "reservation_problem", return_value=""),
    ):
        return run(name, options, check)


def fuzz(name: str, options: dict[str, t.Any], world: World) -> None:
    """What must hold for any module, arguments and host."""
    engine = PureEngine(world)
    # Only a check looks at it, which is another test.
    options = {key: value for key, value in options.items() if key != "assume"}
    predicted = run_on(engine, name, options, check=True)
    assert (engine.topology, engine.seen) == (world.topology, world.seen)
    done = run_on(engine, name, options)
    if done.get("failed"):
        assert engine.seen is world.seen and engine.topology is world.topology
        assert predicted == done
        if done["msg"].startswith("Cannot"):
            check_refusal(done)
            event("refused")
        else:
            # By Ansible itself, before the module begins.
            assert engine.plan == [] and "exception" not in done
            event("not understood")
        return
    assert {key: value for key, value in predicted.items() if key != "topology"} == done
    event("changed" if done["changed"] else "unchanged")
    if done["changed"]:
        assert done["actions"]
    check_sentences(done)
    again = run_on(engine, name, options)
    assert (again.get("failed"), again["actions"], again["changed"]) == (None, [], False), (done, again)


def check_sentences(done: Result) -> None:
    for sentence in done["actions"]:
        assert sentence.endswith(".") and sentence.isprintable(), sentence


@cases(800, requests("bridge_network"), worlds())
def test_bridge_network(options: dict[str, t.Any], world: World) -> None:
    fuzz("bridge_network", options, world)


@cases(800, requests("veth_endpoint"), worlds())
def test_veth_endpoint(options: dict[str, t.Any], world: World) -> None:
    fuzz("veth_endpoint", options, world)


@cases(800, requests("port_publish"), worlds())
def test_port_publish(options: dict[str, t.Any], world: World) -> None:
    fuzz("port_publish", options, world)


@cases(400, requests("masquerade"), worlds())
def test_masquerade(options: dict[str, t.Any], world: World) -> None:
    fuzz("masquerade", options, world)


# Every option that takes a text, with each of what is dangerous in it


SOUND: dict[str, dict[str, t.Any]] = {
    "bridge_network": {
        "name": "fresh0",
        "subnets": ["10.7.0.0/24"],
        "gateways": ["10.7.0.1"],
        "allocate_from": ["10.7.0.128/25"],
        "mac": "02:42:00:00:00:01",
        "trusted_interfaces": ["eth1"],
    },
    "veth_endpoint": {
        "name": "new",
        "network": "lan0",
        "addresses": ["10.0.0.77"],
        "expose": ["53/udp"],
        "mac": "02:42:00:00:00:02",
        "interface": "eth1",
        "sysctls": {"net.core.somaxconn": "9"},
        "nameservers": ["192.0.2.53"],
        "search": ["example.org"],
        "aliases": ["www"],
    },
    "port_publish": {"endpoint": "web", "ports": ["192.0.2.1:86:80/tcp"], "sources": ["192.0.2.0/24"]},
    "masquerade": {"source": "10.9.0.0/24", "except_out_interface": "br9", "to_source": "203.0.113.7"},
}


SPOILED = [(name, request) for name, options in SOUND.items() for request in spoiled_options(options)]


@cases(len(SPOILED), st.sampled_from(SPOILED))
def test_spoiled_option(case: tuple[str, dict[str, t.Any]]) -> None:
    name, options = case
    engine = PureEngine(World(TOPOLOGIES[4], INTACT[4, "nftables"], "nftables"))
    done = run_on(engine, name, options)
    if done.get("failed"):
        check_refusal(done)
        assert engine.plan == []
        return
    check_texts(engine.topology)
    check_sentences(done)
    assert topology_from_json(topology_to_json(engine.topology)) == engine.topology


@cases(300, requests("topology_info"), worlds())
def test_topology_info(options: dict[str, t.Any], world: World) -> None:
    engine = PureEngine(world)
    done = run_on(engine, "topology_info", options)
    if done.get("failed"):
        if done["msg"].startswith("Cannot"):
            check_refusal(done)
        return
    assert done["changed"] is False
