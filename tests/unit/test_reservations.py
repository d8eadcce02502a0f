# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which host ports are kept from other processes, and the steps that do it."""

from __future__ import annotations

import os
import socket
from dataclasses import replace

import pytest
from ansible_collections.bridgeport.net.plugins.module_utils import _hold
from ansible_collections.bridgeport.net.plugins.module_utils._hostports import Holder
from ansible_collections.bridgeport.net.plugins.module_utils._plan import Scope, make_plan
from ansible_collections.bridgeport.net.plugins.module_utils._report import actions_of, diff_of, port_table, strangers
from ansible_collections.bridgeport.net.plugins.module_utils._reservations import (
    is_reserved,
    parse_held,
    render_held,
    reserved_of,
)
from ansible_collections.bridgeport.net.plugins.module_utils._topology import Topology
from ansible_collections.bridgeport.net.plugins.module_utils._want_rules import want_publishes
from samples import BOTH, DUAL, FACTS, LAN, WEB, decided, observed

HOST = decided([LAN, DUAL], [WEB, BOTH])


def publish(endpoint: str, *ports: str, loopback: str = "nat") -> Topology:
    return want_publishes(HOST, [{"endpoint": endpoint, "ports": list(ports), "loopback": loopback}], FACTS)


@pytest.mark.parametrize(
    ("endpoint", "port", "names"),
    [
        ("both", "80:80", {"*:80/tcp"}),
        ("both", "53:53/udp", {"*:53/udp"}),
        ("web", "80:80", {"0.0.0.0:80/tcp"}),
        ("both", "[::]:80:80", {"[::]:80/tcp"}),
        ("both", "192.0.2.1:80:80", {"192.0.2.1:80/tcp"}),
        ("both", "[2001:db8::1]:80:80", {"[2001:db8::1]:80/tcp"}),
        ("both", "80-81:80-81", {"*:80/tcp", "*:81/tcp"}),
    ],
)
def test_what_is_published_is_reserved(endpoint: str, port: str, names: set[str]) -> None:
    assert reserved_of(publish(endpoint, port)) == names


def test_what_the_socket_of_a_proxy_has_is_left_to_it() -> None:
    assert reserved_of(publish("web", "80:80", "127.0.0.1:81:80", "[::1]:82:80", loopback="proxy")) == {
        "0.0.0.0:80/tcp"
    }


def test_routed_network_takes_no_port_of_the_host() -> None:
    routed = decided([{**LAN, "mode": "routed"}], [WEB], [{"endpoint": "web", "ports": ["80:80"]}])
    assert reserved_of(routed) == frozenset()


def actions(before: Topology, after: Topology, there: frozenset[str] | None) -> list[str]:
    plan = make_plan(
        before,
        after,
        replace(observed(before), reserved=there),
        Scope(frozenset(), frozenset()),
        "nftables",
        "nftables",
    )
    return [sentence for sentence in actions_of(before, after, plan) if "Reserve" in sentence or "Release" in sentence]


def test_plan_reserves_what_is_missing_and_releases_what_is_over() -> None:
    before, after = publish("both", "80:80", "81:81"), publish("both", "81:81", "82:82")
    assert actions(before, before, reserved_of(before)) == []
    assert actions(before, after, reserved_of(before)) == [
        "Release host port *:80/tcp.",
        "Reserve host port *:82/tcp.",
    ]
    assert actions(before, before, frozenset()) == ["Reserve host ports *:80/tcp, *:81/tcp."]
    assert actions(before, HOST, reserved_of(before)) == ["Release host ports *:80/tcp, *:81/tcp."]
    plan = make_plan(
        HOST,
        before,
        replace(observed(HOST), reserved=frozenset()),
        Scope(frozenset(), frozenset()),
        "nftables",
        "nftables",
    )
    assert diff_of(HOST, before, plan)["after"]["reservations"] == {
        "bridgeport": {"*:80/tcp": "reserved", "*:81/tcp": "reserved"}
    }


def test_host_that_cannot_reserve_is_asked_for_nothing() -> None:
    assert actions(HOST, publish("both", "80:80"), None) == []


def test_what_the_unit_wrote_is_read_again() -> None:
    held, lacking = frozenset({"*:80/tcp", "[::1]:81/tcp"}), frozenset({"*:82/tcp"})
    assert parse_held(render_held(held, lacking)) == (held, lacking)
    assert parse_held("") == (frozenset(), frozenset())


def test_sockets_in_flight_come_back_by_name() -> None:
    ends = socket.socketpair()
    ends[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    ends[0].setblocking(False)
    with socket.socket() as one, socket.socket() as other:
        held = {"*:%d/tcp" % port: (one, other)[port % 2].fileno() for port in range(1, 5001)}
        beyond = _hold._send(ends[0], held)
        assert beyond < held.keys(), "a small queue takes some of them"
        back = _hold._received(ends)
        assert back.keys() == held.keys() - beyond
        inodes = {name: os.fstat(file).st_ino for name, file in back.items()}
        assert inodes == {name: os.fstat(held[name]).st_ino for name in back}
    for file in back.values():
        os.close(file)
    assert _hold._received(ends) == {}
    for end in ends:
        end.close()


def test_both_versions_of_a_port_are_one_reservation() -> None:
    assert is_reserved("0.0.0.0:80/tcp", {"*:80/tcp"}) and is_reserved("[::]:80/tcp", {"*:80/tcp"})
    assert is_reserved("192.0.2.1:80/tcp", {"192.0.2.1:80/tcp"})
    assert not is_reserved("192.0.2.1:80/tcp", {"*:80/tcp"}) and not is_reserved("0.0.0.0:80/udp", {"*:80/tcp"})


def test_port_table_tells_what_is_reserved() -> None:
    table = port_table(publish("both", "80:80", "192.0.2.1:81:81"), {"*:80/tcp"})
    assert table["both"] == [
        "80/tcp -> 0.0.0.0:80, reserved",
        "80/tcp -> [::]:80, reserved",
        "81/tcp -> 192.0.2.1:81",
    ]


def test_process_that_has_a_published_port_is_named() -> None:
    holders = [Holder(4, "tcp", "", 80, "nginx"), Holder(4, "udp", "", 80, "named"), Holder(4, "tcp", "", 22, "sshd")]
    assert strangers(publish("both", "192.0.2.1:80:80"), holders) == [
        "Host port 0.0.0.0:80/tcp, which endpoint both has published, is held by nginx as well."
    ]
