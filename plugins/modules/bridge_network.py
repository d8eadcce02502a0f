#!/usr/bin/python
# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bridge_network
short_description: Manage docker0-style bridge networks
version_added: 0.1.0
author: bridgeport.net contributors (@bridgeport-net)
description:
  - Creates, changes and removes a network, that is one Linux bridge with its subnets, gateway addresses and policy, as
    Docker does with C(docker0).
  - Of a network that exists, an option that is omitted keeps its value; give an empty list to empty it.
  - A network is changed in place. Its bridge is never removed and made anew while endpoints are joined to it. What does
    not suit them is refused, see O(subnets) and O(mode).
  - An interface of the network's name that this collection did not make is left alone, and the task fails.
  - The first network of mode V(nat) or V(routed) switches on forwarding on the host, and says so in RV(actions).
    The policy of the FORWARD chain is never touched.
extends_documentation_fragment:
  - bridgeport.net._attributes
  - bridgeport.net._attributes.writing
  - bridgeport.net._attributes.assume
options:
  name:
    description:
      - Name of the network and of its bridge interface, at most 15 characters.
    type: str
  networks:
    description:
      - Several networks in one call. Each entry has the options of a single network.
    type: list
    elements: dict
    suboptions:
      name:
        description:
          - Name of the network and of its bridge interface, at most 15 characters.
        type: str
        required: true
      subnets: &subnets
        description:
          - Subnets of the network in CIDR notation, IPv4, IPv6 or both.
          - Omitted, a new network gets the first of Docker's default address pools that overlaps neither another
            network nor an on-link route or nameserver of the host; an existing one keeps its own.
          - Subnets that leave out an address of a joined endpoint, or a gateway of its routes, are refused.
        type: list
        elements: str
      gateways: &gateways
        description:
          - Addresses of the bridge, one for each subnet.
          - Omitted or empty, it is the first host address of each subnet, where an existing network has none there.
        type: list
        elements: str
      allocate_from: &allocate_from
        description:
          - Parts of the subnets from which addresses are allocated automatically.
          - Omitted, it is the whole of each subnet for a new network; an empty list makes it so again.
        type: list
        elements: str
      mode: &mode
        description:
          - V(nat) hides the endpoints behind the host and publishes ports on the host's addresses.
          - V(routed) lets the endpoints be addressed directly, on their published ports; nothing is translated.
          - V(internal) keeps the endpoints to themselves and the host.
          - V(isolated) is V(internal) without an address of the host on the bridge. Neither has published ports, a
            masquerade or trusted interfaces.
          - Docker's C(nat-unprotected), which leaves every port of every endpoint open to whoever has a route, is not
            offered. V(routed) opens the published ones.
          - Another mode is refused while an endpoint of the network has published ports, which mean something else
            there, and another than V(nat) also while the network is masqueraded.
          - Omitted, it is V(nat) for a new network and unchanged for an existing one.
        type: str
        choices: [nat, routed, internal, isolated]
      icc: &icc
        description:
          - Whether the endpoints of this network may talk to each other directly.
          - With V(false) they still reach each other's published ports by way of the host's addresses, whatever
            C(net.bridge.bridge-nf-call-iptables) is, and nothing else on the bridge but the host. It takes nftables,
            also where iptables carries the rules, and is refused on a host without.
          - Omitted, it is V(true) for a new network and unchanged for an existing one.
        type: bool
      mtu: &mtu
        description:
          - MTU in bytes of the bridge and the endpoints.
          - Omitted, a new network takes that of the interface with the default route.
        type: int
      mac: &mac
        description:
          - MAC address of the bridge.
          - Omitted, a new network gets one that is derived from its name and so never changes.
        type: str
      trusted_interfaces: &trusted_interfaces
        description:
          - Interfaces of the host by which published ports of the endpoints may be reached at the endpoints' own
            addresses, by route.
          - One that does not exist yet is accepted with a warning. A port that is published on a loopback address only
            stays closed to them.
          - Omitted, a new network has none.
        type: list
        elements: str
  subnets: *subnets
  gateways: *gateways
  allocate_from: *allocate_from
  mode: *mode
  icc: *icc
  mtu: *mtu
  mac: *mac
  trusted_interfaces: *trusted_interfaces
  prune:
    description:
      - With O(networks), remove the networks that are not listed. One that still has endpoints fails the task.
    type: bool
    default: false
  backend:
    description:
      - Who carries the firewall rules on this host, of all networks.
      - V(nftables) has tables of its own.
      - V(iptables) has Docker's classic chains under names of its own, in whichever kind of iptables the host's
        C(iptables) is. One on nf_tables needs nothing else, a legacy one the Python library python-iptables
        (python3-iptables on Debian).
      - V(auto) keeps what the host has. On a new host it is V(nftables) where that works, and V(iptables) otherwise.
      - When this changes, all rules move in one run. The new ones are written before the old ones go.
    type: str
    choices: [auto, nftables, iptables]
    default: auto
seealso:
  - module: bridgeport.net.masquerade
  - module: bridgeport.net.veth_endpoint
"""

EXAMPLES = r"""
---
- name: Set up Docker's classic bridge
  bridgeport.net.bridge_network:
    name: docker0
    subnets: [172.17.0.0/16]

- name: Set up a dual-stack network and one without a way out
  bridgeport.net.bridge_network:
    networks:
      - name: front
        subnets: [10.20.0.0/24, fd00:20::/64]
      - name: back
        subnets: [10.21.0.0/24]
        mode: internal

- name: Have the rules carried by the host's iptables
  bridgeport.net.bridge_network:
    name: docker0
    backend: iptables

- name: Remove a network
  bridgeport.net.bridge_network:
    name: back
    state: absent
"""

RETURN = r"""
networks:
  description: The requested networks as they are after the run; empty with O(state=absent).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the network and its bridge.
      type: str
      sample: docker0
    subnets:
      description: Subnets.
      type: list
      elements: str
      sample: [172.17.0.0/16]
    gateways:
      description: Addresses of the bridge, in the order of the subnets.
      type: list
      elements: str
      sample: [172.17.0.1]
    allocate_from:
      description: Parts of the subnets for automatic addresses; empty for all.
      type: list
      elements: str
      sample: []
    mode:
      description: Mode of the network.
      type: str
      sample: nat
    icc:
      description: Whether endpoints may talk to each other.
      type: bool
      sample: true
    mtu:
      description: MTU in bytes.
      type: int
      sample: 1500
    mac:
      description: MAC address of the bridge.
      type: str
      sample: 02:42:fd:42:9f:49
    trusted_interfaces:
      description: Interfaces that may reach published ports by route.
      type: list
      elements: str
      sample: []
actions: &actions
  description: What the run did, or in check mode would do, one sentence for each change.
  returned: success
  type: list
  elements: str
  sample: ["Create bridge docker0 with 172.17.0.1/16, MTU 1500."]
phases:
  description: >-
    The seconds that each part of the run took: to V(wait) for another run, to V(read) the record and the kernel, to
    V(plan), to write the V(record), and to V(apply). A part that was not needed is left out.
  returned: success
  type: dict
  sample: {wait: 0.0, read: 0.051, plan: 0.023, record: 0.004, apply: 0.187}
topology: &topology
  description: The topology that a run would lead to, and what was named on the way, to be passed on in O(assume).
  returned: in check mode
  type: dict
  sample: {networks: [], endpoints: [], publishes: [], masquerades: [], touched: {networks: [], endpoints: []}}
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bridgeport.net.plugins.module_utils._ansible import (
    assume_option,
    entries_of,
    run_module,
    state_option,
)
from ansible_collections.bridgeport.net.plugins.module_utils._codec import describe_network
from ansible_collections.bridgeport.net.plugins.module_utils._engine import Outcome, Touched
from ansible_collections.bridgeport.net.plugins.module_utils._facts import HostFacts
from ansible_collections.bridgeport.net.plugins.module_utils._topology import Topology
from ansible_collections.bridgeport.net.plugins.module_utils._want_networks import want_networks, without_networks


def network_options(name_required: bool) -> dict[str, t.Any]:
    """The argument spec of one network."""
    return {
        "name": {"type": "str", "required": name_required},
        "subnets": {"type": "list", "elements": "str"},
        "gateways": {"type": "list", "elements": "str"},
        "allocate_from": {"type": "list", "elements": "str"},
        "mode": {"type": "str", "choices": ["nat", "routed", "internal", "isolated"]},
        "icc": {"type": "bool"},
        "mtu": {"type": "int"},
        "mac": {"type": "str"},
        "trusted_interfaces": {"type": "list", "elements": "str"},
    }


def main() -> None:
    options = network_options(False)
    module = AnsibleModule(
        argument_spec={
            **options,
            "networks": {"type": "list", "elements": "dict", "options": network_options(True)},
            "prune": {"type": "bool", "default": False},
            "backend": {"type": "str", "choices": ["auto", "nftables", "iptables"], "default": "auto"},
            "state": state_option(),
            "assume": assume_option(),
        },
        required_one_of=[("name", "networks")],
        mutually_exclusive=[(option, "networks") for option in options],
        required_if=[("prune", True, ["networks"])],
        supports_check_mode=True,
    )
    entries = entries_of(module, "networks", "name", options)
    names = [entry["name"] for entry in entries]
    present = module.params["state"] == "present"

    def decide(topology: Topology, facts: HostFacts) -> Topology:
        if present:
            return want_networks(topology, entries, facts, module.params["prune"])
        return without_networks(topology, names)

    def describe(outcome: Outcome) -> dict[str, t.Any]:
        networks = outcome.after.networks
        return {"networks": [describe_network(networks[name]) for name in names if name in networks]}

    run_module(module, decide, Touched(networks=names), describe, module.params["backend"])


if __name__ == "__main__":
    main()
