# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what a task asks about networks to the topology that is wanted."""

from __future__ import annotations

import typing as t
from ipaddress import ip_address

import pytest
from ansible_collections.bridgeport.net.plugins.module_utils._facts import StaticFacts
from ansible_collections.bridgeport.net.plugins.module_utils._model import Network
from ansible_collections.bridgeport.net.plugins.module_utils._topology import Topology
from ansible_collections.bridgeport.net.plugins.module_utils._want_networks import want_networks, without_networks
from samples import BOTH, DUAL, FACTS, LAN, Request, decided, on_link, refused


def want(topology: Topology, facts: StaticFacts = FACTS, **request: t.Any) -> Topology:
    return want_networks(topology, [request], facts)


def made(facts: StaticFacts = FACTS, **request: t.Any) -> Network:
    return want(Topology(), facts, **request).networks[request["name"]]


def texts(values: t.Iterable[object]) -> list[str]:
    return list(map(str, values))


def test_new_network_takes_dockers_defaults() -> None:
    network = made(name="docker0")
    assert texts(network.subnets) == ["172.17.0.0/16"]
    assert texts(network.gateways) == ["172.17.0.1"]
    assert (network.mode, network.icc, network.mtu, network.mac) == ("nat", True, 1500, "02:42:fd:42:9f:49")
    assert (network.allocate_from, network.trusted_interfaces) == ((), ())


def test_mtu_is_that_of_the_default_route() -> None:
    assert made(StaticFacts(default_mtu=9000), name="docker0").mtu == 9000


def test_subnet_is_picked_clear_of_networks_routes_and_nameservers() -> None:
    facts = StaticFacts(on_link=on_link(("172.18.0.0/24", "eth0")).on_link(), nameservers=[ip_address("172.19.0.53")])
    topology = want(want(Topology(), facts, name="docker0"), facts, name="docker1")
    assert texts(topology.networks["docker1"].subnets) == ["172.20.0.0/16"]


def test_picked_subnet_is_kept_whatever_the_host_looks_like_later() -> None:
    topology = want(Topology(), name="docker0")
    assert want(topology, on_link(("172.17.0.0/16", "docker0"), ("172.17.9.0/24", "eth0")), name="docker0") == topology


def test_everything_given_is_taken() -> None:
    network = made(
        name="br0",
        subnets=["10.1.0.0/16", "fd00::/64"],
        gateways=["fd00::5", "10.1.255.254"],
        allocate_from=["10.1.8.0/21"],
        mode="routed",
        icc=False,
        mtu=1400,
        mac="02-42-AC-11-00-02",
        trusted_interfaces=["eth1", "eth0", "eth1"],
    )
    assert texts(network.gateways) == ["10.1.255.254", "fd00::5"]
    assert texts(network.allocate_from) == ["10.1.8.0/21"]
    assert (network.mode, network.icc, network.mtu, network.mac) == ("routed", False, 1400, "02:42:ac:11:00:02")
    assert network.trusted_interfaces == ("eth0", "eth1")


def test_missing_gateway_is_the_first_host_address() -> None:
    assert texts(made(name="br0", subnets=["10.1.0.0/16", "fd00::/64"], gateways=["10.1.0.9"]).gateways) == [
        "10.1.0.9",
        "fd00::1",
    ]


def test_option_that_is_not_given_keeps_what_there_is() -> None:
    before = want(
        Topology(), name="br0", subnets=["10.1.0.0/16"], gateways=["10.1.0.9"], icc=False, mtu=1400, mode="routed"
    )
    assert want(before, name="br0") == before
    after = want(before, name="br0", mtu=1300).networks["br0"]
    assert (texts(after.gateways), after.icc, after.mtu, after.mode) == (["10.1.0.9"], False, 1300, "routed")


def test_list_that_is_given_empty_is_emptied() -> None:
    before = want(
        Topology(), name="br0", subnets=["10.1.0.0/16"], allocate_from=["10.1.8.0/21"], trusted_interfaces=["eth0"]
    )
    after = want(before, name="br0", allocate_from=[], trusted_interfaces=[]).networks["br0"]
    assert (after.allocate_from, after.trusted_interfaces) == ((), ())


def test_gateway_is_kept_for_the_subnets_that_stay() -> None:
    before = want(Topology(), name="br0", subnets=["10.1.0.0/16", "10.2.0.0/16"], gateways=["10.1.0.9", "10.2.0.9"])
    after = want(before, name="br0", subnets=["10.3.0.0/16", "10.2.0.0/16"]).networks["br0"]
    assert texts(after.gateways) == ["10.3.0.1", "10.2.0.9"]


@pytest.mark.parametrize(
    ("request_", "parts"),
    [
        ({"name": "a" * 16}, ["a" * 16, "at most 15"]),
        ({"name": "bad name"}, ["'bad name'", "Choose another name."]),
        ({"name": "host"}, ["network host", "the host's own", "Choose another name."]),
        ({"name": "none"}, ["network none", "no network at all"]),
        ({"subnets": []}, ["br0", "'subnets' is an empty list", "leave the option out"]),
        ({"subnets": ["10.1.0.1/16"]}, ["10.1.0.1/16", "br0", "10.1.0.0/16"]),
        ({"subnets": ["10.1.0.0"]}, ["10.1.0.0", "prefix length is missing"]),
        ({"subnets": ["10.1.0.0/16", "fe00::/8"]}, ["fe00::/8", "overlaps the link-local range", "Choose a private"]),
        ({"subnets": ["0.0.0.0/0"]}, ["0.0.0.0/0", "it is the whole Internet"]),
        ({"subnets": ["::/0"]}, ["::/0", "it is the whole Internet"]),
        ({"subnets": ["10.1.0.7/32"]}, ["10.1.0.7/32", "room for one address only"]),
        ({"subnets": ["fd00::7/128"]}, ["fd00::7/128", "room for one address only"]),
        ({"subnets": ["10.1.0.0/16", "10.1.5.0/24"]}, ["10.1.5.0/24", "overlaps 10.1.0.0/16"]),
        ({"gateways": ["gateway"]}, ["'gateway'", "gateway of network br0"]),
        ({"subnets": ["fd00::/64"], "gateways": ["fd00::1%eth0"]}, ["'fd00::1%eth0'", "gateway of network br0"]),
        ({"gateways": ["10.2.0.1"]}, ["10.2.0.1", "outside the subnet 10.1.0.0/16"]),
        ({"gateways": ["fd00::1"]}, ["fd00::1", "outside the subnet 10.1.0.0/16"]),
        ({"gateways": ["10.1.0.0"]}, ["10.1.0.0", "the network address"]),
        ({"gateways": ["10.1.255.255"]}, ["10.1.255.255", "the broadcast address"]),
        (
            {"gateways": ["10.1.0.1", "10.1.0.2"]},
            ["10.1.0.2", "10.1.0.1 is already the gateway", "one for each subnet"],
        ),
        ({"allocate_from": ["10.2.0.0/24"]}, ["10.2.0.0/24", "outside its subnets (10.1.0.0/16)"]),
        ({"allocate_from": ["10.0.0.0/8"]}, ["10.0.0.0/8", "outside its subnets (10.1.0.0/16)"]),
        ({"allocate_from": ["fd00::/64"]}, ["fd00::/64", "outside its subnets (10.1.0.0/16)"]),
        ({"allocate_from": ["10.1.0.1/24"]}, ["10.1.0.1/24", "10.1.0.0/24"]),
        ({"mtu": 67}, ["br0", "MTU 67", "from 68 to 65535"]),
        ({"mtu": 65536}, ["br0", "MTU 65536", "from 68 to 65535"]),
        ({"subnets": ["fd00::/64"], "mtu": 1279}, ["MTU 1279", "from 1280 to 65535"]),
        ({"mac": "ff:ff:ff:ff:ff:ff"}, ["ff:ff:ff:ff:ff:ff", "network br0"]),
        (
            {"trusted_interfaces": ["eth0", "an-interface-name"]},
            ["an-interface-name", "trusted interface of network br0"],
        ),
    ],
)
def test_wrong_request_is_refused(request_: dict[str, t.Any], parts: list[str]) -> None:
    refused(lambda: want(Topology(), **{"name": "br0", "subnets": ["10.1.0.0/16"], **request_}), *parts)


@pytest.mark.parametrize(
    ("subnet", "range_"),
    [
        ("0.0.0.0/24", "0.0.0.0/8"),
        ("0.0.0.0/7", "0.0.0.0/8"),
        ("127.0.1.0/24", "the loopback range"),
        ("126.0.0.0/7", "the loopback range"),
        ("169.254.9.0/24", "the link-local range"),
        ("168.0.0.0/7", "the link-local range"),
        ("224.0.0.0/24", "the multicast range"),
        ("192.0.0.0/2", "the multicast range"),
        ("::/127", "the unspecified address"),
        ("::/64", "the unspecified address"),
        ("fe80::/64", "the link-local range"),
        ("fe00::/8", "the link-local range"),
        ("ff02::/64", "the multicast range"),
        ("fe00::/7", "the link-local range"),
    ],
)
def test_subnet_that_overlaps_a_special_range_is_refused(subnet: str, range_: str) -> None:
    refused(lambda: made(name="br0", subnets=[subnet]), "network br0", subnet, "it overlaps %s" % range_)


@pytest.mark.parametrize(
    "subnet", ["1.0.0.0/8", "126.0.0.0/8", "128.0.0.0/8", "169.253.0.0/16", "fe00::/9", "fd00::/8"]
)
def test_neighbour_of_a_special_range_is_accepted(subnet: str) -> None:
    assert texts(made(name="br0", subnets=[subnet]).subnets) == [subnet]


def test_one_network_is_asked_for_once() -> None:
    requests = [LAN, DUAL, {"name": "lan0", "mtu": 1400}]
    refused(lambda: want_networks(Topology(), requests, FACTS), "network lan0", "it is listed twice", "Make one entry")


def test_default_mtu_that_is_too_small_for_ipv6_is_refused() -> None:
    facts = StaticFacts(default_mtu=1279)
    refused(lambda: made(facts, name="br0", subnets=["fd00::/64"]), "br0", "MTU 1279", "from 1280", "'mtu'")
    assert made(facts, name="br0", subnets=["10.1.0.0/16"]).mtu == 1279
    assert made(facts, name="br0", subnets=["fd00::/64"], mtu=1280).mtu == 1280


@pytest.mark.parametrize(
    ("subnets", "mtu"), [(["10.1.0.0/16"], 68), (["10.1.0.0/16", "fd00::/64"], 1280), (["10.1.0.0/16"], 65535)]
)
def test_mtu_at_its_bounds_is_accepted(subnets: list[str], mtu: int) -> None:
    assert made(name="br0", subnets=subnets, mtu=mtu).mtu == mtu


def test_subnet_of_another_network_is_refused() -> None:
    topology = decided([LAN])
    refused(
        lambda: want(topology, name="br1", subnets=["10.0.0.128/25"]),
        "br1",
        "10.0.0.128/25",
        "10.0.0.0/24 of network lan0",
    )


def test_two_networks_of_one_call_must_not_overlap() -> None:
    requests = [{"name": "br0", "subnets": ["10.1.0.0/16"]}, {"name": "br1", "subnets": ["10.1.2.0/24"]}]
    refused(lambda: want_networks(Topology(), requests, FACTS), "br1", "10.1.2.0/24", "br0")


def test_subnet_that_the_host_has_elsewhere_is_refused_with_the_interface() -> None:
    facts = on_link(("10.1.2.0/24", "eth0"))
    refused(
        lambda: made(facts, name="br0", subnets=["10.1.0.0/16"]),
        "10.1.0.0/16",
        "10.1.2.0/24",
        "interface eth0",
        "Choose",
    )


def test_own_bridge_on_the_host_is_no_overlap() -> None:
    assert made(on_link(("10.1.0.0/16", "br0")), name="br0", subnets=["10.1.0.0/16"]).name == "br0"


def test_subnet_that_is_ours_already_is_not_held_against_the_host() -> None:
    before = want(Topology(), name="br0", subnets=["10.1.0.0/16"])
    assert want(before, on_link(("10.1.2.0/24", "eth0")), name="br0", subnets=["10.1.0.0/16"]) == before


def test_picked_subnet_keeps_clear_of_those_given_in_the_same_call() -> None:
    requests: list[Request] = [{"name": "picked"}, {"name": "given", "subnets": ["172.17.0.0/16"]}]
    for asked in (requests, requests[::-1]):
        after = want_networks(Topology(), asked, FACTS)
        assert [str(subnet) for subnet in after.networks["picked"].subnets] == ["172.18.0.0/16"]
    # One that is there moves onto what would be the next to pick.
    there = want(Topology(), name="given", subnets=["10.0.0.0/24"])
    after = want_networks(there, requests, FACTS)
    assert [str(subnet) for subnet in after.networks["picked"].subnets] == ["172.18.0.0/16"]


# Removal


def test_removed_network_takes_its_masquerade_along_and_nothing_else() -> None:
    topology = decided([LAN, DUAL], [BOTH], [], [{"network": "lan0"}, {"network": "dual0"}, {"source": "10.9.0.0/24"}])
    after = without_networks(topology, ["lan0", "unknown"])
    assert sorted(after.networks) == ["dual0"]
    assert sorted(after.masquerades) == ["10.9.0.0/24", "dual0"]
    assert sorted(after.endpoints) == ["both"]


def test_network_with_endpoints_is_not_removed() -> None:
    endpoints = [{"name": "e%d" % number, "network": "lan0"} for number in range(7)]
    text = refused(
        lambda: without_networks(decided([LAN], endpoints), ["lan0"]), "network lan0", "e0, e1, e2, e3, e4 and 2 more"
    )
    assert text.endswith("Remove them first with veth_endpoint.")


def test_prune_removes_the_networks_that_are_not_requested() -> None:
    topology = decided([LAN, DUAL], masquerades=[{"network": "dual0"}])
    after = want_networks(topology, [LAN], FACTS, prune=True)
    assert sorted(after.networks) == ["lan0"]
    assert after.masquerades == {}


def test_prune_leaves_everything_alone_if_an_endpoint_is_joined() -> None:
    topology = decided([LAN, DUAL], [BOTH])
    refused(lambda: want_networks(topology, [LAN], FACTS, prune=True), "network dual0", "both")
