# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What iptables-save prints, of ours and of others."""

from __future__ import annotations

import pytest
from ansible_collections.bridgeport.net.plugins.module_utils._errors import KernelError
from ansible_collections.bridgeport.net.plugins.module_utils._ipt_listing import parse_save
from samples import refused


def listed(*rules: str) -> str:
    chains = ":INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:BRIDGEPORT - [0:0]\n"
    return "*filter\n%s%sCOMMIT\n" % (chains, "".join(rule + "\n" for rule in rules))


def test_words_are_read_as_they_were_written() -> None:
    save = """*nat
:BRIDGEPORT - [0:0]
-A PREROUTING -m comment --comment "say \\"BRIDGEPORT\\" -j BRIDGEPORT" -j ACCEPT
-A BRIDGEPORT -m comment --comment "it's \\\\ \\"x\\"" -j RETURN
-A OUTPUT -g BRIDGEPORT
COMMIT
"""
    found = parse_save(4, save)
    assert found.chains == {("nat", "BRIDGEPORT"): (("-m", "comment", "--comment", 'it\'s \\ "x"', "-j", "RETURN"),)}
    assert found.hooks == {("nat", "OUTPUT"): (("-g", "BRIDGEPORT"),)}


@pytest.mark.parametrize(
    "rule",
    [
        '-A INPUT -j LOG --log-prefix "-j BRIDGEPORT "',
        '-A INPUT -j LOG --log-prefix "-g BRIDGEPORT/lan0 x"',
        '-A INPUT -m comment --comment "say \\"-j BRIDGEPORT \\"" -j LOG --log-prefix "-j BRIDGEPORT "',
        '-A INPUT -m comment --comment "a\n-A BRIDGEPORT -j DROP" -j ACCEPT',
        '-A INPUT -m comment --comment "a\n\n:BRIDGEPORT-x - [0:0]\n*nat\n" -j ACCEPT',
        '-A INPUT -m comment --comment "a \\" b\n-A BRIDGEPORT -j DROP" -j ACCEPT',
        '-A INPUT -m comment --comment "a\u2028-A BRIDGEPORT -j DROP" -j ACCEPT',
        '-A INPUT -m comment --comment "a\x0b-A INPUT -j BRIDGEPORT" -j ACCEPT',
        "-A INPUT -j BRIDGEPORTS",
    ],
)
def test_text_in_a_rule_of_others_is_not_taken_for_a_rule_of_ours(rule: str) -> None:
    found = parse_save(4, listed(rule, "-A OUTPUT -j BRIDGEPORT"))
    assert found.chains == {("filter", "BRIDGEPORT"): ()}
    assert found.hooks == {("filter", "OUTPUT"): (("-j", "BRIDGEPORT"),)}
    assert found.used_by_others


def test_quote_that_does_not_end_hides_nothing() -> None:
    found = parse_save(4, listed('-A INPUT -m recent --name a"b -j DROP', "-A BRIDGEPORT -j DROP"))
    assert found.chains == {("filter", "BRIDGEPORT"): (("-j", "DROP"),)}


@pytest.mark.parametrize("text", ["-A BRIDGEPORT -j DROP\n", ":BRIDGEPORT\n", "*filter\n-A FORWARD -j DROP\n"])
def test_listing_that_makes_no_sense_is_an_error(text: str) -> None:
    refused(lambda: parse_save(4, text), "rules of IPv4", "iptables-save", kind=KernelError)
