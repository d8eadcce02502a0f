# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A table as ``nft -j`` prints it, read back."""

from __future__ import annotations

import copy
import typing as t

import pytest
from ansible_collections.bridgeport.net.plugins.module_utils._errors import KernelError
from ansible_collections.bridgeport.net.plugins.module_utils._nft_listing import parse_table
from ansible_collections.bridgeport.net.plugins.module_utils._nft_render import render_table
from ansible_collections.bridgeport.net.plugins.module_utils._nft_table import (
    LINK,
    Chain,
    Key,
    Table,
    drift,
    same,
    transaction,
)
from ansible_collections.bridgeport.net.plugins.module_utils._ruleset import rules_of
from nft_interpreter import Kernel, listing
from samples import BOTH, DUAL, decided, refused

# What nft 1.0.6 printed for the table of one network docker0 (172.17.0.0/16) with 80:5000 and 127.0.0.1:8443:443
# published, expressions left out, and of the chains those that a listing shows in each way.
PRINTED: list[dict[str, t.Any]] = [
    {"metainfo": {"version": "1.0.6", "release_name": "Lester Gooch #5", "json_schema_version": 1}},
    {"table": {"family": "ip", "name": "bridgeport", "handle": 1}},
    {
        "map": {
            "family": "ip",
            "name": "published",
            "table": "bridgeport",
            "type": ["inet_proto", "inet_service"],
            "handle": 1,
            "map": "ipv4_addr . inet_service",
            "elem": [[{"elem": {"val": {"concat": ["tcp", 80]}, "comment": "web"}}, {"concat": ["172.17.0.2", 5000]}]],
        }
    },
    {
        "map": {
            "family": "ip",
            "name": "published_at",
            "table": "bridgeport",
            "type": ["ipv4_addr", "inet_proto", "inet_service"],
            "handle": 2,
            "map": "ipv4_addr . inet_service",
            "elem": [
                [
                    {"elem": {"val": {"concat": ["127.0.0.1", "tcp", 8443]}, "comment": "web"}},
                    {"concat": ["172.17.0.2", 443]},
                ]
            ],
        }
    },
    {
        "set": {
            "family": "ip",
            "name": "open_ports",
            "table": "bridgeport",
            "type": ["ipv4_addr", "inet_proto", "inet_service"],
            "handle": 3,
            "elem": [{"concat": ["172.17.0.2", "tcp", 5000]}],
        }
    },
    {
        "set": {
            "family": "ip",
            "name": "silent_loopback",
            "table": "bridgeport",
            "type": ["inet_proto", "inet_service"],
            "handle": 4,
        }
    },
    {
        "set": {
            "family": "ip",
            "name": "guarded",
            "table": "bridgeport",
            "type": "ipv4_addr",
            "handle": 5,
            "flags": ["interval"],
            "elem": [{"prefix": {"addr": "172.17.0.0", "len": 16}}],
        }
    },
    {
        "map": {
            "family": "ip",
            "name": "to_network",
            "table": "bridgeport",
            "type": "ifname",
            "handle": 6,
            "map": "verdict",
            "elem": [["docker0", {"jump": {"target": "to_docker0"}}]],
        }
    },
    {
        "map": {
            "family": "ip",
            "name": "from_network",
            "table": "bridgeport",
            "type": "ifname",
            "handle": 7,
            "map": "verdict",
        }
    },
    {"chain": {"family": "ip", "table": "bridgeport", "name": "publish", "handle": 14}},
    {
        "chain": {
            "family": "ip",
            "table": "bridgeport",
            "name": "prerouting",
            "handle": 15,
            "type": "nat",
            "hook": "prerouting",
            "prio": -100,
            "policy": "accept",
        }
    },
    {
        "rule": {
            "family": "ip",
            "table": "bridgeport",
            "chain": "prerouting",
            "handle": 43,
            "comment": "only what is addressed to this host #be4b89a6",
            "expr": [{"jump": {"target": "publish"}}],
        }
    },
    {"rule": {"family": "ip", "table": "bridgeport", "chain": "publish", "handle": 44, "expr": [{"accept": None}]}},
]


def docker0() -> Table:
    topology = decided(
        [{"name": "docker0", "subnets": ["172.17.0.0/16"]}],
        [{"name": "web", "network": "docker0"}],
        [{"endpoint": "web", "ports": ["80:5000", "127.0.0.1:8443:443"]}],
    )
    return render_table(rules_of(topology)[4])


def test_printed_listing_is_read_as_it_was_rendered() -> None:
    read, rendered = parse_table(4, PRINTED), docker0()
    assert read.exists
    assert read.sets == rendered.sets
    assert read.elements == rendered.elements
    assert read.chains["prerouting"].hook == ("nat", "prerouting", -100) == rendered.chains["prerouting"].hook
    assert read.chains["prerouting"].comments == rendered.chains["prerouting"].comments
    assert read.chains["publish"] == Chain("publish", None, (("", ""),))


def test_list_of_sources_is_read_as_it_was_rendered() -> None:
    """What nft 1.0.6 printed for the map and the set of one list."""
    at = {"family": "ip", "table": "bridgeport", "handle": 1}
    name = "sources_2475b21c"
    subnets = [{"prefix": {"addr": "198.51.100.0", "len": 24}}, "192.0.2.7"]
    service = {"type": ["inet_proto", "inet_service"], "map": "verdict"}
    jump = [{"concat": ["tcp", 80]}, {"jump": {"target": name}}]
    read = parse_table(
        4,
        [
            {"table": {"family": "ip", "name": "bridgeport", "handle": 1}},
            {"map": {**at, "name": "limited", **service, "elem": [jump]}},
            {"set": {**at, "name": name, "type": "ipv4_addr", "flags": ["interval"], "elem": subnets}},
        ],
    )
    publish = {"endpoint": "both", "ports": ["80:80"], "sources": ["198.51.100.0/24", "192.0.2.7"]}
    rendered = render_table(rules_of(decided([DUAL], [BOTH], [publish]))[4])
    for found in ("limited", name):
        assert read.sets[found] == rendered.sets[found]
        assert read.elements[found] == rendered.elements[found]


def test_other_policy_of_a_base_chain_is_drift_and_replaces_the_table() -> None:
    wanted = docker0()
    printed = copy.deepcopy(listing(wanted))
    (body,) = [item["chain"] for item in printed if item.get("chain", {}).get("name") == "forward"]
    body["policy"] = "drop"
    there = parse_table(4, printed)
    assert list(drift(there, wanted)) == ["Restore the changed rules of chain forward in table ip bridgeport."]
    assert transaction(there, wanted) == "delete table ip bridgeport\n" + transaction(Table(4), wanted)
    assert Kernel(there).run(transaction(there, wanted)) == wanted


@pytest.mark.parametrize(
    ("flags", "replaced"), [(["interval"], False), ("interval", False), ([], True), (["interval", "timeout"], True)]
)
def test_set_with_other_flags_replaces_the_table(flags: t.Any, replaced: bool) -> None:
    wanted = docker0()
    printed = copy.deepcopy(listing(wanted))
    (body,) = [item["set"] for item in printed if item.get("set", {}).get("name") == "guarded"]
    body["flags"] = flags
    there = parse_table(4, printed)
    assert same(there, wanted) is not replaced
    assert transaction(there, wanted).startswith("delete table") is replaced


@pytest.mark.parametrize(
    ("element", "key"),
    [
        ({"range": ["10.7.0.1", "10.7.0.9"]}, ("10.7.0.1-10.7.0.9",)),
        (
            {"elem": {"val": {"prefix": {"addr": "10.7.0.0", "len": 16}}, "timeout": 3600, "expires": 9}},
            ("10.7.0.0/16",),
        ),
        ({"concat": [{"prefix": {"addr": "10.0.0.0", "len": 8}}, {"range": [80, 90]}]}, ("10.0.0.0/8", "80-90")),
        ({"concat": ["a", {"set": [1]}]}, ("a", '{"set": [1]}')),
    ],
)
def test_elements_of_others_are_read(element: t.Any, key: Key) -> None:
    """As nft 1.0.6 lists them."""
    there = parse_table(4, [{"set": {"name": "x", "type": "ipv4_addr", "elem": [element]}}])
    assert list(there.elements["x"]) == [key]


def test_range_that_others_put_into_a_set_of_ours_is_taken_out() -> None:
    wanted = docker0()
    printed = copy.deepcopy(listing(wanted))
    (body,) = [item["set"] for item in printed if item.get("set", {}).get("name") == "guarded"]
    body["elem"].append({"range": ["10.7.0.1", "10.7.0.9"]})
    there = parse_table(4, printed)
    assert transaction(there, wanted) == "delete element ip bridgeport guarded { 10.7.0.1-10.7.0.9 }\n"


def test_element_for_all_that_is_not_listed_is_taken_out() -> None:
    wanted = docker0()
    printed = copy.deepcopy(listing(wanted))
    (body,) = [item["map"] for item in printed if item.get("map", {}).get("name") == "to_network"]
    body["elem"].append(["*", {"accept": None}])
    there = parse_table(4, printed)
    # In quotes it is the name of an interface, which nft refuses.
    assert transaction(there, wanted) == "delete element ip bridgeport to_network { * }\n"


def test_element_for_all_that_is_not_listed_has_one_part() -> None:
    kinds = ["ipv4_addr", "inet_proto", "inet_service"]
    body = {"name": "published_at", "type": kinds, "map": "verdict", "elem": [["*", {"accept": None}]]}
    assert list(parse_table(4, [{"map": body}]).elements["published_at"]) == [("*",)]


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"set": {}},
        {"set": {"name": "x", "type": 5}},
        {"rule": []},
        {"map": {"name": []}},
        {"chain": {"name": 5}},
        [],
        5,
    ],
)
def test_listing_that_makes_no_sense_is_an_error(item: t.Any) -> None:
    refused(lambda: parse_table(4, [item]), "table ip bridgeport", "cannot be understood", kind=KernelError)


def test_map_data_that_is_printed_as_a_list_is_read_alike() -> None:
    printed = [{"map": {**PRINTED[2]["map"], "map": ["ipv4_addr", "inet_service"]}}]
    assert parse_table(4, printed).sets == {"published": "inet_proto . inet_service : ipv4_addr . inet_service"}


def test_listing_without_a_table_is_no_table() -> None:
    assert parse_table(4, PRINTED[:1]) == Table(4)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("ports", [[], ["80:80"], ["[2001:db8::1]:80:80", "127.0.0.1:80:80", "53:53/udp"]])
def test_rendered_table_is_recognised_in_its_listing(version: int, ports: list[str]) -> None:
    sealed = {"name": "back", "subnets": ["10.9.0.0/24", "fd09::/64"], "mode": "internal"}
    publishes = [{"endpoint": "both", "ports": ports}]
    wanted = render_table(rules_of(decided([DUAL, sealed], [BOTH], publishes, [{"network": "dual0"}]))[version])
    assert same(parse_table(version, listing(wanted)), wanted)


def test_a_set_that_newer_versions_list_by_expressions() -> None:
    """nftables 1.0 lists type names, 1.1 what the set was declared with."""
    expressions = [
        {"meta": {"key": "iifname"}},
        {"payload": {"protocol": "ether", "field": "saddr"}},
        {"payload": {"base": "th", "offset": 64, "len": 128}},
    ]
    by_version = [["ifname", "ether_addr", "integer"], {"typeof": {"concat": expressions}}]
    kinds = [
        parse_table(LINK, [{"set": {"name": "own_targets", "type": kind}}]).sets["own_targets"] for kind in by_version
    ]
    assert kinds == ["ifname . ether_addr . integer"] * 2
    strange = {"typeof": {"concat": [{"payload": {"protocol": "ip", "field": "saddr"}}]}}
    assert parse_table(LINK, [{"set": {"name": "x", "type": strange}}]).sets["x"] == "unknown"
