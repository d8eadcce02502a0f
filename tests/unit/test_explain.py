# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way of a packet, told from a topology and a host's routes. The lab compares it with what real packets do."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from ansible_collections.bridgeport.net.plugins.module_utils._explain import (
    Explanation,
    explain,
    explanation_lines,
    explanation_to_json,
    verdict_words,
)
from ansible_collections.bridgeport.net.plugins.module_utils._facts import StaticFacts, Way
from ansible_collections.bridgeport.net.plugins.module_utils._hostports import Holder, HostPorts
from samples import Request, decided, refused

NETWORKS: list[Request] = [
    {"name": "docker0", "subnets": ["172.17.0.0/16", "fd00:17::/64"], "trusted_interfaces": ["vpn0"]},
    {"name": "quiet", "subnets": ["172.18.0.0/16"], "icc": False},
    {"name": "open", "subnets": ["172.19.0.0/16"], "mode": "routed"},
    {"name": "shut", "subnets": ["172.20.0.0/16"], "mode": "internal"},
    {"name": "lone", "subnets": ["172.21.0.0/16"], "mode": "isolated"},
]
ENDPOINTS: list[Request] = [
    {"name": "web", "network": "docker0", "addresses": ["172.17.0.2", "fd00:17::2"]},
    {"name": "peer", "network": "docker0", "addresses": ["172.17.0.3", "fd00:17::3"]},
    {
        "name": "odd",
        "network": "docker0",
        "addresses": ["172.17.0.4"],
        "default_route": False,
        "routes": [{"destination": "198.51.100.0/24", "via": "172.17.0.1"}],
        "interface": "lan9",
    },
    {"name": "q1", "network": "quiet", "addresses": ["172.18.0.2"]},
    {"name": "q2", "network": "quiet", "addresses": ["172.18.0.3"]},
    {"name": "r1", "network": "open", "addresses": ["172.19.0.2"]},
    {"name": "s1", "network": "shut", "addresses": ["172.20.0.2"]},
    {"name": "l1", "network": "lone", "addresses": ["172.21.0.2"]},
]
PUBLISHES = [
    {"endpoint": "web", "ports": ["80:5000", "192.168.52.203:81:5000", "127.0.0.1:82:5000"]},
    {"endpoint": "web", "ports": ["83:5000"], "loopback": "none"},
    {"endpoint": "q1", "ports": ["84:80", "127.0.0.5:85:80"], "loopback": "proxy"},
    {"endpoint": "web", "ports": ["86:5002"], "sources": ["192.168.52.0/25", "172.17.0.3"]},
    {"endpoint": "r1", "ports": ["80"]},
    {"endpoint": "r1", "ports": ["82"], "sources": ["192.168.52.0/25"]},
]
MASQUERADES = [{"network": "docker0"}, {"network": "quiet", "to_source": "192.168.52.204"}]
LAN = ip_address("192.168.52.203")


def way(interface: str, source: str, via: str = "", local: bool = False) -> Way:
    """A route."""
    return Way(interface, ip_address(via) if via else None, ip_address(source), local)


FACTS = StaticFacts(
    ports=HostPorts(
        holders=(Holder(4, "tcp", "", 22, "process sshd (pid 1)"), Holder(4, "tcp", "127.0.0.1", 25, "mail"))
    ),
    routes={
        ip_network("0.0.0.0/0"): way("eth0", "192.168.52.203", via="192.168.52.1"),
        ip_network("192.168.52.0/24"): way("eth0", "192.168.52.203"),
        ip_network("192.168.52.203/32"): way("lo", "192.168.52.203", local=True),
        ip_network("10.8.0.0/24"): way("vpn0", "10.8.0.1"),
        ip_network("127.0.0.0/8"): way("lo", "127.0.0.1", local=True),
        ip_network("::1/128"): way("lo", "::1", local=True),
        ip_network("fd00:17::/64"): way("docker0", "fd00:17::1"),
        ip_network("fd00:17::1/128"): way("lo", "fd00:17::1", local=True),
        ip_network("fd52::/64"): way("eth0", "fd52::203"),
        ip_network("fd52::203/128"): way("lo", "fd52::203", local=True),
        ip_network("fe80::/64"): way("eth0", "fe80::1"),
        **{
            ip_network("172.%d.0.0/16" % n): way(name, "172.%d.0.1" % n)
            for n, name in ((17, "docker0"), (18, "quiet"), (19, "open"), (20, "shut"))
        },
        **{ip_network("172.%d.0.1/32" % n): way("lo", "172.%d.0.1" % n, local=True) for n in (17, 18, 19, 20)},
    },
)
TOPOLOGY = decided(NETWORKS, ENDPOINTS, PUBLISHES, MASQUERADES)

# From, to, verdict, final destination, source that is seen there.
CASES = [
    # Published, from every side.
    ("outside", "192.168.52.203:80", "endpoint", "172.17.0.2:5000/tcp", "outside"),
    ("192.168.52.202", "192.168.52.203:80", "endpoint", "172.17.0.2:5000/tcp", "192.168.52.202"),
    ("192.168.52.202", "192.168.52.203:81", "endpoint", "172.17.0.2:5000/tcp", "192.168.52.202"),
    ("192.168.52.202", "172.17.0.1:81", "refused", "172.17.0.1:81/tcp", "192.168.52.202"),
    ("192.168.52.202", "192.168.52.203:82", "refused", "192.168.52.203:82/tcp", "192.168.52.202"),
    ("192.168.52.202", "192.168.52.203:80/udp", "refused", "192.168.52.203:80/udp", "192.168.52.202"),
    ("fd52::202", "[fd52::203]:80", "endpoint", "[fd00:17::2]:5000/tcp", "fd52::202"),
    ("fe80::2", "[fd52::203]:80", "refused", "[fd52::203]:80/tcp", "fe80::2"),
    ("host", "127.0.0.1:80", "endpoint", "172.17.0.2:5000/tcp", "172.17.0.1"),
    ("host", "127.0.0.1:82", "endpoint", "172.17.0.2:5000/tcp", "172.17.0.1"),
    ("host", "127.0.0.1:83", "refused", "127.0.0.1:83/tcp", "outside"),
    ("host", "192.168.52.203:83", "endpoint", "172.17.0.2:5000/tcp", "172.17.0.1"),
    ("192.168.52.203", "192.168.52.203:80", "endpoint", "172.17.0.2:5000/tcp", "172.17.0.1"),
    ("host", "[::1]:80", "refused", "[::1]:80/tcp", "outside"),
    # To a list of sources.
    ("192.168.52.102", "192.168.52.203:86", "endpoint", "172.17.0.2:5002/tcp", "192.168.52.102"),
    ("192.168.52.202", "192.168.52.203:86", "dropped", "192.168.52.203:86/tcp", "192.168.52.202"),
    ("outside", "192.168.52.203:86", "dropped", "192.168.52.203:86/tcp", "outside"),
    ("peer", "192.168.52.203:86", "endpoint", "172.17.0.2:5002/tcp", "172.17.0.1"),
    ("odd", "172.17.0.1:86", "dropped", "172.17.0.1:86/tcp", "172.17.0.4"),
    ("host", "192.168.52.203:86", "endpoint", "172.17.0.2:5002/tcp", "172.17.0.1"),
    ("192.168.52.102", "r1:82", "endpoint", "172.19.0.2:82/tcp", "192.168.52.102"),
    ("192.168.52.202", "r1:82", "dropped", "172.19.0.2:82/tcp", "192.168.52.202"),
    # By a proxy, also from ::1 to an endpoint without IPv6.
    ("host", "127.0.0.1:84", "endpoint", "172.18.0.2:80/tcp", "172.18.0.1"),
    ("host", "[::1]:84", "endpoint", "172.18.0.2:80/tcp", "172.18.0.1"),
    ("host", "127.0.0.5:85", "endpoint", "172.18.0.2:80/tcp", "172.18.0.1"),
    ("host", "192.168.52.203:84", "endpoint", "172.18.0.2:80/tcp", "172.18.0.1"),
    ("192.168.52.202", "127.0.0.1:84", "dropped", "127.0.0.1:84/tcp", "192.168.52.202"),
    ("web", "192.168.52.203:80", "endpoint", "172.17.0.2:5000/tcp", "172.17.0.1"),
    ("peer", "172.17.0.1:80", "endpoint", "172.17.0.2:5000/tcp", "172.17.0.1"),
    ("q1", "192.168.52.203:80", "endpoint", "172.17.0.2:5000/tcp", "192.168.52.204"),
    ("r1", "192.168.52.203:80", "endpoint", "172.17.0.2:5000/tcp", "172.19.0.2"),
    ("s1", "172.20.0.1:80", "dropped", "172.17.0.2:5000/tcp", "172.20.0.2"),
    # An endpoint's own address.
    ("outside", "web:5000", "dropped", "172.17.0.2:5000/tcp", "outside"),
    ("10.8.0.9", "web:5000", "endpoint", "172.17.0.2:5000/tcp", "10.8.0.9"),
    ("10.8.0.9", "web:5001", "dropped", "172.17.0.2:5001/tcp", "10.8.0.9"),
    ("host", "web:5001", "endpoint", "172.17.0.2:5001/tcp", "172.17.0.1"),
    ("host", "l1:80", "outside", "172.21.0.2:80/tcp", "192.168.52.203"),
    ("peer", "web:5001", "endpoint", "172.17.0.2:5001/tcp", "172.17.0.3"),
    ("web", "web:5001", "endpoint", "172.17.0.2:5001/tcp", "172.17.0.2"),
    ("172.17.0.3", "web/icmp", "endpoint", "172.17.0.2/icmp", "172.17.0.3"),
    ("peer", "172.17.0.99:80", "unreachable", "172.17.0.99:80/tcp", "172.17.0.3"),
    ("host", "172.17.0.99:80", "unreachable", "172.17.0.99:80/tcp", "172.17.0.1"),
    ("q1", "web:5000", "dropped", "172.17.0.2:5000/tcp", "172.18.0.2"),
    ("q1", "q2:80", "dropped", "172.18.0.3:80/tcp", "172.18.0.2"),
    ("s1", "s1/icmp", "endpoint", "172.20.0.2/icmp", "172.20.0.2"),
    ("outside", "r1:80", "endpoint", "172.19.0.2:80/tcp", "outside"),
    ("outside", "r1:81", "dropped", "172.19.0.2:81/tcp", "outside"),
    ("outside", "r1/icmp", "endpoint", "172.19.0.2/icmp", "outside"),
    ("outside", "s1:80", "dropped", "172.20.0.2:80/tcp", "outside"),
    # Out.
    ("web", "203.0.113.9:443", "outside", "203.0.113.9:443/tcp", "192.168.52.203"),
    ("q1", "203.0.113.9:443", "outside", "203.0.113.9:443/tcp", "192.168.52.204"),
    ("r1", "203.0.113.9:443", "outside", "203.0.113.9:443/tcp", "172.19.0.2"),
    ("s1", "203.0.113.9:443", "unreachable", "203.0.113.9:443/tcp", "172.20.0.2"),
    ("l1", "172.21.0.1:80", "unreachable", "172.21.0.1:80/tcp", "172.21.0.2"),
    ("odd", "203.0.113.9:443", "unreachable", "203.0.113.9:443/tcp", "172.17.0.4"),
    ("odd", "198.51.100.9:443", "outside", "198.51.100.9:443/tcp", "192.168.52.203"),
    ("host", "203.0.113.9:443", "outside", "203.0.113.9:443/tcp", "192.168.52.203"),
    # In transit, although the number is published.
    ("192.168.52.202", "203.0.113.9:80", "outside", "203.0.113.9:80/tcp", "192.168.52.202"),
    # The host itself.
    ("192.168.52.202", "192.168.52.203:22", "host", "192.168.52.203:22/tcp", "192.168.52.202"),
    ("192.168.52.202", "192.168.52.203:25", "refused", "192.168.52.203:25/tcp", "192.168.52.202"),
    ("host", "127.0.0.1:25", "host", "127.0.0.1:25/tcp", "127.0.0.1"),
    ("peer", "172.17.0.1/icmp", "host", "172.17.0.1/icmp", "172.17.0.3"),
    # Loopback addresses by wire.
    ("192.168.52.202", "127.0.0.1:82", "dropped", "127.0.0.1:82/tcp", "192.168.52.202"),
    ("peer", "127.0.0.1:25", "dropped", "127.0.0.1:25/tcp", "172.17.0.3"),
    # Nowhere.
    ("host", "[2001:db8:9::1]:80", "unreachable", "[2001:db8:9::1]:80/tcp", "outside"),
]


def told(source: str, destination: str) -> Explanation:
    """The explanation of a packet on the host of these tests."""
    return explain(TOPOLOGY, FACTS, source, destination)


@pytest.mark.parametrize(("source", "destination", "verdict", "final", "seen"), CASES)
def test_verdict(source: str, destination: str, verdict: str, final: str, seen: str) -> None:
    found = told(source, destination)
    assert (found.verdict, found.destination, found.seen) == (verdict, final, seen), explanation_lines(found)


def test_the_way_in_the_words_of_the_kernel() -> None:
    found = told("q1", "192.168.52.203:80/tcp")
    assert explanation_lines(found) == [
        "eth0 of q1: out, via 172.18.0.1",
        "PREROUTING: 192.168.52.203:80 is translated to 172.17.0.2:5000 (publish of web)",
        "routing: out by docker0",
        "FORWARD: accepted, a published port",
        "POSTROUTING: the source 172.18.0.2 becomes 192.168.52.204 (masquerade of quiet)",
        "bridge docker0: bp-web, the host's end of the pair",
        "eth0 of web: delivered to 172.17.0.2:5000, the service sees 192.168.52.204",
    ]
    assert explanation_to_json(found)["endpoint"] == "web"


@pytest.mark.parametrize(
    ("source", "destination", "line", "words"),
    [
        (
            "outside",
            "web:5000",
            "PREROUTING: 172.17.0.2 is an endpoint's address in docker0 and is not addressed from eth0: dropped",
            "the packet is dropped",
        ),
        ("outside", "r1:81", "FORWARD: 172.19.0.2:81 is not published: dropped", "the packet is dropped"),
        ("q1", "q2:80", "bridge quiet: q1 and q2 are kept apart: dropped", "the packet is dropped"),
        (
            "odd",
            "198.51.100.1/icmp",
            "lan9 of odd: out, via 172.17.0.1",
            "the packet reaches the outside at 198.51.100.1/icmp, which sees 192.168.52.203",
        ),
        ("odd", "203.0.113.9:1", "odd: it has no route to 203.0.113.9", "the packet cannot be sent there"),
        (
            "host",
            "127.0.0.1:25",
            "INPUT: delivered to the host itself, to the mail",
            "the packet reaches the host at 127.0.0.1:25/tcp, which sees 127.0.0.1",
        ),
        (
            "outside",
            "192.168.52.203:9/udp",
            "PREROUTING: 192.168.52.203:9 is not published for this packet",
            "the host refuses it, for nothing listens at 192.168.52.203:9/udp",
        ),
        (
            "outside",
            "192.168.52.203:80",
            "FORWARD: accepted, a published port",
            "the packet reaches endpoint web at 172.17.0.2:5000/tcp, which sees the client's own address",
        ),
        (
            "host",
            "203.0.113.9:1",
            "routing: out by eth0 via 192.168.52.1",
            "the packet reaches the outside at 203.0.113.9:1/tcp, which sees 192.168.52.203",
        ),
        (
            "peer",
            "192.168.52.203:80",
            "FORWARD: accepted, within the network",
            "the packet reaches endpoint web at 172.17.0.2:5000/tcp, which sees 172.17.0.1",
        ),
    ],
)
def test_words(source: str, destination: str, line: str, words: str) -> None:
    found = told(source, destination)
    assert line in explanation_lines(found)
    assert verdict_words(found) == words


def test_outside_without_a_default_route() -> None:
    """Who comes from outside comes in by an interface that is none of ours."""
    routes = {subnet: way for subnet, way in FACTS._routes.items() if subnet.prefixlen}
    on_link = [(ip_network("172.17.0.0/16"), "docker0"), (ip_network("192.168.52.0/24"), "eth7")]
    found = explain(TOPOLOGY, StaticFacts(on_link=on_link, routes=routes), "outside", "web:5000")
    assert "from eth7: dropped" in found.path[0].words


@pytest.mark.parametrize(
    ("source", "destination", "parts"),
    [
        ("nobody", "web:5000", ["'nobody'", "no endpoint and no address"]),
        ("outside", "web", ["'web'", "no address with a port", "web:5000/udp"]),
        ("outside", "web:0", ["'web:0'"]),
        ("outside", "web:65536", ["'web:65536'"]),
        ("outside", "web:5000/gre", ["'web:5000/gre'"]),
        ("outside", "fd52::203:80", ["'fd52::203:80'", "[2001:db8::10]:80/tcp"]),
        ("outside", "nobody:80", ["'nobody' is no endpoint and no address"]),
        ("outside", "nobody/icmp", ["'nobody' is no endpoint and no address"]),
        ("192.168.52.202", "[fd52::203]:80", ["192.168.52.202", "[fd52::203]:80", "no IP version in common"]),
        ("q1", "[fd52::203]:80", ["from q1 to", "no IP version in common"]),
        ("fd52::202", "q1:80", ["'q1:80'", "endpoint q1", "IP version"]),
        ("2001:db8:9::9", "[fd52::203]:80", ["2001:db8:9::9", "no route back"]),
    ],
)
def test_refusals(source: str, destination: str, parts: list[str]) -> None:
    refused(lambda: told(source, destination), *parts)
