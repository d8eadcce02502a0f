# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every form in which a port can be published: where it is open then, and where not."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from hostlab import Host, echo_command
from support import Modules

LAN = {4: "192.168.52.203", 6: "fd52::203"}
GATEWAY = {4: "172.17.0.1", 6: "fd00:17::1"}
RECORD = "/var/lib/bridgeport/topology.json"
PUBLISHED: dict[str, list[str]] = {
    "web": [
        "0.0.0.0:8001:5000",
        "[::]:8002:5000",
        "[fd52::203]:8003:5000",
        # Ranges, one to one, for both protocols.
        "8100-8104:5000-5004",
        "8100-8104:5000-5004/udp",
        # One host port, two protocols, two ports of the endpoint.
        "8200:5001/tcp",
        "8200:5002/udp",
        # One host port on two host addresses, for two endpoints.
        "192.168.52.203:8300:5000",
    ],
    "app": ["172.17.0.1:8300:5000", "8400:5000", "8401:5000"],
}
# From the client: protocol, host address, port, the endpoint that answers.
CELLS = [
    ("tcp", LAN[4], 8001, "web"),
    ("tcp", LAN[6], 8001, ""),
    ("tcp", LAN[4], 8002, ""),
    ("tcp", LAN[6], 8002, "web"),
    ("tcp", LAN[6], 8003, "web"),
    ("tcp", GATEWAY[6], 8003, ""),
    ("tcp", LAN[4], 8003, ""),
    *((proto, LAN[version], port, "web") for proto in ("tcp", "udp") for version in (4, 6) for port in (8100, 8104)),
    ("tcp", LAN[4], 8105, ""),
    ("tcp", LAN[4], 8200, "web"),
    ("udp", LAN[4], 8200, "web"),
    ("tcp", LAN[4], 8300, "web"),
    ("tcp", GATEWAY[4], 8300, "app"),
    ("tcp", LAN[6], 8300, ""),
    ("tcp", LAN[4], 8400, "app"),
    ("tcp", LAN[4], 8401, "app"),
]


@pytest.fixture(scope="module", autouse=True)
def topology(modules: Modules, host: Host, client: Host) -> Iterator[None]:
    """A dual-stack network with servers on the ports 5000 to 5004 of two endpoints."""
    modules.ok("bridge_network", name="docker0", subnets=["172.17.0.0/16", "fd00:17::/64"])
    modules.ok("veth_endpoint", network="docker0", endpoints=[{"name": "web"}, {"name": "app"}, {"name": "spare"}])
    forms = ["0.0.0.0:5000-5004", "[::]:5000-5004"]
    for name in ("web", "app"):
        host.start(echo_command(name, forms, forms), netns=name, ready="ready")
    for version, subnet in ((4, "172.17.0.0/16"), (6, "fd00:17::/64")):
        client.run(["ip", f"-{version}", "route", "add", subnet, "via", LAN[version]])
    yield


def test_forms_of_host_addresses_and_ranges(modules: Modules, client: Host) -> None:
    modules.ok("port_publish", publishes=[{"endpoint": name, "ports": ports} for name, ports in PUBLISHED.items()])
    probes = client.probe_many([cell[:3] for cell in CELLS])
    got = [(*cell[:3], probe.name if probe.ok else "") for cell, probe in zip(CELLS, probes)]
    assert got == CELLS
    # One publish less takes nothing else along: neither the other protocol, nor the other address, nor its neighbours.
    gone = ["8102:5002", "192.168.52.203:8300:5000", "8200:5001"]
    modules.ok("port_publish", endpoint="web", ports=gone, state="absent")
    after = [("tcp", LAN[4], 8102, ""), ("udp", LAN[4], 8102, "web"), ("tcp", LAN[4], 8101, "web")]
    after += [("tcp", LAN[4], 8300, ""), ("tcp", GATEWAY[4], 8300, "app"), ("udp", LAN[4], 8200, "web")]
    probes = client.probe_many([cell[:3] for cell in after])
    assert [(*cell[:3], probe.name if probe.ok else "") for cell, probe in zip(after, probes)] == after
    modules.ok("port_publish", publishes=[{"endpoint": name} for name in PUBLISHED], state="absent")


def chosen(result: dict[str, Any]) -> list[tuple[int, str, int]]:
    """The endpoint port, protocol and host port of each publish of a result."""
    return [(port["endpoint_port"], port["protocol"], port["host_port"]) for port in result["ports"]]


def test_one_port_out_of_a_range_is_free_in_both_ip_versions(modules: Modules, host: Host, client: Host) -> None:
    """The first is published by another endpoint, the second held by a process for IPv6 alone."""
    modules.ok("port_publish", endpoint="app", ports=["127.0.0.1:8500:5000"])
    process = host.start(echo_command("x", ["[::]:8501"], []), ready="ready")
    result = modules.ok("port_publish", endpoint="web", ports=["8500-8509:5000", "8500-8509:5000/udp"])
    process.stop()
    # tcp and udp of one port belong together.
    assert chosen(result) == [(5000, "tcp", 8502), (5000, "udp", 8502)]
    assert all(client.probe(proto, LAN[version], 8502).ok for proto in ("tcp", "udp") for version in (4, 6))
    modules.ok("port_publish", endpoint="app", state="absent")
    assert (
        modules.ok("port_publish", endpoint="web", ports=["8500-8509:5000", "8500-8509:5000/udp"])["changed"] is False
    )
    modules.ok("port_publish", endpoint="web", state="absent")


def test_free_choice_is_kept_in_the_record(modules: Modules, host: Host, client: Host) -> None:
    host.write("/proc/sys/net/ipv4/ip_local_port_range", "41000 41009")
    host.write("/proc/sys/net/ipv4/ip_local_reserved_ports", "41000-41002,41004")
    first = chosen(modules.ok("port_publish", endpoint="web", ports=["5000", "5000/udp", "5001"]))
    assert first == [(5000, "tcp", 41003), (5000, "udp", 41003), (5001, "tcp", 41005)]
    assert all(client.probe("tcp", LAN[version], 41003).name == "web" for version in (4, 6))
    kept = {(p["endpoint_port"], p["host_port"]) for p in json.loads(host.read(RECORD))["topology"]["publishes"]}
    assert kept == {(5000, 41003), (5001, 41005)}
    # Neither another range nor a repair chooses anew.
    host.write("/proc/sys/net/ipv4/ip_local_port_range", "42000 42009")
    host.run(["nft", "flush", "ruleset"])
    assert chosen(modules.ok("port_publish", endpoint="web", ports=["5000", "5000/udp", "5001"])) == first
    assert client.probe("tcp", LAN[4], 41003).name == "web"
    modules.ok("port_publish", endpoint="web", state="absent")


@pytest.mark.parametrize(
    ("expose", "options", "opened"),
    [
        ([], {"ports": []}, []),
        ([5000], {"ports": []}, []),
        ([], {"publish_all": True}, []),
        ([5000, "5001/udp"], {"publish_all": True}, [(5000, "tcp", 0), (5001, "udp", 0)]),
        ([5000, 5001], {"publish_all": True, "ports": ["8600:5000"]}, [(5000, "tcp", 8600), (5001, "tcp", 0)]),
        ([], {"ports": ["8600:5000"]}, [(5000, "tcp", 8600)]),
    ],
    ids=["nothing", "exposed", "-P", "exposed, -P", "exposed, -P and -p", "-p"],
)
def test_what_exposing_and_publishing_open(
    modules: Modules, client: Host, expose: list[Any], options: dict[str, Any], opened: list[tuple[int, str, int]]
) -> None:
    modules.ok("veth_endpoint", name="web", expose=expose)
    result = modules.ok("port_publish", endpoint="web", **options)
    got = chosen(result)
    assert [(port, proto, host if host == 8600 else 0) for port, proto, host in got] == opened
    assert all(client.probe(proto, LAN[4], host).name == "web" for _port, proto, host in got)
    # Whatever is exposed, the endpoint's own address stays closed to the outside.
    assert not client.probe("tcp", "172.17.0.2", 5000, timeout=0.5)
    modules.ok("port_publish", endpoint="web", state="absent")
    modules.ok("veth_endpoint", name="web", expose=[])


def test_a_port_that_is_held_for_one_ip_version_or_address(modules: Modules, host: Host) -> None:
    process = host.start(echo_command("x", ["[fd52::203]:8700", "127.0.0.1:8701"], ["0.0.0.0:8702"]), ready="ready")
    for spec, word in (
        ("8700:5000", "[::]:8700/tcp"),
        ("8701:5000", "0.0.0.0:8701/tcp"),
        ("8702:5000/udp", "8702/udp"),
    ):
        message = modules.refused("port_publish", endpoint="web", ports=["8703:5000", spec])
        assert word in message and "process" in message, message
    # What is not held can be had.
    free = ["192.168.52.203:8700:5000", "192.168.52.203:8701:5000", "8702:5000/tcp"]
    modules.ok("port_publish", endpoint="web", ports=free)
    process.stop()
    modules.ok("port_publish", endpoint="web", state="absent")


def test_sctp_where_the_kernel_has_it(modules: Modules) -> None:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError:
        message = modules.refused("port_publish", endpoint="web", ports=["8800:5000", "8800:5000/sctp"])
        assert "8800:5000/sctp" in message and "no SCTP" in message
    else:
        assert modules.ok("port_publish", endpoint="web", ports=["8800:5000/sctp"])["changed"] is True
        modules.ok("port_publish", endpoint="web", state="absent")


def test_a_trusted_interface_that_is_not_there(modules: Modules, host: Host, client: Host) -> None:
    """Accepted with a warning, and trusted from the moment that it comes."""
    for check in (True, False):
        result = modules.ok("bridge_network", check=check, name="docker0", trusted_interfaces=["late0"])
        assert result["changed"] is True
        # How a module hands its warnings over differs between versions of ansible-core.
        sentence = "Network docker0 trusts the interface late0, which is not there. Nothing comes from it until it is."
        assert len(result["warnings"]) == 1 and sentence in str(result["warnings"])
    modules.ok("port_publish", endpoint="web", ports=["8900:5000"])
    assert not client.probe("tcp", "172.17.0.2", 5000, timeout=0.5)
    host.run(["ip", "link", "set", "eth0", "down"])
    host.run(["ip", "link", "set", "eth0", "name", "late0"])
    host.run(["ip", "link", "set", "late0", "up"])
    assert client.probe("tcp", "172.17.0.2", 5000).name == "web"
    assert "warnings" not in modules.ok("bridge_network", name="docker0")
    host.run(["ip", "link", "set", "late0", "down"])
    host.run(["ip", "link", "set", "late0", "name", "eth0"])
    host.run(["ip", "link", "set", "eth0", "up"])


def test_options_beside_the_list_are_those_of_its_entries(modules: Modules) -> None:
    modules.ok("veth_endpoint", endpoints=[{"name": "spare", "expose": ["5000"]}, {"name": "app", "expose": ["5001"]}])
    shared: dict[str, Any] = {"loopback": "none", "publish_all": True, "sources": ["192.0.2.0/24"], "prune": True}
    own = {
        "endpoint": "app",
        "ports": ["8600:80"],
        "loopback": "nat",
        "publish_all": False,
        "sources": ["198.51.100.7"],
    }
    done = modules.ok("port_publish", publishes=[{"endpoint": "spare", "ports": ["8601:80"]}, own], **shared)
    assert [(port["endpoint"], port["endpoint_port"], port["loopback"], port["sources"]) for port in done["ports"]] == [
        ("app", 80, "nat", ["198.51.100.7"]),
        ("spare", 80, "none", ["192.0.2.0/24"]),
        ("spare", 5000, "none", ["192.0.2.0/24"]),
    ]
