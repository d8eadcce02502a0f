# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a topology wants the kernel to hold."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network

import pytest
from ansible_collections.bridgeport.net.plugins.module_utils._state import (
    FileState,
    RouteState,
    bridge_state,
    endpoint_files,
    endpoint_state,
    files_of,
    network_files,
)
from samples import BOTH, DUAL, LAN, WEB, Request, decided

DEFAULTS = [
    RouteState(ip_network("0.0.0.0/0"), ip_address("10.0.1.1")),
    RouteState(ip_network("::/0"), ip_address("fd00:1::1")),
]


def sysctls(network: Request, *ports: str, loopback: str = "nat") -> dict[str, str]:
    """The sysctls of the network's bridge, their common beginning left out."""
    endpoint = {"name": "e", "network": network["name"]}
    publishes = [{"endpoint": "e", "ports": list(ports), "loopback": loopback}] if ports else []
    topology = decided([network], [endpoint], publishes)
    found = bridge_state(topology, topology.networks[network["name"]]).sysctls
    return {key.replace("conf.%s." % network["name"], ""): value for key, value in found}


def test_bridge_has_its_gateways_with_the_subnets_prefixes() -> None:
    topology = decided([DUAL])
    state = bridge_state(topology, topology.networks["dual0"])
    assert state.addresses == (ip_interface("10.0.1.1/24"), ip_interface("fd00:1::1/64"))
    assert (state.name, state.mtu, state.alias) == ("dual0", 1500, "bridgeport.net network dual0")


def test_bridge_of_an_isolated_network_has_no_address_of_the_host() -> None:
    topology = decided([{**DUAL, "mode": "isolated"}])
    state = bridge_state(topology, topology.networks["dual0"])
    assert state.addresses == ()
    assert dict(state.sysctls)["net.ipv6.conf.dual0.disable_ipv6"] == "1"


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (LAN, {"net.ipv6.disable_ipv6": "1", "net.ipv4.promote_secondaries": "1", "net.ipv4.route_localnet": "0"}),
        (
            DUAL,
            {
                "net.ipv6.disable_ipv6": "0",
                "net.ipv6.accept_ra": "0",
                "net.ipv4.promote_secondaries": "1",
                "net.ipv4.route_localnet": "0",
            },
        ),
    ],
)
def test_bridge_speaks_ipv6_only_if_its_network_does(network: Request, expected: dict[str, str]) -> None:
    assert sysctls(network) == expected


@pytest.mark.parametrize(
    ("network", "ports", "loopback", "route_localnet"),
    [
        (LAN, ["80:80"], "nat", "1"),
        (LAN, ["127.0.0.1:80:80"], "nat", "1"),
        (LAN, ["80:80"], "none", "0"),
        (DUAL, ["[::]:80:80"], "nat", "0"),
        ({**LAN, "mode": "routed"}, ["80:80"], "nat", "0"),
        (LAN, ["0.0.0.0:80:80"], "nat", "1"),
        (LAN, ["127.9.9.9:80:80"], "nat", "1"),
        (LAN, ["192.0.2.1:80:80"], "nat", "0"),
        (LAN, ["192.0.2.1:80:80", "127.0.0.1:81:80"], "nat", "1"),
        (DUAL, ["[2001:db8::1]:80:80"], "nat", "0"),
    ],
)
def test_loopback_is_routed_only_where_a_publish_needs_it(
    network: Request, ports: list[str], loopback: str, route_localnet: str
) -> None:
    assert sysctls(network, *ports, loopback=loopback)["net.ipv4.route_localnet"] == route_localnet


def test_endpoint_has_addresses_and_default_routes_of_both_families() -> None:
    topology = decided([{**DUAL, "mtu": 1400, "icc": False}], [BOTH])
    state = endpoint_state(topology, topology.endpoints["both"])
    assert state.addresses == (ip_interface("10.0.1.2/24"), ip_interface("fd00:1::2/64"))
    assert state.routes == tuple(DEFAULTS)
    assert (state.bridge, state.host_interface, state.interface) == ("dual0", "bp-both", "eth0")
    assert (state.mtu, state.alias) == (1400, "bridgeport.net endpoint both")


@pytest.mark.parametrize(("mode", "routes"), [("nat", 2), ("routed", 2), ("internal", 0), ("isolated", 0)])
def test_default_routes_lead_out_of_open_networks_only(mode: str, routes: int) -> None:
    topology = decided([{**DUAL, "mode": mode}], [BOTH])
    assert len(endpoint_state(topology, topology.endpoints["both"]).routes) == routes


def test_own_routes_stand_behind_the_default_routes_or_alone() -> None:
    own = {**BOTH, "routes": [{"destination": "10.9.0.0/16", "via": "10.0.1.9"}, {"destination": "10.8.0.0/16"}]}
    extra = (RouteState(ip_network("10.9.0.0/16"), ip_address("10.0.1.9")), RouteState(ip_network("10.8.0.0/16"), None))
    for default_route, expected in ((True, (*DEFAULTS, *extra)), (False, extra)):
        topology = decided([DUAL], [{**own, "default_route": default_route}])
        assert endpoint_state(topology, topology.endpoints["both"]).routes == expected


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        (WEB, [("net.ipv6.conf.eth0.disable_ipv6", "1")]),
        (
            BOTH,
            [
                ("net.ipv6.conf.eth0.disable_ipv6", "0"),
                ("net.ipv6.conf.eth0.accept_ra", "0"),
                ("net.ipv6.conf.eth0.autoconf", "0"),
            ],
        ),
        (
            {**WEB, "interface": "ens3", "sysctls": {"net.core.somaxconn": 4096}},
            [("net.ipv6.conf.ens3.disable_ipv6", "1"), ("net.core.somaxconn", "4096")],
        ),
    ],
)
def test_endpoint_sysctls(endpoint: Request, expected: list[tuple[str, str]]) -> None:
    topology = decided([LAN, DUAL], [endpoint])
    assert list(endpoint_state(topology, topology.endpoints[endpoint["name"]]).sysctls) == expected


def test_hosts_file_names_the_endpoints_of_its_network() -> None:
    topology = decided([LAN, DUAL], [BOTH, {"name": "api", "network": "dual0", "aliases": ["a", "b"]}, WEB])
    assert network_files(topology, topology.networks["dual0"]) == {
        "/var/lib/bridgeport/hosts/dual0": FileState(
            "127.0.0.1 localhost\n"
            "::1 localhost ip6-localhost ip6-loopback\n"
            "10.0.1.3 api a b\n"
            "fd00:1::3 api a b\n"
            "10.0.1.2 both\n"
            "fd00:1::2 both\n"
        )
    }


def test_endpoint_finds_the_hosts_file_and_its_nameservers() -> None:
    hosts = {"/etc/netns/web/hosts": FileState("/var/lib/bridgeport/hosts/lan0", link=True)}
    assert endpoint_files(decided([LAN], [WEB]).endpoints["web"]) == hosts
    request = {**WEB, "nameservers": ["192.0.2.53", "2001:db8::53"], "search": ["example.org", "lan"]}
    assert endpoint_files(decided([LAN], [request]).endpoints["web"]) == {
        **hosts,
        "/etc/netns/web/resolv.conf": FileState(
            "# Written by bridgeport.net.\nnameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch example.org lan\n"
        ),
    }


def test_files_have_owners() -> None:
    topology = decided([LAN, DUAL], [WEB, BOTH])
    found = files_of(topology, ["lan0", "gone"], ["web", "gone"])
    assert {path: owner for path, (owner, _state) in found.items()} == {
        "/var/lib/bridgeport/hosts/lan0": ("networks", "lan0"),
        "/etc/netns/web/hosts": ("endpoints", "web"),
    }
