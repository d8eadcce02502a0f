# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the firewall must do for a topology."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from ansible_collections.bridgeport.net.plugins.module_utils._ruleset import (
    Apart,
    FamilyRules,
    Identity,
    LinkRules,
    NetworkRules,
    OpenPort,
    SourceRule,
    Translation,
    link_rules_of,
    rules_of,
)
from ansible_collections.bridgeport.net.plugins.module_utils._topology import Topology
from samples import BOTH, DUAL, LAN, WEB, Request, decided


def rules(
    mode: str, *ports: str, loopback: str = "nat", sources: list[str] | None = None, **options: object
) -> dict[int, FamilyRules]:
    request: Request = {"endpoint": "both", "ports": list(ports), "loopback": loopback, "sources": sources}
    return rules_of(decided([{**DUAL, "mode": mode, **options}], [BOTH], [request] if ports else []))


def test_empty_topology_needs_no_rules_at_all() -> None:
    assert rules_of(Topology()) == {4: FamilyRules(4), 6: FamilyRules(6)}
    assert all(family.empty for family in rules_of(Topology()).values())


def test_ipv4_only_topology_needs_no_ipv6_rules() -> None:
    families = rules_of(decided([LAN], [WEB], [{"endpoint": "web", "ports": ["80:80"]}]))
    assert not families[4].empty
    assert families[6] == FamilyRules(6)


@pytest.mark.parametrize(
    ("mode", "guarded", "sealed", "pings"),
    [
        ("nat", True, False, False),
        ("routed", False, False, True),
        ("internal", True, True, False),
        ("isolated", True, True, False),
    ],
)
def test_mode_decides_what_holds_for_the_bridge(mode: str, guarded: bool, sealed: bool, pings: bool) -> None:
    families = rules(mode)
    for version, subnet in ((4, "10.0.1.0/24"), (6, "fd00:1::/64")):
        wanted = NetworkRules("dual0", (ip_network(subnet),), guarded, sealed, True, pings, (), mode != "isolated")
        assert families[version].networks == (wanted,)


@pytest.mark.parametrize("mode", ["nat", "routed"])
def test_trusted_interfaces_are_carried_to_the_rules(mode: str) -> None:
    assert rules(mode, trusted_interfaces=["eth1"])[4].networks[0].trusted == ("eth1",)


def test_endpoints_are_held_to_their_own_addresses_unless_told_otherwise() -> None:
    requests: list[Request] = [{**WEB, "mac": "02:42:00:00:00:02"}, {**BOTH, "mac": "0a:00:00:00:00:03"}]
    requests.append({**WEB, "name": "free", "guard": False})
    assert link_rules_of(decided([LAN, DUAL], requests)) == LinkRules(
        (
            Identity(
                "bp-both",
                "0a:00:00:00:00:03",
                (ip_address("10.0.1.2"), ip_address("fd00:1::2"), ip_address("fe80::800:ff:fe00:3")),
            ),
            Identity("bp-web", "02:42:00:00:00:02", (ip_address("10.0.0.2"),)),
        )
    )


def test_endpoints_without_icc_reach_the_host_only() -> None:
    topology = decided([{**LAN, "icc": False, "mac": "02:00:00:00:00:01"}, DUAL], [{**WEB, "guard": False}, BOTH])
    assert link_rules_of(topology).apart == (Apart("bp-web", "02:00:00:00:00:01"),)
    assert link_rules_of(Topology()).empty


def test_icc_is_carried_to_the_rules() -> None:
    assert [family.networks[0].icc for family in rules("nat", icc=False).values()] == [False, False]


def test_publish_on_every_address_translates_in_both_families() -> None:
    families = rules("nat", "8080:80")
    assert families[4].translations == (Translation("tcp", "", 8080, "10.0.1.2", 80, "both"),)
    assert families[6].translations == (Translation("tcp", "", 8080, "fd00:1::2", 80, "both"),)
    assert families[4].open_ports == {OpenPort("10.0.1.2", "tcp", 80)}
    assert families[6].open_ports == {OpenPort("fd00:1::2", "tcp", 80)}


@pytest.mark.parametrize(
    ("port", "version", "host_address"),
    [
        ("0.0.0.0:8080:80", 4, ""),
        ("127.0.0.1:8080:80", 4, "127.0.0.1"),
        ("192.0.2.1:8080:80", 4, "192.0.2.1"),
        ("[::]:8080:80", 6, ""),
        ("[2001:db8::1]:8080:80", 6, "2001:db8::1"),
    ],
)
def test_publish_on_one_address_translates_and_opens_in_its_family_only(
    port: str, version: int, host_address: str
) -> None:
    families = rules("nat", port)
    address = {4: "10.0.1.2", 6: "fd00:1::2"}[version]
    assert families[version].translations == (Translation("tcp", host_address, 8080, address, 80, "both"),)
    # Only the host itself reaches a loopback address.
    opened = set() if host_address == "127.0.0.1" else {OpenPort(address, "tcp", 80)}
    assert families[version].open_ports == opened
    assert families[10 - version].translations == ()
    assert families[10 - version].open_ports == frozenset()


def test_chosen_port_is_the_one_translated() -> None:
    assert rules("nat", "9000/udp")[4].translations == (Translation("udp", "", 49153, "10.0.1.2", 9000, "both"),)


@pytest.mark.parametrize(
    ("port", "versions"),
    [("8080:80", [4, 6]), ("80", [4, 6]), ("0.0.0.0:8080:80", [4]), ("[::]:8080:80", [6]), ("192.0.2.1:8080:80", [4])],
)
def test_routed_publish_translates_nothing_and_opens_the_endpoints_own_port(port: str, versions: list[int]) -> None:
    families = rules("routed", port)
    assert [family.translations for family in families.values()] == [(), ()]
    assert [version for version, family in families.items() if family.open_ports] == versions
    assert {(opened.protocol, opened.port) for family in families.values() for opened in family.open_ports} == {
        ("tcp", 80)
    }


def test_exposed_port_opens_nothing() -> None:
    families = rules_of(decided([LAN], [{**WEB, "expose": [5000]}]))
    assert (families[4].translations, families[4].open_ports) == ((), frozenset())


def test_several_publishes_of_one_port_share_its_opening() -> None:
    family = rules("nat", "8080:80", "8081:80")[4]
    assert len(family.translations) == 2
    assert family.open_ports == {OpenPort("10.0.1.2", "tcp", 80)}


def test_list_of_sources_is_told_by_family() -> None:
    families = rules("nat", "8080:80", sources=["192.0.2.1", "192.0.2.0/24", "2001:db8::/32"])
    for version, allowed in ((4, ip_network("192.0.2.0/24")), (6, ip_network("2001:db8::/32"))):
        assert [item.allowed for item in families[version].translations] == [(allowed,)]
        assert [item.allowed for item in families[version].open_ports] == [(allowed,)]


def test_list_of_one_family_lets_nobody_of_the_other() -> None:
    families = rules("nat", "8080:80", sources=["192.0.2.0/24"])
    assert [item.allowed for item in families[6].translations] == [()]
    assert [item.allowed for item in families[6].open_ports] == [()]


def test_endpoint_port_is_open_to_all_that_one_of_its_publishes_allows() -> None:
    def allowed(*lists: list[str] | None) -> list[object]:
        requests: list[Request] = [
            {"endpoint": "web", "ports": ["%d:80" % (8000 + number)], **({"sources": sources} if sources else {})}
            for number, sources in enumerate(lists)
        ]
        return [item.allowed for item in rules_of(decided([LAN], [WEB], requests))[4].open_ports]

    one, other = ip_network("192.0.2.0/25"), ip_network("198.51.100.0/24")
    assert allowed([str(one)], [str(other)]) == [(one, other)]
    assert allowed([str(one)], ["192.0.2.128/25"]) == [(ip_network("192.0.2.0/24"),)]
    assert allowed([str(one)], None) == [None] == allowed(None, [str(one)])


@pytest.mark.parametrize(
    ("loopback", "port", "silent"),
    [
        ("nat", "8080:80", set()),
        ("none", "8080:80", {("tcp", 8080)}),
        ("none", "0.0.0.0:8080:80/udp", {("udp", 8080)}),
        ("none", "192.0.2.1:8080:80", set()),
    ],
)
def test_loopback_none_keeps_the_hosts_own_loopback_out(loopback: str, port: str, silent: set[tuple[str, int]]) -> None:
    assert rules("nat", port, loopback=loopback)[4].silent_loopback == silent


def sources(*requests: Request) -> dict[int, tuple[SourceRule, ...]]:
    families = rules_of(decided([LAN, DUAL], masquerades=requests))
    return {version: family.sources for version, family in families.items()}


def test_masqueraded_network_hides_each_subnet_behind_all_but_its_bridge() -> None:
    assert sources({"network": "dual0"}) == {
        4: (SourceRule("dual0", ip_network("10.0.1.0/24"), "dual0", None),),
        6: (SourceRule("dual0", ip_network("fd00:1::/64"), "dual0", None),),
    }


def test_fixed_source_serves_its_own_family_and_leaves_the_other_masqueraded() -> None:
    found = sources({"network": "dual0", "to_source": "203.0.113.7"})
    assert [rule.to_source for rule in found[4]] == [ip_address("203.0.113.7")]
    assert [rule.to_source for rule in found[6]] == [None]


def test_masqueraded_subnet_needs_no_network() -> None:
    request = {"source": "10.9.0.0/24", "except_out_interface": "br9"}
    assert sources(request) == {4: (SourceRule("10.9.0.0/24", ip_network("10.9.0.0/24"), "br9", None),), 6: ()}
    families = rules_of(decided(masquerades=[request]))
    assert not families[4].empty
    assert families[6].empty


def test_network_that_is_not_masqueraded_has_no_source_rule() -> None:
    assert sources() == {4: (), 6: ()}


def test_rules_do_not_depend_on_the_order_of_requests() -> None:
    one = rules_of(decided([LAN, DUAL], masquerades=[{"network": "lan0"}, {"network": "dual0"}]))
    other = rules_of(decided([DUAL, LAN], masquerades=[{"network": "dual0"}, {"network": "lan0"}]))
    assert one == other
