# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan: what a run does to a host, and in which order."""

from __future__ import annotations

import typing as t
from dataclasses import replace
from ipaddress import ip_network

import pytest
from ansible_collections.bridgeport.net.plugins.module_utils._changes import (
    AddBridge,
    AddEndpoint,
    Change,
    DeleteBridge,
    DeleteEndpoint,
    SetSysctl,
    WriteFile,
)
from ansible_collections.bridgeport.net.plugins.module_utils._changes_rules import ChangeRules, ForgetFlows
from ansible_collections.bridgeport.net.plugins.module_utils._errors import StateError
from ansible_collections.bridgeport.net.plugins.module_utils._nft_render import tables_of
from ansible_collections.bridgeport.net.plugins.module_utils._nft_table import LINK, Table
from ansible_collections.bridgeport.net.plugins.module_utils._plan import Scope, make_plan, networks_in, scope_of
from ansible_collections.bridgeport.net.plugins.module_utils._state import Inside, Link, Observed
from ansible_collections.bridgeport.net.plugins.module_utils._topology import Topology
from ansible_collections.bridgeport.net.plugins.module_utils._want_networks import want_networks
from samples import BOTH, DUAL, FACTS, LAN, WEB, Request, decided, forgotten, observed, refused

NOTHING = Topology()
EMPTY_HOST = Observed(sysctls={"net.ipv4.ip_forward": "0", "net.ipv6.conf.all.forwarding": "0"})
FULL = decided([LAN, DUAL], [WEB, BOTH], [{"endpoint": "web", "ports": ["80:5000"]}], [{"network": "lan0"}])


def plan(before: Topology, after: Topology, seen: Observed) -> list[Change]:
    return make_plan(before, after, seen, scope_of(before, after, (), (), True), "nftables", "nftables")


def kinds(changes: t.Iterable[Change]) -> list[type[Change]]:
    return [type(change) for change in changes]


def link(name: str, kind: str, alias: str = "") -> Link:
    return Link(99, name, kind, "02:00:00:00:00:99", 1500, True, alias, 0, False, False)


# Create, nothing to do, remove


def test_host_that_matches_needs_no_change() -> None:
    assert plan(FULL, FULL, observed(FULL)) == []
    assert plan(NOTHING, NOTHING, EMPTY_HOST) == []


def test_host_that_matches_needs_no_change_even_if_the_record_was_lost() -> None:
    assert plan(NOTHING, FULL, observed(FULL)) == []


def test_creation_goes_from_rules_to_links_to_files_to_forwarding() -> None:
    changes = plan(NOTHING, FULL, EMPTY_HOST)
    assert isinstance(changes[1], ForgetFlows)
    assert [change.sentence for change in changes] == [
        "",
        "",
        "Create bridge dual0 with 10.0.1.1/24, fd00:1::1/64, MTU 1500.",
        "Create bridge lan0 with 10.0.0.1/24, MTU 1500.",
        "Create endpoint both on network dual0 with 10.0.1.2/24, fd00:1::2/64.",
        "Create endpoint web on network lan0 with 10.0.0.2/24.",
        "Write file /etc/netns/both/hosts.",
        "Write file /etc/netns/web/hosts.",
        "Write file /var/lib/bridgeport/hosts/dual0.",
        "Write file /var/lib/bridgeport/hosts/lan0.",
        "Set sysctl net.ipv4.ip_forward from 0 to 1.",
        "Set sysctl net.ipv6.conf.all.forwarding from 0 to 1.",
    ]
    rules = changes[0]
    assert isinstance(rules, ChangeRules)
    assert rules.before == {LINK: Table(LINK), 4: Table(4), 6: Table(6)}
    assert rules.after == tables_of(FULL)


def test_removal_closes_the_ports_first_and_deletes_links_last() -> None:
    changes = plan(FULL, NOTHING, observed(FULL))
    deletions = [DeleteEndpoint, DeleteEndpoint, DeleteBridge, DeleteBridge]
    assert kinds(changes) == [ChangeRules, *[WriteFile] * 4, *deletions, ChangeRules, ForgetFlows]
    assert [change.sentence for change in changes[1:-2]] == [
        "Remove file /etc/netns/both/hosts.",
        "Remove file /etc/netns/web/hosts.",
        "Remove file /var/lib/bridgeport/hosts/dual0.",
        "Remove file /var/lib/bridgeport/hosts/lan0.",
        "Delete endpoint both of network dual0.",
        "Delete endpoint web of network lan0.",
        "Delete bridge dual0.",
        "Delete bridge lan0.",
    ]


def test_what_goes_is_guarded_until_it_is_gone() -> None:
    """Its ports are closed by the first step, and its guard goes with the last."""
    for after in (NOTHING, decided([DUAL], [BOTH]), decided([LAN, DUAL], [BOTH])):
        changes = plan(FULL, after, observed(FULL))
        first, *_rest, last, _flows = changes
        assert isinstance(first, ChangeRules) and isinstance(last, ChangeRules)
        unpublished = decided([LAN, DUAL], [WEB, BOTH])
        assert first.after == last.before == tables_of(unpublished)
        assert last.after == tables_of(after)
        assert last.sentences == ()


def test_a_subnet_that_is_taken_over_is_guarded_by_its_next_network() -> None:
    after = decided([{**LAN, "name": "lan1"}], [{"name": "app", "network": "lan1"}])
    first, last = (
        change
        for change in plan(decided([LAN], [WEB]), after, observed(decided([LAN], [WEB])))
        if isinstance(change, ChangeRules)
    )
    assert list(first.after[4].elements["guarded"]) == [("10.0.0.0/24",)]
    assert first.after[LINK] != last.after[LINK] == tables_of(after)[LINK]


def test_replacement_creates_before_it_deletes() -> None:
    after = decided([DUAL], [BOTH])
    seen = replace(observed(decided([LAN], [WEB])), sysctls={**EMPTY_HOST.sysctls, "net.ipv4.ip_forward": "1"})
    order = kinds(plan(decided([LAN], [WEB]), after, seen))
    assert order == [
        ChangeRules,
        AddBridge,
        AddEndpoint,
        *[WriteFile] * 4,
        SetSysctl,
        DeleteEndpoint,
        DeleteBridge,
        ChangeRules,
        ForgetFlows,
    ]


def test_publish_alone_changes_rules_and_what_loopback_needs() -> None:
    before = decided([LAN], [WEB])
    after = decided([LAN], [WEB], [{"endpoint": "web", "ports": ["80:5000"]}])
    changes = plan(before, after, observed(before))
    assert kinds(changes) == [ChangeRules, SetSysctl]
    assert changes[1].sentence == "Set sysctl net.ipv4.conf.lan0.route_localnet from 0 to 1."
    more = decided([LAN], [WEB], [{"endpoint": "web", "ports": ["80:5000", "81:5001"]}])
    assert kinds(plan(after, more, observed(after))) == [ChangeRules]


def test_what_the_request_changes_in_the_rules_is_no_drift() -> None:
    (rules,) = plan(
        decided([LAN], [WEB]),
        decided([{**LAN, "trusted_interfaces": ["eth1"]}], [WEB]),
        observed(decided([LAN], [WEB])),
    )
    assert isinstance(rules, ChangeRules)
    assert rules.drifted == ()


# Only what we put


@pytest.mark.parametrize("kind", ["bridge", "dummy", ""])
def test_foreign_interface_with_the_networks_name_is_left_alone(kind: str) -> None:
    seen = replace(EMPTY_HOST, links={"lan0": link("lan0", kind, "somebody's")})
    refused(
        lambda: plan(NOTHING, decided([LAN]), seen),
        "set up network lan0",
        "interface lan0 exists already and is not ours",
        kind or "physical",
        "somebody's",
        "remove it or choose another name",
        kind=StateError,
    )


def test_unmarked_interface_that_the_record_does_not_know_is_left_alone() -> None:
    seen = replace(EMPTY_HOST, links={"lan0": link("lan0", "bridge")})
    refused(lambda: plan(NOTHING, decided([LAN]), seen), "lan0", "not ours", kind=StateError)


def test_unmarked_bridge_that_the_record_names_is_ours() -> None:
    topology = decided([LAN])
    seen = observed(topology)
    seen = replace(seen, links={"lan0": replace(seen.links["lan0"], alias="")})
    (change,) = plan(topology, topology, seen)
    assert change.sentence == "Set alias of interface lan0 from nothing to bridgeport.net network lan0."


def test_foreign_interface_with_the_endpoints_name_is_left_alone() -> None:
    seen = replace(
        observed(decided([LAN])), links={**observed(decided([LAN])).links, "bp-web": link("bp-web", "veth", "x")}
    )
    refused(
        lambda: plan(decided([LAN]), decided([LAN], [WEB]), seen),
        "create endpoint web",
        "interface bp-web exists already and is not ours",
        kind=StateError,
    )


@pytest.mark.parametrize("inside", [Inside(), Inside(broken=True)])
def test_foreign_namespace_is_left_alone(inside: Inside) -> None:
    seen = replace(observed(decided([LAN])), namespaces={"web": inside})
    refused(
        lambda: plan(decided([LAN]), decided([LAN], [WEB]), seen),
        "create endpoint web",
        "/run/netns/web exists already and is not ours",
        "choose another name",
        kind=StateError,
    )


def test_foreign_interfaces_survive_removal() -> None:
    topology = decided([LAN], [WEB])
    seen = replace(
        observed(topology),
        links={"lan0": link("lan0", "bridge", "somebody's"), "bp-web": link("bp-web", "veth", "somebody's")},
        namespaces={},
    )
    assert kinds(plan(topology, NOTHING, seen)) == [ChangeRules, *[WriteFile] * 2, ForgetFlows]


def test_what_is_gone_already_needs_no_removal() -> None:
    (flows,) = plan(FULL, NOTHING, EMPTY_HOST)
    assert isinstance(flows, ForgetFlows) and flows.sentences == ()
    assert [str(flow.of) for flow in forgotten([flows])] == ["10.0.1.2", "fd00:1::2", "10.0.0.2"]


@pytest.mark.parametrize("gone", ["links", "namespaces"])
def test_half_an_endpoint_is_removed_whole(gone: str) -> None:
    topology = decided([LAN], [WEB])
    seen = observed(topology)
    seen = replace(seen, links={"lan0": seen.links["lan0"]}) if gone == "links" else replace(seen, namespaces={})
    (deletion,) = (change for change in plan(topology, decided([LAN]), seen) if isinstance(change, DeleteEndpoint))
    assert deletion.with_link == (gone == "namespaces")


def test_namespace_is_removed_but_a_foreign_interface_beside_it_is_left_alone() -> None:
    topology = decided([LAN], [WEB])
    seen = observed(topology)
    for alias, with_link in (("somebody's", False), (seen.links["bp-web"].alias, True), ("", True)):
        links = {**seen.links, "bp-web": replace(seen.links["bp-web"], alias=alias)}
        changes = plan(topology, decided([LAN]), replace(seen, links=links))
        (deletion,) = (change for change in changes if isinstance(change, DeleteEndpoint))
        assert deletion.with_link == with_link


def test_file_of_ours_is_removed_only_if_it_is_there() -> None:
    topology = decided([LAN], [WEB])
    changes = plan(topology, decided([LAN]), replace(observed(topology), files={}))
    assert [change.path for change in changes if isinstance(change, WriteFile)] == ["/var/lib/bridgeport/hosts/lan0"]


# Forwarding


def forwarding(after: Topology, ipv4: str = "0", ipv6: str | None = "0", ra: tuple[str, ...] = ()) -> list[str]:
    sysctls = {"net.ipv4.ip_forward": ipv4, "net.ipv6.conf.all.forwarding": ipv6}
    changes = plan(NOTHING, after, replace(EMPTY_HOST, sysctls=sysctls, ra_interfaces=ra))
    return [change.sentence for change in changes if isinstance(change, SetSysctl)]


IPV4_ON = "Set sysctl net.ipv4.ip_forward from 0 to 1."
IPV6_ON = "Set sysctl net.ipv6.conf.all.forwarding from 0 to 1."


@pytest.mark.parametrize(
    ("network", "sentences"),
    [
        (LAN, [IPV4_ON]),
        ({**LAN, "mode": "routed"}, [IPV4_ON]),
        (DUAL, [IPV4_ON, IPV6_ON]),
        ({**DUAL, "subnets": ["fd00:1::/64"]}, [IPV6_ON]),
        ({**DUAL, "mode": "internal"}, []),
        ({**DUAL, "mode": "isolated"}, []),
    ],
)
def test_forwarding_is_switched_on_where_a_network_leads_out(network: Request, sentences: list[str]) -> None:
    assert forwarding(decided([network])) == sentences


def test_forwarding_that_is_on_is_left_alone() -> None:
    assert forwarding(decided([DUAL]), "1", "1", ("eth0",)) == []


def test_forwarding_is_not_switched_off_again() -> None:
    topology = decided([DUAL])
    assert SetSysctl not in kinds(plan(topology, NOTHING, observed(topology)))


def test_advertised_default_route_is_kept_when_ipv6_forwarding_comes_on() -> None:
    assert forwarding(decided([DUAL]), ra=("eth0", "eth1")) == [
        IPV4_ON,
        "Set sysctl net.ipv6.conf.eth0.accept_ra from 1 to 2.",
        "Set sysctl net.ipv6.conf.eth1.accept_ra from 1 to 2.",
        IPV6_ON,
    ]


def test_router_advertisements_do_not_matter_to_an_ipv4_network() -> None:
    assert forwarding(decided([LAN]), ra=("eth0",)) == [IPV4_ON]


# Scope


def test_scope_is_what_is_named_and_what_changes() -> None:
    assert scope_of(FULL, FULL, ["lan0"], ["web"], False) == Scope(frozenset({"lan0"}), frozenset({"web"}))
    assert scope_of(FULL, FULL, [], ["web"], False) == Scope(frozenset({"lan0"}), frozenset({"web"}))
    assert scope_of(FULL, FULL, ["lan0"], [], False) == Scope(frozenset({"lan0"}), frozenset())
    assert scope_of(FULL, FULL, [], ["never"], False) == Scope(frozenset(), frozenset({"never"}))
    assert scope_of(FULL, FULL, [], [], False) == Scope(frozenset(), frozenset())
    assert scope_of(FULL, FULL, [], [], True) == Scope(frozenset({"lan0", "dual0"}), frozenset({"web", "both"}))


@pytest.mark.parametrize(
    ("change", "networks", "endpoints"),
    [
        ({"mtu": 1400}, {"lan0"}, {"web"}),
        ({"icc": False}, set(), set()),
        ({"trusted_interfaces": ["eth1"]}, set(), set()),
        ({"subnets": ["10.0.0.0/25"]}, {"lan0"}, {"web"}),
    ],
)
def test_change_of_a_network_reaches_the_endpoints_that_it_changes(
    change: Request, networks: set[str], endpoints: set[str]
) -> None:
    after = want_networks(FULL, [{"name": "lan0", **change}], FACTS)
    assert scope_of(FULL, after, [], [], False) == Scope(frozenset(networks), frozenset(endpoints))


def test_removed_objects_are_in_scope() -> None:
    after = decided([LAN], [WEB], [{"endpoint": "web", "ports": ["80:5000"]}], [{"network": "lan0"}])
    scope = scope_of(FULL, after, [], [], False)
    assert scope == Scope(frozenset({"dual0"}), frozenset({"both"}))
    assert networks_in(Scope(frozenset(), frozenset({"both", "web"})), FULL, after) == {"dual0", "lan0"}


def test_drift_outside_the_scope_is_left_to_another_run_but_rules_are_always_mended() -> None:
    changes = make_plan(FULL, FULL, EMPTY_HOST, Scope(frozenset(), frozenset()), "nftables", "nftables")
    assert kinds(changes) == [ChangeRules, ForgetFlows, SetSysctl, SetSysctl]


def test_udp_flows_of_ports_that_lead_elsewhere_are_forgotten() -> None:
    endpoints = [WEB, {"name": "db", "network": "lan0"}]
    ports = ["53:53/udp", "192.0.2.1:54:54/udp", "80:80"]
    before = decided([LAN], endpoints, [{"endpoint": "web", "ports": ports}])
    moved = decided([LAN], endpoints, [{"endpoint": "db", "ports": ports[:1]}, {"endpoint": "web", "ports": ports[1:]}])
    for old, new, flows in (
        (before, before, []),
        (before, moved, [(4, "", 53)]),
        (decided([LAN], endpoints), before, [(4, "", 53), (4, "192.0.2.1", 54)]),
        (before, decided([LAN], endpoints), [(4, "", 53), (4, "192.0.2.1", 54)]),
    ):
        changes = make_plan(old, new, observed(old), scope_of(old, new, [], [], False), "nftables", "nftables")
        found = forgotten(changes)
        assert [flow[:3] for flow in found] == flows
        assert {flow[3:] for flow in found} <= {("udp", None)}


def test_flows_of_sources_that_may_no_longer_connect_are_forgotten() -> None:
    def limited(*sources: str, port: str = "80:5000") -> Topology:
        request: Request = {"endpoint": "web", "ports": [port]}
        return decided([LAN], [WEB], [{**request, "sources": list(sources)} if sources else request])

    old, new = limited("192.0.2.0/24"), limited("192.0.2.0/25", "198.51.100.7")
    allowed = (ip_network("192.0.2.0/25"), ip_network("198.51.100.7/32"))
    barred = [(4, "", 80, "tcp", allowed), (4, "10.0.0.2", 5000, "tcp", allowed)]
    for before, after, flows in (
        (old, old, []),
        (old, new, barred),
        (limited(), new, barred),
        (new, limited(), []),
        (decided([LAN], [WEB]), new, []),
        (
            limited("192.0.2.0/24", port="192.0.2.1:80:80"),
            limited("192.0.2.7", port="192.0.2.1:80:80"),
            [
                (4, "192.0.2.1", 80, "tcp", (ip_network("192.0.2.7/32"),)),
                (4, "10.0.0.2", 80, "tcp", (ip_network("192.0.2.7/32"),)),
            ],
        ),
    ):
        changes = make_plan(
            before, after, observed(before), scope_of(before, after, [], [], False), "nftables", "nftables"
        )
        assert sorted(tuple(flow) for flow in forgotten(changes)) == sorted(flows)
