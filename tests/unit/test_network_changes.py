# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a change of a network must leave standing: its endpoints, their routes and publishes, and its own options."""

from __future__ import annotations

import typing as t
from dataclasses import replace
from itertools import permutations

import pytest
from ansible_collections.bridgeport.net.plugins.module_utils._facts import StaticFacts
from ansible_collections.bridgeport.net.plugins.module_utils._model import MODES
from ansible_collections.bridgeport.net.plugins.module_utils._topology import Topology
from ansible_collections.bridgeport.net.plugins.module_utils._want_networks import want_networks
from samples import BOTH, DUAL, FACTS, LAN, WEB, decided, on_link, refused


def want(topology: Topology, facts: StaticFacts = FACTS, **request: t.Any) -> Topology:
    return want_networks(topology, [request], facts)


def texts(values: t.Iterable[object]) -> list[str]:
    return list(map(str, values))


def test_subnet_with_an_endpoint_in_it_is_not_taken_away() -> None:
    topology = decided([LAN], [WEB])
    refused(
        lambda: want(topology, name="lan0", subnets=["10.5.0.0/24"]),
        "lan0",
        "10.5.0.0/24",
        "endpoint web",
        "10.0.0.2",
        "Remove",
    )


def test_address_of_an_endpoint_does_not_become_the_gateway() -> None:
    topology = decided([LAN], [WEB])
    refused(lambda: want(topology, name="lan0", gateways=["10.0.0.2"]), "lan0", "endpoint web", "10.0.0.2")


def test_subnet_may_be_added_and_widened_under_endpoints() -> None:
    topology = want(decided([LAN], [WEB]), name="lan0", subnets=["10.0.0.0/16", "fd00::/64"])
    assert texts(topology.networks["lan0"].gateways) == ["10.0.0.1", "fd00::1"]
    assert texts(topology.endpoints["web"].addresses) == ["10.0.0.2"]


def in_mode(mode: str, *ports: str) -> Topology:
    """The network lan0 in any mode, with publishes even where no request leads to them."""
    topology = decided([LAN], [WEB], [{"endpoint": "web", "ports": ports}])
    return topology.with_(networks={"lan0": replace(topology.networks["lan0"], mode=mode)})


@pytest.mark.parametrize(("old", "new"), list(permutations(MODES, 2)))
def test_mode_is_not_changed_under_publishes(old: str, new: str) -> None:
    refused(
        lambda: want(in_mode(old, "80:80"), name="lan0", mode=new),
        "Cannot change network lan0 from mode %s to %s" % (old, new),
        "endpoint web has published ports",
        "Remove them first with port_publish.",
    )
    assert want(in_mode(old), name="lan0", mode=new).networks["lan0"].mode == new


@pytest.mark.parametrize("mode", ["nat", "routed"])
def test_mode_that_stays_is_no_change(mode: str) -> None:
    topology = in_mode(mode, "80:80")
    assert want(topology, name="lan0", mode=mode) == topology
    assert want(topology, name="lan0", mtu=1400).networks["lan0"].mode == mode


def test_publishes_of_other_networks_do_not_hold_a_mode() -> None:
    topology = decided([LAN, DUAL], [WEB, BOTH], [{"endpoint": "both", "ports": ["80:80"]}])
    assert want(topology, name="lan0", mode="routed").networks["lan0"].mode == "routed"


@pytest.mark.parametrize(
    ("address", "subnet", "problem"),
    [
        ("10.0.0.127", "10.0.0.0/25", "the broadcast address of 10.0.0.0/25"),
        ("10.0.0.128", "10.0.0.128/25", "the network address of 10.0.0.128/25"),
        ("10.0.0.129", "10.0.0.128/25", "the gateway of 10.0.0.128/25"),
        ("10.0.0.200", "10.0.0.0/25", "outside network lan0 (10.0.0.0/25)"),
    ],
)
def test_address_of_an_endpoint_stays_one_that_it_can_have(address: str, subnet: str, problem: str) -> None:
    topology = decided([LAN], [{**WEB, "addresses": [address]}])
    refused(
        lambda: want(topology, name="lan0", subnets=[subnet]),
        "network lan0 to %s" % subnet,
        "endpoint web has the address %s, and it is %s" % (address, problem),
    )


def test_gateway_of_a_network_that_is_no_longer_isolated_is_no_endpoints() -> None:
    topology = decided([{**LAN, "mode": "isolated"}], [WEB])
    assert texts(topology.endpoints["web"].addresses) == ["10.0.0.1"]
    refused(lambda: want(topology, name="lan0", mode="nat"), "endpoint web has the address 10.0.0.1", "the gateway")


def test_route_of_an_endpoint_keeps_its_gateway_on_the_network() -> None:
    routes = [{"destination": "10.9.0.0/16", "via": "10.0.0.200"}, {"destination": "10.8.0.0/16"}]
    topology = decided([LAN], [{**WEB, "routes": routes}])
    refused(
        lambda: want(topology, name="lan0", subnets=["10.0.0.0/25"]),
        "network lan0 to 10.0.0.0/25",
        "endpoint web has a route via 10.0.0.200",
        "Change the endpoint's routes first.",
    )
    assert texts(want(topology, name="lan0", subnets=["10.0.0.0/16"]).networks["lan0"].subnets) == ["10.0.0.0/16"]


def test_subnet_does_not_become_the_destination_of_a_route() -> None:
    topology = decided([LAN], [{**WEB, "routes": [{"destination": "10.0.0.0/16", "via": "10.0.0.200"}]}])
    refused(lambda: want(topology, name="lan0", subnets=["10.0.0.0/16"]), "10.0.0.0/16 of endpoint web", "on the link")


def test_kept_allocate_from_stays_inside_the_subnets() -> None:
    topology = decided([{**LAN, "allocate_from": ["10.0.0.128/25"]}])
    refused(
        lambda: want(topology, name="lan0", subnets=["10.5.0.0/24"]),
        "network lan0 allocate from 10.0.0.128/25",
        "outside its subnets (10.5.0.0/24)",
    )
    after = want(topology, name="lan0", subnets=["10.5.0.0/24"], allocate_from=["10.5.0.128/25"])
    assert texts(after.networks["lan0"].allocate_from) == ["10.5.0.128/25"]
    assert texts(want(topology, name="lan0", subnets=["10.0.0.0/16"]).networks["lan0"].allocate_from) == [
        "10.0.0.128/25"
    ]


def test_kept_mtu_must_be_large_enough_for_ipv6() -> None:
    topology = decided([{**LAN, "mtu": 1279}])
    both = ["10.0.0.0/24", "fd00::/64"]
    refused(lambda: want(topology, name="lan0", subnets=both), "lan0", "MTU 1279", "from 1280", "'mtu'")
    assert want(topology, name="lan0", subnets=both, mtu=1280).networks["lan0"].mtu == 1280


def test_subnet_that_one_network_gives_up_may_go_to_another_in_the_same_call() -> None:
    topology = decided([LAN, {"name": "lan1", "subnets": ["10.1.0.0/24"]}])
    requests = [{"name": "lan0", "subnets": ["10.5.0.0/24"]}, {"name": "lan1", "subnets": ["10.0.0.0/24"]}]
    after = want_networks(topology, requests, on_link(("10.0.0.0/24", "lan0"), ("10.1.0.0/24", "lan1")))
    assert {name: texts(network.subnets) for name, network in after.networks.items()} == {
        "lan0": ["10.5.0.0/24"],
        "lan1": ["10.0.0.0/24"],
    }


@pytest.mark.parametrize(("changed", "other"), [("lan0", "lan1"), ("lan1", "lan0")])
def test_overlap_is_blamed_on_the_network_that_is_changed(changed: str, other: str) -> None:
    subnets = {"lan0": "10.0.0.0/24", "lan1": "10.1.0.0/24"}
    topology = decided([{"name": name, "subnets": [subnet]} for name, subnet in subnets.items()])
    refused(
        lambda: want(topology, on_link((subnets[other], other)), name=changed, subnets=["10.0.0.0/15"]),
        "Cannot give network %s the subnet 10.0.0.0/15" % changed,
        "overlaps %s of network %s" % (subnets[other], other),
    )


@pytest.mark.parametrize("mode", ["routed", "internal", "isolated"])
def test_masqueraded_network_stays_in_mode_nat(mode: str) -> None:
    topology = decided([LAN], masquerades=[{"network": "lan0"}])
    refused(lambda: want(topology, name="lan0", mode=mode), "lan0 %s" % mode, "it is masqueraded", "Remove that first")


def test_default_route_of_an_endpoint_keeps_a_network_from_getting_a_gateway() -> None:
    web = {**WEB, "routes": [{"destination": "0.0.0.0/0", "via": "10.0.0.9"}]}
    topology = decided([{**LAN, "mode": "internal"}], [web])
    refused(lambda: want(topology, name="lan0", mode="nat"), "lan0 nat", "endpoint web", "default route of its own")


@pytest.mark.parametrize("names", list(permutations(("lan0", "lan1"))))
def test_subnets_are_handed_over_in_one_call_in_any_order(names: tuple[str, str]) -> None:
    topology = decided([LAN, {"name": "lan1", "subnets": ["10.1.0.0/24"]}])
    new = {"lan0": ["10.6.0.0/24"], "lan1": ["10.0.0.0/24"]}
    facts = on_link(("10.0.0.0/24", "lan0"), ("10.1.0.0/24", "lan1"))
    after = want_networks(topology, [{"name": name, "subnets": new[name]} for name in names], facts)
    assert {name: [str(subnet) for subnet in after.networks[name].subnets] for name in new} == new


def test_network_in_place_of_one_that_is_pruned_may_have_its_subnet() -> None:
    facts = on_link(("10.0.0.0/24", "lan0"))
    after = want_networks(decided([LAN]), [{"name": "lan9", "subnets": ["10.0.0.0/24"]}], facts, prune=True)
    assert list(after.networks) == ["lan9"]


def test_gateway_stays_where_it_is_when_its_subnet_grows() -> None:
    topology = decided([{**LAN, "gateways": ["10.0.0.9"]}])
    after = want(topology, name="lan0", subnets=["10.0.0.0/16"])
    assert [str(gateway) for gateway in after.networks["lan0"].gateways] == ["10.0.0.9"]
