# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The nftables shape of the rules: what is rendered, read back, compared and written."""

from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest
from ansible_collections.bridgeport.net.plugins.module_utils._nft_render import render_table
from ansible_collections.bridgeport.net.plugins.module_utils._nft_table import (
    Chain,
    Element,
    Table,
    drift,
    transaction,
)
from ansible_collections.bridgeport.net.plugins.module_utils._ruleset import rules_of
from nft_interpreter import Kernel
from samples import BOTH, DUAL, LAN, WEB, Request, decided

SEALED: Request = {"name": "back", "subnets": ["10.9.0.0/24"], "mode": "internal", "icc": False}
ROUTED: Request = {"name": "flat0", "subnets": ["10.8.0.0/24"], "mode": "routed"}


def table(
    version: int = 4, ports: t.Sequence[str] = (), networks: t.Sequence[Request] = (DUAL,), **publish: t.Any
) -> Table:
    publishes = [{"endpoint": "both", "ports": list(ports), **publish}] if ports else []
    return render_table(rules_of(decided(networks, [BOTH], publishes))[version])


def texts(there: Table, chain: str) -> list[str]:
    return [text for text, _comment in there.chains[chain].rules]


SEALED_FIRST = 'iifname != "dual0" drop'
ADDRESSED = [("10.9.0.0/24", "back"), ("10.0.1.0/24", "dual0"), ("10.8.0.0/24", "flat0")]
APART = ['iifname "dual0" ct status dnat accept', 'iifname "dual0" drop']
PLAIN = table()
EMPTY = Table(4)


# Rendering


def test_nothing_to_do_is_no_table() -> None:
    assert render_table(rules_of(decided())[4]) == EMPTY
    assert render_table(rules_of(decided([LAN], [WEB]))[6]) == Table(6)


def test_publishes_are_elements_with_their_owner() -> None:
    there = table(4, ["80:5000", "192.0.2.1:443:443/udp"])
    assert list(there.elements["published"].values()) == [Element(("tcp", 80), ("10.0.1.2", 5000), "both")]
    assert list(there.elements["published_at"].values()) == [
        Element(("192.0.2.1", "udp", 443), ("10.0.1.2", 443), "both")
    ]
    assert set(there.elements["open_ports"]) == {("10.0.1.2", "tcp", 5000), ("10.0.1.2", "udp", 443)}
    assert set(table(6, ["80:5000"]).elements["open_ports"]) == {("fd00:1::2", "tcp", 5000)}


def test_rules_do_not_grow_with_the_publishes() -> None:
    assert table(4, ["1-1000:1-1000"]).chains == PLAIN.chains


def test_only_packets_to_this_host_are_translated() -> None:
    for version in (4, 6):
        there = table(version)
        assert texts(there, "prerouting") == ["fib daddr type local jump publish"]
        assert texts(there, "output")[-1] == "fib daddr type local jump publish"
        jumps = [text for chain in there.chains.values() for text, _comment in chain.rules if "jump publish" in text]
        assert len(jumps) == 2


def test_loopback_addresses_are_kept_apart() -> None:
    assert texts(PLAIN, "guard")[0] == 'iifname != "lo" ip daddr 127.0.0.0/8 drop'
    assert texts(PLAIN, "output")[0] == "ip daddr 127.0.0.0/8 meta l4proto . th dport @silent_loopback return"
    assert texts(table(6), "output")[0] == "ip6 daddr ::1 return"
    assert set(table(4, ["80:80"], loopback="none").elements["silent_loopback"]) == {("tcp", 80)}


def test_publishes_with_one_list_share_its_set_and_chain() -> None:
    one, many = (table(4, [ports], sources=["192.0.2.0/24"]) for ports in ("80:80", "80-1079:80-1079"))
    assert one.chains == many.chains
    (name,) = [name for name in one.sets if name.startswith("sources_")]
    assert one.elements[name] == many.elements[name] == {("192.0.2.0/24",): Element(("192.0.2.0/24",))}
    assert texts(one, name) == ["ip saddr != @%s drop" % name]
    assert one.elements["limited"] == {("tcp", 80): Element(("tcp", 80), ("jump", name))}
    assert texts(one, "guard")[-1] == "ct state != { established, related } fib daddr type local jump listed"
    assert texts(one, "to_dual0")[0] == 'iifname != "dual0" ip daddr . meta l4proto . th dport vmap @limited_ports'


def test_without_lists_nothing_is_looked_up() -> None:
    assert not [name for name in table(4, ["80:80"]).sets if "limited" in name]
    assert Kernel(EMPTY).run(transaction(EMPTY, table(4, ["80:80"], sources=["192.0.2.7"]))).exists
    limited = table(4, ["80:80", "81:81"], sources=["192.0.2.7"])
    assert Kernel(limited).run(transaction(limited, table(4, ["80:80", "81:81"]))) == table(4, ["80:80", "81:81"])


def test_endpoints_are_guarded_but_for_routed_networks() -> None:
    there = table(4, networks=[DUAL, SEALED, ROUTED])
    assert set(there.elements["guarded"]) == {("10.0.1.0/24",), ("10.9.0.0/24",)}
    assert texts(there, "closed") == [
        'ip daddr 10.9.0.0/24 iifname { "back" } return',
        'ip daddr 10.0.1.0/24 iifname { "dual0" } return',
        "drop",
    ]


def test_addresses_of_a_network_come_from_its_bridge() -> None:
    there = table(4, networks=[DUAL, SEALED, ROUTED])
    assert [rule for rule in texts(there, "guard") if "saddr" in rule] == [
        'iifname != "lo" ip saddr 127.0.0.0/8 drop',
        *['ip saddr %s iifname != { "lo", "%s" } drop' % item for item in ADDRESSED],
    ]
    isolated = table(4, networks=[{**DUAL, "mode": "isolated"}])
    assert not [rule for rule in texts(isolated, "guard") if "saddr 10." in rule]


def test_trusted_interfaces_pass_the_guard() -> None:
    there = table(4, networks=[{**DUAL, "trusted_interfaces": ["eth1", "eth0"]}])
    assert texts(there, "closed")[0] == 'ip daddr 10.0.1.0/24 iifname { "dual0", "eth0", "eth1" } return'


@pytest.mark.parametrize(
    ("options", "rules"),
    [
        ({}, ['iifname "dual0" accept', "ip daddr . meta l4proto . th dport @open_ports accept", "drop"]),
        ({"icc": False}, [*APART, "ip daddr . meta l4proto . th dport @open_ports accept", "drop"]),
        ({"mode": "internal"}, [SEALED_FIRST, 'iifname "dual0" accept', "drop"]),
        ({"mode": "isolated", "icc": False}, [SEALED_FIRST, "drop"]),
        (
            {"mode": "routed", "icc": False},
            [*APART, "ip daddr . meta l4proto . th dport @open_ports accept", "meta l4proto icmp accept", "drop"],
        ),
    ],
)
def test_what_may_enter_a_bridge(options: Request, rules: list[str]) -> None:
    there = table(4, networks=[{**DUAL, **options}])
    first = [rule for rule in rules if rule == SEALED_FIRST]
    assert texts(there, "to_dual0") == [*first, "ct state { established, related } accept", *rules[len(first) :]]
    sealed = options.get("mode") in ("internal", "isolated")
    assert ("from_dual0" in there.chains) == sealed == (("dual0",) in there.elements["from_network"])


@pytest.mark.parametrize(
    ("request_", "rule"),
    [
        ({"network": "dual0"}, 'ip saddr 10.0.1.0/24 ip daddr != 224.0.0.0/4 oifname != { "lo", "dual0" } masquerade'),
        (
            {"network": "dual0", "to_source": "203.0.113.7"},
            'ip saddr 10.0.1.0/24 ip daddr != 224.0.0.0/4 oifname != { "lo", "dual0" } snat ip to 203.0.113.7',
        ),
        ({"source": "10.9.0.0/24"}, 'ip saddr 10.9.0.0/24 ip daddr != 224.0.0.0/4 oifname != { "lo" } masquerade'),
    ],
)
def test_masquerade_rule(request_: Request, rule: str) -> None:
    there = render_table(rules_of(decided([DUAL], masquerades=[request_]))[4])
    assert texts(there, "postrouting")[-1] == rule


def test_every_rule_carries_a_comment_that_changes_with_its_text() -> None:
    one, other = table(4), table(4, networks=[{**DUAL, "subnets": ["10.0.2.0/24", "fd00:1::/64"]}])
    comments = [comment for there in (one, other) for chain in there.chains.values() for comment in chain.comments]
    assert all(0 < len(comment) <= 128 for comment in comments)
    assert one.chains["closed"].comments != other.chains["closed"].comments
    assert one.chains["prerouting"].comments == other.chains["prerouting"].comments


# Transactions


def test_equal_tables_need_no_transaction() -> None:
    for there in (EMPTY, PLAIN, table(6, ["80:80"])):
        assert transaction(there, there) == ""


def test_new_table_is_written_whole() -> None:
    wanted = table(4, ["80:5000"], [DUAL, SEALED, ROUTED])
    text = transaction(EMPTY, wanted)
    assert text.startswith("add table ip bridgeport\n")
    assert 'add element ip bridgeport published { tcp . 80 comment "both" : 10.0.1.2 . 5000 }\n' in text
    assert Kernel(EMPTY).run(text) == wanted


def test_table_that_nothing_needs_any_more_is_deleted() -> None:
    assert transaction(PLAIN, EMPTY) == "delete table ip bridgeport\n"
    assert transaction(EMPTY, EMPTY) == ""


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (
            ["80:80"],
            ["80:80", "81:81"],
            'add element ip bridgeport published { tcp . 81 comment "both" : 10.0.1.2 . 81 }\n'
            "add element ip bridgeport open_ports { 10.0.1.2 . tcp . 81 }\n",
        ),
        (
            ["80:80", "81:81"],
            ["80:80"],
            "delete element ip bridgeport published { tcp . 81 }\n"
            "delete element ip bridgeport open_ports { 10.0.1.2 . tcp . 81 }\n",
        ),
        (
            ["80:80", "81:80"],
            ["80:80", "82:80"],
            "delete element ip bridgeport published { tcp . 81 }\n"
            'add element ip bridgeport published { tcp . 82 comment "both" : 10.0.1.2 . 80 }\n',
        ),
        (
            ["192.0.2.1:80:80", "81:80"],
            ["192.0.2.1:80:80", "81:80", "192.0.2.2:80:80"],
            'add element ip bridgeport published_at { 192.0.2.2 . tcp . 80 comment "both" : 10.0.1.2 . 80 }\n',
        ),
    ],
)
def test_change_of_one_publish_touches_its_elements_only(before: list[str], after: list[str], text: str) -> None:
    assert transaction(table(4, before), table(4, after)) == text


def test_element_that_leads_elsewhere_is_replaced() -> None:
    wanted = table(4, ["80:80"])
    elements = {**wanted.elements, "published": {("tcp", 80): Element(("tcp", 80), ("10.0.1.9", 80), "both")}}
    assert transaction(replace(wanted, elements=elements), wanted) == (
        "delete element ip bridgeport published { tcp . 80 }\n"
        'add element ip bridgeport published { tcp . 80 comment "both" : 10.0.1.2 . 80 }\n'
    )


def test_chain_with_other_rules_is_filled_again_and_no_other() -> None:
    chain = PLAIN.chains["publish"]
    for rules in ((), chain.rules[:1], chain.rules[::-1], (*chain.rules, ("accept", ""))):
        there = replace(PLAIN, chains={**PLAIN.chains, "publish": replace(chain, rules=rules)})
        text = transaction(there, PLAIN)
        assert {line.split(" ")[4] for line in text.splitlines()} == {"publish"}
        assert Kernel(there).run(text) == PLAIN


def test_missing_chain_and_set_are_restored() -> None:
    there = replace(
        PLAIN,
        sets={name: kind for name, kind in PLAIN.sets.items() if name != "from_network"},
        chains={name: chain for name, chain in PLAIN.chains.items() if name != "forward"},
    )
    text = transaction(there, PLAIN)
    assert "add map ip bridgeport from_network { type ifname : verdict; }\n" in text
    assert "add chain ip bridgeport forward { type filter hook forward priority 0; policy accept; }\n" in text
    assert Kernel(there).run(text) == PLAIN


def test_leftovers_are_removed() -> None:
    there = Table(
        4,
        True,
        {**PLAIN.sets, "mine": "ipv4_addr", "old": "ifname : verdict"},
        {
            **PLAIN.elements,
            "mine": {("192.0.2.1",): Element(("192.0.2.1",))},
            "published": {("tcp", 22): Element(("tcp", 22), ("10.0.1.9", 22))},
        },
        {
            **PLAIN.chains,
            "one": Chain("one", None, (("jump two", "x"), ("ip saddr @mine accept", "y"))),
            "two": Chain("two", None, (("drop", "x"),)),
        },
    )
    text = transaction(there, PLAIN)
    assert "delete element ip bridgeport published { tcp . 22 }\n" in text
    assert "delete set ip bridgeport mine\n" in text
    assert "delete map ip bridgeport old\n" in text
    assert Kernel(there).run(text) == PLAIN


def test_removed_network_takes_its_chains_along() -> None:
    before, after = table(4, ["80:80"], [DUAL, SEALED]), table(4, ["80:80"])
    text = transaction(before, after)
    assert 'delete element ip bridgeport to_network { "back" }\n' in text
    assert text.endswith("delete chain ip bridgeport to_back\ndelete chain ip bridgeport from_back\n")
    assert Kernel(before).run(text) == after


@pytest.mark.parametrize("hook", [None, ("filter", "forward", -1), ("filter", "input", 0)])
def test_changed_hook_replaces_the_table(hook: tuple[str, str, int] | None) -> None:
    there = replace(PLAIN, chains={**PLAIN.chains, "forward": replace(PLAIN.chains["forward"], hook=hook)})
    assert transaction(there, PLAIN) == "delete table ip bridgeport\n" + transaction(EMPTY, PLAIN)


def test_set_of_another_type_replaces_the_table() -> None:
    there = replace(PLAIN, sets={**PLAIN.sets, "published": "inet_service : ipv4_addr . inet_service"})
    assert transaction(there, PLAIN) == "delete table ip bridgeport\n" + transaction(EMPTY, PLAIN)


# Drift


def test_no_drift_no_sentence() -> None:
    assert list(drift(PLAIN, PLAIN)) == []
    assert list(drift(EMPTY, EMPTY)) == []


def test_drift_is_told_in_sentences() -> None:
    wanted = table(4, ["80:80", "81:81"])
    assert list(drift(EMPTY, wanted)) == ["Restore the missing table ip bridgeport."]
    assert list(drift(wanted, EMPTY)) == ["Remove the table ip bridgeport, which nothing asks for."]
    chains = {name: chain for name, chain in wanted.chains.items() if name != "guard"}
    chains["publish"] = replace(chains["publish"], rules=())
    chains["mine"] = Chain("mine", None, ())
    published = {
        ("tcp", 80): Element(("tcp", 80), ("10.0.1.9", 80)),
        ("tcp", 22): Element(("tcp", 22), ("10.0.1.9", 22)),
    }
    there = replace(wanted, chains=chains, elements={**wanted.elements, "published": published})
    assert list(drift(there, wanted)) == [
        "Restore the missing chain guard of table ip bridgeport.",
        "Remove the chain mine of table ip bridgeport, which is not ours.",
        "Restore the changed rules of chain publish in table ip bridgeport.",
        "Restore 2 elements of published in table ip bridgeport, missing or changed.",
        "Remove 1 element of published in table ip bridgeport, not ours.",
    ]


@pytest.mark.parametrize(("count", "words"), [(1, "1 element"), (2, "2 elements")])
def test_elements_are_counted_in_drift(count: int, words: str) -> None:
    ports = ["%d:80" % port for port in range(80, 80 + count)]
    wanted = table(4, ports)
    emptied = replace(wanted, elements={**wanted.elements, "published": {}})
    assert list(drift(emptied, wanted)) == [
        "Restore %s of published in table ip bridgeport, missing or changed." % words
    ]
    assert list(drift(wanted, emptied)) == ["Remove %s of published in table ip bridgeport, not ours." % words]


def test_foreign_set_is_drift_even_if_it_is_empty() -> None:
    for elements in ({}, {("192.0.2.1",): Element(("192.0.2.1",))}):
        there = replace(
            PLAIN, sets={**PLAIN.sets, "mine": "ipv4_addr"}, elements={**PLAIN.elements, "mine": dict(elements)}
        )
        assert list(drift(there, PLAIN)) == ["Remove the set mine of table ip bridgeport, which is not ours."]
        assert Kernel(there).run(transaction(there, PLAIN)) == PLAIN
