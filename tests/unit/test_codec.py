# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The topology as JSON and back."""

from __future__ import annotations

import copy
import json
import typing as t

import pytest
from ansible_collections.bridgeport.net.plugins.module_utils._codec import (
    describe_endpoint,
    describe_masquerade,
    describe_network,
    describe_publish,
    topology_from_json,
    topology_to_json,
)
from ansible_collections.bridgeport.net.plugins.module_utils._errors import RecordError
from ansible_collections.bridgeport.net.plugins.module_utils._topology import Topology
from ansible_collections.bridgeport.net.plugins.module_utils._want_networks import want_networks
from samples import BOTH, DUAL, FACTS, LAN, WEB, decided

FULL = decided(
    [
        {**LAN, "mtu": 1400, "mac": "02:42:00:00:00:01", "icc": False, "trusted_interfaces": ["eth1", "eth0"]},
        {**DUAL, "allocate_from": ["10.0.1.128/25"], "gateways": ["fd00:1::9"]},
    ],
    [
        {**WEB, "mac": "02:42:00:00:00:02"},
        {
            "name": "full",
            "network": "dual0",
            "mac": "02:42:00:00:00:03",
            "interface": "ens3",
            "default_route": False,
            "routes": [{"destination": "10.9.0.0/16", "via": "10.0.1.1"}, {"destination": "fd09::/64"}],
            "expose": ["53/udp", 5000],
            "sysctls": {"net.ipv4.tcp_syncookies": 1, "net.core.somaxconn": "4096"},
            "nameservers": ["192.0.2.53", "2001:db8::53"],
            "search": ["example.org"],
            "aliases": ["www"],
            "guard": False,
        },
    ],
    [{"endpoint": "full", "ports": ["127.0.0.1:8443:443", "8000-8010:80/udp", "9000"]}],
    [{"network": "lan0"}, {"source": "10.50.0.0/24", "except_out_interface": "br9", "to_source": "203.0.113.7"}],
)


def test_every_property_survives_the_file() -> None:
    assert topology_from_json(json.loads(json.dumps(topology_to_json(FULL)))) == FULL


def test_empty_topology_survives_the_file() -> None:
    written = topology_to_json(Topology())
    assert written == {"networks": [], "endpoints": [], "publishes": [], "masquerades": []}
    assert topology_from_json(written) == Topology()


def test_order_of_the_file_does_not_depend_on_the_order_of_requests() -> None:
    one = decided([LAN, DUAL], [WEB], [{"endpoint": "web", "ports": ["80:80", "81:81"]}])
    other = decided([DUAL, LAN], [WEB], [{"endpoint": "web", "ports": ["81:81", "80:80"]}])
    assert json.dumps(topology_to_json(one)) == json.dumps(topology_to_json(other))


def test_network_is_described_under_the_names_of_its_options() -> None:
    assert describe_network(FULL.networks["dual0"]) == {
        "name": "dual0",
        "subnets": ["10.0.1.0/24", "fd00:1::/64"],
        "gateways": ["10.0.1.1", "fd00:1::9"],
        "allocate_from": ["10.0.1.128/25"],
        "mode": "nat",
        "icc": True,
        "mtu": 1500,
        "mac": "02:42:13:09:11:bd",
        "trusted_interfaces": [],
    }


def test_endpoint_is_described_with_its_namespace_and_host_interface() -> None:
    assert describe_endpoint(FULL.endpoints["full"]) == {
        "name": "full",
        "network": "dual0",
        "addresses": ["10.0.1.128", "fd00:1::1"],
        "mac": "02:42:00:00:00:03",
        "interface": "ens3",
        "host_interface": "bp-full",
        "namespace": "/run/netns/full",
        "default_route": False,
        "routes": [{"destination": "10.9.0.0/16", "via": "10.0.1.1"}, {"destination": "fd09::/64", "via": None}],
        "expose": ["53/udp", "5000/tcp"],
        "sysctls": {"net.core.somaxconn": "4096", "net.ipv4.tcp_syncookies": "1"},
        "nameservers": ["192.0.2.53", "2001:db8::53"],
        "search": ["example.org"],
        "aliases": ["www"],
        "guard": False,
    }


def test_publish_is_described_with_what_it_got() -> None:
    assert [describe_publish(publish) for publish in FULL.publishes_of("full")] == [
        {
            "endpoint": "full",
            "host_address": address,
            "host_port": host_port,
            "endpoint_port": port,
            "protocol": protocol,
            "loopback": "nat",
            "sources": [],
        }
        for address, host_port, port, protocol in [
            ("", 8000, 80, "udp"),
            ("127.0.0.1", 8443, 443, "tcp"),
            ("", 49153, 9000, "tcp"),
        ]
    ]


def test_masquerade_is_described_without_what_does_not_apply() -> None:
    assert describe_masquerade(FULL.masquerades["lan0"]) == {"network": "lan0"}
    assert describe_masquerade(FULL.masquerades["10.50.0.0/24"]) == {
        "source": "10.50.0.0/24",
        "except_out_interface": "br9",
        "to_source": "203.0.113.7",
    }


def damaged(change: t.Callable[[t.Any], object]) -> t.Any:
    data = copy.deepcopy(topology_to_json(FULL))
    change(data)
    return data


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("networks"),
        lambda data: data.update(endpoints=None),
        lambda data: data.update(publishes=["80:80"]),
        lambda data: data["networks"][0].pop("mtu"),
        lambda data: data["networks"][0].update(subnets=["10.0.0.1/24"]),
        lambda data: data["networks"][0].update(mtu="large"),
        lambda data: data["networks"][0].update(mtu=float("inf")),
        lambda data: data["networks"][0].update(mtu=float("nan")),
        lambda data: data["networks"][0].update(icc="no"),
        lambda data: data["networks"][0].update(icc=1),
        lambda data: data["networks"][0].update(mode="bogus"),
        lambda data: data["networks"][0].update(mode=["nat"]),
        lambda data: data["endpoints"][0].update(default_route="no"),
        lambda data: data["networks"][0].update(gateways=["gateway"]),
        lambda data: data["endpoints"][0].update(addresses=["10.0.0"]),
        lambda data: data["endpoints"][0].update(sysctls=[]),
        lambda data: data["endpoints"][0].update(routes=[{"destination": "10.0.0.0/8"}]),
        lambda data: data["endpoints"][0].update(expose=["http/tcp"]),
        lambda data: data["publishes"][0].update(asked=[80]),
        lambda data: data["publishes"][0].update(host_port=None),
        lambda data: data["masquerades"][0].update(to_source="me"),
    ],
)
def test_damaged_record_is_refused(change: t.Callable[[t.Any], object]) -> None:
    with pytest.raises(RecordError):
        topology_from_json(damaged(change))


def test_infinity_that_json_lets_pass_is_refused() -> None:
    text = json.dumps(damaged(lambda data: data["networks"][0].update(mtu=float("inf"))))
    assert "Infinity" in text
    with pytest.raises(RecordError):
        topology_from_json(json.loads(text))


@pytest.mark.parametrize("data", [None, [], "", 5, {}])
def test_something_else_than_a_topology_is_refused(data: object) -> None:
    with pytest.raises(RecordError):
        topology_from_json(data)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda data: data["endpoints"][1].update(network="gone"),
            "endpoint web names the network gone, which is not there",
        ),
        (
            lambda data: data["publishes"][0].update(endpoint="gone"),
            "a publish names the endpoint gone, which is not there",
        ),
        (
            lambda data: data["masquerades"][1].update(network="gone"),
            "a masquerade names the network gone, which is not there",
        ),
    ],
)
def test_reference_into_nothing_is_refused_by_name(change: t.Callable[[t.Any], object], words: str) -> None:
    with pytest.raises(RecordError) as caught:
        topology_from_json(damaged(change))
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("masquerades", "source", "fd00::%x; flush ruleset/64"),
        ("masquerades", "to_source", "fe80::1%x; flush ruleset"),
        ("networks", "subnets", ["fd00::%x; flush ruleset/64"]),
        ("networks", "mtu", True),
        ("endpoints", "addresses", ["fd00::1%eth0"]),
        ("publishes", "protocol", "x; flush ruleset"),
        ("publishes", "loopback", "y"),
        ("publishes", "host_port", "80"),
        ("publishes", "host_port", 65536),
        ("publishes", "endpoint_port", 0),
        ("publishes", "asked", [81, 80]),
        ("publishes", "host_address", "192.0.2.1 } ; flush ruleset"),
        ("publishes", "sources", "192.0.2.1"),
        ("networks", "name", 'lan0" accept; #'),
        ("networks", "name", "lan0\n"),
        ("networks", "name", "\ud800"),
        ("networks", "mtu", 67),
        ("networks", "mac", "x"),
        ("networks", "trusted_interfaces", ['eth0" } accept']),
        ("networks", "gateways", []),
        ("networks", "gateways", ["10.9.0.1"]),
        ("networks", "subnets", []),
        ("endpoints", "name", "../../etc"),
        ("endpoints", "interface", "eth0/x"),
        ("endpoints", "mac", "02:42:00:00:00:01 ; flush ruleset"),
        ("endpoints", "addresses", ["192.0.2.1"]),
        ("endpoints", "aliases", ["www\n127.0.0.1 bank"]),
        ("endpoints", "search", ["example.org\nnameserver 192.0.2.1"]),
        ("endpoints", "nameservers", ["192.0.2.1\nsearch evil"]),
        ("endpoints", "nameservers", "192.0.2.1"),
        ("endpoints", "sysctls", {"net/../../kernel/x": "1"}),
        ("endpoints", "sysctls", {"kernel.core_pattern": "|/bin/sh"}),
        ("endpoints", "expose", ["80/icmp"]),
        ("masquerades", "network", "lan0"),
        ("masquerades", "source", ""),
        ("masquerades", "except_out_interface", 'br9" } accept'),
    ],
)
def test_record_that_would_put_foreign_words_into_the_rules_is_refused(kind: str, key: str, value: t.Any) -> None:
    topology = decided([LAN], [WEB], [{"endpoint": "web", "ports": ["80:80"]}], [{"source": "10.9.0.0/24"}])
    data = topology_to_json(topology)
    data[kind][0][key] = value
    with pytest.raises(RecordError):
        topology_from_json(data)


@pytest.mark.parametrize("kind", ["networks", "endpoints", "publishes", "masquerades"])
def test_object_that_is_recorded_twice_is_refused(kind: str) -> None:
    with pytest.raises(RecordError, match="is there twice"):
        topology_from_json(damaged(lambda data: data[kind].append(copy.deepcopy(data[kind][0]))))


def test_what_contradicts_the_rest_of_the_record_is_refused() -> None:
    data = topology_to_json(decided([LAN, DUAL], [WEB, BOTH]))
    data["endpoints"][1]["mac"] = data["endpoints"][0]["mac"]
    topology_from_json(data)
    data["networks"][1]["subnets"], data["networks"][1]["gateways"] = ["10.0.0.0/16"], ["10.0.255.1"]
    with pytest.raises(RecordError, match="it overlaps"):
        topology_from_json(data)


def test_endpoint_that_has_no_address_in_a_later_subnet_is_read() -> None:
    topology = want_networks(decided([LAN], [WEB]), [{**LAN, "subnets": ["10.0.0.0/24", "fd00::/64"]}], FACTS)
    assert topology_from_json(topology_to_json(topology)) == topology
