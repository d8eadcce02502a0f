# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rules in the shape of iptables, as values and as restore text."""

from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest
from ansible_collections.bridgeport.net.plugins.module_utils._errors import KernelError
from ansible_collections.bridgeport.net.plugins.module_utils._ipt_listing import parse_save
from ansible_collections.bridgeport.net.plugins.module_utils._ipt_render import (
    fit_tables,
    render_accepts,
    render_tables,
)
from ansible_collections.bridgeport.net.plugins.module_utils._ipt_table import (
    Rule,
    Tables,
    drift,
    foreign,
    restore_text,
    same,
    steps,
)
from ansible_collections.bridgeport.net.plugins.module_utils._ruleset import rules_of
from ansible_collections.bridgeport.net.plugins.module_utils._topology import Topology
from hypothesis import given
from hypothesis import strategies as st
from ipt_interpreter import Kernel
from samples import BOTH, DUAL, Request, decided, refused
from test_properties import topologies

FOREIGN: dict[tuple[str, str], list[str]] = {
    ("filter", "FORWARD"): ['-i wg0 -m comment --comment "not ours" -j ACCEPT', "-j DROP"],
    ("filter", "BRIDGEPORTS"): ["-s 192.0.2.1/32 -j DROP"],
    ("nat", "POSTROUTING"): ["-s 10.99.0.0/16 -j MASQUERADE"],
    ("nat", "PREROUTING"): ["-p tcp -m tcp --dport 1 -j DNAT --to-destination 192.0.2.1:1"],
}


def tables(*ports: str, version: int = 4, loopback: str = "nat", **options: t.Any) -> Tables:
    """What a network with one endpoint wants."""
    request: Request = {"endpoint": "both", "ports": list(ports), "loopback": loopback}
    topology = decided([{**DUAL, **options}], [BOTH], [request] if ports else [])
    return render_tables(rules_of(topology)[version])


def lines(found: Tables, table: str, chain: str) -> list[str]:
    """A chain's rules without their comments."""
    return [plain(rule) for rule in found.chains[table, chain]]


def plain(rule: Rule) -> str:
    place = rule.index("--comment")
    return " ".join((*rule[: place - 2], *rule[place + 2 :]))


def text(before: Tables, after: Tables) -> str:
    return restore_text(steps(before, after))


def theirs(kernel: Kernel) -> dict[tuple[str, str], list[str]]:
    """The rules that are not ours, of chains that are not ours."""
    return {
        (table, chain): [rule for rule in rules if "bridgeport" not in rule]
        for table, chains in kernel.tables.items()
        for chain, rules in chains.items()
        if not chain.startswith(("BRIDGEPORT-", "BRIDGEPORT/", "BRIDGEPORT.")) and chain != "BRIDGEPORT"
    }


def test_nothing_to_do_is_nothing_at_all() -> None:
    assert render_tables(rules_of(Topology())[4]) == Tables(4)
    assert text(Tables(4), Tables(4)) == ""


@pytest.mark.parametrize(
    ("version", "ports", "loopback", "rules"),
    [
        (4, ["80:5000"], "nat", ["-p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.1.2:5000"]),
        (6, ["80:5000"], "nat", ["-s fe80::/10 -j RETURN", "-p tcp -m tcp --dport 80 -j DNAT --to-destination [fd00:1::2]:5000"]),
        (4, ["80:5000"], "none", ["! -d 127.0.0.0/8 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.1.2:5000"]),
        (6, ["80:5000"], "none", ["-s fe80::/10 -j RETURN", "-p tcp -m tcp --dport 80 -j DNAT --to-destination [fd00:1::2]:5000"]),
        (4, ["127.0.0.1:80:1/udp"], "nat", ["-d 127.0.0.1/32 -p udp -m udp --dport 80 -j DNAT --to-destination 10.0.1.2:1"]),
        (
            6,
            ["[2001:db8::1]:80:1/sctp"],
            "nat",
            [
                "-s fe80::/10 -j RETURN",
                "-d 2001:db8::1/128 -p sctp -m sctp --dport 80 -j DNAT --to-destination [fd00:1::2]:1",
            ],
        ),
    ],
)  # fmt: skip
def test_a_publish_is_one_rule(version: int, ports: list[str], loopback: str, rules: list[str]) -> None:
    assert lines(tables(*ports, version=version, loopback=loopback), "nat", "BRIDGEPORT") == rules


def test_every_rule_says_whose_it_is() -> None:
    found = tables("80:5000")
    rules = [rule for place in (found.chains, found.hooks) for chain in place.values() for rule in chain]
    owners = {rule[rule.index("--comment") + 1] for rule in rules}
    assert owners == {"bridgeport:host", "bridgeport:dual0", "bridgeport:both"}


@pytest.mark.parametrize(
    ("options", "network"),
    [
        (
            {},
            ["-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN", "-i dual0 -j RETURN",
             "-d 10.0.1.2/32 -p tcp -m tcp --dport 5000 -j RETURN", "-j DROP"],
        ),
        (
            {"icc": False},
            ["-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN", "-i dual0 -m conntrack --ctstate DNAT -j RETURN",
             "-i dual0 -j DROP", "-d 10.0.1.2/32 -p tcp -m tcp --dport 5000 -j RETURN", "-j DROP"],
        ),
        (
            {"mode": "routed"},
            ["-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN", "-i dual0 -j RETURN",
             "-p icmp -j RETURN", "-d 10.0.1.2/32 -p tcp -m tcp --dport 5000 -j RETURN", "-j DROP"],
        ),
    ],
)  # fmt: skip
def test_what_may_enter_a_bridge(options: Request, network: list[str]) -> None:
    found = tables("80:5000", **options)
    assert lines(found, "filter", "BRIDGEPORT") == ["-o dual0 -j BRIDGEPORT/dual0"]
    assert lines(found, "filter", "BRIDGEPORT/dual0") == network


def test_nothing_crosses_the_edge_of_a_sealed_network() -> None:
    found = tables(mode="internal")
    assert lines(found, "filter", "BRIDGEPORT") == ["-i dual0 ! -o dual0 -j DROP", "-o dual0 -j BRIDGEPORT/dual0"]
    assert lines(found, "filter", "BRIDGEPORT/dual0") == [
        "! -i dual0 -j DROP",
        "-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN",
        "-i dual0 -j RETURN",
        "-j DROP",
    ]
    assert lines(found, "filter", "BRIDGEPORT-ACCEPT") == ["-i dual0 -o dual0 -j ACCEPT"]


@pytest.mark.parametrize(
    ("options", "accepts"),
    [
        ({}, ["-i dual0 -j ACCEPT", "-o dual0 -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT"]),
        ({"mode": "routed"}, ["-i dual0 -j ACCEPT", "-o dual0 -j ACCEPT"]),
        (
            {"trusted_interfaces": ["eth1"]},
            ["-i dual0 -j ACCEPT", "-o dual0 -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT",
             "-i eth1 -o dual0 -j ACCEPT"],
        ),
    ],
)  # fmt: skip
def test_what_is_accepted_behind_the_rules_of_others(options: Request, accepts: list[str]) -> None:
    assert lines(tables(**options), "filter", "BRIDGEPORT-ACCEPT") == accepts


def test_what_may_enter_by_many_ports_ends_as_by_few() -> None:
    """The chains below are gone to, so that what they let return leaves the network's chain with them."""
    found = tables("8000-8999:8000-8999")
    below = {
        chain: lines(found, "filter", chain)
        for table, chain in found.chains
        if (table, chain[10:11]) == ("filter", ".")
    }
    ways = [rule for rules in (*below.values(), lines(found, "filter", "BRIDGEPORT/dual0")) for rule in rules]
    assert len(below) > 10 and sum("-g " in rule for rule in ways) == len(below)
    assert not any("-j BRIDGEPORT." in rule for rule in ways)
    assert {rules[-1] for rules in below.values()} == {"-j DROP"}
    assert sum(rule.endswith("-j RETURN") and "--dport" in rule for rule in ways) == 1000


def saved(*forward: str, policy: str = "ACCEPT", more: t.Sequence[str] = ()) -> Tables:
    """What is read of a table filter with these rules in FORWARD."""
    chains = {rule.split()[1] for rule in more}
    heads = [":FORWARD %s [0:0]" % policy, *(":%s - [0:0]" % chain for chain in sorted(chains))]
    rules = [*("-A FORWARD " + rule for rule in forward), *more]
    return parse_save(4, "".join(line + "\n" for line in ("*filter", *heads, *rules, "COMMIT")))


ACCEPTS = "-m comment --comment bridgeport:host -j BRIDGEPORT-ACCEPT"


@pytest.mark.parametrize(
    ("forward", "more", "ahead", "misplaced"),
    [
        ([], [], None, False),
        (["-i a -j DROP"], [], None, False),
        (["-i a -j DROP", "-j REJECT"], [], 1, False),
        (["-j REST", "-i a -j DROP"], ["-A REST -i b -j ACCEPT", "-A REST -j DROP"], 0, False),
        (["-i a -j ACCEPT", "-j RETURN"], [], 1, False),
        (["-j ACCEPT", "-j DROP"], [], None, False),
        (["-i a -j DROP", ACCEPTS, "-j DROP"], [], 1, False),
        (["-i a -j DROP", "-j DROP", ACCEPTS], [], 1, True),
        (["-j REST", ACCEPTS], ["-A REST -j RETURN", "-A REST -j DROP"], None, False),
    ],
)
def test_where_the_rest_is_dropped(forward: list[str], more: list[str], ahead: int | None, misplaced: bool) -> None:
    found = saved(*forward, more=more)
    assert found.ahead == ahead
    assert found.misplaced == ({("filter", "FORWARD")} if misplaced else set())


@pytest.mark.parametrize("forward", [["-i a -j DROP"], ["-i a -j DROP", "-j DROP"], ["-j DROP", "-i b -j DROP"]])
def test_accepts_stand_behind_the_rules_of_others_and_before_the_one_that_drops_the_rest(forward: list[str]) -> None:
    kernel = Kernel({("filter", "FORWARD"): forward})
    wanted = tables()
    rest = forward.index("-j DROP") if "-j DROP" in forward else len(forward)

    def mended() -> list[str]:
        kernel.restore(text(parse_save(4, kernel.save()), wanted))
        return [rule.split()[-1] for rule in kernel.tables["filter"]["FORWARD"]]

    targets = mended()
    assert targets[:2] == ["BRIDGEPORT-USER", "BRIDGEPORT"] and targets.index("BRIDGEPORT-ACCEPT") == 2 + rest
    # A firewall that was started anew puts its rules in front of what is there.
    ours = [rule for rule in kernel.tables["filter"]["FORWARD"] if rule not in forward]
    kernel.tables["filter"]["FORWARD"] = [*forward, *ours]
    found = list(drift(parse_save(4, kernel.save()), wanted))
    if "-j DROP" in forward:
        assert found == ["Restore the way from chain FORWARD to ours in table filter of iptables."]
        assert mended() == targets
    else:
        assert found == []


def test_beside_docker() -> None:
    """Its own chains come first in FORWARD, again after each of its starts."""
    topology = decided([DUAL], [BOTH])
    docker = ["-A DOCKER-USER -j RETURN", "-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP"]
    there = saved("-j DOCKER-USER", policy="DROP", more=docker)
    rules = rules_of(topology)[4]
    found = fit_tables(rules, render_tables(rules), there)
    hooks = {place: [plain(rule) for rule in rules] for place, rules in found.hooks.items() if place[0] == "filter"}
    assert hooks == {
        ("filter", "DOCKER-USER"): ["-j BRIDGEPORT-USER", "-j BRIDGEPORT"],
        ("filter", "FORWARD"): ["-j BRIDGEPORT-ACCEPT"],
    }
    accepts = [
        "-i dual0 -j DOCKER-ISOLATION-STAGE-2",
        "-i dual0 -j ACCEPT",
        "-o dual0 -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT",
    ]
    assert lines(found, "filter", "BRIDGEPORT-ACCEPT") == accepts
    beside = render_accepts(rules, there)
    assert lines(beside, "filter", "BRIDGEPORT-ACCEPT") == accepts and list(beside.hooks) == [("filter", "FORWARD")]
    # A chain that nothing leads to any more is no place.
    assert not saved(policy="DROP", more=docker).asks_docker


@pytest.mark.parametrize(
    ("version", "options", "guard"),
    [
        (4, {}, ["-d 10.0.1.0/24 ! -i dual0 -j DROP"]),
        (6, {}, ["-d fd00:1::/64 ! -i dual0 -j DROP"]),
        (4, {"trusted_interfaces": ["eth1", "eth2"]},
         ["-d 10.0.1.0/24 -i eth1 -j RETURN", "-d 10.0.1.0/24 -i eth2 -j RETURN", "-d 10.0.1.0/24 ! -i dual0 -j DROP"]),
        (4, {"mode": "routed"}, []),
        (4, {"mode": "internal"}, ["-d 10.0.1.0/24 ! -i dual0 -j DROP"]),
    ],
)  # fmt: skip
def test_endpoints_are_guarded(version: int, options: Request, guard: list[str]) -> None:
    common = ["-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN", "-m addrtype --dst-type LOCAL -j RETURN"]
    martians = ["-d 127.0.0.0/8 ! -i lo -j DROP", "-s 127.0.0.0/8 ! -i lo -j DROP"] if version == 4 else []
    origins = ["-i lo -j RETURN", "-s %s ! -i dual0 -j DROP" % ("10.0.1.0/24" if version == 4 else "fd00:1::/64")]
    found = lines(tables(version=version, **options), "mangle", "BRIDGEPORT")
    assert found == [*martians, *origins, *common, *guard]


def test_addresses_of_a_network_that_the_host_is_not_on_may_come_from_anywhere() -> None:
    assert not [rule for rule in lines(tables(mode="isolated"), "mangle", "BRIDGEPORT") if "-s 10." in rule]


def test_ways_from_the_chains_of_the_kernel_to_ours() -> None:
    for version, loopback in ((4, ""), (6, "! -d ::1/128 ")):
        hooks = {place: [plain(rule) for rule in rules] for place, rules in tables(version=version).hooks.items()}
        assert hooks == {
            ("mangle", "PREROUTING"): ["-j BRIDGEPORT"],
            ("filter", "FORWARD"): ["-j BRIDGEPORT-USER", "-j BRIDGEPORT", "-j BRIDGEPORT-ACCEPT"],
            ("nat", "PREROUTING"): ["-m addrtype --dst-type LOCAL -j BRIDGEPORT"],
            ("nat", "OUTPUT"): [loopback + "-m addrtype --dst-type LOCAL -j BRIDGEPORT"],
            ("nat", "POSTROUTING"): ["-j BRIDGEPORT-POST"],
        }


def test_masquerade_of_a_foreign_subnet_needs_no_more_than_itself() -> None:
    topology = decided(masquerades=[{"source": "10.9.0.0/24", "except_out_interface": "br9", "to_source": "192.0.2.7"}])
    found = render_tables(rules_of(topology)[4])
    assert list(found.chains) == [("nat", "BRIDGEPORT-POST")]
    assert lines(found, "nat", "BRIDGEPORT-POST") == [
        "-o lo -j RETURN",
        "-s 10.9.0.0/24 ! -d 224.0.0.0/4 ! -o br9 -j SNAT --to-source 192.0.2.7",
    ]


def test_the_administrators_chain_is_left_alone() -> None:
    wanted = tables("80:5000")
    filled = {**wanted.chains, ("filter", "BRIDGEPORT-USER"): (("-j", "DROP"),)}
    assert same(replace(wanted, chains=filled), wanted)
    assert list(drift(replace(wanted, chains=filled), wanted)) == []
    assert "BRIDGEPORT-USER -" not in text(replace(wanted, chains=filled), Tables(4))
    assert "-X BRIDGEPORT-USER" in text(wanted, Tables(4))
    assert foreign(replace(wanted, chains=filled)) == ""


def test_a_rule_without_our_comment_is_foreign() -> None:
    wanted = tables()
    found = replace(
        wanted, chains={**wanted.chains, ("nat", "BRIDGEPORT-POST"): (("-s", "192.0.2.1/32", "-j", "DROP"),)}
    )
    assert foreign(wanted) == ""
    assert (
        foreign(found) == "the chain BRIDGEPORT-POST in table nat of iptables holds the rule '-s 192.0.2.1/32 -j DROP'"
    )


def test_another_order_of_the_options_is_no_drift() -> None:
    wanted = tables("80:5000")
    rule = "-p tcp -m comment --comment bridgeport:both -m tcp --dport 80 -j DNAT --to-destination 10.0.1.2:5000"
    turned = replace(wanted, chains={**wanted.chains, ("nat", "BRIDGEPORT"): (tuple(rule.split()),)})
    assert turned != wanted and same(turned, wanted)
    # An option belongs to its match, and a negation to its option.
    for other in (rule.replace("-p tcp", "! -p tcp"), rule.replace("--dport 80", "--sport 80")):
        edited = replace(wanted, chains={**wanted.chains, ("nat", "BRIDGEPORT"): (tuple(other.split()),)})
        assert not same(edited, wanted)


@given(topologies(), topologies())
def test_restoring_leads_from_any_tables_to_any_other(before: Topology, after: Topology) -> None:
    for version in (4, 6):
        old, new = (render_tables(rules_of(topology)[version]) for topology in (before, after))
        kernel = Kernel(FOREIGN)
        untouched = theirs(kernel)
        kernel.restore(text(Tables(version), old))
        assert parse_save(version, kernel.save()) == old
        kernel.restore(text(old, new))
        assert parse_save(version, kernel.save()) == new
        assert theirs(kernel) == untouched
        kernel.restore(text(new, Tables(version)))
        assert parse_save(version, kernel.save()) == Tables(version)
        assert theirs(kernel) == untouched


@given(topologies(), st.data())
def test_restoring_repairs_damaged_tables(topology: Topology, data: st.DataObject) -> None:
    wanted = render_tables(rules_of(topology)[4])
    kernel = Kernel(FOREIGN)
    kernel.restore(text(Tables(4), wanted))
    for chains in kernel.tables.values():
        for chain, rules in chains.items():
            if chain != "BRIDGEPORT-USER" and "bridgeport" in " ".join(rules):
                kept = data.draw(st.lists(st.sampled_from(rules), max_size=4))
                chains[chain] = [*(rule for rule in rules if "bridgeport" not in rule), *kept]
    there = parse_save(4, kernel.save())
    assert same(there, wanted) == (not list(drift(there, wanted)))
    kernel.restore(text(there, wanted))
    assert same(parse_save(4, kernel.save()), wanted)


def test_rule_with_a_line_break_is_never_written() -> None:
    hook = ("-m", "comment", "--comment", "x\n-F INPUT", "-j", "BRIDGEPORT")
    there = Tables(4, hooks={("filter", "INPUT"): (hook,)})
    refused(lambda: text(there, Tables(4)), "x\\n-F INPUT", "by hand", kind=KernelError)
