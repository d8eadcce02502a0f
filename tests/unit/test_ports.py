# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Docker's port grammar."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.bridgeport.net.plugins.module_utils._model import Publish
from ansible_collections.bridgeport.net.plugins.module_utils._ports import parse_exposed, parse_ports, port_fields
from samples import refused


def parsed(*specs: object) -> list[Publish]:
    return parse_ports(specs, "web", "nat", ())


# Each row: a specification, and the one publish that it means:
# host address, first and last host port asked for, host port, endpoint port, protocol.
@pytest.mark.parametrize(
    ("spec", "meant"),
    [
        ("80", ("", 0, 0, 0, 80, "tcp")),
        (80, ("", 0, 0, 0, 80, "tcp")),
        (":80", ("", 0, 0, 0, 80, "tcp")),
        (" 80 ", ("", 0, 0, 0, 80, "tcp")),
        ("80/udp", ("", 0, 0, 0, 80, "udp")),
        ("80/", ("", 0, 0, 0, 80, "tcp")),
        ("80/TCP", ("", 0, 0, 0, 80, "tcp")),
        ("80/Sctp", ("", 0, 0, 0, 80, "sctp")),
        ("65535", ("", 0, 0, 0, 65535, "tcp")),
        ("80:5000", ("", 80, 80, 80, 5000, "tcp")),
        ("1:1", ("", 1, 1, 1, 1, "tcp")),
        ("080:5000", ("", 80, 80, 80, 5000, "tcp")),
        ("80-80:5000", ("", 80, 80, 80, 5000, "tcp")),
        ("8000-8010:80", ("", 8000, 8010, 0, 80, "tcp")),
        ("127.0.0.1:8443:443/tcp", ("127.0.0.1", 8443, 8443, 8443, 443, "tcp")),
        ("127.0.0.1::80", ("127.0.0.1", 0, 0, 0, 80, "tcp")),
        ("0.0.0.0:80:80", ("0.0.0.0", 80, 80, 80, 80, "tcp")),
        ("[::1]::80", ("::1", 0, 0, 0, 80, "tcp")),
        ("[::]:80:80/udp", ("::", 80, 80, 80, 80, "udp")),
        ("[2001:DB8::0:1]:80:80", ("2001:db8::1", 80, 80, 80, 80, "tcp")),
        ("[2001:4860:0:2001::68]::333", ("2001:4860:0:2001::68", 0, 0, 0, 333, "tcp")),
        ("[::ffff:127.0.0.1]:8080:80", ("127.0.0.1", 8080, 8080, 8080, 80, "tcp")),
        ("192.0.2.1:8000-8010:80/udp", ("192.0.2.1", 8000, 8010, 0, 80, "udp")),
        ({"port": 80}, ("", 0, 0, 0, 80, "tcp")),
        ({"port": "80", "host_port": None, "host_address": None, "protocol": None}, ("", 0, 0, 0, 80, "tcp")),
        ({"port": 5000, "host_port": 80}, ("", 80, 80, 80, 5000, "tcp")),
        ({"port": 80, "host_port": "8000-8010", "protocol": "UDP"}, ("", 8000, 8010, 0, 80, "udp")),
        ({"port": 80, "host_port": 80, "host_address": "[::1]"}, ("::1", 80, 80, 80, 80, "tcp")),
        ({"port": 80, "host_port": 80, "host_address": "::1"}, ("::1", 80, 80, 80, 80, "tcp")),
    ],
)
def test_specification_means_one_publish(spec: object, meant: tuple[t.Any, ...]) -> None:
    address, first, last, host_port, port, protocol = meant
    assert parsed(spec) == [Publish("web", port, protocol, address, first, last, host_port)]


@pytest.mark.parametrize(
    ("spec", "ports"),
    [
        ("6000-6002:7000-7002", [(6000, 7000), (6001, 7001), (6002, 7002)]),
        ("[::1]:6000-6001:7000-7001/udp", [(6000, 7000), (6001, 7001)]),
        ({"host_port": "6000-6001", "port": "7000-7001"}, [(6000, 7000), (6001, 7001)]),
        ("9800-9803:80-83", [(9800, 80), (9801, 81), (9802, 82), (9803, 83)]),
    ],
)
def test_equal_ranges_are_paired_port_by_port(spec: object, ports: list[tuple[int, int]]) -> None:
    found = parsed(spec)
    assert [(publish.host_port, publish.endpoint_port) for publish in found] == ports
    assert all(publish.asked_first == publish.asked_last == publish.host_port for publish in found)


def test_range_without_host_ports_asks_for_a_free_one_each() -> None:
    found = parsed("3000-3002")
    assert [(p.endpoint_port, p.asked_first, p.asked_last, p.host_port) for p in found] == [
        (3000, 0, 0, 0),
        (3001, 0, 0, 0),
        (3002, 0, 0, 0),
    ]


def test_every_port_of_a_host_can_be_published_in_one_range() -> None:
    found = parsed("1-65535:1-65535")
    assert len(found) == 65535
    assert (found[0].host_port, found[-1].host_port) == (1, 65535)


# Each row: a specification, and the words that the error must have besides the specification and the endpoint.
BAD: list[tuple[object, str, str]] = [
    ("", "'' is not a port number", "[HOST_ADDRESS:][HOST_PORT[-LAST]:]PORT[-LAST][/tcp|udp|sctp]"),
    ("http", "'http' is not a port number", "PORT"),
    ("80:", "'' is not a port number", "PORT"),
    ("8080:http", "'http' is not a port number", "PORT"),
    ("-1:80", "'' is not a port number", "PORT"),
    ("+80", "'+80' is not a port number", "PORT"),
    ("8 0", "'8 0' is not a port number", "PORT"),
    ("٨٠", "is not a port number", "PORT"),
    ("0", "port 0 does not exist", "Ports go from 1 to 65535."),
    ("65536", "port 65536 does not exist", "Ports go from 1 to 65535."),
    ("70000:80", "port 70000 does not exist", "Ports go from 1 to 65535."),
    ("9090-9089:80", "the range 9090-9089 runs backwards", "Write the lower port first."),
    ("9090-:80", "'' is not a port number", "PORT"),
    ("-9090:80", "'' is not a port number", "PORT"),
    ("80:9090-9089", "the range 9090-9089 runs backwards", "Write the lower port first."),
    ("1-2-3:80", "'2-3' is not a port number", "PORT"),
    ("8000-8002:80-81", "3 host ports cannot be matched with 2 endpoint ports", "Make both ranges equally long"),
    ("8000:80-81", "1 host ports cannot be matched with 2 endpoint ports", "Make both ranges equally long"),
    ("localhost:80:80", "'localhost' is not an IPv4 address", "Give an address of the host, not a name"),
    ("localhost::80", "'localhost' is not an IPv4 address", "Give an address of the host, not a name"),
    ("10.0.0.256:80:80", "'10.0.0.256' is not an IPv4 address", "Give an address of the host"),
    ("10.0.0.1:80", "'10.0.0.1' is not a port number", "PORT"),
    ("[2001:db8::1]:80", "a host address needs a host port, or an empty one, behind it", "[HOST_ADDRESS:]"),
    ("[::]:80/udp", "a host address needs a host port, or an empty one, behind it", "[HOST_ADDRESS:]"),
    ("9" * 5000, "is not a port number", "PORT"),
    ("80:" + "9" * 5000, "is not a port number", "PORT"),
    ("::80", "the host address is empty", "[HOST_ADDRESS:]"),
    (":80:80", "the host address is empty", "[HOST_ADDRESS:]"),
    ("[]:80:80", "the host address is empty", "[HOST_ADDRESS:]"),
    ("[::1:80:80", "the bracket of the IPv6 address is not closed", "IPv6 addresses in brackets."),
    ("[::1]80", "the bracket of the IPv6 address is not closed and followed by a colon", "brackets"),
    ("2001:db8::1:80:80", "an IPv6 address needs brackets", "IPv6 addresses in brackets."),
    ("::1:80:80", "an IPv6 address needs brackets", "IPv6 addresses in brackets."),
    ("[::g]:80:80", "'::g' is not an IPv4 address, nor an IPv6 address", "Give an address of the host"),
    (
        "[fe80::1%eth0]:80:80",
        "'fe80::1%eth0' is not an IPv4 address, nor an IPv6 address",
        "Give an address of the host",
    ),
    ("[::1%x; flush ruleset]:80:80", "'::1%x; flush ruleset' is not an IPv4 address", "Give an address of the host"),
    ("80/icmp", "'icmp' is not a protocol that can be published", "Use tcp, udp or sctp."),
    ("80/tcp/udp", "'tcp/udp' is not a protocol", "Use tcp, udp or sctp."),
    ("80/tcp,udp", "'tcp,udp' is not a protocol", "Use tcp, udp or sctp."),
    (80.5, "'80.5' is not a port number", "PORT"),
    (None, "'None' is not a port number", "PORT"),
    ({}, "the endpoint's port is missing", "Give it as 'port'."),
    ({"port": ""}, "the endpoint's port is missing", "Give it as 'port'."),
    ({"port": 80, "hostport": 8080}, "it has unknown keys: hostport", "Use host_address, host_port, port, protocol."),
    ({"port": 80, "host_port": 0}, "port 0 does not exist", "Ports go from 1 to 65535."),
    ({"port": 80, "protocol": "icmp"}, "'icmp' is not a protocol", "Use tcp, udp or sctp."),
    ({"port": 80, "host_address": "eth0"}, "'eth0' is not an IPv4 address", "Give an address of the host"),
    ({"port": 80, "host_address": "fe80::1%eth0"}, "'fe80::1%eth0' is not an IPv4 address", "Give an address"),
    ({"port": "80-81", "host_port": "8000-8002"}, "3 host ports cannot be matched with 2", "equally long"),
]


@pytest.mark.parametrize(("spec", "problem", "remedy"), BAD)
def test_bad_specification_is_refused_in_one_sentence_and_a_remedy(spec: object, problem: str, remedy: str) -> None:
    text = refused(lambda: parsed(spec), problem, remedy)
    shown = repr(spec.strip() if isinstance(spec, str) else spec if isinstance(spec, dict) else str(spec))
    assert text.startswith("Cannot publish %s for endpoint web: " % shown)


def test_one_bad_specification_refuses_the_whole_list() -> None:
    refused(lambda: parsed("80:80", "x"), "'x'", "endpoint web")


def test_same_specification_counts_once_and_order_is_kept() -> None:
    found = parsed("90:90", "80:5000", "80:5000/tcp", "80:5000/udp")
    assert [publish.spec for publish in found] == ["90:90/tcp", "80:5000/tcp", "80:5000/udp"]


def test_loopback_and_sources_reach_every_publish() -> None:
    found = parse_ports(["80-81:80-81"], "web", "none", ("192.0.2.0/24",))
    assert [(publish.loopback, publish.sources) for publish in found] == [("none", ("192.0.2.0/24",))] * 2


def test_fields_keep_ranges_unexpanded() -> None:
    assert port_fields("127.0.0.1:8000-8010:80/udp", "web") == ("127.0.0.1", (8000, 8010), (80, 80), "udp")
    assert port_fields("3000-3003", "web") == ("", (0, 0), (3000, 3003), "tcp")


@pytest.mark.parametrize(
    ("specs", "exposed"),
    [
        ([5000, "53/udp"], ((53, "udp"), (5000, "tcp"))),
        (["3000-3002"], ((3000, "tcp"), (3001, "tcp"), (3002, "tcp"))),
        (["80", "80/tcp", "80/UDP"], ((80, "tcp"), (80, "udp"))),
        ([], ()),
    ],
)
def test_exposed_ports_are_sorted_pairs(specs: list[object], exposed: tuple[tuple[int, str], ...]) -> None:
    assert parse_exposed(specs, "web") == exposed


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("9" * 5000, "is not a port number"),
        ("3003-3000", "the range 3003-3000 runs backwards"),
        ("0", "port 0 does not exist"),
        ("80/icmp", "'icmp' is not a protocol"),
        ("x", "'x' is not a port number"),
    ],
)
def test_bad_exposed_port_is_refused(spec: str, problem: str) -> None:
    refused(lambda: parse_exposed([spec], "web"), repr(spec), "endpoint web", problem)


def test_exposed_port_with_a_host_part_is_refused_as_an_exposure() -> None:
    text = refused(lambda: parse_exposed(["80:80"], "web"), "an exposed port has no host part", "Write PORT[-LAST]")
    assert text.startswith("Cannot expose '80:80' of endpoint web: ")
