# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what a task asks about publishes and masquerades to the topology that is wanted."""

from __future__ import annotations

import typing as t
from ipaddress import ip_address, ip_network

import pytest
from ansible_collections.bridgeport.net.plugins.module_utils._errors import StateError
from ansible_collections.bridgeport.net.plugins.module_utils._facts import StaticFacts
from ansible_collections.bridgeport.net.plugins.module_utils._hostports import Holder, HostPorts
from ansible_collections.bridgeport.net.plugins.module_utils._model import Masquerade
from ansible_collections.bridgeport.net.plugins.module_utils._topology import Topology
from ansible_collections.bridgeport.net.plugins.module_utils._want_rules import (
    masquerade_name,
    want_masquerades,
    want_publishes,
    without_masquerades,
    without_publishes,
)
from samples import BOTH, DUAL, FACTS, LAN, WEB, Request, decided, refused

HOST = decided([LAN, DUAL], [{**WEB, "expose": [5000, "53/udp"]}, {**WEB, "name": "db"}, BOTH])


def want(topology: Topology, *ports: object, prune: bool = False, **request: t.Any) -> Topology:
    return want_publishes(topology, [{"endpoint": "web", "ports": list(ports), **request}], FACTS, prune)


def specs(topology: Topology, endpoint: str = "web") -> list[str]:
    return sorted(publish.spec for publish in topology.publishes_of(endpoint))


def numbers(topology: Topology, endpoint: str = "web") -> list[tuple[int, int, str]]:
    return [(publish.host_port, publish.endpoint_port, publish.protocol) for publish in topology.publishes_of(endpoint)]


def test_publishes_are_added_to_those_that_are_there() -> None:
    topology = want(want(HOST, "80:5000"), "81:5001", "80:5000/udp")
    assert specs(topology) == ["80:5000/tcp", "80:5000/udp", "81:5001/tcp"]


def test_chosen_port_is_kept_when_it_is_asked_again() -> None:
    topology = want(HOST, "9000", "8000-8010:80")
    assert numbers(topology) == [(8000, 80, "tcp"), (49153, 9000, "tcp")]
    assert want(topology, "9000", "8000-8010:80") == topology
    assert want(topology, "9000") == topology


def test_prune_unpublishes_what_is_not_listed_of_the_named_endpoints_only() -> None:
    topology = want(want(HOST, "80:5000", "81:5001", "9000"), "90:90", endpoint="db")
    after = want(topology, "81:5001", "9000", prune=True)
    assert (specs(after), specs(after, "db")) == (["81:5001/tcp", "9000/tcp"], ["90:90/tcp"])
    assert want(after, prune=True).publishes_of("web") == []


def test_host_port_moves_to_another_endpoint_in_one_pruning_call() -> None:
    topology = want(HOST, "80:5000")
    requests = [{"endpoint": "web", "ports": []}, {"endpoint": "db", "ports": ["80:80"]}]
    after = want_publishes(topology, requests, FACTS, prune=True)
    assert (specs(after), specs(after, "db")) == ([], ["80:80/tcp"])


def test_publish_all_gives_each_exposed_port_a_free_one() -> None:
    topology = want(HOST, publish_all=True)
    assert numbers(topology) == [(49153, 53, "udp"), (49154, 5000, "tcp")]
    assert want(topology, publish_all=True) == topology


def test_publish_all_leaves_the_ports_that_are_listed() -> None:
    assert numbers(want(HOST, "80:5000", publish_all=True)) == [(49153, 53, "udp"), (80, 5000, "tcp")]


def test_exposed_port_alone_is_not_published() -> None:
    assert want(HOST).publishes == {}


def test_loopback_can_be_changed_and_the_port_is_kept() -> None:
    topology = want(want(HOST, "9000"), "9000", loopback="none")
    assert [(publish.host_port, publish.loopback) for publish in topology.publishes_of("web")] == [(49153, "none")]


def test_changed_loopback_takes_no_port_of_others() -> None:
    there = want(HOST, "80:5000", "81:5001")
    taken = want_publishes(there, [{"endpoint": "db", "ports": ["[::1]:80:80"], "loopback": "proxy"}], FACTS)
    parts = ("80:5000/tcp for endpoint web", "[::1]:80/tcp collides", "endpoint db")
    refused(lambda: want(taken, "80:5000", loopback="proxy"), *parts)
    # In one call the other may make room.
    moved = [{"endpoint": "db", "ports": ["[::1]:82:80"], "loopback": "proxy"}]
    asked = [{"endpoint": "web", "ports": ["80:5000"], "loopback": "proxy"}, *moved]
    assert len(want_publishes(taken, asked, FACTS, prune=True).publishes) == 2
    held = HostPorts(
        holders=(Holder(6, "tcp", "::1", 81, "nginx (process 42)"), Holder(4, "tcp", "", 80, "a squatter"))
    )
    facts = StaticFacts(ports=held)
    proxied = [{"endpoint": "web", "ports": ["81:5001"], "loopback": "proxy"}]
    refused(lambda: want_publishes(there, proxied, facts), "[::1]:81/tcp is held by nginx", kind=StateError)
    # What it takes already is no matter of now.
    asked = [{"endpoint": "web", "ports": ["80:5000"], "loopback": "proxy"}]
    assert want_publishes(there, asked, facts) == want(there, "80:5000", loopback="proxy")


def test_publish_that_is_there_is_not_made_unreachable() -> None:
    topology = want(HOST, "127.0.0.1:80:80", "81:81")
    refused(
        lambda: want(topology, "127.0.0.1:80:80", loopback="none"),
        "127.0.0.1:80:80/tcp for endpoint web",
        "loopback address while its loopback is 'none'",
    )
    assert {item.loopback for item in want(topology, "81:81", loopback="none").publishes_of("web")} == {"nat", "none"}


@pytest.mark.parametrize("port", ["80:80", "8000-8010:80", "80", "192.0.2.1:80:80"])
def test_publish_in_a_routed_network_takes_no_host_port(port: str) -> None:
    topology = decided([{**LAN, "mode": "routed"}], [WEB])
    after = want(topology, port)
    assert numbers(after) == [(0, 80, "tcp")]
    assert want(after, port) == after


@pytest.mark.parametrize(
    ("request_", "parts"),
    [
        ({"endpoint": "gone", "ports": ["80:80"]}, ["endpoint gone", "does not exist", "veth_endpoint"]),
        ({"endpoint": "web", "ports": ["80:x"]}, ["'80:x'", "endpoint web"]),
        (
            {"endpoint": "web", "ports": ["80:80", "53:53/udp"], "loopback": "proxy"},
            ["53:53/udp for endpoint web", "'proxy'", "carries tcp only", "'nat' or 'none'."],
        ),
        (
            {"endpoint": "web", "ports": ["80:80"], "sources": ["192.0.2.1/24"]},
            ["'192.0.2.1/24'", "web", "host bits", "192.0.2.0/24"],
        ),
        (
            {"endpoint": "web", "ports": ["80:80"], "sources": ["example.org"]},
            ["'example.org'", "source of the publishes of endpoint web", "not an IPv4 or IPv6 address"],
        ),
        ({"endpoint": "web", "ports": ["80:80"], "sources": ["fe80::1%eth0"]}, ["'fe80::1%eth0'"]),
        ({"endpoint": "web", "ports": ["80:80"], "sources": []}, ["web", "empty list"]),
        (
            {"endpoint": "web", "ports": ["80:80"], "sources": ["192.0.2.0/24", "2001:db8::/32"]},
            ["80:80/tcp", "web", "2001:db8::/32", "IPv4 only"],
        ),
        (
            {"endpoint": "both", "ports": ["[::]:80:80"], "sources": ["192.0.2.0/24"]},
            ["[::]:80:80/tcp", "192.0.2.0/24", "IPv6 only"],
        ),
        (
            {"endpoint": "web", "ports": ["127.0.0.1:80:80"], "sources": ["192.0.2.0/24"]},
            ["127.0.0.1:80:80/tcp", "only the host itself"],
        ),
    ],
)
def test_wrong_publish_is_refused(request_: dict[str, t.Any], parts: list[str]) -> None:
    refused(lambda: want_publishes(HOST, [request_], FACTS), *parts)


def test_publish_that_is_listed_twice_must_be_the_same() -> None:
    one: Request = {"endpoint": "web", "ports": ["80:80"]}
    assert want_publishes(HOST, [one, one], FACTS) == want_publishes(HOST, [one], FACTS)
    refused(lambda: want_publishes(HOST, [one, {**one, "sources": ["192.0.2.1"]}], FACTS), "80:80/tcp", "listed twice")


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        (["192.0.2.0/25", "192.0.2.128/25"], ("192.0.2.0/24",)),
        (["192.0.2.7", "192.0.2.0/24", " 192.0.2.7/32 "], ("192.0.2.0/24",)),
        (["198.51.100.7/32", "192.0.2.0/24"], ("192.0.2.0/24", "198.51.100.7")),
        (["2001:DB8::7", "::ffff:192.0.2.1"], ("192.0.2.1", "2001:db8::7")),
        (["0.0.0.0/0", "10.0.0.0/8", "::/0"], ("0.0.0.0/0", "::/0")),
    ],
)
def test_sources_are_kept_as_the_shortest_list(asked: list[str], kept: tuple[str, ...]) -> None:
    topology = want(HOST, "80:80", endpoint="both", sources=asked)
    assert [publish.sources for publish in topology.publishes_of("both")] == [kept]


def test_sctp_needs_a_kernel_that_has_it() -> None:
    without = StaticFacts(sctp=False)
    requests: list[Request] = [{"endpoint": "web", "ports": ["80:80", "81:81/sctp"]}]
    refused(lambda: want_publishes(HOST, requests, without), "81:81/sctp", "web", "no SCTP", kind=StateError)
    published = want_publishes(HOST, requests, FACTS)
    # What is published already stays.
    assert want_publishes(published, requests, without) == published


def test_unpublish_names_the_publishes_as_they_were_asked() -> None:
    topology = want(HOST, "80:5000", "80:5000/udp", "127.0.0.1:81:81", "9000", "6000-6002:6000-6002")
    after = without_publishes(
        topology, [{"endpoint": "web", "ports": ["80:5000", "9000", "6000-6001:6000-6001", "1:1"]}]
    )
    assert specs(after) == ["127.0.0.1:81:81/tcp", "6002:6002/tcp", "80:5000/udp"]


def test_unpublish_without_ports_empties_the_endpoint() -> None:
    topology = want(want(HOST, "80:5000"), "90:90", endpoint="db")
    after = without_publishes(topology, [{"endpoint": "web", "ports": None}])
    assert (specs(after), specs(after, "db")) == ([], ["90:90/tcp"])


def test_unpublish_of_what_is_not_there_changes_nothing() -> None:
    topology = want(HOST, "80:5000")
    requests: list[Request] = [
        {"endpoint": "web", "ports": ["81:81"]},
        {"endpoint": "gone", "ports": None},
        {"endpoint": "web", "ports": []},
    ]
    assert without_publishes(topology, requests) == topology


def test_unpublish_with_a_wrong_port_is_refused() -> None:
    refused(lambda: without_publishes(HOST, [{"endpoint": "web", "ports": ["x"]}]), "'x'", "endpoint web")


# Masquerades


def test_network_is_masqueraded() -> None:
    after = want_masquerades(HOST, [{"network": "lan0"}])
    assert after.masquerades == {"lan0": Masquerade(network="lan0")}
    assert want_masquerades(after, [{"network": "lan0"}]) == after


def test_subnet_is_masqueraded() -> None:
    request = {"source": "10.9.0.0/24", "except_out_interface": "br9", "to_source": "203.0.113.7"}
    assert want_masquerades(HOST, [request]).masquerades == {
        "10.9.0.0/24": Masquerade("", ip_network("10.9.0.0/24"), "br9", ip_address("203.0.113.7"))
    }


def test_masquerade_is_changed_in_place() -> None:
    topology = want_masquerades(HOST, [{"network": "lan0", "to_source": "203.0.113.7"}])
    after = want_masquerades(topology, [{"network": "lan0", "to_source": None}])
    assert after.masquerades["lan0"].to_source is None


def test_fixed_source_of_either_family_serves_a_network_of_both() -> None:
    for address in ("203.0.113.7", "2001:db8::7"):
        after = want_masquerades(HOST, [{"network": "dual0", "to_source": address}])
        assert after.masquerades["dual0"].to_source == ip_address(address)


@pytest.mark.parametrize(
    ("request_", "parts"),
    [
        ({"network": "lan9"}, ["masquerade network lan9", "does not exist", "Known networks: dual0, lan0"]),
        ({"source": "10.9.0.1/24"}, ["10.9.0.1/24", "10.9.0.0/24"]),
        ({"source": "10.9.0.0"}, ["'10.9.0.0'", "prefix length"]),
        (
            {"source": "10.9.0.0/24", "except_out_interface": "an-interface-name"},
            ["an-interface-name", "except_out_interface"],
        ),
        ({"network": "lan0", "to_source": "me"}, ["'me'", "to_source of the masquerade"]),
        (
            {"network": "dual0", "to_source": "2001:db8::7%x; flush ruleset"},
            ["'2001:db8::7%x; flush ruleset'", "to_source of the masquerade"],
        ),
        (
            {"network": "lan0", "to_source": "2001:db8::7"},
            ["masquerade lan0 to 2001:db8::7", "no IPv6 subnet", "own family"],
        ),
        ({"source": "fd09::/64", "to_source": "203.0.113.7"}, ["fd09::/64", "203.0.113.7", "no IPv4 subnet"]),
    ],
)
def test_wrong_masquerade_is_refused(request_: dict[str, t.Any], parts: list[str]) -> None:
    refused(lambda: want_masquerades(HOST, [request_]), *parts)


@pytest.mark.parametrize("mode", ["routed", "internal", "isolated"])
def test_only_a_nat_network_is_masqueraded(mode: str) -> None:
    topology = decided([{**LAN, "mode": mode}])
    refused(
        lambda: want_masquerades(topology, [{"network": "lan0"}]),
        "network lan0",
        "its mode is %s" % mode,
        "Change the mode",
    )


def test_masquerade_that_is_listed_twice_must_be_the_same() -> None:
    fixed = {"network": "lan0", "to_source": "203.0.113.7"}
    assert want_masquerades(HOST, [fixed, fixed]).masquerades == want_masquerades(HOST, [fixed]).masquerades
    refused(
        lambda: want_masquerades(HOST, [fixed, {"network": "lan0"}]), "masquerade lan0", "listed twice", "one entry"
    )
    subnet = {"source": "10.9.0.0/24"}
    other = {**subnet, "except_out_interface": "br9"}
    refused(lambda: want_masquerades(HOST, [subnet, other]), "masquerade 10.9.0.0/24", "listed twice")


def test_prune_removes_the_masquerades_that_are_not_requested() -> None:
    there = want_masquerades(HOST, [{"network": "lan0"}, {"source": "10.9.0.0/24"}])
    assert list(want_masquerades(there, [{"network": "lan0"}], prune=True).masquerades) == ["lan0"]
    assert want_masquerades(there, [], prune=True).masquerades == {}


def test_masquerades_are_removed_by_network_or_subnet() -> None:
    topology = want_masquerades(HOST, [{"network": "lan0"}, {"network": "dual0"}, {"source": "10.9.0.0/24"}])
    gone = [{"network": "lan0"}, {"source": "10.9.0.0/24", "except_out_interface": "br9"}, {"network": "never"}]
    assert sorted(without_masquerades(topology, gone).masquerades) == ["dual0"]


@pytest.mark.parametrize(
    ("port", "loopback"), [("127.0.0.1:80:80", "nat"), ("127.0.0.1:80:80", "proxy"), ("[::1]:80:80", "proxy")]
)
@pytest.mark.parametrize("sources", [["192.0.2.0/24"], ["2001:db8::/32"]])
def test_sources_of_a_loopback_address_are_refused(port: str, loopback: str, sources: list[str]) -> None:
    """On an endpoint without IPv6, too, which a proxy serves at ::1."""
    request_ = {"endpoint": "web", "ports": [port], "loopback": loopback, "sources": sources}
    refused(lambda: want_publishes(HOST, [request_], FACTS), port, "only the host itself reaches a loopback address")


@pytest.mark.parametrize("request_", [{"network": ""}, {"source": ""}, {"network": "", "source": None}])
def test_masquerade_of_nothing_is_refused(request_: dict[str, t.Any]) -> None:
    refused(lambda: want_masquerades(HOST, [request_]), "neither a network nor a source", "Name one")
    refused(lambda: without_masquerades(HOST, [request_]), "neither a network nor a source", "Name one")


def test_masquerade_name_of_a_request() -> None:
    assert masquerade_name({"network": "lan0", "source": None}) == "lan0"
    assert masquerade_name({"network": None, "source": "FD09::/64"}) == "fd09::/64"
