# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run tells the operator: sentences, diff and port table."""

from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest
from ansible_collections.bridgeport.net.plugins.module_utils._changes import Change
from ansible_collections.bridgeport.net.plugins.module_utils._nft_table import Table
from ansible_collections.bridgeport.net.plugins.module_utils._plan import make_plan, scope_of
from ansible_collections.bridgeport.net.plugins.module_utils._report import actions_of, diff_of, port_table, warnings_of
from ansible_collections.bridgeport.net.plugins.module_utils._state import Observed
from ansible_collections.bridgeport.net.plugins.module_utils._topology import Topology
from ansible_collections.bridgeport.net.plugins.module_utils._want_endpoints import want_endpoints, without_endpoints
from ansible_collections.bridgeport.net.plugins.module_utils._want_networks import want_networks, without_networks
from ansible_collections.bridgeport.net.plugins.module_utils._want_rules import (
    want_masquerades,
    want_publishes,
    without_masquerades,
    without_publishes,
)
from samples import BOTH, DUAL, FACTS, LAN, WEB, Request, decided, observed

HOST = decided([LAN, DUAL], [WEB, BOTH])
EMPTY_HOST = Observed(sysctls={"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"})


def plan(before: Topology, after: Topology, seen: Observed | None = None) -> list[Change]:
    scope = scope_of(before, after, (), (), True)
    return make_plan(before, after, observed(before) if seen is None else seen, scope, "nftables", "nftables")


def actions(before: Topology, after: Topology, seen: Observed | None = None) -> list[str]:
    return actions_of(before, after, plan(before, after, seen))


def diff(before: Topology, after: Topology, seen: Observed | None = None) -> dict[str, t.Any]:
    return diff_of(before, after, plan(before, after, seen))


def publish(topology: Topology, *ports: str, endpoint: str = "web") -> Topology:
    return want_publishes(topology, [{"endpoint": endpoint, "ports": list(ports)}], FACTS)


def test_no_change_is_told_by_silence() -> None:
    assert actions(HOST, HOST) == []
    assert diff(HOST, HOST) == {"before": {}, "after": {}}


# Sentences


@pytest.mark.parametrize(
    ("ports", "sentences"),
    [
        (["80:5000"], ["Publish *:80/tcp to port 5000 of endpoint web."]),
        (["9000"], ["Publish *:49153/tcp to port 9000 of endpoint web."]),
        (
            ["6000-6010:6000-6010/udp"],
            [
                "Publish *:6000-6010/udp to port 6000-6010 of endpoint web.",
                "Forget the UDP flows to host ports 6000, 6001, 6002, 6003, 6004 and 6 more, which would go on as before.",
            ],
        ),
        (["8000-8002:80-82"], ["Publish *:8000-8002/tcp to port 80-82 of endpoint web."]),
        (
            ["127.0.0.1:80:80", "192.0.2.1:80:80"],
            [
                "Publish 127.0.0.1:80/tcp to port 80 of endpoint web.",
                "Publish 192.0.2.1:80/tcp to port 80 of endpoint web.",
            ],
        ),
        (
            ["80-81:80-81", "80-81:80-81/udp", "83:83"],
            [
                "Publish *:80-81/tcp to port 80-81 of endpoint web.",
                "Publish *:83/tcp to port 83 of endpoint web.",
                "Publish *:80-81/udp to port 80-81 of endpoint web.",
                "Forget the UDP flows to host ports 80, 81, which would go on as before.",
            ],
        ),
        (
            ["80:80", "81:80"],
            [
                "Publish *:80/tcp to port 80 of endpoint web.",
                "Publish *:81/tcp to port 80 of endpoint web.",
            ],
        ),
        (
            ["80:90", "81:80"],
            [
                "Publish *:80/tcp to port 90 of endpoint web.",
                "Publish *:81/tcp to port 80 of endpoint web.",
            ],
        ),
    ],
)
def test_publishes_are_told_with_ranges_folded(ports: list[str], sentences: list[str]) -> None:
    told = [sentence for sentence in actions(HOST, publish(HOST, *ports)) if "route_localnet" not in sentence]
    assert told == sentences


def test_thousand_ports_are_one_sentence() -> None:
    after = publish(HOST, "10000-10999:10000-10999")
    assert actions(HOST, after)[0] == "Publish *:10000-10999/tcp to port 10000-10999 of endpoint web."
    assert len(actions(HOST, after)) == 2


@pytest.mark.parametrize(
    ("ports", "sentences"),
    [
        (["8080:80"], ["Publish port 80/tcp of endpoint both by route."]),
        (["80-90:80-90/udp"], ["Publish port 80-90/udp of endpoint both by route."]),
        (["8000-8010:80-90"], ["Publish port 80-90/tcp of endpoint both by route."]),
        (["80-90"], ["Publish port 80-90/tcp of endpoint both by route."]),
        (
            ["8000:80", "82-83:82-83"],
            ["Publish port 80/tcp of endpoint both by route.", "Publish port 82-83/tcp of endpoint both by route."],
        ),
    ],
)
def test_publishes_in_a_routed_network_are_told_with_ranges_folded(ports: list[str], sentences: list[str]) -> None:
    before = decided([{**DUAL, "mode": "routed"}], [BOTH])
    after = publish(before, *ports, endpoint="both")
    assert actions(before, after) == sentences
    told = [sentence for sentence in actions(after, before) if not sentence.startswith("Forget the UDP flows by route")]
    assert told == [sentence.replace("Publish", "Unpublish") for sentence in sentences]


def test_change_of_loopback_is_one_sentence() -> None:
    before = publish(HOST, "9000")
    after = want_publishes(before, [{"endpoint": "web", "ports": ["9000"], "loopback": "none"}], FACTS)
    assert actions(before, after) == [
        "Change *:49153/tcp to port 9000 of endpoint web: loopback from nat to none.",
        "Set sysctl net.ipv4.conf.lan0.route_localnet from 1 to 0.",
    ]


def test_ipv6_host_address_is_told_in_brackets() -> None:
    after = publish(HOST, "[2001:db8::1]:80:80", endpoint="both")
    assert actions(HOST, after) == ["Publish [2001:db8::1]:80/tcp to port 80 of endpoint both."]


def test_hole_in_a_range_splits_its_removal() -> None:
    before = publish(HOST, "6000-6004:6000-6004/udp")
    after = without_publishes(
        before, [{"endpoint": "web", "ports": ["6000-6001:6000-6001/udp", "6003-6004:6003-6004/udp"]}]
    )
    assert actions(before, after) == [
        "Unpublish *:6000-6001/udp to port 6000-6001 of endpoint web.",
        "Unpublish *:6003-6004/udp to port 6003-6004 of endpoint web.",
        "Forget the UDP flows to host ports 6000, 6001, 6003, 6004, which would go on as before.",
    ]


def test_what_goes_is_told_before_what_comes() -> None:
    before = publish(HOST, "80:80")
    after = want_publishes(before, [{"endpoint": "web", "ports": ["81:80"]}], FACTS, prune=True)
    assert actions(before, after) == [
        "Unpublish *:80/tcp to port 80 of endpoint web.",
        "Publish *:81/tcp to port 80 of endpoint web.",
    ]


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (None, {"network": "lan0"}, "Masquerade lan0."),
        (None, {"network": "lan0", "to_source": "203.0.113.7"}, "Masquerade lan0 as 203.0.113.7."),
        (None, {"source": "10.9.0.0/24"}, "Masquerade 10.9.0.0/24."),
        (
            {"network": "lan0"},
            {"network": "lan0", "to_source": "203.0.113.7"},
            "Change the masquerade of lan0 as 203.0.113.7.",
        ),
        ({"network": "lan0"}, None, "Stop masquerading lan0."),
    ],
)
def test_masquerades_are_told(before: Request | None, after: Request | None, sentence: str) -> None:
    start = want_masquerades(HOST, [before] if before else [])
    end = want_masquerades(start, [after]) if after else without_masquerades(start, [before or {}])
    assert actions(start, end) == [sentence]


def test_first_run_is_told_step_by_step() -> None:
    after = publish(decided([LAN], [WEB]), "80:5000")
    assert actions(Topology(), after, EMPTY_HOST) == [
        "Publish *:80/tcp to port 5000 of endpoint web.",
        "Create bridge lan0 with 10.0.0.1/24, MTU 1500.",
        "Create endpoint web on network lan0 with 10.0.0.2/24.",
        "Write file /etc/netns/web/hosts.",
        "Write file /var/lib/bridgeport/hosts/lan0.",
    ]


def test_property_without_a_step_of_its_own_is_told() -> None:
    after = want_networks(HOST, [{"name": "lan0", "trusted_interfaces": ["eth1"]}], FACTS)
    assert actions(HOST, after) == ["Change network lan0: trusted_interfaces from [] to ['eth1']."]
    after = want_endpoints(HOST, [{"name": "web", "expose": [5000]}])
    assert actions(HOST, after) == ["Change endpoint web: expose from [] to ['5000/tcp']."]


def test_object_that_is_on_the_host_already_is_adopted() -> None:
    assert actions(Topology(), HOST, observed(HOST)) == [
        "Adopt endpoint both.",
        "Adopt endpoint web.",
        "Adopt network dual0.",
        "Adopt network lan0.",
    ]


def test_object_that_is_gone_from_the_host_already_is_forgotten() -> None:
    before = decided([LAN], [WEB])
    assert actions(before, Topology(), EMPTY_HOST) == ["Forget endpoint web.", "Forget network lan0."]


def test_drift_is_told() -> None:
    seen = replace(observed(HOST), tables={})
    assert actions(HOST, HOST, seen) == [
        "Restore the missing table ip bridgeport.",
        "Restore the missing table ip6 bridgeport.",
        "Restore the missing table bridge bridgeport.",
    ]


def test_every_action_is_a_sentence() -> None:
    after = publish(decided([DUAL], [BOTH], [], [{"source": "10.9.0.0/24"}]), "80-90:80-90", "9000", endpoint="both")
    told = actions(HOST, after, replace(observed(HOST), tables={})) + actions(after, HOST)
    assert all(sentence[0].isupper() and sentence.endswith(".") and "\n" not in sentence for sentence in told)
    assert len(told) == len(set(told)) > 10


# Diff


def test_diff_has_only_the_keys_that_change() -> None:
    after = want_networks(HOST, [{"name": "lan0", "mtu": 1400}], FACTS)
    assert diff(HOST, after) == {
        "before": {
            "networks": {"lan0": {"mtu": 1500, "lan0.mtu": 1500}},
            "endpoints": {"web": {"bp-web.mtu": 1500, "eth0.mtu": 1500}},
        },
        "after": {
            "networks": {"lan0": {"mtu": 1400, "lan0.mtu": 1400}},
            "endpoints": {"web": {"bp-web.mtu": 1400, "eth0.mtu": 1400}},
        },
    }


def test_diff_of_a_new_publish() -> None:
    after = publish(publish(HOST, "80:80"), "81:81")
    assert diff(publish(HOST, "80:80"), after) == {
        "before": {},
        "after": {
            "publishes": {
                "web 81:81/tcp": {
                    "endpoint": "web",
                    "host_address": "",
                    "host_port": 81,
                    "endpoint_port": 81,
                    "protocol": "tcp",
                    "loopback": "nat",
                    "sources": [],
                }
            }
        },
    }


def test_diff_of_removal_shows_what_there_was() -> None:
    before = decided([LAN])
    found = diff(before, without_networks(before, ["lan0"]))
    assert found["after"] == {"networks": {"lan0": {"bridge": "absent"}}}
    assert found["before"]["networks"]["lan0"]["subnets"] == ["10.0.0.0/24"]
    assert found["before"]["networks"]["lan0"]["bridge"] == "present"


def test_diff_of_masquerade_and_sysctl() -> None:
    before = decided([LAN])
    after = want_masquerades(before, [{"network": "lan0"}])
    seen = observed(before)
    seen = replace(seen, sysctls={**seen.sysctls, "net.ipv4.ip_forward": "0"})
    assert diff(before, after, seen) == {
        "before": {"host": {"sysctls": {"net.ipv4.ip_forward": "0"}}},
        "after": {"masquerades": {"lan0": {"network": "lan0"}}, "host": {"sysctls": {"net.ipv4.ip_forward": "1"}}},
    }


def test_diff_of_drift() -> None:
    found = diff(
        HOST, HOST, replace(observed(HOST), tables={"nftables": {**observed(HOST).tables["nftables"], 4: Table(4)}})
    )
    sentence = "Restore the missing table ip bridgeport."
    assert found == {
        "before": {"rules": {"bridgeport": {sentence: "drifted"}}},
        "after": {"rules": {"bridgeport": {sentence: "restored"}}},
    }


def test_diff_of_a_removed_endpoint_names_its_files() -> None:
    before = decided([LAN], [WEB])
    found = diff(before, without_endpoints(before, ["web"]))
    assert found["before"]["endpoints"]["web"]["/etc/netns/web/hosts"] == "/var/lib/bridgeport/hosts/lan0"
    assert found["after"]["endpoints"] == {"web": {"namespace": "absent"}}


# Port table


def test_port_table_is_that_of_docker_port() -> None:
    topology = publish(publish(HOST, "80:5000", "127.0.0.1:53:53/udp"), "8080:80", "[::]:443:443", endpoint="both")
    assert port_table(topology) == {
        "both": ["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080", "443/tcp -> [::]:443"],
        "web": ["53/udp -> 127.0.0.1:53", "5000/tcp -> 0.0.0.0:80"],
    }


def test_port_table_of_a_routed_network_names_the_endpoints_own_addresses() -> None:
    topology = publish(decided([{**DUAL, "mode": "routed"}], [BOTH]), "8080:80", endpoint="both")
    assert port_table(topology) == {"both": ["80/tcp on 10.0.1.2, by route", "80/tcp on fd00:1::2, by route"]}


@pytest.mark.parametrize(
    ("port", "addresses"),
    [("0.0.0.0:8080:80", ["10.0.1.2"]), ("[::]:8080:80", ["fd00:1::2"]), ("80", ["10.0.1.2", "fd00:1::2"])],
)
def test_port_table_of_a_routed_network_names_the_families_that_are_open(port: str, addresses: list[str]) -> None:
    topology = publish(decided([{**DUAL, "mode": "routed"}], [BOTH]), port, endpoint="both")
    assert port_table(topology) == {"both": ["80/tcp on %s, by route" % address for address in addresses]}


def test_endpoint_without_publishes_is_not_in_the_port_table() -> None:
    assert port_table(HOST) == {}


# Warnings


def test_trusted_interface_that_is_not_there_is_warned_of_by_whoever_names_its_network() -> None:
    topology = decided([{**LAN, "trusted_interfaces": ["eth1", "eth0"]}, DUAL])
    sentence = "Network lan0 trusts the interface eth1, which is not there. Nothing comes from it until it is."
    assert warnings_of(topology, ["lan0", "dual0", "gone"], {"eth0"}) == [sentence]
    assert warnings_of(topology, ["dual0"], {"eth0"}) == []


def test_a_sysctl_that_is_taken_out_is_left_as_it_is() -> None:
    sysctls = {"net.core.somaxconn": 9, "net.ipv6.conf.eth0.accept_ra": 2, "net.ipv4.tcp_syncookies": 0}
    before = decided([DUAL], [{**BOTH, "sysctls": sysctls}])
    after = decided([DUAL], [{**BOTH, "sysctls": {"net.ipv4.tcp_syncookies": 0}}])
    # What every endpoint has is set to that again.
    assert actions_of(before, after, [])[1:] == [
        "Leave the sysctls net.core.somaxconn of endpoint both as they are until its namespace is made anew."
    ]
