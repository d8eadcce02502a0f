# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many rules as chains under chains: every packet meets its own rules, in their order, and few others."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from ansible_collections.bridgeport.net.plugins.module_utils._ipt_blob import BlobMaker
from ansible_collections.bridgeport.net.plugins.module_utils._ipt_table import Rule
from ansible_collections.bridgeport.net.plugins.module_utils._ipt_tree import LEAF, Spot, plant
from hypothesis import given
from hypothesis import strategies as st

Packet = tuple[int, str, int]


def spot(version: int, address: int, protocol: str, port: int, number: int) -> Spot:
    head = (
        "-d %s " % (ip_address(address) if version == 4 else ip_address(address.to_bytes(16, "big"))) if version else ""
    )
    words = head + f"-p {protocol} -m {protocol} --dport {port} -j N{number}"
    return Spot(address, protocol, port, tuple(words.split()))


def matches(rule: Rule, packet: Packet, version: int) -> bool:
    address, protocol, port = packet
    options = dict(zip(rule[::2], rule[1::2]))
    if "-d" in options:
        number = ip_address(address) if version == 4 else ip_address(address.to_bytes(16, "big"))
        if number not in ip_network(options["-d"]):
            return False
    if options.get("-p", protocol) != protocol:
        return False
    low, _colon, high = options.get("--dport", "0:65535").partition(":")
    return int(low) <= port <= int(high or low)


def met(first: list[Rule], chains: dict[str, list[Rule]], packet: Packet, version: int) -> tuple[list[str], int]:
    """The final targets that a packet meets, and how many rules it is compared with."""
    targets, count = [], 0
    for rule in first:
        count += 1
        if matches(rule, packet, version):
            if rule[-1] in chains:
                found, more = met(chains[rule[-1]], chains, packet, version)
                targets += found
                count += more
            else:
                targets.append(rule[-1])
    return targets, count


@st.composite
def forests(draw: st.DrawFn) -> tuple[int, list[Packet]]:
    version = draw(st.sampled_from([0, 4, 6]))
    top = {0: 0, 4: 2**32 - 1, 6: 2**128 - 1}[version]
    base = draw(st.integers(0, top))
    addresses = st.one_of(st.just(base), st.integers(max(0, base - 40), min(top, base + 40)), st.integers(0, top))
    ports = st.one_of(st.integers(1000, 1100), st.integers(0, 65535))
    packets = st.tuples(addresses if version else st.just(0), st.sampled_from(["tcp", "udp", "sctp"]), ports)
    return version, draw(st.lists(packets, max_size=150))


@given(forests())
def test_every_packet_meets_its_rules_in_their_order(forest: tuple[int, list[Packet]]) -> None:
    version, packets = forest
    first, chains = plant([spot(version, *packet, number) for number, packet in enumerate(packets)], version, "x")
    assert all(len(name) < 29 for name in chains)
    for packet in packets:
        wanted = ["N%d" % number for number, other in enumerate(packets) if other == packet]
        assert met(first, chains, packet, version)[0] == wanted
    assert met(first, chains, (0, "tcp", 1), version)[0] == [
        "N%d" % number for number, other in enumerate(packets) if other == (0, "tcp", 1)
    ]


@pytest.mark.parametrize("version", [0, 4, 6])
def test_ten_thousand_ports_are_few_comparisons(version: int) -> None:
    packets = [(7 if version else 0, "tcp", port) for port in range(20000, 30000)]
    first, chains = plant([spot(version, *packet, packet[2]) for packet in packets], version, "x")
    assert max(met(first, chains, packet, version)[1] for packet in packets[::97]) <= 3 * 16 + LEAF
    assert len(chains) < 1000


def test_a_few_ports_stay_one_list() -> None:
    first, chains = plant([spot(0, 0, "tcp", port, port) for port in range(LEAF)], 0, "x")
    assert (len(first), chains) == (LEAF, {})


def test_a_layout_that_is_not_understood_is_built_rule_by_rule() -> None:
    built = []

    def build(rule: Rule) -> bytes:
        built.append(rule)
        # A header that says where matches and target end, and one target with the port in a place of its own.
        blob = bytearray(112 + 40)
        blob[88:92] = (112).to_bytes(2, "little") + (152).to_bytes(2, "little")
        blob[112:116] = (40).to_bytes(2, "little") + b"XY"
        blob[150:152] = int(rule[rule.index("--dport") + 1]).to_bytes(2, "big")
        return bytes(blob)

    maker = BlobMaker(4, build)
    rules = [spot(0, 0, "tcp", port, 0).rule for port in range(1, 6)]
    assert [int.from_bytes(maker.make(rule)[150:152], "big") for rule in rules] == [1, 2, 3, 4, 5]
    assert built == rules
