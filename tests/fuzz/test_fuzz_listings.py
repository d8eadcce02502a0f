# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the kernel and its programs print, with anything in it: read as it is meant, or an error in one sentence."""

from __future__ import annotations

import copy
import json
import struct
import time
import typing as t
from dataclasses import replace
from ipaddress import ip_address

from ansible_collections.bridgeport.net.plugins.module_utils import _sockets
from ansible_collections.bridgeport.net.plugins.module_utils._backends import rendered
from ansible_collections.bridgeport.net.plugins.module_utils._errors import KernelError
from ansible_collections.bridgeport.net.plugins.module_utils._flow_match import Entry, Here, matcher_of
from ansible_collections.bridgeport.net.plugins.module_utils._flows import Flow
from ansible_collections.bridgeport.net.plugins.module_utils._foreign import parse_chains
from ansible_collections.bridgeport.net.plugins.module_utils._ipt_blob import meaning
from ansible_collections.bridgeport.net.plugins.module_utils._ipt_listing import parse_save
from ansible_collections.bridgeport.net.plugins.module_utils._ipt_table import Tables, restore_text, same, steps
from ansible_collections.bridgeport.net.plugins.module_utils._nft_listing import parse_table
from ansible_collections.bridgeport.net.plugins.module_utils._nft_table import Table, drift, transaction
from ansible_collections.bridgeport.net.plugins.module_utils._reservations import parse_held, render_held
from cases import cases
from hostile import HOSTILE_TEXTS, Json, json_values
from hosts import FOREIGN_RULES, TOPOLOGIES
from hypothesis import event
from hypothesis import strategies as st
from ipt_interpreter import Kernel as IptKernel
from nft_interpreter import Kernel as NftKernel
from nft_interpreter import listing
from samples import decided

Read = t.TypeVar("Read")


def read(call: t.Callable[[], Read]) -> Read | None:
    """What a parser makes of a text, None where it says that it cannot."""
    try:
        return call()
    except KernelError as problem:
        message = str(problem)
    assert message.startswith("Cannot ") and message.endswith(".") and message.isprintable(), message
    event("refused")
    return None


# nftables

TABLES = [table for topology in TOPOLOGIES for table in rendered("nftables", topology).values()]
LISTINGS = [listing(table) for table in TABLES]


@st.composite
def mutated_listings(draw: st.DrawFn) -> tuple[Table, Json]:
    """A table, and what nft lists of it, in which some values are others."""
    number = draw(st.integers(0, len(LISTINGS) - 1))
    printed = copy.deepcopy(LISTINGS[number])
    for _turn in range(draw(st.integers(0, 2))):
        item: Json = draw(st.sampled_from(printed))
        body = next(iter(item.values()), None)
        while isinstance(body, (dict, list)) and body:
            key = draw(st.sampled_from(sorted(body) if isinstance(body, dict) else list(range(len(body)))))
            if not isinstance(body[key], (dict, list)) or draw(st.integers(0, 2)) == 0:
                body[key] = draw(json_values)
                break
            body = body[key]
    return TABLES[number], printed


@cases(600, mutated_listings())
def test_mutated_listing_of_nftables(case: tuple[Table, Json]) -> None:
    wanted, printed = case
    there = read(lambda: parse_table(wanted.version, printed))
    if there is not None:
        sentences = list(drift(there, wanted))
        assert bool(sentences) == bool(transaction(there, wanted))


@st.composite
def strange_elements(draw: st.DrawFn) -> tuple[Table, Json]:
    """A table into which somebody has put something, as nft lists it."""
    number = draw(st.sampled_from([n for n, table in enumerate(TABLES) if table.exists]))
    printed = copy.deepcopy(LISTINGS[number])
    words = st.sampled_from(
        [
            "192.0.2.1",
            "tcp",
            80,
            "eth0",
            "02:00:00:00:00:01",
            {"range": [1, 2]},
            {"prefix": {"addr": "10.0.0.0", "len": 8}},
        ]
    )
    key = draw(
        st.one_of(words, st.lists(words, min_size=2, max_size=4).map(lambda parts: {"concat": parts}), st.just("*"))
    )
    key = draw(st.sampled_from([key, {"elem": {"val": key, "timeout": 9, "expires": 5}}]))
    value = draw(st.sampled_from([None, {"accept": None}, {"goto": {"target": "x"}}, {"concat": ["192.0.2.1", 80]}]))
    sets = [item for item in printed if "set" in item or "map" in item]
    strange = {"name": "x", "type": ["ipv4_addr", "inet_service"], "flags": ["interval"]}
    kind, body = draw(
        st.sampled_from(
            [*(next(iter(item.items())) for item in sets), ("set", strange), ("map", {**strange, "map": "verdict"})]
        )
    )
    if body.get("name") == "x":
        printed.append({kind: body})
    body.setdefault("elem", []).append([key, value] if kind == "map" else key)
    return TABLES[number], printed


@cases(400, strange_elements())
def test_strange_element_of_nftables(case: tuple[Table, Json]) -> None:
    """It is taken out again, and nothing else changes."""
    wanted, printed = case
    there = parse_table(wanted.version, printed)
    text = transaction(there, wanted)
    extra = {name: held.keys() - wanted.elements.get(name, {}).keys() for name, held in there.elements.items()}
    if text and "x" not in there.sets and sum(map(len, extra.values())) == 1:
        assert text.startswith("delete element ") and text.count("\n") == 1, text
    if "x" in there.sets:
        after = NftKernel(there).run(text)
        assert (after.sets, after.elements) == (wanted.sets, wanted.elements)


@cases(
    200,
    st.one_of(
        st.text(max_size=60),
        st.lists(
            st.sampled_from(
                [
                    "table ip x {",
                    "\tchain FORWARD {",
                    "\t\ttype filter hook forward priority 0; policy drop;",
                    "}",
                    "table inet firewalld {",
                    'comment "a\u2028b"',
                    "table ip bridgeport {",
                ]
            )
        ).map("\n".join),
    ),
)
def test_list_of_chains(text: str) -> None:
    for family, table, chain in parse_chains(text).closed:
        assert table != "bridgeport"
        assert family in text and chain in text


# iptables

OURS = [tables for topology in TOPOLOGIES for tables in rendered("iptables-nft", topology).values()]


def saved(tables: Tables) -> str:
    kernel = IptKernel()
    kernel.restore(restore_text(steps(Tables(tables.version), tables)))
    return kernel.save()


SAVED = [saved(tables) for tables in OURS]


def quoted(text: str) -> str:
    """As xtables_save_string does it."""
    for character in "\\\"'":
        text = text.replace(character, "\\" + character)
    return '"%s"' % text


hostile_words = st.one_of(
    st.sampled_from([text for text in HOSTILE_TEXTS if len(text) < 100 and "\0" not in text and "\ud800" not in text]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10),
    st.sampled_from(
        [
            "\n-A BRIDGEPORT -j DROP\n",
            "\n:BRIDGEPORT - [0:0]",
            "-j BRIDGEPORT ",
            "\n*nat\n",
            'x" -j BRIDGEPORT',
            "\nCOMMIT\n",
        ]
    ),
)
foreign_lines = st.one_of(
    st.sampled_from(FOREIGN_RULES),
    st.builds("-A INPUT -m comment --comment {} -j ACCEPT".format, hostile_words.map(quoted)),
    st.builds(
        "-A INPUT -m comment --comment {} -j LOG --log-prefix {}".format,
        hostile_words.map(quoted),
        hostile_words.map(quoted),
    ),
    st.builds("-A FORWARD -m string --string {} --algo bm -j DROP".format, hostile_words.map(quoted)),
)


@st.composite
def beside_others(draw: st.DrawFn) -> tuple[Tables, str]:
    """Tables of ours, and what iptables-save prints of them between rules of others."""
    number = draw(st.integers(0, len(OURS) - 1))
    lines = SAVED[number].split("\n")
    begin = lines.index("*filter")
    end = lines.index("COMMIT", begin)
    chains = [place for place in range(begin, end) if lines[place].startswith(":")]
    for line in draw(st.lists(foreign_lines, max_size=4)):
        lines.insert(draw(st.integers(chains[-1] + 1, end)), line)
    lines.insert(begin + 1, ":OTHER - [0:0]")
    lines.insert(begin + 1, ":BRIDGEPORTS - [0:0]")
    return OURS[number], "\n".join(lines)


@cases(700, beside_others())
def test_rules_of_others_are_not_taken_for_ours(case: tuple[Tables, str]) -> None:
    wanted, text = case
    there = parse_save(wanted.version, text)
    assert (there.chains, there.hooks) == (wanted.chains, wanted.hooks)
    # Theirs may well stand in the way of ours.
    assert same(replace(there, misplaced=frozenset()), wanted)


@st.composite
def torn_listings(draw: st.DrawFn) -> tuple[Tables, str]:
    wanted, text = draw(beside_others())
    begin = draw(st.integers(0, len(text)))
    return wanted, text[:begin] + draw(st.one_of(hostile_words, foreign_lines)) + text[
        draw(st.integers(begin, begin + 100)) :
    ]


@cases(400, torn_listings())
def test_torn_listing_of_iptables(case: tuple[Tables, str]) -> None:
    wanted, text = case
    there = read(lambda: parse_save(wanted.version, text))
    if there is not None and not same(there, wanted):
        written = read(lambda: restore_text(steps(there, wanted)))
        # Quotes do not help against the end of a line.
        assert written is None or all(line[0] in "*:-C" for line in written.split("\n")[:-1])


def test_ten_thousand_rules_of_others() -> None:
    rules = "".join(
        '-A INPUT -s 10.%d.%d.%d/32 -m comment --comment "rule -j BRIDGEPORT of others" -j DROP\n'
        % (n >> 16, n >> 8 & 255, n & 255)
        for n in range(10_000)
    )
    before, _filter, after = SAVED[-2].partition("*filter\n")
    wanted, text = OURS[-2], before + _filter + after.replace("COMMIT", rules + "COMMIT", 1)
    begun = time.process_time()
    there = parse_save(wanted.version, text)
    assert time.process_time() - begun < 2
    assert (there.chains, there.hooks, there.used_by_others) == (wanted.chains, wanted.hooks, True)
    crowd = decided(
        [{"name": "lan0", "subnets": ["10.0.0.0/24"]}],
        [{"name": "web", "network": "lan0"}],
        [{"endpoint": "web", "ports": ["1-10000:1-10000"]}],
    )
    table = rendered("nftables", crowd)[4]
    begun = time.process_time()
    assert transaction(parse_table(4, json.loads(json.dumps(listing(table)))), table) == ""
    assert time.process_time() - begun < 2


# The rest


@cases(
    200,
    st.sampled_from(["tcp", "udp", "sctp"]),
    st.one_of(st.binary(max_size=71), st.binary(min_size=71, max_size=120)),
    st.sampled_from([2, 10, 0, 255]),
)
def test_message_about_a_socket(protocol: str, tail: bytes, family: int) -> None:
    found = read(lambda: list(_sockets._decode(protocol, bytes([family]) + tail)))
    for item in found or ():
        assert item.version in (4, 6) and 0 < item.port < 65536


@cases(100, st.sampled_from([4, 6]), st.binary(min_size=170, max_size=400), st.integers(0, 500), st.integers(0, 500))
def test_bytes_of_a_rule(version: int, blob: bytes, target: int, end: int) -> None:
    data = bytearray(blob)
    struct.pack_into("=HH", data, {4: 88, 6: 140}[version], target, end)
    try:
        assert len(meaning(version, bytes(data))) >= len(blob)
    except (struct.error, UnicodeDecodeError):
        # They come from the library itself: it is enough that there is an end.
        event("no rule")


# What the host has.
HERE = ["10.0.0.1", "127.0.0.1"]
addresses = st.sampled_from(["192.0.2.1", "10.0.0.1", "::1.2.3.4", "fe80::1", "::ffff:10.0.0.1", "127.0.0.1"]).map(
    lambda text: ip_address(text).packed
)
entries = st.builds(Entry, st.sampled_from([6, 17]), addresses, addresses, st.sampled_from([53, 54, 0]), addresses)


@cases(100, entries, st.sampled_from(["", "192.0.2.1", "::1.2.3.4"]))
def test_entry_of_connection_tracking(entry: Entry, address: str) -> None:
    found = matcher_of([Flow(4, address, 53)], Here({"10.0.0.1"}, str)).has(entry)
    assert found == (entry.port == 53 and str(ip_address(entry.destination)) in ([address] if address else HERE))


names = st.lists(st.sampled_from(["*:80/tcp", "192.0.2.1:81/udp", "[2001:db8::1]:82/tcp"]), unique=True)


@cases(50, names, names)
def test_what_is_held_is_read_as_it_was_written(held: list[str], lacking: list[str]) -> None:
    assert parse_held(render_held(held, lacking)) == (frozenset(held), frozenset(lacking))
