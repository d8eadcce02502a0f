# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Host ports: who has which, and what collides.

The U numbers are those of moby's port-allocation table (TestAddPortMappings), adapted: there is no proxy here, so an
endpoint serves the IP versions that it has addresses of, and a host address of another version is refused.
"""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.bridgeport.net.plugins.module_utils._errors import StateError
from ansible_collections.bridgeport.net.plugins.module_utils._facts import CheckedFacts, HostFacts, StaticFacts
from ansible_collections.bridgeport.net.plugins.module_utils._hostports import Binding, Holder, HostPorts, held_warnings
from ansible_collections.bridgeport.net.plugins.module_utils._topology import Topology
from ansible_collections.bridgeport.net.plugins.module_utils._want_rules import want_publishes
from samples import BOTH, DUAL, LAN, WEB, decided, refused

HOST = decided([LAN, DUAL], [WEB, {"name": "db", "network": "lan0"}, BOTH])


def host(
    *holders: Holder, free: tuple[int, int] = (49153, 65535), reserved: t.Collection[int] = frozenset()
) -> StaticFacts:
    return StaticFacts(ports=HostPorts(free, frozenset(reserved), holders))


def held(port: int, version: int = 4, protocol: str = "tcp", address: str = "") -> Holder:
    return Holder(version, protocol, address, port, "nginx (process 42)")


def publish(topology: Topology, endpoint: str, *ports: object, facts: HostFacts | None = None) -> Topology:
    return want_publishes(topology, [{"endpoint": endpoint, "ports": list(ports)}], facts or host())


def bindings(topology: Topology, endpoint: str) -> list[str]:
    """``HOST -> ENDPOINT_PORT/PROTOCOL`` of each binding, in the order of publishes."""
    return [
        "%s -> %d" % (binding, there.endpoint_port)
        for there in topology.publishes_of(endpoint)
        for binding in topology.bindings(there)
    ]


# U1 to U21


def test_u1_free_ports_follow_each_other_and_are_the_same_in_both_families() -> None:
    assert bindings(publish(HOST, "both", "22", "80"), "both") == [
        "0.0.0.0:49153/tcp -> 22",
        "[::]:49153/tcp -> 22",
        "0.0.0.0:49154/tcp -> 80",
        "[::]:49154/tcp -> 80",
    ]


def test_u2_exact_port_is_taken_in_both_families() -> None:
    assert bindings(publish(HOST, "both", "8080:80"), "both") == ["0.0.0.0:8080/tcp -> 80", "[::]:8080/tcp -> 80"]


@pytest.mark.parametrize("version", [4, 6])
def test_u3_exact_port_of_a_process_is_refused_and_nothing_is_left_behind(version: int) -> None:
    before = dict(HOST.publishes)
    shown = {4: "0.0.0.0:8080/tcp", 6: "[::]:8080/tcp"}[version]
    refused(
        lambda: publish(HOST, "both", "8080:80", facts=host(held(8080, version))),
        "8080:80/tcp",
        "endpoint both",
        "host port %s is held by nginx (process 42)" % shown,
        "Stop that process or choose another host port.",
        kind=StateError,
    )
    assert dict(HOST.publishes) == before == {}


def test_u5_ipv4_mapped_host_address_is_ipv4_only() -> None:
    assert bindings(publish(HOST, "both", "[::ffff:127.0.0.1]:8080:80"), "both") == ["127.0.0.1:8080/tcp -> 80"]


def test_u6_port_picked_from_a_span_is_free_in_both_families() -> None:
    after = publish(HOST, "both", "8080-8081:80", facts=host(held(8080, 4)))
    assert bindings(after, "both") == ["0.0.0.0:8081/tcp -> 80", "[::]:8081/tcp -> 80"]


def test_u7_both_wildcards_with_one_span_share_the_number() -> None:
    ports = ["0.0.0.0:8080-8081:80", "[::]:8080-8081:80"]
    after = publish(HOST, "both", *ports, facts=host(held(8080, 4)))
    assert bindings(after, "both") == ["0.0.0.0:8081/tcp -> 80", "[::]:8081/tcp -> 80"]


@pytest.mark.parametrize("busy", [held(8082), held(8082, 6), held(8082, 4, "udp")])
def test_u8_tcp_and_udp_of_one_port_share_a_number_from_a_span(busy: Holder) -> None:
    ports = ["8080-8083:%d/%s" % (port, protocol) for protocol in ("tcp", "udp") for port in (80, 81, 82)]
    after = publish(HOST, "both", *ports, facts=host(busy))
    assert sorted({(p.endpoint_port, p.protocol, p.host_port) for p in after.publishes.values()}) == [
        (80, "tcp", 8080),
        (80, "udp", 8080),
        (81, "tcp", 8081),
        (81, "udp", 8081),
        (82, "tcp", 8083),
        (82, "udp", 8083),
    ]


def test_tcp_and_udp_share_a_number_also_when_asked_in_two_runs() -> None:
    first = publish(HOST, "both", "8080-8083:79", "8080-8083:80", "5000")
    after = publish(first, "both", "8080-8083:80/udp", "5000/udp")
    numbers = {(p.endpoint_port, p.protocol): p.host_port for p in after.publishes.values()}
    assert numbers[80, "udp"] == numbers[80, "tcp"] == 8081
    assert numbers[5000, "udp"] == numbers[5000, "tcp"] == 49153


def test_u9_span_without_enough_ports_is_refused_and_names_the_busy_one() -> None:
    refused(
        lambda: publish(HOST, "web", *["8080-8082:%d" % port for port in (80, 81, 82)], facts=host(held(8082))),
        "8080-8082:82/tcp",
        "endpoint web",
        "no host port from 8080 to 8082 is free",
        "0.0.0.0:8082/tcp is held by nginx (process 42)",
        "Widen the range or remove other publishes.",
        kind=StateError,
    )


def test_u10_ipv4_only_endpoint_takes_no_ipv6_port() -> None:
    assert bindings(publish(HOST, "web", "8080:80"), "web") == ["0.0.0.0:8080/tcp -> 80"]


@pytest.mark.parametrize("port", ["[::]:8080:80", "[2001:db8::1]:8080:80", "[::1]:8080:80", "[::]::80"])
def test_u12_u17_ipv6_host_address_for_an_ipv4_only_endpoint_is_refused(port: str) -> None:
    refused(lambda: publish(HOST, "web", port), port, "endpoint web", "the endpoint has no IPv6 address")


def test_u14_ipv6_loopback_is_refused_with_the_reason() -> None:
    refused(lambda: publish(HOST, "both", "[::1]:8080:80"), "[::1]:8080:80/tcp", "the kernel cannot translate ::1")


def test_u21_one_number_for_all_host_addresses_and_exact_before_span() -> None:
    addresses = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    ports = ["%s::22" % address for address in addresses] + ["%s::80" % address for address in addresses[:2]]
    after = publish(HOST, "web", *ports, "12345-12346:12345", "12345:12345")
    assert bindings(after, "web") == [
        "192.0.2.1:49153/tcp -> 22",
        "192.0.2.2:49153/tcp -> 22",
        "192.0.2.3:49153/tcp -> 22",
        "192.0.2.1:49154/tcp -> 80",
        "192.0.2.2:49154/tcp -> 80",
        "0.0.0.0:12345/tcp -> 12345",
        "0.0.0.0:12346/tcp -> 12345",
    ]


@pytest.mark.parametrize(
    ("ports", "numbers"),
    [
        (["5000", "127.0.0.1::5000"], [49153, 49154]),
        (["8000-8010:80", "192.0.2.1:8000-8010:80"], [8000, 8001]),
        (["443", "[::]::443"], [49153, 49154]),
        (["0.0.0.0::443", "127.0.0.1::443", "[::]::443"], [49153, 49154, 49153]),
        # The last two do not overlap each other.
        (["443", "127.0.0.1::443", "[2001:db8::1]::443"], [49153, 49154, 49154]),
        (["53", "127.0.0.1::53", "53/udp", "127.0.0.1::53/udp"], [49153, 49154, 49153, 49154]),
    ],
)
def test_overlapping_host_addresses_of_one_call_get_numbers_of_their_own(ports: list[str], numbers: list[int]) -> None:
    after = publish(HOST, "both", *ports)
    chosen = {there.spec.removesuffix("/tcp"): there.host_port for there in after.publishes_of("both")}
    assert chosen == dict(zip(ports, numbers))
    after.port_book()
    assert publish(after, "both", *ports) == after


def test_number_that_one_of_several_host_addresses_cannot_have_is_for_none_of_them() -> None:
    after = publish(HOST, "web", "192.0.2.1::80", "192.0.2.2::80", facts=host(held(49153, address="192.0.2.2")))
    assert bindings(after, "web") == ["192.0.2.1:49154/tcp -> 80", "192.0.2.2:49154/tcp -> 80"]


# Collisions between publishes

WILDCARD, ONE, OTHER = "8080:80", "192.0.2.1:8080:80", "192.0.2.2:8080:80"


@pytest.mark.parametrize(
    ("there", "asked"),
    [
        (WILDCARD, WILDCARD),
        (WILDCARD, ONE),
        (ONE, WILDCARD),
        (ONE, ONE),
        ("0.0.0.0:8080:80", ONE),
        (ONE, "0.0.0.0:8080:80"),
    ],
)
def test_collision_is_refused_both_ways_and_names_both_owners(there: str, asked: str) -> None:
    refused(
        lambda: publish(publish(HOST, "db", there), "web", asked),
        "%s/tcp for endpoint web" % asked,
        "collides with %s/tcp, which endpoint db has published" % there,
        "Choose another host port or host address, or remove the other publish first.",
    )


def test_collision_within_one_call_is_refused() -> None:
    requests = [{"endpoint": "web", "ports": [WILDCARD]}, {"endpoint": "db", "ports": [ONE]}]
    refused(lambda: want_publishes(HOST, requests, host()), "endpoint web", "endpoint db", "0.0.0.0:8080/tcp")


@pytest.mark.parametrize(
    ("there", "asked"),
    [
        (ONE, OTHER),
        ("127.0.1.2:1716:1716", "127.0.1.3:1716:1716"),
        (WILDCARD, "8080:80/udp"),
        (WILDCARD, "8081:80"),
        ("0.0.0.0:8080:80", "[::]:8080:80"),
        ("192.0.2.1:8080:80", "[::]:8080:80"),
        ("0.0.0.0:8080:80", "[2001:db8::1]:8080:80"),
    ],
)
def test_different_address_family_protocol_or_port_is_no_collision(there: str, asked: str) -> None:
    topology = decided([DUAL], [BOTH, {"name": "too", "network": "dual0"}])
    for first, second in ((there, asked), (asked, there)):
        assert len(publish(publish(topology, "too", first), "both", second).publishes) == 2


def test_ipv4_only_endpoint_leaves_the_ipv6_port_to_another() -> None:
    after = publish(publish(HOST, "web", "8080:80"), "both", "[::]:8080:80")
    assert bindings(after, "web") + bindings(after, "both") == ["0.0.0.0:8080/tcp -> 80", "[::]:8080/tcp -> 80"]


def test_several_host_ports_may_lead_to_one_endpoint_port() -> None:
    after = publish(HOST, "web", "8080:80", "8081:80")
    assert bindings(after, "web") == ["0.0.0.0:8080/tcp -> 80", "0.0.0.0:8081/tcp -> 80"]


# Ports of processes


@pytest.mark.parametrize(
    ("holder", "asked"),
    [
        (held(8080), ONE),
        (held(8080, address="192.0.2.1"), ONE),
        (held(8080, address="192.0.2.1"), WILDCARD),
        (held(8080, address="127.0.0.1"), WILDCARD),
    ],
)
def test_port_of_a_process_is_refused(holder: Holder, asked: str) -> None:
    refused(
        lambda: publish(HOST, "web", asked, facts=host(holder)), asked, "is held by nginx (process 42)", kind=StateError
    )


def test_behind_other_tasks_in_check_mode_a_process_may_be_gone_by_then() -> None:
    """An exact port is granted with a sentence; a choice still goes around it, and a publish still stands in the way."""
    both = host(held(8080), held(8080, 6), held(49153))
    facts = CheckedFacts(both)
    assert bindings(publish(HOST, "web", "8080:80", "90", facts=facts), "web") == [
        "0.0.0.0:8080/tcp -> 80",
        "0.0.0.0:49154/tcp -> 90",
    ]
    taken = [Binding(version, "tcp", "", port) for version in (4, 6) for port in (8080, 8081)]
    assert held_warnings(taken, both.ports()) == [
        "Host port 8080/tcp is held by nginx (process 42) now. The run itself refuses to publish it unless a task "
        "before it stops or moves that process."
    ]
    there = publish(HOST, "db", "8080:80", facts=facts)
    refused(lambda: publish(there, "web", "8080:80", facts=facts), "collides with", "endpoint db")


@pytest.mark.parametrize(
    "holder", [held(8080, address="192.0.2.2"), held(8080, 4, "udp"), held(8080, 6), held(8081, address="192.0.2.1")]
)
def test_other_address_family_protocol_or_port_of_a_process_does_not_matter(holder: Holder) -> None:
    assert bindings(publish(HOST, "web", ONE, facts=host(holder)), "web") == ["192.0.2.1:8080/tcp -> 80"]


def test_process_that_came_later_does_not_disturb_a_publish_that_is_there() -> None:
    there = publish(HOST, "web", "8080:80", "9000")
    assert publish(there, "web", "8080:80", "9000", facts=host(held(8080), held(49153))) == there


def test_process_in_the_way_is_named_before_publishes_that_are() -> None:
    there = publish(HOST, "db", "40000:80", "40002:82")
    refused(
        lambda: publish(there, "web", "40000-40002:80", facts=host(held(40001))),
        "no host port from 40000 to 40002 is free (0.0.0.0:40001/tcp is held by nginx (process 42))",
        kind=StateError,
    )


# What can never carry a packet


@pytest.mark.parametrize(
    ("port", "loopback", "reason"),
    [
        ("127.0.0.1:80:80", "none", "loopback address while its loopback is 'none'"),
        ("224.0.0.1:80:80", "nat", "224.0.0.1 is a multicast address"),
        ("[ff02::1]:80:80", "nat", "ff02::1 is a multicast address"),
        ("169.254.1.1:80:80", "nat", "169.254.1.1 is a link-local address"),
        ("[fe80::1]:80:80", "nat", "fe80::1 is a link-local address"),
    ],
)
def test_publish_that_nobody_could_reach_is_refused(port: str, loopback: str, reason: str) -> None:
    request = {"endpoint": "both", "ports": [port], "loopback": loopback}
    refused(lambda: want_publishes(HOST, [request], host()), port, "endpoint both", reason, "Change the publish")


@pytest.mark.parametrize("mode", ["internal", "isolated"])
def test_publish_in_a_sealed_network_is_refused(mode: str) -> None:
    topology = decided([{**LAN, "mode": mode}], [WEB])
    refused(lambda: publish(topology, "web", "8080:80"), "8080:80", "lan0 is %s" % mode, "nothing from outside")


def test_u15_u16_routed_network_takes_no_host_port_and_so_never_collides() -> None:
    routed = decided([{**DUAL, "mode": "routed"}, LAN], [BOTH, WEB])
    after = publish(publish(routed, "both", "8080:80", "81"), "web", "8080:80", facts=host())
    assert bindings(after, "both") == []
    assert bindings(after, "web") == ["0.0.0.0:8080/tcp -> 80"]
    held_anyway = publish(routed, "both", "8080:80", facts=host(held(8080)))
    assert len(held_anyway.publishes) == 1
    assert {there.host_port for there in after.publishes_of("both")} == {0}
