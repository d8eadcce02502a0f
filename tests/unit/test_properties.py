# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for every topology that valid requests can lead to."""

from __future__ import annotations

import json
import typing as t
from dataclasses import replace
from ipaddress import ip_network
from itertools import combinations

from ansible_collections.bridgeport.net.plugins.module_utils._changes import (
    DeleteBridge,
    DeleteEndpoint,
)
from ansible_collections.bridgeport.net.plugins.module_utils._changes_rules import (
    ChangeRules,
    ForgetFlows,
)
from ansible_collections.bridgeport.net.plugins.module_utils._codec import topology_from_json, topology_to_json
from ansible_collections.bridgeport.net.plugins.module_utils._errors import InputError, StateError
from ansible_collections.bridgeport.net.plugins.module_utils._facts import StaticFacts
from ansible_collections.bridgeport.net.plugins.module_utils._hostports import Holder, HostPorts
from ansible_collections.bridgeport.net.plugins.module_utils._model import PROTOCOLS, Publish
from ansible_collections.bridgeport.net.plugins.module_utils._nft_listing import parse_table
from ansible_collections.bridgeport.net.plugins.module_utils._nft_render import tables_of
from ansible_collections.bridgeport.net.plugins.module_utils._nft_table import (
    LINK,
    Element,
    Table,
    drift,
    same,
    transaction,
)
from ansible_collections.bridgeport.net.plugins.module_utils._plan import make_plan, scope_of
from ansible_collections.bridgeport.net.plugins.module_utils._ports import parse_ports
from ansible_collections.bridgeport.net.plugins.module_utils._report import actions_of, diff_of
from ansible_collections.bridgeport.net.plugins.module_utils._ruleset import rules_of
from ansible_collections.bridgeport.net.plugins.module_utils._topology import Topology
from ansible_collections.bridgeport.net.plugins.module_utils._want_endpoints import want_endpoints
from ansible_collections.bridgeport.net.plugins.module_utils._want_networks import want_networks
from ansible_collections.bridgeport.net.plugins.module_utils._want_rules import want_masquerades, want_publishes
from hypothesis import given
from hypothesis import strategies as st
from nft_interpreter import Kernel, listing
from samples import Request, observed

Step = t.Callable[[Topology], Topology]

FACTS = StaticFacts(
    on_link=[(ip_network("172.17.0.0/16"), "docker0")],
    ports=HostPorts((40000, 40009), frozenset({40001}), (Holder(4, "tcp", "", 81, "nginx"),)),
)
# The small subnets are just large enough for the endpoints.
SUBNETS = (["10.%d.0.0/29", "10.%d.0.0/24"], ["fd00:%d::/125", "fd00:%d::/64"])
HOST_ADDRESSES = ["", "", "0.0.0.0:", "127.0.0.1:", "192.0.2.1:", "[::]:", "[2001:db8::1]:"]
HOST_PORTS = ["", "80:", "81:", "82:", "80-82:", "40000:"]


class History(t.NamedTuple):
    """The requests that were accepted one after the other, and where they led."""

    topology: Topology
    steps: list[Step]


def network_step(requests: list[Request]) -> Step:
    return lambda topology: want_networks(topology, requests, FACTS)


def endpoint_step(requests: list[Request]) -> Step:
    return lambda topology: want_endpoints(topology, requests)


def publish_step(request: Request) -> Step:
    return lambda topology: want_publishes(topology, [request], FACTS)


def masquerade_step(request: Request) -> Step:
    return lambda topology: want_masquerades(topology, [request])


def accepted(steps: t.Iterable[Step]) -> History:
    topology, done = Topology(), []
    for step in steps:
        try:
            topology = step(topology)
        except (InputError, StateError):
            continue
        done.append(step)
    return History(topology, done)


@st.composite
def networks(draw: st.DrawFn) -> list[Request]:
    found = []
    for number in range(draw(st.integers(0, 3))):
        kinds = draw(st.sampled_from([(0,), (1,), (0, 1), (1, 0)]))
        subnets = [draw(st.sampled_from(SUBNETS[kind])) % number for kind in kinds]
        request: Request = {
            "name": "net%d" % number,
            "mode": draw(st.sampled_from(["nat", "nat", "routed", "internal", "isolated"])),
            "subnets": draw(st.sampled_from([subnets, subnets, None])),
            "icc": draw(st.sampled_from([None, True, False])),
            "trusted_interfaces": draw(st.sampled_from([None, ["eth1", "eth0"]])),
        }
        found.append(request)
    return found


@st.composite
def endpoints(draw: st.DrawFn, count: int) -> list[Request]:
    found = []
    for number in range(draw(st.integers(0, 5)) if count else 0):
        request: Request = {
            "name": "e%d" % number,
            "network": "net%d" % draw(st.integers(0, count - 1)),
            "default_route": draw(st.sampled_from([None, True, False])),
            "expose": draw(st.sampled_from([None, [80], ["53/udp", 80]])),
            "sysctls": draw(st.sampled_from([None, {"net.core.somaxconn": 4096}])),
            "nameservers": draw(st.sampled_from([None, ["192.0.2.53"]])),
            "routes": draw(st.sampled_from([None, [{"destination": "10.99.0.0/16"}]])),
        }
        found.append(request)
    return found


@st.composite
def port_specs(draw: st.DrawFn) -> str:
    host, port = draw(st.sampled_from(HOST_PORTS)), draw(st.sampled_from([80, 81, 443]))
    return port_spec(draw(st.sampled_from(HOST_ADDRESSES)), host, port, draw(st.sampled_from(PROTOCOLS[:2])))


def port_spec(address: str, host: str, port: int, protocol: str) -> str:
    return "%s%s%d/%s" % (address, host or (":" if address else ""), port, protocol)


@st.composite
def ports_side_by_side(draw: st.DrawFn) -> list[str]:
    """One port at several host addresses, which may overlap, so that the host ports have to be chosen together."""
    host, addresses = draw(st.sampled_from(["", "80-82:"])), st.sampled_from(HOST_ADDRESSES)
    pairs = draw(st.lists(st.tuples(addresses, st.sampled_from(PROTOCOLS[:2])), min_size=2, max_size=3))
    return [port_spec(address, host, 80, protocol) for address, protocol in pairs]


def publishes(endpoint: str) -> st.SearchStrategy[Request]:
    return st.fixed_dictionaries(
        {
            "endpoint": st.just(endpoint),
            "ports": st.one_of(st.lists(port_specs(), min_size=1, max_size=2), ports_side_by_side()),
            "loopback": st.sampled_from(["nat", "nat", "none"]),
            "publish_all": st.sampled_from([False, False, True]),
        }
    )


def masquerades(network: str) -> st.SearchStrategy[Request]:
    return st.fixed_dictionaries({"network": st.just(network), "to_source": st.sampled_from([None, "203.0.113.7"])})


@st.composite
def histories(draw: st.DrawFn) -> History:
    wanted = draw(networks())
    joined = draw(endpoints(len(wanted)))
    steps = [network_step(wanted), endpoint_step(joined)]
    for request in joined:
        steps += map(publish_step, draw(st.lists(publishes(request["name"]), max_size=3)))
    for request in wanted:
        steps += map(masquerade_step, draw(st.lists(masquerades(request["name"]), max_size=1)))
    return accepted(steps)


def topologies() -> st.SearchStrategy[Topology]:
    return histories().map(lambda history: history.topology)


def tables(topology: Topology) -> dict[int, Table]:
    return tables_of(topology)


def host_ports(topology: Topology, publish: Publish) -> set[tuple[int, str, str, int]]:
    """The (version, protocol, address, port) that a publish takes, worked out anew from what was asked."""
    endpoint = topology.endpoints[publish.endpoint]
    if topology.networks[endpoint.network].mode != "nat":
        return set()
    address = "" if publish.host_address in ("", "0.0.0.0", "::") else publish.host_address
    families = {4, 6} if not publish.host_address else {6 if ":" in publish.host_address else 4}
    there = {item.version for item in endpoint.addresses}
    return {(version, publish.protocol, address, publish.host_port) for version in families & there}


# The topology


@given(topologies())
def test_record_holds_the_whole_topology(topology: Topology) -> None:
    assert topology_from_json(json.loads(json.dumps(topology_to_json(topology)))) == topology


@given(histories())
def test_second_run_of_any_playbook_decides_the_same(history: History) -> None:
    topology = history.topology
    for step in history.steps:
        topology = step(topology)
        assert step(topology) == topology
    assert topology == history.topology


@given(topologies())
def test_no_two_publishes_take_one_host_port(topology: Topology) -> None:
    topology.check()
    topology.port_book()
    for one, other in combinations(topology.publishes.values(), 2):
        for version, protocol, address, port in host_ports(topology, one):
            for taken in host_ports(topology, other):
                if taken[:2] == (version, protocol) and taken[3] == port:
                    assert "" not in (address, taken[2]), (one, other)
                    assert address != taken[2], (one, other)


@given(topologies())
def test_chosen_ports_are_what_was_asked_and_free(topology: Topology) -> None:
    for publish in topology.publishes.values():
        taken = host_ports(topology, publish)
        assert {tuple(binding) for binding in topology.bindings(publish)} == taken
        assert not any(item[:2] == (4, "tcp") and item[3] == 81 for item in taken)
        if taken:
            first, last = (publish.asked_first, publish.asked_last) if publish.asked_first else (40000, 40009)
            assert first <= publish.host_port <= last
            assert publish.asked_first or publish.host_port != 40001


@given(topologies())
def test_addresses_are_unique_usable_and_inside_their_subnet(topology: Topology) -> None:
    given_out = [address for endpoint in topology.endpoints.values() for address in endpoint.addresses]
    assert len(given_out) == len(set(given_out))
    for endpoint in topology.endpoints.values():
        network = topology.networks[endpoint.network]
        assert {address.version for address in endpoint.addresses} == network.families
        for address in endpoint.addresses:
            (subnet,) = [item for item in network.subnets if item.version == address.version and address in item]
            assert address != subnet.network_address
            assert address.version == 6 or address != subnet.broadcast_address
            assert network.mode == "isolated" or address not in network.gateways


@given(topologies())
def test_host_interfaces_fit_and_are_unique(topology: Topology) -> None:
    names = [endpoint.host_interface for endpoint in topology.endpoints.values()]
    assert len(names) == len(set(names))
    assert all(len(name) <= 15 for name in names)


# The rules


@given(topologies(), topologies())
def test_transaction_leads_from_any_table_to_any_other(before: Topology, after: Topology) -> None:
    for version, there in tables(before).items():
        wanted = tables(after)[version]
        text = transaction(parse_table(version, listing(there)), wanted)
        assert Kernel(there).run(text) == wanted


@given(topologies(), st.data())
def test_transaction_repairs_a_damaged_table(topology: Topology, data: st.DataObject) -> None:
    for version, wanted in tables(topology).items():
        if not wanted.exists:
            continue
        elements = {name: dict(there) for name, there in wanted.elements.items()}
        for name in data.draw(st.sets(st.sampled_from(sorted(elements)))):
            elements[name] = dict(list(elements[name].items())[1:])
        name, foreign = ("own_macs", ("x", "y")) if version == LINK else ("published", ("tcp", 9))
        elements[name][foreign] = Element(foreign, () if version == LINK else (str(version), 9))
        chains = dict(wanted.chains)
        for name in data.draw(st.sets(st.sampled_from(sorted(chains)))):
            chains[name] = replace(chains[name], rules=chains[name].rules[1:])
        there = replace(wanted, elements=elements, chains=chains)
        assert Kernel(there).run(transaction(there, wanted)) == wanted
        assert list(drift(there, wanted)) != []


@given(topologies())
def test_listing_of_a_rendered_table_needs_no_transaction(topology: Topology) -> None:
    for version, wanted in tables(topology).items():
        read = parse_table(version, listing(wanted))
        assert same(read, wanted)
        assert list(drift(read, wanted)) == []


@given(topologies())
def test_only_published_ports_are_opened(topology: Topology) -> None:
    published = {
        (str(address), publish.protocol, publish.endpoint_port)
        for publish in topology.publishes.values()
        for address in topology.endpoints[publish.endpoint].addresses
    }
    for rules in rules_of(topology).values():
        opened = {item[:3] for item in rules.open_ports}
        assert opened <= published
        outside = [item for item in rules.translations if not item.host_address.startswith("127.")]
        assert {(item.to_address, item.protocol, item.to_port) for item in outside} <= opened


# The plan


@given(topologies())
def test_host_that_matches_needs_no_change(topology: Topology) -> None:
    scope = scope_of(topology, topology, (), (), True)
    changes = make_plan(topology, topology, observed(topology), scope, "nftables", "nftables")
    assert changes == []
    assert actions_of(topology, topology, changes) == []
    assert diff_of(topology, topology, changes) == {"before": {}, "after": {}}


@given(topologies(), topologies())
def test_any_change_begins_with_rules_and_ends_with_deletions_and_their_guard(
    before: Topology, after: Topology
) -> None:
    survivors = before.endpoints.keys() & after.endpoints.keys()
    stay = {name for name in survivors if before.endpoints[name].network == after.endpoints[name].network}
    if stay != survivors:
        # An endpoint does not move between networks: no request leads there.
        return
    changes = make_plan(before, after, observed(before), scope_of(before, after, (), (), False), "nftables", "nftables")
    kinds = [type(change) for change in changes]
    # Behind everything else, the flows of whoever has gone.
    if kinds and kinds[-1] is ForgetFlows:
        kinds.pop()
    deletions = [kind in (DeleteEndpoint, DeleteBridge) for kind in kinds]
    # What was deleted was guarded until then.
    last = [ChangeRules] if any(deletions) and kinds[-1] is ChangeRules else []
    assert ChangeRules not in kinds[1 : len(kinds) - len(last)]
    assert deletions == sorted(deletions[: len(kinds) - len(last)]) + [False] * len(last)
    told = actions_of(before, after, changes)
    assert all(sentence.endswith(".") and "\n" not in sentence for sentence in told)
    json.dumps(diff_of(before, after, changes))


# The port grammar


@given(st.lists(port_specs(), max_size=4), st.sampled_from(["nat", "none"]))
def test_publish_is_read_back_from_its_own_specification(specs: list[str], loopback: str) -> None:
    for publish in parse_ports(specs, "web", loopback, ()):
        assert parse_ports([publish.spec], "web", loopback, ()) == [publish]


@given(st.one_of(st.text(), st.text("0123456789:-/.[]tcpud "), st.from_regex(r"[0-9.\[\]:]*[0-9-]*:[0-9-]*(/\w+)?")))
def test_any_text_is_publishes_or_one_sentence(text: str) -> None:
    refusal, found = "", []
    try:
        found = parse_ports([text], "web", "nat", ())
    except InputError as problem:
        refusal = str(problem)
    assert bool(found) != bool(refusal)
    assert all(1 <= publish.endpoint_port <= 65535 for publish in found)
    if refusal:
        assert refusal.startswith("Cannot publish %r for endpoint web: " % text.strip())
        assert refusal.endswith(".")
        assert "\n" not in refusal
