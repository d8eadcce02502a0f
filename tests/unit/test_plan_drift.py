# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan where somebody changed the host behind our back, or the request changes what is there."""

from __future__ import annotations

import typing as t
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest
from ansible_collections.bridgeport.net.plugins.module_utils._changes import (
    AddEndpoint,
    Change,
    WriteFile,
)
from ansible_collections.bridgeport.net.plugins.module_utils._changes_rules import (
    ChangeRules,
    ForgetFlows,
)
from ansible_collections.bridgeport.net.plugins.module_utils._nft_table import Element, Table
from ansible_collections.bridgeport.net.plugins.module_utils._plan import make_plan, scope_of
from ansible_collections.bridgeport.net.plugins.module_utils._state import FileState, Inside, Link, Observed, RouteState
from ansible_collections.bridgeport.net.plugins.module_utils._topology import Topology
from ansible_collections.bridgeport.net.plugins.module_utils._want_endpoints import want_endpoints
from ansible_collections.bridgeport.net.plugins.module_utils._want_networks import want_networks
from samples import BOTH, DUAL, FACTS, LAN, WEB, decided, forgotten, observed

Key = t.TypeVar("Key")

TOPOLOGY = decided(
    [DUAL], [{**BOTH, "sysctls": {"net.core.somaxconn": 4096}}], [{"endpoint": "both", "ports": ["80:80"]}]
)
HOST = observed(TOPOLOGY)
TABLES = HOST.tables["nftables"]


def plan(seen: Observed, after: Topology = TOPOLOGY, before: Topology = TOPOLOGY) -> list[Change]:
    return make_plan(before, after, seen, scope_of(before, after, (), (), True), "nftables", "nftables")


def sentences(seen: Observed, after: Topology = TOPOLOGY, before: Topology = TOPOLOGY) -> list[str]:
    # Flows that are forgotten along with a change have no sentence of their own.
    found = plan(seen, after, before)
    return [change.sentence for change in found if change.sentence or not isinstance(change, ForgetFlows)]


def with_link(name: str, **changes: t.Any) -> Observed:
    return replace(HOST, links={**HOST.links, name: replace(HOST.links[name], **changes)})


def with_inside(**changes: t.Any) -> Observed:
    return replace(HOST, namespaces={"both": replace(HOST.namespaces["both"], **changes)})


def with_inner_link(name: str, **changes: t.Any) -> Observed:
    links = HOST.namespaces["both"].links
    return with_inside(links={**links, name: replace(links[name], **changes)})


def holding(tables: t.Mapping[int, Table]) -> Observed:
    return replace(HOST, tables={"nftables": tables})


def without(mapping: t.Mapping[Key, t.Any], *keys: Key) -> dict[Key, t.Any]:
    return {key: value for key, value in mapping.items() if key not in keys}


BRIDGE = HOST.links["dual0"]
OTHER_BRIDGE = replace(
    HOST,
    links={
        **HOST.links,
        "br9": replace(BRIDGE, index=77, name="br9", alias=""),
        "bp-both": replace(HOST.links["bp-both"], master=77),
    },
)


@pytest.mark.parametrize(
    ("seen", "sentence"),
    [
        (with_link("dual0", mtu=1400), "Set mtu of interface dual0 from 1400 to 1500."),
        (
            with_link("dual0", mac="02:00:00:00:00:01"),
            "Set mac of interface dual0 from 02:00:00:00:00:01 to %s." % BRIDGE.mac,
        ),
        (with_link("dual0", up=False), "Set up of interface dual0 from False to True."),
        (with_link("bp-both", up=False), "Set up of interface bp-both from False to True."),
        (with_link("bp-both", mtu=1400), "Set mtu of interface bp-both from 1400 to 1500."),
        (with_link("bp-both", hairpin=False), "Set hairpin of interface bp-both from False to True."),
        (with_link("bp-both", isolated=True), "Set isolated of interface bp-both from True to False."),
        (with_link("bp-both", group_fwd_mask=0), "Set group_fwd_mask of interface bp-both from 0 to 65533."),
        (with_link("bp-both", master=0), "Set master of interface bp-both from nothing to dual0."),
        (with_link("bp-both", master=77), "Set master of interface bp-both from nothing to dual0."),
        (OTHER_BRIDGE, "Set master of interface bp-both from br9 to dual0."),
        (
            with_link("bp-both", alias=""),
            "Set alias of interface bp-both from nothing to bridgeport.net endpoint both.",
        ),
        (with_inner_link("eth0", mtu=1400), "Set mtu of interface eth0 in endpoint both from 1400 to 1500."),
        (with_inner_link("lo", up=False), "Set up of interface lo in endpoint both from False to True."),
        (
            replace(HOST, sysctls={**HOST.sysctls, "net.ipv4.conf.dual0.route_localnet": "0"}),
            "Set sysctl net.ipv4.conf.dual0.route_localnet from 0 to 1.",
        ),
        (
            replace(HOST, sysctls={**HOST.sysctls, "net.ipv6.conf.dual0.accept_ra": "1"}),
            "Set sysctl net.ipv6.conf.dual0.accept_ra from 1 to 0.",
        ),
        (
            replace(HOST, sysctls={**HOST.sysctls, "net.ipv4.ip_forward": "0"}),
            "Set sysctl net.ipv4.ip_forward from 0 to 1.",
        ),
        (
            with_inside(sysctls={**HOST.namespaces["both"].sysctls, "net.core.somaxconn": "128"}),
            "Set sysctl net.core.somaxconn in endpoint both from 128 to 4096.",
        ),
        (
            with_inside(addresses={"eth0": frozenset({ip_interface("10.0.1.2/24")})}),
            "Add address fd00:1::2/64 to interface eth0 in endpoint both.",
        ),
        (
            replace(HOST, addresses={"dual0": frozenset({ip_interface("fd00:1::1/64")})}),
            "Add address 10.0.1.1/24 to interface dual0.",
        ),
        (
            with_inside(routes=frozenset({RouteState(ip_network("::/0"), ip_address("fd00:1::1"))})),
            "Add route to 0.0.0.0/0 via 10.0.1.1 in endpoint both.",
        ),
        (
            replace(HOST, files=without(HOST.files, "/etc/netns/both/hosts")),
            "Write file /etc/netns/both/hosts.",
        ),
        (
            replace(HOST, files={**HOST.files, "/var/lib/bridgeport/hosts/dual0": FileState("edited\n")}),
            "Change file /var/lib/bridgeport/hosts/dual0.",
        ),
        (
            replace(HOST, files={**HOST.files, "/etc/netns/both/hosts": FileState("/var/lib/bridgeport/hosts/dual0")}),
            "Change file /etc/netns/both/hosts.",
        ),
        (holding({**TABLES, 4: Table(4)}), "Restore the missing table ip bridgeport."),
    ],
)
def test_one_thing_that_drifted_is_one_change(seen: Observed, sentence: str) -> None:
    found = sentences(seen)
    # A port that joins another bridge loses its settings, so these come with it.
    joined = [
        "Set hairpin of interface bp-both from False to True.",
        "Set group_fwd_mask of interface bp-both from 0 to 65533.",
    ]
    assert found == [sentence, *(joined if " master " in sentence else [])]


def test_flushed_ruleset_is_restored_in_both_families() -> None:
    assert sentences(holding({})) == [
        "Restore the missing table ip bridgeport. Restore the missing table ip6 bridgeport. "
        "Restore the missing table bridge bridgeport."
    ]


def test_element_removed_by_hand_is_told_and_put_back() -> None:
    elements = {**TABLES[4].elements, "published": {}}
    (rules,) = plan(holding({**TABLES, 4: replace(TABLES[4], elements=elements)}))
    assert isinstance(rules, ChangeRules)
    assert rules.drifted == ("Restore 1 element of published in table ip bridgeport, missing or changed.",)
    assert rules.after[4].elements["published"] == {("tcp", 80): Element(("tcp", 80), ("10.0.1.2", 80), "both")}


def test_table_of_a_lost_record_is_removed() -> None:
    nothing = Topology()
    seen = Observed(tables={"nftables": {4: TABLES[4], 6: Table(6)}})
    assert sentences(seen, nothing, nothing) == ["Remove the table ip bridgeport, which nothing asks for."]


def test_interface_that_went_down_gets_its_routes_again() -> None:
    assert sentences(with_inner_link("eth0", up=False)) == [
        "Set up of interface eth0 in endpoint both from False to True.",
        "Add route to 0.0.0.0/0 via 10.0.1.1 in endpoint both.",
        "Add route to ::/0 via fd00:1::1 in endpoint both.",
    ]


def test_additions_of_others_are_tolerated() -> None:
    inside = HOST.namespaces["both"]
    seen = replace(
        HOST,
        links={**HOST.links, "eth0": Link(2, "eth0", "", "02:00:00:00:00:02", 1500, True, "", 0, False, False)},
        addresses={"dual0": HOST.addresses["dual0"] | {ip_interface("192.0.2.1/24"), ip_interface("fe80::1/64")}},
        namespaces={
            "both": replace(
                inside,
                addresses={**inside.addresses, "eth0": inside.addresses["eth0"] | {ip_interface("fe80::2/64")}},
                routes=inside.routes | {RouteState(ip_network("192.0.2.0/24"), ip_address("10.0.1.9"))},
            )
        },
        files={**HOST.files, "/etc/netns/both/resolv.conf": FileState("nameserver 192.0.2.53\n")},
    )
    assert plan(seen) == []


def test_spaces_in_a_sysctl_do_not_matter() -> None:
    topology = decided([LAN], [{**WEB, "sysctls": {"net.ipv4.ping_group_range": "0 100"}}])
    inside = observed(topology).namespaces["web"]
    seen = replace(inside, sysctls={**inside.sysctls, "net.ipv4.ping_group_range": "0\t100"})
    assert plan(replace(observed(topology), namespaces={"web": seen}), topology, topology) == []


def test_kernel_without_ipv6_has_nothing_to_switch_off() -> None:
    topology = decided([LAN], [WEB])
    host = observed(topology)
    sysctls = {key: None if "ipv6" in key else value for key, value in host.sysctls.items()}
    inside = replace(host.namespaces["web"], sysctls={"net.ipv6.conf.eth0.disable_ipv6": None})
    assert plan(replace(host, sysctls=sysctls, namespaces={"web": inside}), topology, topology) == []


# Whole objects

SCOPES: list[tuple[list[str], list[str], bool]] = [([], [], True), (["dual0"], [], False), ([], ["both"], False)]


def test_missing_bridge_is_made_and_its_endpoints_are_joined_again() -> None:
    seen = replace(
        HOST,
        links={"bp-both": replace(HOST.links["bp-both"], master=0)},
        addresses={},
        sysctls=without(HOST.sysctls, *[key for key in HOST.sysctls if "dual0" in key]),
    )
    # As at boot, as bridge_network asks and as veth_endpoint does.
    for scope in (scope_of(TOPOLOGY, TOPOLOGY, networks, endpoints, full) for networks, endpoints, full in SCOPES):
        assert [change.sentence for change in make_plan(TOPOLOGY, TOPOLOGY, seen, scope, "nftables", "nftables")] == [
            "Create bridge dual0 with 10.0.1.1/24, fd00:1::1/64, MTU 1500.",
            "Set master of interface bp-both from nothing to dual0.",
            "Set hairpin of interface bp-both from False to True.",
            "Set group_fwd_mask of interface bp-both from 0 to 65533.",
        ]


@pytest.mark.parametrize(
    ("seen", "flags"),
    [
        # (into_existing, broken_file, stale_link)
        (replace(HOST, links=without(HOST.links, "bp-both"), namespaces={}), (False, False, False)),
        (replace(HOST, namespaces={}), (False, False, True)),
        (replace(HOST, namespaces={"both": Inside(broken=True)}), (False, True, True)),
        (
            replace(HOST, links=without(HOST.links, "bp-both"), namespaces={"both": Inside(broken=True)}),
            (False, True, False),
        ),
        (replace(HOST, links=without(HOST.links, "bp-both"), namespaces={"both": Inside()}), (True, False, False)),
        (replace(HOST, namespaces={"both": Inside()}), (True, False, True)),
    ],
)
def test_endpoint_of_which_a_part_is_missing_is_completed(seen: Observed, flags: tuple[bool, bool, bool]) -> None:
    (change,) = plan(seen)
    assert isinstance(change, AddEndpoint)
    assert (change.into_existing, change.broken_file, change.stale_link) == flags
    reconnected = "Reconnect endpoint both to network dual0: its veth pair is missing."
    assert (change.sentence == reconnected) == flags[0]


# Changes that are asked for


def test_another_mac_address_is_told() -> None:
    after = want_endpoints(TOPOLOGY, [{"name": "both", "mac": "02:42:00:00:00:77"}])
    told = sentences(HOST, after)
    assert told[-1] == "Tell the neighbours of endpoint both that 02:42:00:00:00:77 has 10.0.1.2, fd00:1::2."


def test_moved_address_is_removed_then_added_with_its_routes() -> None:
    after = want_endpoints(TOPOLOGY, [{"name": "both", "addresses": ["10.0.1.50"]}])
    changes = plan(HOST, after)
    assert isinstance(changes[0], ChangeRules)
    assert isinstance(changes[-1], ForgetFlows)
    assert [str(flow.of) for flow in forgotten(changes)] == ["10.0.1.2"]
    assert [change.sentence for change in changes[1:-1]] == [
        # The kernel would take them away together with the address, and undoing would not know of them.
        "Remove route to 0.0.0.0/0 via 10.0.1.1 in endpoint both.",
        "Remove route to ::/0 via fd00:1::1 in endpoint both.",
        "Remove address 10.0.1.2/24 from interface eth0 in endpoint both.",
        "Add address 10.0.1.50/24 to interface eth0 in endpoint both.",
        "Add route to 0.0.0.0/0 via 10.0.1.1 in endpoint both.",
        "Add route to ::/0 via fd00:1::1 in endpoint both.",
        "Tell the neighbours of endpoint both that %s has 10.0.1.50, fd00:1::2." % TOPOLOGY.endpoints["both"].mac,
        "Change file /var/lib/bridgeport/hosts/dual0.",
    ]


@pytest.mark.parametrize("kept", ["10.0.1.50", "10.0.1.51"])
def test_address_that_stays_is_added_again_when_another_of_its_subnet_goes(kept: str) -> None:
    before = want_endpoints(TOPOLOGY, [{"name": "both", "addresses": ["10.0.1.50", "10.0.1.51"]}])
    after = want_endpoints(before, [{"name": "both", "addresses": [kept]}])
    told = sentences(observed(before), after, before)
    # Both go, so that undoing puts both back, in the order in which they were.
    assert [sentence for sentence in told if "address" in sentence] == [
        "Remove address 10.0.1.51/24 from interface eth0 in endpoint both.",
        "Remove address 10.0.1.50/24 from interface eth0 in endpoint both.",
        "Add address %s/24 to interface eth0 in endpoint both." % kept,
    ]


def test_gateway_that_is_there_already_is_added_again_when_the_old_one_goes() -> None:
    after = want_networks(TOPOLOGY, [{"name": "dual0", "gateways": ["10.0.1.254", "fd00:1::1"]}], FACTS)
    seen = replace(HOST, addresses={"dual0": HOST.addresses["dual0"] | {ip_interface("10.0.1.254/24")}})
    assert sentences(seen, after)[:3] == [
        "Remove address 10.0.1.254/24 from interface dual0.",
        "Remove address 10.0.1.1/24 from interface dual0.",
        "Add address 10.0.1.254/24 to interface dual0.",
    ]


def test_moved_gateway_moves_the_bridge_and_the_default_route() -> None:
    after = want_networks(TOPOLOGY, [{"name": "dual0", "gateways": ["10.0.1.254", "fd00:1::1"]}], FACTS)
    assert sentences(HOST, after) == [
        "Remove address 10.0.1.1/24 from interface dual0.",
        "Add address 10.0.1.254/24 to interface dual0.",
        "Remove route to 0.0.0.0/0 via 10.0.1.1 in endpoint both.",
        "Add route to 0.0.0.0/0 via 10.0.1.254 in endpoint both.",
    ]


def test_mtu_and_icc_reach_bridge_and_endpoint() -> None:
    after = want_networks(TOPOLOGY, [{"name": "dual0", "mtu": 1400, "icc": False}], FACTS)
    changes = plan(HOST, after)
    assert isinstance(changes[0], ChangeRules)
    assert [change.sentence for change in changes[1:]] == [
        "Set mtu of interface dual0 from 1500 to 1400.",
        "Set mtu of interface bp-both from 1500 to 1400.",
        "Set mtu of interface eth0 in endpoint both from 1500 to 1400.",
    ]


def test_nameservers_given_and_taken_back_write_and_remove_the_file() -> None:
    after = want_endpoints(TOPOLOGY, [{"name": "both", "nameservers": ["192.0.2.53"]}])
    assert sentences(HOST, after) == ["Write file /etc/netns/both/resolv.conf."]
    assert sentences(observed(after), TOPOLOGY, after) == ["Remove file /etc/netns/both/resolv.conf."]


RESOLV_CONF = "/etc/netns/both/resolv.conf"


def told(*lines: str) -> FileState:
    """A resolv.conf of ours."""
    return FileState("".join(line + "\n" for line in ("# Written by bridgeport.net.", *lines)))


@pytest.mark.parametrize("search", [[], ["example.org"]])
def test_while_it_is_unknown_whom_the_host_asks_endpoints_keep_whom_they_ask(search: list[str]) -> None:
    topology = want_endpoints(TOPOLOGY, [{"name": "both", "search": search}])
    words = ["search example.org"] * bool(search)
    there = told("nameserver 192.0.2.53", "nameserver 2001:db8::53", *words)
    seen = replace(HOST, files={**HOST.files, RESOLV_CONF: there}, upstream=None)
    assert plan(seen, topology, topology) == []
    # As soon as it is known, it counts; and so does a host that asks others again.
    known = replace(seen, upstream=("192.0.2.54",))
    (change,) = plan(known, topology, topology)
    assert isinstance(change, WriteFile) and change.new == told("nameserver 192.0.2.54", *words)
    (change,) = plan(replace(seen, upstream=()), topology, topology)
    assert isinstance(change, WriteFile) and change.new == (told(*words) if words else None)


def test_while_it_is_unknown_whom_the_host_asks_requests_are_carried_out() -> None:
    there = told("nameserver 192.0.2.53")
    seen = replace(HOST, files={**HOST.files, RESOLV_CONF: there}, upstream=None)
    after = want_endpoints(TOPOLOGY, [{"name": "both", "search": ["example.org"]}])
    (change,) = plan(seen, after)
    assert isinstance(change, WriteFile) and change.new == told("nameserver 192.0.2.53", "search example.org")
    after = want_endpoints(TOPOLOGY, [{"name": "both", "nameservers": ["192.0.2.1"]}])
    (change,) = plan(seen, after)
    assert isinstance(change, WriteFile) and change.new == told("nameserver 192.0.2.1")
    # What an operator gave and takes back is not what the host asked.
    given = replace(HOST, files={**HOST.files, RESOLV_CONF: told("nameserver 192.0.2.1")}, upstream=None)
    assert sentences(given, TOPOLOGY, after) == ["Remove file /etc/netns/both/resolv.conf."]
    # Nobody is named where there is no file yet, and an operator's own file stays what it is.
    assert plan(replace(HOST, upstream=None)) == []
    theirs = FileState("nameserver 192.0.2.9\n")
    assert plan(replace(HOST, files={**HOST.files, RESOLV_CONF: theirs}, upstream=None)) == []


def test_route_given_and_taken_back() -> None:
    after = want_endpoints(TOPOLOGY, [{"name": "both", "routes": [{"destination": "10.9.0.0/16"}]}])
    assert sentences(HOST, after) == ["Add route to 10.9.0.0/16 on the link in endpoint both."]
    assert sentences(observed(after), TOPOLOGY, after) == ["Remove route to 10.9.0.0/16 on the link in endpoint both."]


def test_rejoined_ports_get_their_settings_again() -> None:
    topology = decided([{**DUAL, "icc": False}], [BOTH, {"name": "next", "network": "dual0"}])
    host = observed(topology)
    links = {
        name: replace(link, master=77, hairpin=False, isolated=False, group_fwd_mask=0)
        for name, link in host.links.items()
        if name.startswith("bp-")
    }
    seen = replace(host, links=links, addresses={})
    for before in (topology, Topology()):
        for networks, endpoints in ((["dual0"], []), ([], ["both"])):
            scope = scope_of(topology, topology, networks, endpoints, False)
            ports = [
                c
                for c in make_plan(before, topology, seen, scope, "nftables", "nftables")
                if c.subject[0] == "endpoints"
            ]
            told = [change.sentence for change in ports if "bp-" in change.sentence]
            assert told == [
                sentence
                for name in ("both", "next")
                for sentence in (
                    f"Set master of interface bp-{name} from nothing to dual0.",
                    f"Set hairpin of interface bp-{name} from False to True.",
                    f"Set group_fwd_mask of interface bp-{name} from 0 to 65533.",
                )
            ]
