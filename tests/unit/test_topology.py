# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must hold between the objects of one host."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from ansible_collections.bridgeport.net.plugins.module_utils._hostports import Binding
from ansible_collections.bridgeport.net.plugins.module_utils._model import (
    Address,
    Endpoint,
    Network,
    Publish,
    host_interface_name,
)
from ansible_collections.bridgeport.net.plugins.module_utils._topology import Topology, once_for_each
from samples import BOTH, DUAL, LAN, WEB, decided, refused


def network(name: str, *subnets: str) -> Network:
    parsed = tuple(map(ip_network, subnets))
    return Network(name, parsed, tuple(subnet.network_address + 1 for subnet in parsed), 1500, "02:42:00:00:00:01")


def endpoint(name: str, address: str, mac: str, where: str = "lan0") -> Endpoint:
    return Endpoint(name, where, (ip_address(address),), mac)


def topology(networks: list[Network], endpoints: list[Endpoint]) -> Topology:
    return Topology({item.name: item for item in networks}, {item.name: item for item in endpoints})


LAN0, LAN1 = network("lan0", "10.0.0.0/16"), network("lan1", "10.1.0.0/16")
MACS = ["02:42:00:00:%02x:%02x" % divmod(number, 256) for number in range(2048)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["10.0.0.0/24"], ["10.0.0.0/24"]),
        (["10.0.0.0/16"], ["10.0.5.0/24"]),
        (["10.0.5.0/24"], ["10.0.0.0/16"]),
        (["10.1.0.0/24", "fd00::/64"], ["10.2.0.0/24", "fd00::/48"]),
    ],
)
def test_overlapping_networks_are_refused(one: list[str], other: list[str]) -> None:
    both = topology([network("lan0", *one), network("lan1", *other)], [])
    refused(
        both.check, "network lan1", other[-1], "overlaps %s of network lan0" % one[-1], "Choose a subnet that is free."
    )


def test_overlap_within_one_network_is_refused() -> None:
    refused(topology([network("lan0", "10.0.0.0/16", "10.0.1.0/24")], []).check, "10.0.1.0/24", "overlaps 10.0.0.0/16")


def test_neighbouring_subnets_are_fine() -> None:
    topology(
        [network("lan0", "10.0.0.0/24", "fd00::/64"), network("lan1", "10.0.1.0/24", "fd00:0:0:1::/64")], []
    ).check()


def test_address_is_given_once() -> None:
    both = topology([LAN0], [endpoint("web", "10.0.0.2", MACS[0]), endpoint("db", "10.0.0.2", MACS[1])])
    refused(both.check, "endpoint db the address 10.0.0.2", "endpoint web has it", "Choose another address")


def test_mac_is_given_once_on_a_bridge_and_again_on_another() -> None:
    web = endpoint("web", "10.0.0.2", MACS[0])
    refused(
        topology([LAN0], [web, endpoint("db", "10.0.0.3", MACS[0])]).check,
        "endpoint db the MAC address %s" % MACS[0],
        "endpoint web has it",
    )
    topology([LAN0, LAN1], [web, endpoint("db", "10.1.0.2", MACS[0], "lan1")]).check()


def test_two_endpoints_with_one_host_interface_are_refused() -> None:
    long = "a-service-with-a-long-name"
    short = host_interface_name(long)[len("bp-") :]
    both = topology([LAN0], [endpoint(long, "10.0.0.2", MACS[0]), endpoint(short, "10.0.0.3", MACS[1])])
    refused(both.check, "endpoint %s" % short, "host interface bp-%s" % short, "endpoint %s has it" % long)


def test_bridge_and_host_interface_of_one_name_are_refused() -> None:
    both = topology([LAN0, network("bp-web", "10.1.0.0/16")], [endpoint("web", "10.0.0.2", MACS[0])])
    refused(both.check, "endpoint web the host interface bp-web", "the bridge of network bp-web has it")
    topology([LAN0, network("bp-db", "10.1.0.0/16")], [endpoint("web", "10.0.0.2", MACS[0])]).check()


def test_bridge_takes_1023_endpoints_and_no_more() -> None:
    def joined(count: int) -> Topology:
        first = int(ip_address("10.0.0.2"))
        address: list[Address] = [ip_address(first + number) for number in range(count)]
        return topology([LAN0], [endpoint("e%d" % n, str(address[n]), MACS[n]) for n in range(count)])

    joined(1023).check()
    refused(joined(1024).check, "endpoint e1023", "network lan0", "at most 1023 ports", "second network")


def test_colliding_publishes_are_refused_with_both_owners() -> None:
    there = decided([LAN], [WEB, {"name": "db", "network": "lan0"}])
    publishes = [
        Publish("web", 80, "tcp", "", 8080, 8080, 8080),
        Publish("db", 80, "tcp", "10.9.9.9", 8080, 8080, 8080),
    ]
    there = there.with_(publishes={publish.key: publish for publish in publishes})
    refused(there.port_book, "10.9.9.9:8080:80/tcp for endpoint db", "10.9.9.9:8080/tcp", "8080:80/tcp of endpoint web")


def test_port_book_knows_the_owner_of_each_binding() -> None:
    there = decided([DUAL], [BOTH], [{"endpoint": "both", "ports": ["8080:80"]}])
    (publish,) = there.publishes.values()
    book = there.port_book()
    assert [str(binding) for binding in there.bindings(publish)] == ["0.0.0.0:8080/tcp", "[::]:8080/tcp"]
    assert [book.owner(binding) for binding in there.bindings(publish)] == [publish, publish]
    assert book.owner(Binding(4, "tcp", "", 8081)) is None


def test_objects_are_listed_in_order() -> None:
    requests = [{"name": name, "network": "lan0"} for name in ("web", "api", "db")]
    there = decided([LAN], requests, [{"endpoint": "web", "ports": ["82:82", "80:80", "81:81"]}])
    assert [item.name for item in there.endpoints_of("lan0")] == ["api", "db", "web"]
    assert there.endpoints_of("lan1") == []
    assert [item.endpoint_port for item in there.publishes_of("web")] == [80, 81, 82]
    assert there.network_of(there.publishes_of("web")[0]).name == "lan0"


def test_topology_is_never_changed_in_place() -> None:
    there = decided([LAN], [WEB])
    more = there.with_(networks={**there.networks, "lan1": replace(LAN1)})
    assert sorted(more.networks) == ["lan0", "lan1"]
    assert sorted(there.networks) == ["lan0"]
    assert more.endpoints == there.endpoints


def test_empty_topology() -> None:
    assert Topology().empty
    assert not decided([LAN]).empty
    assert not decided(masquerades=[{"source": "10.9.0.0/24"}]).empty


def test_what_is_derived_is_derived_once_for_each_topology() -> None:
    derived = []

    @once_for_each
    def names(topology: Topology) -> list[str]:
        derived.append(topology)
        return sorted(topology.endpoints)

    one = decided([LAN], [WEB])
    other = one.with_(endpoints={})
    assert names(one) == ["web"] and names(one) is names(one)
    assert names(other) == [] and names(one) == ["web"]
    assert derived == [one, other]
    assert one == decided([LAN], [WEB]) and one != other
