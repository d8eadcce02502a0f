# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who reaches what, with real packets: each cell asserts the source address that the service saw."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hostlab import Host, Lab, echo_command
from support import Modules

PORT = 5000
WEB = {4: "172.17.0.2", 6: "fd00:17::2"}
PEER = {4: "172.17.0.3", 6: "fd00:17::3"}
GATEWAY = {4: "172.17.0.1", 6: "fd00:17::1"}
OTHER_GATEWAY = {4: "172.18.0.1", 6: "fd00:18::1"}
OTHER = {4: "172.18.0.2", 6: "fd00:18::2"}
LAN = {4: "192.168.52.203", 6: "fd52::203"}
CLIENT = {4: "192.168.52.202", 6: "fd52::202"}

Cell = tuple[str, str, str, int, str]


def cells(version: int) -> list[Cell]:
    """Rows of (from, protocol, address, port, source that the service sees), "" for no answer at all."""
    rows: list[tuple[str, str, int, str]] = [
        # The published port, from everywhere.
        ("client", LAN[version], 80, CLIENT[version]),
        ("client", GATEWAY[version], 80, CLIENT[version]),
        ("host", LAN[version], 80, GATEWAY[version]),
        ("host", GATEWAY[version], 80, GATEWAY[version]),
        ("peer", LAN[version], 80, GATEWAY[version]),
        ("peer", GATEWAY[version], 80, GATEWAY[version]),
        ("peer", OTHER_GATEWAY[version], 80, GATEWAY[version]),
        ("web", LAN[version], 80, GATEWAY[version]),
        ("web", GATEWAY[version], 80, GATEWAY[version]),
        ("other", LAN[version], 80, GATEWAY[version]),
        ("other", GATEWAY[version], 80, GATEWAY[version]),
        ("other", OTHER_GATEWAY[version], 80, GATEWAY[version]),
        # The endpoint's own address: for the host and its own network only.
        ("host", WEB[version], PORT, GATEWAY[version]),
        ("peer", WEB[version], PORT, PEER[version]),
        ("peer", WEB[version], 5001, PEER[version]),
        ("client", WEB[version], PORT, ""),
        ("client", WEB[version], 5001, ""),
        ("other", WEB[version], PORT, ""),
        ("other", WEB[version], 5001, ""),
        # Outbound, masqueraded.
        ("web", CLIENT[version], 7000, LAN[version]),
        ("other", CLIENT[version], 7000, LAN[version]),
        # What is in transit to another machine is not hijacked, although the port number is published.
        ("web", CLIENT[version], 80, LAN[version]),
        # A host port that nothing publishes.
        ("client", LAN[version], 81, ""),
    ]
    if version == 4:
        rows += [
            ("host", "127.0.0.1", 80, GATEWAY[4]),
            # Published on 127.0.0.1 only.
            ("host", "127.0.0.1", 8081, GATEWAY[4]),
            ("client", LAN[4], 8081, ""),
            ("peer", LAN[4], 8081, ""),
            ("host", LAN[4], 8081, ""),
            # A neighbour that routes the host's loopback addresses to it.
            ("client", "127.0.0.2", 8082, ""),
            ("host", "127.0.0.2", 8082, GATEWAY[4]),
            # Published with loopback: none.
            ("client", LAN[4], 8083, CLIENT[4]),
            ("host", "127.0.0.1", 8083, ""),
            # Published on one host address.
            ("client", LAN[4], 8084, CLIENT[4]),
            ("client", GATEWAY[4], 8084, ""),
        ]
    else:
        rows += [("host", "::1", 80, "")]
    return [(place, proto, address, port, seen) for proto in ("tcp", "udp") for place, address, port, seen in rows]


@pytest.fixture(scope="module")
def topology(lab: Lab, host: Host, client: Host, modules: Modules) -> Iterator[None]:
    """Two dual-stack networks, three endpoints with servers in them, and their publishes."""
    modules.ok(
        "bridge_network",
        networks=[
            {"name": "docker0", "subnets": ["172.17.0.0/16", "fd00:17::/64"]},
            {"name": "br-other", "subnets": ["172.18.0.0/16", "fd00:18::/64"]},
        ],
    )
    modules.ok("masquerade", masquerades=[{"network": "docker0"}, {"network": "br-other"}])
    modules.ok(
        "veth_endpoint",
        endpoints=[
            {"name": "web", "network": "docker0"},
            {"name": "peer", "network": "docker0"},
            {"name": "other", "network": "br-other"},
        ],
    )
    ports = [
        f"{spec}/{proto}"
        for proto in ("tcp", "udp")
        for spec in ("80:5000", "127.0.0.1:8081:5000", "127.0.0.2:8082:5000")
    ]
    ports += [f"192.168.52.203:8084:5000/{proto}" for proto in ("tcp", "udp")]
    modules.ok("port_publish", endpoint="web", ports=ports)
    modules.ok("port_publish", endpoint="web", ports=["8083:5000", "8083:5000/udp"], loopback="none")
    everywhere = [f"{address}:{port}" for address in ("0.0.0.0", "[::]") for port in (PORT, 5001)]
    host.start(echo_command("web", everywhere, everywhere), netns="web", ready="ready")
    outside = [f"{address}:{port}" for address in ("0.0.0.0", "[::]") for port in (80, 7000)]
    client.start(echo_command("client", outside, outside), ready="ready")
    for version, subnets in (
        (4, ("172.17.0.0/16", "172.18.0.0/16", "127.0.0.2/32")),
        (6, ("fd00:17::/64", "fd00:18::/64")),
    ):
        for subnet in subnets:
            if subnet.startswith("127."):
                client.run(["ip", "addr", "del", "127.0.0.1/8", "dev", "lo"])
                client.run(["ip", "route", "flush", "table", "local", "127.0.0.0/8"], check=False)
                client.write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1")
            client.run(["ip", f"-{version}", "route", "add", subnet, "via", LAN[version]])
    yield


@pytest.mark.parametrize("br_netfilter", ["0", "1"])
@pytest.mark.parametrize("version", [4, 6])
def test_who_reaches_what(topology: None, host: Host, client: Host, version: int, br_netfilter: str) -> None:
    for name in ("iptables", "ip6tables"):
        host.write(f"/proc/sys/net/bridge/bridge-nf-call-{name}", br_netfilter)
    wrong = []
    wanted = cells(version)
    for place in dict.fromkeys(cell[0] for cell in wanted):
        mine = [cell for cell in wanted if cell[0] == place]
        machine = client if place == "client" else host
        netns = None if place in ("client", "host") else place
        probes = machine.probe_many([(cell[1], cell[2], cell[3]) for cell in mine], netns)
        for cell, probe in zip(mine, probes):
            seen = probe.source if probe.ok else ""
            if seen != cell[4]:
                wrong.append(f"{cell[0]} -> {cell[1]} {cell[2]}:{cell[3]}: wanted {cell[4] or 'nothing'}, got {probe}")
    assert not wrong, "\n".join(wrong)


def test_ipv6_loopback_is_refused_at_once(topology: None, host: Host) -> None:
    probe = host.probe("tcp", "::1", 80, timeout=2.0)
    assert probe.error == "refused"


def test_the_answers_come_from_the_endpoint(topology: None, host: Host, client: Host) -> None:
    assert client.probe("tcp", LAN[4], 80).name == "web"
    assert host.probe("tcp", CLIENT[4], 80, netns="web").name == "client"


def test_a_neighbours_martian_really_arrives(topology: None, host: Host, client: Host, modules: Modules) -> None:
    """The guard of loopback addresses is what stops them: without it the port on 127.0.0.2 is open to the LAN."""
    assert not client.probe("udp", "127.0.0.2", 8082)
    saved = host.run(["nft", "-a", "list", "chain", "ip", "bridgeport", "guard"]).stdout
    handle = next(line for line in saved.splitlines() if "127.0.0.0/8" in line).rsplit(" ", 1)[1]
    host.run(["nft", "delete", "rule", "ip", "bridgeport", "guard", "handle", handle])
    try:
        assert client.probe("udp", "127.0.0.2", 8082).ok
    finally:
        mended = modules.ok("port_publish", endpoint="web", ports=["80:5000"])
    assert mended["actions"] == ["Restore the changed rules of chain guard in table ip bridgeport."]
    assert not client.probe("udp", "127.0.0.2", 8082)
