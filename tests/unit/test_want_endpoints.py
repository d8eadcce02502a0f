# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what a task asks about endpoints to the topology that is wanted."""

from __future__ import annotations

import typing as t
from ipaddress import ip_address, ip_network

import pytest
from ansible_collections.bridgeport.net.plugins.module_utils._model import Route
from ansible_collections.bridgeport.net.plugins.module_utils._topology import Topology
from ansible_collections.bridgeport.net.plugins.module_utils._want_endpoints import want_endpoints, without_endpoints
from samples import BOTH, DUAL, LAN, WEB, decided, refused

NETWORKS = decided([LAN, DUAL])


def want(topology: Topology, **request: t.Any) -> Topology:
    return want_endpoints(topology, [request])


def addresses(topology: Topology, name: str) -> list[str]:
    return list(map(str, topology.endpoints[name].addresses))


def test_new_endpoint_takes_its_defaults() -> None:
    endpoint = want(NETWORKS, name="web", network="lan0").endpoints["web"]
    assert list(map(str, endpoint.addresses)) == ["10.0.0.2"]
    assert (endpoint.network, endpoint.interface, endpoint.default_route) == ("lan0", "eth0", True)
    assert endpoint.host_interface == "bp-web"
    assert (endpoint.routes, endpoint.expose, endpoint.sysctls) == ((), (), ())
    assert (endpoint.nameservers, endpoint.search, endpoint.aliases) == ((), (), ())


def test_one_address_is_allocated_for_each_family() -> None:
    assert addresses(want(NETWORKS, name="both", network="dual0"), "both") == ["10.0.1.2", "fd00:1::2"]


def test_addresses_follow_the_order_of_requests_and_stay() -> None:
    names = ["c", "a", "b"]
    topology = want_endpoints(NETWORKS, [{"name": name, "network": "lan0"} for name in names])
    assert [addresses(topology, name) for name in names] == [["10.0.0.2"], ["10.0.0.3"], ["10.0.0.4"]]
    again = want_endpoints(topology, [{"name": name, "network": "lan0"} for name in sorted(names)])
    assert again == topology


def test_allocation_keeps_clear_of_addresses_given_in_the_same_call() -> None:
    requests = [WEB, {"name": "db", "network": "lan0", "addresses": ["10.0.0.2"]}]
    topology = want_endpoints(NETWORKS, requests)
    assert (addresses(topology, "web"), addresses(topology, "db")) == (["10.0.0.3"], ["10.0.0.2"])


def test_address_of_a_removed_endpoint_is_free_again() -> None:
    topology = without_endpoints(decided([LAN], [WEB, {"name": "db", "network": "lan0"}]), ["web"])
    assert addresses(want(topology, name="new", network="lan0"), "new") == ["10.0.0.2"]


def test_given_address_of_one_family_leaves_the_other_to_allocation() -> None:
    topology = want(NETWORKS, name="both", network="dual0", addresses=["fd00:1::99"])
    assert addresses(topology, "both") == ["fd00:1::99", "10.0.1.2"]
    assert want(topology, name="both", network="dual0", addresses=["fd00:1::99"]) == topology
    moved = want(topology, name="both", addresses=["10.0.1.50"])
    assert addresses(moved, "both") == ["10.0.1.50", "fd00:1::99"]


def test_several_addresses_of_one_family_are_given_in_order_once_each() -> None:
    asked = ["10.0.0.9", "10.0.0.8", "10.0.0.9"]
    assert addresses(want(NETWORKS, name="web", network="lan0", addresses=asked), "web") == ["10.0.0.9", "10.0.0.8"]


def test_ipv4_mapped_address_is_ipv4() -> None:
    assert addresses(want(NETWORKS, name="web", network="lan0", addresses=["::ffff:10.0.0.7"]), "web") == ["10.0.0.7"]


def test_address_outside_allocate_from_may_be_given() -> None:
    topology = decided(
        [{**LAN, "allocate_from": ["10.0.0.128/25"]}],
        [WEB, {"name": "db", "network": "lan0", "addresses": ["10.0.0.5"]}],
    )
    assert (addresses(topology, "web"), addresses(topology, "db")) == (["10.0.0.128"], ["10.0.0.5"])


def test_endpoint_gets_the_missing_family_when_its_network_learns_it() -> None:
    topology = decided([LAN], [WEB])
    topology = topology.with_(networks=decided([{**LAN, "subnets": ["10.0.0.0/24", "fd00::/64"]}]).networks)
    assert addresses(want(topology, name="web"), "web") == ["10.0.0.2", "fd00::2"]


def test_exhausted_network_is_refused() -> None:
    topology = decided([{"name": "tiny", "subnets": ["10.0.0.0/30"]}], [{"name": "one", "network": "tiny"}])
    refused(
        lambda: want(topology, name="two", network="tiny"),
        "IPv4",
        "endpoint two",
        "10.0.0.0/30 of network tiny is exhausted",
    )


def test_mac_is_derived_from_network_and_name_unless_given() -> None:
    topology = decided([LAN, DUAL], [WEB, {**WEB, "name": "db"}, {**WEB, "name": "own", "mac": "02-42-AC-11-00-02"}])
    macs = [topology.endpoints[name].mac for name in ("web", "db", "own")]
    assert macs == ["02:42:6c:2a:16:49", "02:42:c8:40:7b:f5", "02:42:ac:11:00:02"]
    assert want(topology, name="own", network="lan0").endpoints["own"].mac == "02:42:ac:11:00:02"


def test_derived_mac_gives_way_to_one_that_is_there() -> None:
    taken = decided([LAN], [WEB]).endpoints["web"].mac
    topology = decided([LAN], [{"name": "db", "network": "lan0", "mac": taken}])
    after = want(topology, name="web", network="lan0")
    assert after.endpoints["web"].mac != taken
    assert want(after, name="web", network="lan0") == after


def test_derived_mac_gives_way_to_one_given_before_it_in_the_same_call() -> None:
    taken = decided([LAN], [WEB]).endpoints["web"].mac
    topology = want_endpoints(NETWORKS, [{"name": "db", "network": "lan0", "mac": taken}, WEB])
    assert topology.endpoints["db"].mac == taken
    assert topology.endpoints["web"].mac != taken


def test_everything_given_is_taken() -> None:
    endpoint = want(
        NETWORKS,
        name="web",
        network="lan0",
        interface="ens3",
        default_route=False,
        routes=[{"destination": "10.9.0.0/16", "via": "10.0.0.254"}, {"destination": "10.8.0.0/16", "via": None}],
        expose=[5000, "53/udp"],
        sysctls={"net/ipv4/ip_forward": 1, "net.core.somaxconn": "4096"},
        nameservers=["192.0.2.53", "2001:DB8::53"],
        search=["example.org"],
        aliases=["www", "api"],
    ).endpoints["web"]
    assert (endpoint.interface, endpoint.default_route) == ("ens3", False)
    assert endpoint.routes == (
        Route(ip_network("10.9.0.0/16"), ip_address("10.0.0.254")),
        Route(ip_network("10.8.0.0/16"), None),
    )
    assert endpoint.expose == ((53, "udp"), (5000, "tcp"))
    assert endpoint.sysctls == (("net.core.somaxconn", "4096"), ("net.ipv4.ip_forward", "1"))
    assert endpoint.nameservers == ("192.0.2.53", "2001:db8::53")
    assert (endpoint.search, endpoint.aliases) == (("example.org",), ("www", "api"))


def test_option_that_is_not_given_keeps_what_there_is() -> None:
    before = want(
        NETWORKS,
        name="web",
        network="lan0",
        expose=[5000],
        sysctls={"net.core.somaxconn": "4096"},
        routes=[{"destination": "10.9.0.0/16", "via": "10.0.0.254"}],
        nameservers=["192.0.2.53"],
        search=["example.org"],
        aliases=["www"],
        default_route=False,
        interface="ens3",
    )
    assert want(before, name="web") == before
    after = want(
        before, name="web", expose=[], routes=[], sysctls={}, nameservers=[], search=[], aliases=[], default_route=True
    )
    endpoint = after.endpoints["web"]
    assert (endpoint.expose, endpoint.routes, endpoint.sysctls, endpoint.nameservers) == ((), (), (), ())
    assert (endpoint.search, endpoint.aliases, endpoint.default_route, endpoint.interface) == ((), (), True, "ens3")


@pytest.mark.parametrize(
    ("request_", "parts"),
    [
        ({"name": "../web"}, ["'../web'", "name of the endpoint"]),
        ({"name": "a" * 64}, ["a" * 64, "at most 63"]),
        ({"network": None}, ["endpoint web", "no network is given", "'network'"]),
        ({"network": "lan9"}, ["endpoint web", "network lan9", "does not exist", "dual0, lan0", "bridge_network"]),
        ({"addresses": ["10.0.0"]}, ["'10.0.0'", "endpoint web"]),
        ({"addresses": ["10.9.0.2"]}, ["10.9.0.2", "outside network lan0 (10.0.0.0/24)"]),
        ({"addresses": ["10.0.0.0"]}, ["10.0.0.0", "the network address"]),
        ({"addresses": ["10.0.0.255"]}, ["10.0.0.255", "the broadcast address"]),
        ({"addresses": ["10.0.0.1"]}, ["10.0.0.1", "the gateway"]),
        ({"mac": "01:00:5e:00:00:01"}, ["01:00:5e:00:00:01", "endpoint web"]),
        ({"interface": "an-interface-name"}, ["an-interface-name", "interface of endpoint web"]),
        ({"interface": "lo"}, ["'lo'", "interface of endpoint web"]),
        ({"routes": [{"destination": "10.9.0.1/16"}]}, ["10.9.0.1/16", "10.9.0.0/16"]),
        (
            {"routes": [{"destination": "10.9.0.0/16", "via": "10.7.0.1"}]},
            ["10.9.0.0/16", "10.7.0.1", "not on network lan0"],
        ),
        (
            {"network": "dual0", "routes": [{"destination": "fd09::/64", "via": "10.0.1.9"}]},
            ["fd09::/64", "10.0.1.9", "Choose one that is."],
        ),
        (
            {"routes": [{"destination": "fd09::/64"}]},
            ["fd09::/64 of endpoint web", "network lan0 has no IPv6 subnet", "Leave the route out."],
        ),
        (
            {"routes": [{"destination": "10.9.0.0/16", "via": "10.0.0.9"}, {"destination": "10.9.0.0/16"}]},
            ["10.9.0.0/16 of endpoint web", "by way of 10.0.0.9 and on the link itself", "Leave one of the two out."],
        ),
        (
            {"routes": [{"destination": "10.0.0.0/24", "via": "10.0.0.9"}]},
            ["10.0.0.0/24 of endpoint web", "on the link"],
        ),
        ({"routes": [{"destination": "10.0.0.0/24"}]}, ["10.0.0.0/24 of endpoint web", "on the link already"]),
        ({"addresses": ["fe80::1%eth0"]}, ["'fe80::1%eth0'", "address of endpoint web"]),
        ({"nameservers": ["fe80::1%eth0"]}, ["'fe80::1%eth0'", "nameserver of endpoint web"]),
        (
            {"network": "dual0", "routes": [{"destination": "fd09::/64", "via": "fd00:1::9%eth0"}]},
            ["'fd00:1::9%eth0'", "gateway of a route of endpoint web"],
        ),
        ({"expose": ["80:80"]}, ["Cannot expose '80:80' of endpoint web", "no host part"]),
        ({"sysctls": {"kernel.hostname": "x"}}, ["'kernel.hostname'", "endpoint web", "below 'net.'"]),
        ({"sysctls": {"net": "1"}}, ["'net'", "endpoint web"]),
        ({"sysctls": {"net/../kernel/panic": "1"}}, ["'net/../kernel/panic'", "endpoint web"]),
        ({"nameservers": ["dns.example.org"]}, ["'dns.example.org'", "nameserver of endpoint web"]),
        ({"search": ["example org"]}, ["'example org'", "search domain of endpoint web"]),
        ({"aliases": ["www\n127.0.0.1 evil"]}, ["alias of endpoint web", "is not a host name"]),
    ],
)
def test_wrong_request_is_refused(request_: dict[str, t.Any], parts: list[str]) -> None:
    refused(lambda: want(NETWORKS, **{**WEB, **request_}), *parts)


def test_routes_to_parts_of_the_subnet_and_to_the_other_subnet_are_routes() -> None:
    topology = decided([{"name": "two", "subnets": ["10.0.0.0/24", "10.0.1.0/24"]}])
    routes = [{"destination": "10.0.0.0/25", "via": "10.0.0.9"}, {"destination": "10.0.1.0/24"}]
    there = want(topology, name="web", network="two", routes=routes)
    assert len(there.endpoints["web"].routes) == 2
    refused(lambda: want(there, name="web", addresses=["10.0.1.9"]), "10.0.1.0/24 of endpoint web", "on the link")


DEFAULT_VIA: dict[str, t.Any] = {"routes": [{"destination": "0.0.0.0/0", "via": "10.0.0.9"}]}


def test_second_default_route_is_refused() -> None:
    parts = ("0.0.0.0/0 of endpoint web", "default route already", "'default_route: false'")
    refused(lambda: want(NETWORKS, **WEB, **DEFAULT_VIA), *parts)
    refused(lambda: want(NETWORKS, **WEB, **DEFAULT_VIA, default_route=True), *parts)
    without = want(NETWORKS, **WEB, **DEFAULT_VIA, default_route=False)
    assert without.endpoints["web"].routes == (Route(ip_network("0.0.0.0/0"), ip_address("10.0.0.9")),)
    refused(lambda: want(without, name="web", default_route=True), *parts)
    assert want(without, name="web", default_route=True, routes=[]).endpoints["web"].routes == ()


@pytest.mark.parametrize("mode", ["internal", "isolated"])
def test_default_route_of_its_own_is_the_only_one_in_a_sealed_network(mode: str) -> None:
    topology = want(decided([{**LAN, "mode": mode}]), **WEB, **DEFAULT_VIA)
    assert topology.endpoints["web"].routes == (Route(ip_network("0.0.0.0/0"), ip_address("10.0.0.9")),)


@pytest.mark.parametrize(
    ("value", "text"), [(True, "1"), (False, "0"), (1, "1"), ("1", "1"), (4096, "4096"), ("true", "true")]
)
def test_sysctl_is_written_as_the_kernel_reads_it(value: object, text: str) -> None:
    topology = want(NETWORKS, **WEB, sysctls={"net.ipv4.tcp_syncookies": value})
    assert topology.endpoints["web"].sysctls == (("net.ipv4.tcp_syncookies", text),)


def test_one_endpoint_is_asked_for_once() -> None:
    requests = [WEB, {"name": "db", "network": "lan0"}, {"name": "web", "addresses": ["10.0.0.9"]}]
    refused(lambda: want_endpoints(NETWORKS, requests), "endpoint web", "it is listed twice", "Make one entry")


def test_interface_is_not_renamed() -> None:
    before = want(NETWORKS, **WEB, interface="ens3")
    refused(
        lambda: want(before, name="web", interface="eth0"),
        "interface of endpoint web from ens3 to eth0",
        "Remove the endpoint first with state absent.",
    )
    assert want(before, name="web", interface="ens3") == want(before, name="web") == before


def test_endpoint_does_not_move_to_another_network() -> None:
    topology = decided([LAN, DUAL], [WEB])
    refused(
        lambda: want(topology, name="web", network="dual0"),
        "endpoint web",
        "network dual0",
        "joined to lan0",
        "state absent",
    )


def test_address_of_another_endpoint_is_refused() -> None:
    topology = decided([LAN], [WEB])
    refused(
        lambda: want(topology, name="db", network="lan0", addresses=["10.0.0.2"]),
        "endpoint db",
        "10.0.0.2",
        "endpoint web",
    )


def test_address_of_another_family_that_makes_publishes_collide_is_refused() -> None:
    topology = decided([DUAL], [BOTH])
    topology = decided(
        [{"name": "mixed", "subnets": ["10.0.0.0/24"]}, DUAL],
        [{"name": "old", "network": "mixed"}, BOTH],
        [{"endpoint": "old", "ports": ["8080:80"]}, {"endpoint": "both", "ports": ["[::]:8080:80"]}],
    )
    both_families = decided([{"name": "mixed", "subnets": ["10.0.0.0/24", "fd00:2::/64"]}, DUAL]).networks
    refused(
        lambda: want(topology.with_(networks=both_families), name="old"), "8080:80/tcp", "old", "both", "[::]:8080/tcp"
    )


# Removal


def test_removed_endpoint_takes_its_publishes_along() -> None:
    topology = decided(
        [LAN, DUAL], [WEB, BOTH], [{"endpoint": "web", "ports": ["80:80"]}, {"endpoint": "both", "ports": ["81:81"]}]
    )
    after = without_endpoints(topology, ["web", "unknown"])
    assert sorted(after.endpoints) == ["both"]
    assert [publish.endpoint for publish in after.publishes.values()] == ["both"]


def test_prune_removes_the_others_of_its_networks_only() -> None:
    topology = decided([LAN, DUAL], [WEB, {**WEB, "name": "old"}, BOTH], [{"endpoint": "old", "ports": ["80:80"]}])
    after = want_endpoints(topology, [WEB], prune=["lan0"])
    assert sorted(after.endpoints) == ["both", "web"]
    assert after.publishes == {}
    assert sorted(want_endpoints(topology, [], prune=["lan0"]).endpoints) == ["both"]


def test_pruned_address_is_free_for_a_new_endpoint_of_the_same_call() -> None:
    topology = decided([LAN], [{"name": "old", "network": "lan0"}])
    assert addresses(want_endpoints(topology, [WEB], prune=["lan0"]), "web") == ["10.0.0.2"]


def test_prune_of_an_unknown_network_is_refused() -> None:
    refused(
        lambda: want_endpoints(NETWORKS, [], prune=["lan9"]), "prune the endpoints of network lan9", "does not exist"
    )
