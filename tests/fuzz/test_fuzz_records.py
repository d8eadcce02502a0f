# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The record with anything in it: a topology that a request could have led to, or one sentence."""

from __future__ import annotations

import copy
import json
import os
import tempfile
import typing as t

from ansible_collections.bridgeport.net.plugins.module_utils._codec import topology_to_json
from ansible_collections.bridgeport.net.plugins.module_utils._errors import RecordError
from ansible_collections.bridgeport.net.plugins.module_utils._plan import make_plan, scope_of
from ansible_collections.bridgeport.net.plugins.module_utils._record import Record
from ansible_collections.bridgeport.net.plugins.module_utils._report import actions_of, diff_of, port_table
from ansible_collections.bridgeport.net.plugins.module_utils._topology import Topology
from cases import cases
from hostile import Json, json_values, spoiled
from hosts import BACKENDS, INTACT, TOPOLOGIES
from hypothesis import event
from hypothesis import strategies as st
from safety import check_texts

RECORDS = [{"format": 1, "backend": "nftables", "topology": topology_to_json(topology)} for topology in TOPOLOGIES]
TEXTS = [json.dumps(record).encode() for record in RECORDS]
_FOLDER = tempfile.TemporaryDirectory(prefix="bridgeport-fuzz-")


def read(content: bytes) -> Topology | None:
    """The topology that a record of this content holds, None where it is refused; the file stays as it is."""
    record = Record(_FOLDER.name)
    with open(record.path, "wb") as file:
        file.write(content)
    try:
        record.read()
    except RecordError as problem:
        event("refused")
        message = str(problem)
        assert message.startswith("Cannot read the record ") and message.endswith("."), message
        assert message.isprintable(), message
        assert (record.topology, record.pending, record.backend) == (Topology(), None, None)
        return None
    finally:
        with open(record.path, "rb") as file:
            assert file.read() == content
        assert os.listdir(_FOLDER.name) == ["topology.json"]
    assert record.backend in BACKENDS
    event("read")
    return record.topology


def check(topology: Topology | None) -> None:
    """Everything that a run makes of a record, and what it is written as."""
    if topology is None:
        return
    check_texts(topology)
    scope = scope_of(topology, topology, (), (), True)
    plan = make_plan(topology, topology, INTACT[0, "nftables"], scope, "nftables", "nftables")
    assert all(sentence.isprintable() for sentence in actions_of(topology, topology, plan))
    json.dumps(diff_of(Topology(), topology, plan))
    port_table(topology)
    again = read(json.dumps({**RECORDS[0], "topology": topology_to_json(topology)}).encode())
    assert again == topology


@cases(300, json_values)
def test_any_json(value: Json) -> None:
    check(read(json.dumps(value).encode()))


@cases(200, st.one_of(st.binary(max_size=40), st.text(max_size=40).map(lambda text: text.encode(errors="replace"))))
def test_any_bytes(content: bytes) -> None:
    assert read(content) is None


@st.composite
def torn(draw: st.DrawFn) -> bytes:
    """A record of which a part is missing, or other bytes."""
    content = draw(st.sampled_from(TEXTS))
    begin = draw(st.integers(0, len(content) - 1))
    end = draw(st.integers(begin, min(len(content), begin + 200)))
    return content[:begin] + draw(st.binary(max_size=8)) + draw(st.sampled_from([content[end:], b""]))


@cases(350, torn())
def test_torn_record(content: bytes) -> None:
    check(read(content))


DEEP = [
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"[" * 900 + b"]" * 900,
    b"1" * 5000,
    b"-" + b"9" * 4400,
    b"1e999",
    b"NaN",
    b'"\\ud800"',
]


@cases(
    40,
    st.sampled_from(DEEP),
    st.sampled_from(
        [b"%s", b'{"format":%s}', b'{"format":1,"backend":%s}', b'{"format":1,"backend":"nftables","topology":%s}']
    ),
)
def test_deep_and_huge_values(value: bytes, form: bytes) -> None:
    assert read(form % value) is None


Place = t.List[t.Any]


def places(value: Json, path: Place) -> t.Iterator[Place]:
    """The way to every value inside of another."""
    yield path
    items: t.Iterable[t.Any] = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in items:
        yield from places(inner, [*path, key])


PLACES = [list(places(record, []))[1:] for record in RECORDS]


@st.composite
def mutated(draw: st.DrawFn) -> Json:
    """A record in which one or two values are others."""
    number = draw(st.integers(1, len(RECORDS) - 1))
    record = copy.deepcopy(RECORDS[number])
    for _turn in range(draw(st.integers(1, 2))):
        place = draw(st.sampled_from(PLACES[number]))
        other = draw(st.sampled_from(PLACES[number]))
        kinds = ["anything", "gone", "copied", "twice"]
        try:
            inner, value = value_at(record, place[:-1]), value_at(record, other)
            mutate(draw(st.sampled_from(kinds)), inner, place[-1], copy.deepcopy(value), draw(json_values))
        except (AttributeError, KeyError, IndexError, TypeError):
            # No list to add to, or the first mutation took it away.
            continue
    return record


def value_at(record: Json, place: Place) -> Json:
    for key in place:
        record = record[key]
    return record


def mutate(kind: str, inner: Json, key: t.Any, value: Json, anything: Json) -> None:
    if kind == "gone":
        del inner[key]
    elif kind == "twice":
        inner.append(inner[key])
    else:
        inner[key] = anything if kind == "anything" else value


@cases(600, mutated())
def test_mutated_record(record: Json) -> None:
    check(read(json.dumps(record).encode()))


def texts_in(record: Json) -> list[Place]:
    """The way to every text, one for each name of a property."""
    found: dict[str, Place] = {}
    for place in places(record, []):
        if isinstance(value_at(record, place), str):
            found.setdefault(str([key for key in place if isinstance(key, str)]), place)
    return list(found.values())


SPOILED = [(place, odd) for place in texts_in(RECORDS[-1]) for odd in spoiled(value_at(RECORDS[-1], place))]


@cases(len(SPOILED), st.sampled_from(SPOILED))
def test_spoiled_record(case: tuple[Place, str]) -> None:
    place, odd = case
    record = copy.deepcopy(RECORDS[-1])
    value_at(record, place[:-1])[place[-1]] = odd
    check(read(json.dumps(record).encode()))
