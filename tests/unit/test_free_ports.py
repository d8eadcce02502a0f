# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Host ports that were left open: which numbers are chosen."""

from __future__ import annotations

import pytest
from ansible_collections.bridgeport.net.plugins.module_utils._errors import StateError
from ansible_collections.bridgeport.net.plugins.module_utils._facts import StaticFacts
from ansible_collections.bridgeport.net.plugins.module_utils._topology import Topology
from ansible_collections.bridgeport.net.plugins.module_utils._want_rules import without_publishes
from samples import refused
from test_hostports import HOST, bindings, held, host, publish


def free_number(topology: Topology, port: str, facts: StaticFacts) -> int:
    after = publish(topology, "web", port, facts=facts)
    (new,) = after.publishes.keys() - topology.publishes.keys()
    return after.publishes[new].host_port


@pytest.mark.parametrize(
    ("facts", "number"),
    [
        (host(free=(40000, 40009)), 40000),
        (host(free=(40000, 40009), reserved=range(40000, 40003)), 40003),
        (host(held(40000), held(40001, address="127.0.0.1"), free=(40000, 40009)), 40002),
        (host(held(40000, 6), held(40001, 4, "udp"), free=(40000, 40009)), 40000),
        (host(free=(40009, 40009)), 40009),
    ],
)
def test_free_choice_skips_what_is_reserved_or_held(facts: StaticFacts, number: int) -> None:
    assert free_number(HOST, "9000", facts) == number


def test_free_choice_skips_exact_ports_in_its_range() -> None:
    assert free_number(publish(HOST, "db", "40000:80"), "9000", host(free=(40000, 40009))) == 40001


def test_exact_port_may_be_reserved_or_lie_in_the_free_range() -> None:
    facts = host(free=(40000, 40009), reserved=[40000])
    assert bindings(publish(HOST, "web", "40000:80", "40001:81", facts=facts), "web") == [
        "0.0.0.0:40000/tcp -> 80",
        "0.0.0.0:40001/tcp -> 81",
    ]


def test_port_given_up_is_not_at_once_anothers_until_the_range_wraps() -> None:
    facts = host(free=(40000, 40002))
    topology = publish(HOST, "db", "1", facts=facts)
    topology = publish(topology, "db", "2", facts=facts)
    topology = without_publishes(topology, [{"endpoint": "db", "ports": ["1"]}])
    assert free_number(topology, "3", facts) == 40002
    topology = publish(topology, "web", "3", facts=facts)
    assert free_number(topology, "4", facts) == 40000


def test_free_choice_wraps_when_everything_above_is_held() -> None:
    facts = host(held(40002), held(40003), free=(40000, 40003))
    topology = publish(HOST, "db", "1", "2", facts=facts)
    topology = without_publishes(topology, [{"endpoint": "db", "ports": ["1"]}])
    assert free_number(topology, "3", facts) == 40000


def test_span_is_served_before_free_choice_takes_its_ports() -> None:
    after = publish(HOST, "web", "1", "40000-40001:2", "40000-40001:3", facts=host(free=(40000, 40009)))
    numbers = {p.endpoint_port: p.host_port for p in after.publishes.values()}
    assert numbers == {1: 40002, 2: 40000, 3: 40001}


def test_span_ports_are_usable_again_after_removal() -> None:
    ports = ["9090-9092:80", "9090-9092:81", "9090-9092:82"]
    there = publish(HOST, "web", *ports)
    refused(lambda: publish(there, "db", "9090-9092:80"), "belongs to endpoint web", kind=StateError)
    emptied = without_publishes(there, [{"endpoint": "web", "ports": None}])
    assert publish(emptied, "web", *ports) == there


def test_exhausted_range_is_refused_with_its_bounds() -> None:
    facts = host(held(40001), free=(40000, 40001))
    there = publish(HOST, "db", "1", facts=facts)
    refused(
        lambda: publish(there, "web", "9000", facts=facts),
        "9000/tcp for endpoint web",
        "no host port from 40000 to 40001 is free",
        kind=StateError,
    )


def test_wholly_reserved_range_is_refused_with_the_reason() -> None:
    refused(
        lambda: publish(HOST, "web", "9000", facts=host(free=(40000, 40001), reserved=[40000, 40001])),
        "40000 to 40001",
        "all of them are reserved on this host",
        kind=StateError,
    )
