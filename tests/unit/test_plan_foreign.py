# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What others have put under our names: left alone where it may be theirs, taken out where it is ours."""

from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest
from ansible_collections.bridgeport.net.plugins.module_utils._changes_rules import ChangeRules
from ansible_collections.bridgeport.net.plugins.module_utils._errors import StateError
from ansible_collections.bridgeport.net.plugins.module_utils._ipt_table import Tables
from ansible_collections.bridgeport.net.plugins.module_utils._nft_table import Element
from ansible_collections.bridgeport.net.plugins.module_utils._state import Observed
from samples import observed, refused
from test_plan import FULL, NOTHING, plan


def beside(chain: str, *rules: tuple[str, ...], closed: str = "") -> Observed:
    """A host with FULL by nftables, and a chain in iptables."""
    seen = observed(FULL)
    tables = {4: Tables(4, {("filter", chain): rules}, closed=closed), 6: Tables(6)}
    return replace(seen, tables={**seen.tables, "iptables-nft": tables})


def test_chain_of_others_is_left_alone_by_every_run() -> None:
    seen = beside("BRIDGEPORT", ("-j", "ACCEPT"))
    assert [change for change in plan(NOTHING, FULL, seen) if isinstance(change, ChangeRules)] == []
    assert plan(FULL, FULL, seen) == []
    for found in (seen, beside("BRIDGEPORT", ("-j", "ACCEPT"), closed="its policy is DROP")):
        rules = [change for change in plan(FULL, NOTHING, found) if isinstance(change, ChangeRules)]
        assert [(change.backend, change.sentence) for change in rules] == [("nftables", "")] * 2


def test_chain_of_others_where_one_of_ours_is_wanted_is_refused_by_every_run() -> None:
    seen = beside("BRIDGEPORT", ("-j", "ACCEPT"), closed="its policy is DROP")
    for before in (NOTHING, FULL):
        refused(lambda before=before: plan(before, FULL, seen), "chain BRIDGEPORT", "iptables-nft", kind=StateError)  # type: ignore[misc]


def test_leftover_of_ours_is_removed() -> None:
    seen = beside("BRIDGEPORT", ("-m", "comment", "--comment", "bridgeport:host", "-j", "DROP"))
    (change,) = plan(FULL, FULL, seen)
    assert "Remove the chain BRIDGEPORT in table filter of iptables" in change.sentence


@pytest.mark.parametrize("key", [("*",), (255, 7), ("udp", "80-90")])
def test_element_of_others_among_the_published_ports_is_taken_out(key: tuple[t.Any, ...]) -> None:
    seen = observed(FULL)
    there = seen.tables["nftables"][4]
    published = {**there.elements["published"], key: Element(key, ("192.0.2.1", 9))}
    tables = {**seen.tables["nftables"], 4: replace(there, elements={**there.elements, "published": published})}
    (change,) = plan(FULL, FULL, replace(seen, tables={"nftables": tables}))
    assert change.sentence == "Remove 1 element of published in table ip bridgeport, not ours."
