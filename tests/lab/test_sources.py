# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lists of sources: who may connect to a published port, by which way ever, and for how long."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hostlab import Host, Lab, echo_command
from support import BACKENDS, CLIENT, HOST, Modules, choose_backend, interpreters

LAN = {4: "192.168.52.203", 6: "fd52::203"}
SECOND = {4: "192.168.52.213", 6: "fd52::213"}
FRIEND = {4: "192.168.52.202", 6: "fd52::202"}
STRANGER = {4: "192.168.52.204", 6: "fd52::204"}
WEB = {4: "172.17.0.2", 6: "fd00:17::2"}
FLAT = {4: "172.19.0.2", 6: "fd00:19::2"}
GATEWAY = {4: "172.17.0.1", 6: "fd00:17::1"}

PUBLISHES: list[dict[str, Any]] = [
    {"endpoint": "web", "ports": ["80:5000", "80:5000/udp"], "sources": ["192.168.52.202", "fd52::202"]},
    {"endpoint": "web", "ports": ["81:5001", "81:5001/udp"]},
    # The same host port on two host addresses, each with a list of its own.
    {"endpoint": "web", "ports": ["192.168.52.203:82:5002"], "sources": ["192.168.52.192/28"]},
    {"endpoint": "web", "ports": ["192.168.52.213:82:5002"], "sources": ["192.168.52.204/30"]},
    # Endpoints count by their own address: the one of the other network may, the neighbour may not.
    {"endpoint": "web", "ports": ["83:5003"], "sources": ["172.18.0.0/16", "fd00:18::/64"]},
    # Everybody of one family is nobody of the other.
    {"endpoint": "web", "ports": ["84:5004"], "sources": ["0.0.0.0/0"]},
    # Two ways to one endpoint port, of which only one has a list.
    {"endpoint": "web", "ports": ["85:5005"], "sources": ["192.168.52.204", "fd52::204"]},
    {"endpoint": "web", "ports": ["86:5005"]},
    # A routed network has the endpoint's own port.
    {"endpoint": "flat", "ports": ["5000", "5000/udp"], "sources": ["192.168.52.202", "fd52::202"]},
]


@pytest.fixture(scope="module", params=BACKENDS)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[dict[str, Host], Modules]]:
    """A host between a friend and a stranger, with networks nat and routed and the publishes above."""
    scratch = tmp_path_factory.mktemp("sources")
    with Lab(scratch / "lab") as lab:
        friend, host = lab.add_host("friend", CLIENT), lab.add_host("host", [*HOST, "192.168.52.213/24"])
        stranger = lab.add_host("stranger", ["192.168.52.204/24", "fd52::204/64"])
        modules = Modules(host, interpreters(scratch)[1])
        modules.ok(
            "bridge_network",
            **choose_backend(host, request.param),
            networks=[
                {"name": "docker0", "subnets": ["172.17.0.0/16", "fd00:17::/64"], "trusted_interfaces": ["eth0"]},
                {"name": "br-other", "subnets": ["172.18.0.0/16", "fd00:18::/64"]},
                {"name": "br-flat", "subnets": ["172.19.0.0/16", "fd00:19::/64"], "mode": "routed"},
            ],
        )
        modules.ok("masquerade", masquerades=[{"network": "docker0"}, {"network": "br-other"}])
        endpoints = [("web", "docker0"), ("peer", "docker0"), ("other", "br-other"), ("flat", "br-flat")]
        modules.ok("veth_endpoint", endpoints=[{"name": name, "network": network} for name, network in endpoints])
        modules.ok("port_publish", publishes=PUBLISHES)
        for name in ("web", "flat"):
            forms = ["0.0.0.0:5000-5005", "[::]:5000-5005"]
            host.start(echo_command(name, forms, forms), netns=name, ready="ready")
        for machine in (friend, stranger):
            for version, subnets in ((4, ("172.17.0.0/16", "172.19.0.0/16")), (6, ("fd00:17::/64", "fd00:19::/64"))):
                for subnet in subnets:
                    machine.run(["ip", f"-{version}", "route", "add", subnet, "via", LAN[version]])
        yield {"friend": friend, "host": host, "stranger": stranger}, modules


def cells(version: int) -> list[tuple[str, str, int, bool]]:
    """From where to what, and whether there is an answer."""
    rows = [
        ("friend", LAN[version], 80, True),
        ("stranger", LAN[version], 80, False),
        ("peer", LAN[version], 80, False),
        ("web", LAN[version], 80, False),
        ("other", LAN[version], 80, False),
        ("host", LAN[version], 80, True),
        ("host", GATEWAY[version], 80, True),
        ("host", WEB[version], 5000, True),
        # By route, from an interface that is trusted.
        ("friend", WEB[version], 5000, True),
        ("stranger", WEB[version], 5000, False),
        # Neighbours are on one link.
        ("peer", WEB[version], 5000, True),
        *((name, LAN[version], 81, True) for name in ("friend", "stranger", "peer", "other", "host")),
        ("stranger", WEB[version], 5001, True),
        ("other", LAN[version], 83, True),
        ("peer", LAN[version], 83, False),
        ("friend", LAN[version], 83, False),
        ("friend", LAN[version], 84, version == 4),
        ("peer", LAN[version], 84, version == 4),
        ("stranger", LAN[version], 85, True),
        ("friend", LAN[version], 85, False),
        ("friend", LAN[version], 86, True),
        ("friend", WEB[version], 5005, True),
        ("friend", FLAT[version], 5000, True),
        ("stranger", FLAT[version], 5000, False),
        ("other", FLAT[version], 5000, False),
        ("host", FLAT[version], 5000, True),
    ]
    if version == 4:
        rows += [
            ("host", "127.0.0.1", 80, True),
            ("friend", LAN[4], 82, True),
            ("stranger", LAN[4], 82, True),
            ("friend", SECOND[4], 82, False),
            ("stranger", SECOND[4], 82, True),
            ("stranger", WEB[4], 5002, True),
        ]
    return rows


@pytest.mark.parametrize("br_netfilter", ["0", "1"])
@pytest.mark.parametrize("version", [4, 6])
def test_who_may_connect(place: tuple[dict[str, Host], Modules], version: int, br_netfilter: str) -> None:
    machines, _modules = place
    for name in ("iptables", "ip6tables"):
        machines["host"].write(f"/proc/sys/net/bridge/bridge-nf-call-{name}", br_netfilter)
    rows = [(proto, *cell) for proto in ("tcp", "udp") for cell in cells(version)]
    rows = [row for row in rows if row[0] == "tcp" or row[3] in (80, 81, 5000, 5001)]
    wrong = []
    for start in dict.fromkeys(row[1] for row in rows):
        mine = [row for row in rows if row[1] == start]
        machine, netns = (machines[start], None) if start in machines else (machines["host"], start)
        for row, probe in zip(mine, machine.probe_many([(row[0], row[2], row[3]) for row in mine], netns)):
            if probe.ok != row[4]:
                wrong.append(f"{row[1]} -> {row[0]} {row[2]}:{row[3]}: wanted {row[4]}, got {probe}")
    assert not wrong, "\n".join(wrong)


def test_they_are_shown(place: tuple[dict[str, Host], Modules]) -> None:
    _machines, modules = place
    info = modules.ok("topology_info")
    assert info["drift"] == []
    lines = info["port_table"]["web"]
    assert "5000/tcp -> 0.0.0.0:80 from 192.168.52.202, fd52::202" in lines
    assert "5001/tcp -> 0.0.0.0:81" in lines
    assert info["port_table"]["flat"][0] == "5000/tcp on 172.19.0.2, by route from 192.168.52.202, fd52::202"
    (shown,) = [p["sources"] for p in info["ports"] if p["host_address"] == "192.168.52.203"]
    assert shown == ["192.168.52.192/28"]


@pytest.mark.parametrize("place", ["nftables"], indirect=True)
def test_a_list_costs_the_rules_of_one_list(place: tuple[dict[str, Host], Modules]) -> None:
    """Ten ports with the list of port 80, in another order and with what it holds already, are elements only."""
    machines, modules = place

    def rules() -> list[str]:
        text = machines["host"].run(["nft", "-s", "list", "table", "ip", "bridgeport"]).stdout
        return [line for line in text.splitlines() if "comment" in line and "#" in line]

    before = rules()
    same = ["fd52::202/128", "192.168.52.202/32", "192.168.52.202"]
    modules.ok("port_publish", endpoint="web", ports=["700-709:700-709"], sources=same)
    assert rules() == before
    modules.ok("port_publish", endpoint="web", ports=["700-709:700-709"], state="absent")


TALK = """
import socket, sys, time
kind, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
link = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
link.connect((address, port))
link.settimeout(0.05)
while True:
    try:
        link.send(b"?\\n")
    except OSError:
        pass
    try:
        while link.recv(65536):
            print("heard", flush=True)
    except OSError:
        pass
"""

# Sends on its own account, too: what an endpoint has to say must not bring an ended connection back.
PUSH = """
import select, socket, sys, time
servers = {}
for family, any_address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        server = socket.socket(family, kind)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        server.bind((any_address, 6000))
        if kind == socket.SOCK_STREAM:
            server.listen()
        servers[server] = kind
peers = {}
print("ready", flush=True)
while True:
    ready = select.select([*servers, *(p for p in peers if isinstance(p, socket.socket))], [], [], 0.05)[0]
    for item in ready:
        try:
            if servers.get(item) == socket.SOCK_STREAM:
                peers[item.accept()[0]] = None
            elif item in servers:
                peers[item.recvfrom(9)[1]] = item
                print("asked", flush=True)
            elif item.recv(65536):
                print("asked", flush=True)
            else:
                del peers[item]
        except OSError:
            pass
    for peer, server in list(peers.items()):
        try:
            peer.send(b"tick\\n") if server is None else server.sendto(b"tick", peer)
        except OSError:
            pass
"""


@pytest.mark.parametrize("target", ["nat", "same number", "trusted", "routed"])
@pytest.mark.parametrize("proto", ["tcp", "udp"])
def test_connections_of_a_source_that_may_no_longer(
    place: tuple[dict[str, Host], Modules], proto: str, target: str
) -> None:
    machines, modules = place
    host, endpoint = machines["host"], "flat" if target == "routed" else "web"
    port = 87 if target == "nat" else 6000
    spec = f"{port}:6000/{proto}"
    server = host.start([sys.executable, "-c", PUSH], netns=endpoint, ready="ready")
    modules.ok("port_publish", endpoint=endpoint, ports=[spec], sources=["192.168.52.192/28", "fd52::/64"])
    stopped = []
    for version in (4, 6):
        address = {"trusted": WEB, "routed": FLAT}.get(target, LAN)[version]
        for name in ("friend", "stranger"):
            command = [sys.executable, "-c", TALK, proto, address, str(port)]
            stopped.append((version, name, machines[name].start(command, ready="heard")))
    changed = modules.ok("port_publish", endpoint=endpoint, ports=[spec], sources=["192.168.52.202", "fd52::202"])[
        "actions"
    ]
    assert any("sources from 192.168.52.192/28, fd52::/64 to 192.168.52.202, fd52::202" in line for line in changed)
    ports = "ports 87, 6000" if target == "nat" else "port 6000"
    assert f"Forget the connections to {ports} from sources that may no longer connect." in changed
    time.sleep(0.3)
    heard = [process.output().count("heard") for _version, _name, process in stopped]
    time.sleep(1.0)
    for (version, name, process), count in zip(stopped, heard):
        assert (process.output().count("heard") > count + 3) == (name == "friend"), (version, name)
        process.stop()
    assert "asked" in server.output()
    modules.ok("port_publish", endpoint=endpoint, ports=[spec], state="absent")
    server.stop()


def test_six_runs_of_a_list(fresh: Callable[[str], Modules]) -> None:
    """Check, run, check, run for a list that is added, changed and taken away; a flushed firewall is repaired."""
    modules = fresh("debian")
    modules.ok("bridge_network", name="docker0", subnets=["172.17.0.0/16"])
    modules.ok("veth_endpoint", network="docker0", name="web")
    modules.ok("port_publish", endpoint="web", ports=["80:5000"])
    for sources in (["192.0.2.0/25", "192.0.2.128/25"], ["198.51.100.7"], None):
        options: dict[str, Any] = {"endpoint": "web", "ports": ["80:5000"]}
        if sources:
            options["sources"] = sources
        before = modules.host.snapshot()
        predicted = modules.ok("port_publish", check=True, **options)
        assert modules.host.snapshot() == before
        done = modules.ok("port_publish", **options)
        assert done["changed"] is True and done["actions"] == predicted["actions"] and done["diff"] == predicted["diff"]
        merged = {"192.0.2.0/25": ["192.0.2.0/24"], "198.51.100.7": ["198.51.100.7"]}.get((sources or [""])[0], [])
        assert done["ports"][0]["sources"] == merged
        assert done["diff"]["after"]["publishes"]["web 80:5000/tcp"] == {"sources": merged}
        text = modules.host.run(["nft", "list", "table", "ip", "bridgeport"]).stdout
        assert ("set sources_" in text) == bool(sources) and text.count("set sources_") <= 1
        for check in (True, False):
            assert modules.ok("port_publish", check=check, **options)["changed"] is False
        modules.host.run(["nft", "flush", "ruleset"])
        assert modules.ok("port_publish", **options)["changed"] is True
        again = modules.host.run(["nft", "list", "table", "ip", "bridgeport"]).stdout
        assert sorted(again.splitlines()) == sorted(text.splitlines())
        assert modules.ok("topology_info")["drift"] == []
