# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each mode of a network lets through, IPv4 and IPv6: the source address that the service saw, or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hostlab import Lab, echo_command
from support import CLIENT, HOST, Modules, interpreters

LAN = {4: "192.168.52.203", 6: "fd52::203"}
OUTSIDE = {4: "192.168.52.202", 6: "fd52::202"}
SERVER = {4: "172.17.0.2", 6: "fd00:17::2"}
PEER = {4: "172.17.0.3", 6: "fd00:17::3"}
GATEWAY = {4: "172.17.0.1", 6: "fd00:17::1"}

# From the outside to the host's port 8080, to the endpoint's 80 (published) and 81 (not); the same from an endpoint of
# another network; from the host to 80; from a neighbour to 80 and to the host's port; from the endpoint to the outside.
# E: the outside client, gw: the gateway, c2: the neighbour, H: the host, -: nothing.
MODES: list[tuple[str, dict[str, Any], bool, str]] = [
    ("nat", {}, True, "E - - gw - - gw c2 gw H"),
    ("nat, trusted", {"trusted_interfaces": ["eth0"]}, True, "E E - gw - - gw c2 gw H"),
    ("nat, no icc", {"icc": False}, True, "E - - gw - - gw - gw H"),
    ("routed", {"mode": "routed"}, True, "- E - - gw - gw c2 - e"),
    ("internal", {"mode": "internal"}, False, "- - - - - - gw c2 - -"),
    ("isolated", {"mode": "isolated"}, False, "- - - - - - - c2 - -"),
]


def places(version: int) -> list[tuple[str, str, int]]:
    """From where to what, in the order of MODES' words."""
    return [
        ("client", LAN[version], 8080),
        ("client", SERVER[version], 80),
        ("client", SERVER[version], 81),
        ("other", LAN[version], 8080),
        ("other", SERVER[version], 80),
        ("other", SERVER[version], 81),
        ("host", SERVER[version], 80),
        ("peer", SERVER[version], 80),
        ("peer", LAN[version], 8080),
        ("server", OUTSIDE[version], 7000),
    ]


@pytest.mark.parametrize(("name", "options", "publish", "words"), MODES, ids=[mode[0] for mode in MODES])
def test_mode(tmp_path: Path, name: str, options: dict[str, Any], publish: bool, words: str) -> None:
    with Lab(tmp_path / "lab") as lab:
        client, host = lab.add_host("client", CLIENT), lab.add_host("host", HOST)
        modules = Modules(host, interpreters(tmp_path)[1])
        # Without icc, a neighbour reaches a published port only where bridged frames bypass the IP rules: otherwise
        # the kernel translates them on the bridge, between two ports that are isolated from each other.
        for family in ("iptables", "ip6tables"):
            host.write(f"/proc/sys/net/bridge/bridge-nf-call-{family}", "1" if options.get("icc", True) else "0")
        set_up(modules, options, publish)
        everywhere = [f"{address}:{port}" for address in ("0.0.0.0", "[::]") for port in (80, 81)]
        host.start(echo_command("server", everywhere, everywhere), netns="server", ready="ready")
        outside = ["0.0.0.0:7000", "[::]:7000"]
        client.start(echo_command("client", outside, outside), ready="ready")
        wrong = []
        for version in (4, 6):
            client.run(["ip", f"-{version}", "route", "add", f"{SERVER[version]}", "via", LAN[version]])
            seen = {"E": OUTSIDE, "gw": GATEWAY, "c2": PEER, "H": LAN, "e": SERVER}
            for proto in ("tcp", "udp"):
                for place, word in zip(places(version), words.split()):
                    machine = client if place[0] == "client" else host
                    netns = None if place[0] in ("client", "host") else place[0]
                    probe = machine.probe(proto, place[1], place[2], netns, timeout=0.4)
                    wanted = seen[word][version] if word != "-" else None
                    if (probe.source if probe.ok else None) != wanted:
                        wrong.append(f"{place[0]} -> {proto} {place[1]}:{place[2]}: wanted {wanted}, got {probe}")
        assert not wrong, "\n".join(wrong)
        assert modules.ok("topology_info")["drift"] == []


def set_up(modules: Modules, options: dict[str, Any], publish: bool) -> None:
    """The network under test with two endpoints, and another network of mode nat with one."""
    modules.ok(
        "bridge_network",
        networks=[
            {"name": "docker0", "subnets": ["172.17.0.0/16", "fd00:17::/64"], **options},
            {"name": "br-other", "subnets": ["172.18.0.0/16", "fd00:18::/64"]},
        ],
    )
    masqueraded = ["br-other"] if "mode" in options else ["docker0", "br-other"]
    modules.ok("masquerade", masquerades=[{"network": network} for network in masqueraded])
    modules.ok(
        "veth_endpoint",
        endpoints=[
            {"name": "server", "network": "docker0", "addresses": list(SERVER.values())},
            {"name": "peer", "network": "docker0", "addresses": list(PEER.values())},
            {"name": "other", "network": "br-other"},
        ],
    )
    ports = ["8080:80", "8080:80/udp"]
    if publish:
        modules.ok("port_publish", endpoint="server", ports=ports)
    else:
        assert "nothing from outside may reach it" in modules.run("port_publish", endpoint="server", ports=ports)["msg"]
