# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Topologies and observations that several tests share."""

from __future__ import annotations

import typing as t
from ipaddress import ip_network

import pytest
from ansible_collections.bridgeport.net.plugins.module_utils._backends import rendered
from ansible_collections.bridgeport.net.plugins.module_utils._carried import carried_out
from ansible_collections.bridgeport.net.plugins.module_utils._changes import AddBridge, AddEndpoint, Change
from ansible_collections.bridgeport.net.plugins.module_utils._changes_rules import ForgetFlows
from ansible_collections.bridgeport.net.plugins.module_utils._errors import BridgeportError, InputError
from ansible_collections.bridgeport.net.plugins.module_utils._facts import StaticFacts
from ansible_collections.bridgeport.net.plugins.module_utils._plan import FORWARDING
from ansible_collections.bridgeport.net.plugins.module_utils._state import (
    FileState,
    Observed,
    bridge_state,
    endpoint_state,
    files_of,
)
from ansible_collections.bridgeport.net.plugins.module_utils._topology import Topology
from ansible_collections.bridgeport.net.plugins.module_utils._want_endpoints import want_endpoints
from ansible_collections.bridgeport.net.plugins.module_utils._want_networks import want_networks
from ansible_collections.bridgeport.net.plugins.module_utils._want_rules import want_masquerades, want_publishes

Request = t.Dict[str, t.Any]

FACTS = StaticFacts()
LAN: Request = {"name": "lan0", "subnets": ["10.0.0.0/24"]}
DUAL: Request = {"name": "dual0", "subnets": ["10.0.1.0/24", "fd00:1::/64"]}
WEB: Request = {"name": "web", "network": "lan0"}
BOTH: Request = {"name": "both", "network": "dual0"}


def refused(call: t.Callable[[], object], *parts: str, kind: type[BridgeportError] = InputError) -> str:
    """Check that a call is refused in full sentences that name all ``parts``, and return them."""
    with pytest.raises(kind) as caught:
        call()
    assert caught.type is kind
    text = str(caught.value)
    assert text.startswith("Cannot ")
    assert text.endswith(".")
    assert "\n" not in text
    assert [part for part in parts if part not in text] == [], text
    return text


def decided(
    networks: t.Sequence[Request] = (),
    endpoints: t.Sequence[Request] = (),
    publishes: t.Sequence[Request] = (),
    masquerades: t.Sequence[Request] = (),
    facts: StaticFacts = FACTS,
) -> Topology:
    """The topology that the requests lead to on an empty host."""
    topology = want_networks(Topology(), networks, facts)
    topology = want_endpoints(topology, endpoints)
    topology = want_publishes(topology, publishes, facts)
    return want_masquerades(topology, masquerades)


def observed(topology: Topology) -> Observed:
    """A host that holds exactly what a topology asks for."""
    sysctls: dict[str, str | None] = {"net.ipv4.ip_forward": "0", "net.ipv6.conf.all.forwarding": "0"}
    for network in topology.networks.values():
        if not network.sealed:
            sysctls.update({FORWARDING[version]: "1" for version in network.families})
    bridges = [
        AddBridge(("networks", network.name), bridge_state(topology, network)) for network in topology.networks.values()
    ]
    pairs = [
        AddEndpoint(("endpoints", endpoint.name), endpoint_state(topology, endpoint))
        for endpoint in topology.endpoints.values()
    ]
    files: dict[str, FileState] = {
        path: state for path, (_owner, state) in files_of(topology, topology.networks, topology.endpoints).items()
    }
    tables = {"nftables": rendered("nftables", topology)}
    return carried_out([*bridges, *pairs], Observed({}, {}, {}, sysctls, files, tables))


def forgotten(changes: t.Iterable[Change]) -> list[t.Any]:
    """The flows that a plan forgets."""
    return [flow for change in changes if isinstance(change, ForgetFlows) for flow in change.flows]


def on_link(*routes: tuple[str, str]) -> StaticFacts:
    """A host with on-link routes, each a subnet and its interface."""
    return StaticFacts(on_link=[(ip_network(subnet), interface) for subnet, interface in routes])
