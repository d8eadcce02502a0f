#!/usr/bin/python
# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: topology_info
short_description: Show networks, endpoints, published ports and drift of a host
version_added: 0.1.0
author: bridgeport.net contributors (@bridgeport-net)
description:
  - Returns the topology that was last asked for on this host, and how far the kernel has drifted from it.
  - It compares everything, links and rules of all networks and endpoints.
extends_documentation_fragment:
  - bridgeport.net._attributes
  - bridgeport.net._attributes.reading
options:
  explain:
    description:
      - Packets whose way through the rules is to be told, see RV(explanations).
    type: list
    elements: dict
    default: []
    suboptions:
      source:
        description:
          - Who sends it, as the name of an endpoint, V(host), V(outside), or an address.
        type: str
        required: true
      destination:
        description:
          - Where it is sent, for example V(192.0.2.10:80), V([2001:db8::10]:53/udp), V(web:5000) with the name of an
            endpoint, or V(192.0.2.10/icmp) for a ping.
        type: str
        required: true
seealso:
  - module: bridgeport.net.bridge_network
  - module: bridgeport.net.veth_endpoint
  - module: bridgeport.net.port_publish
  - module: bridgeport.net.masquerade
"""

EXAMPLES = r"""
---
- name: Look at the host
  bridgeport.net.topology_info:
  register: host

- name: Fail if anything has drifted
  ansible.builtin.assert:
    that: host.drift | length == 0
    fail_msg: "{{ host.drift | join(' ') }}"

- name: Ask which way a packet takes
  bridgeport.net.topology_info:
    explain:
      - {source: outside, destination: "192.0.2.10:80/tcp"}
"""

RETURN = r"""
networks:
  description: All networks, as M(bridgeport.net.bridge_network) returns them, each with the counters of its bridge.
  returned: success
  type: list
  elements: dict
  sample: [{name: docker0, subnets: [172.17.0.0/16]}]
endpoints:
  description: All endpoints, as M(bridgeport.net.veth_endpoint) returns them, each with its counters.
  returned: success
  type: list
  elements: dict
  sample: [{name: web, network: docker0, addresses: [172.17.0.2]}]
ports:
  description: All publishes, as M(bridgeport.net.port_publish) returns them.
  returned: success
  type: list
  elements: dict
  sample: [{endpoint: web, host_address: "", host_port: 80, endpoint_port: 5000, protocol: tcp}]
masquerades:
  description: All masquerades, as M(bridgeport.net.masquerade) returns them.
  returned: success
  type: list
  elements: dict
  sample: [{network: docker0}]
port_table:
  description: The published ports of each endpoint, in the manner of C(docker port).
  returned: success
  type: dict
  sample: {web: ["5000/tcp -> 0.0.0.0:80", "5000/tcp -> [::]:80"]}
drift:
  description: >-
    What the kernel holds otherwise than asked for, as the sentences of the run that would mend it, or that would
    refuse to because something else has taken the name.
  returned: success
  type: list
  elements: str
  sample: []
explanations:
  description:
    - The ways of the packets that O(explain) names, in the same order, as C(bridgeport explain) tells them.
    - RV(explanations[].verdict) is V(endpoint), V(host) or V(outside) where the packet arrives there, V(refused) where
      the host has no process that waits for it, V(dropped), or V(unreachable). What another firewall does to the packet
      is not known here.
  returned: success
  type: list
  elements: dict
  contains:
    verdict:
      description: Where the packet ends.
      type: str
      returned: always
    path:
      description: What happens to it, a sentence for each place.
      type: list
      elements: str
      returned: always
    destination:
      description: Where it was going in the end.
      type: str
      returned: always
    seen:
      description: The source address that is seen there, V(outside) for that of any client.
      type: str
      returned: always
    endpoint:
      description: The endpoint that it reaches, null for none.
      type: str
      returned: always
  sample:
    - verdict: endpoint
      path: ["PREROUTING: 192.0.2.10:80 is translated to 172.17.0.2:5000 (publish of web)"]
      destination: 172.17.0.2:5000/tcp
      seen: outside
      endpoint: web
interrupted:
  description: Whether the last run was killed before its end. The next run completes it.
  returned: success
  type: bool
  sample: false
backend:
  description: Who carries the firewall rules, V(nftables), V(iptables-nft) or V(iptables-legacy).
  returned: success
  type: str
  sample: nftables
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bridgeport.net.plugins.module_utils._ansible import leave_with
from ansible_collections.bridgeport.net.plugins.module_utils._codec import (
    describe_endpoint,
    describe_masquerade,
    describe_network,
    describe_publish,
)
from ansible_collections.bridgeport.net.plugins.module_utils._engine import Engine, Inspection
from ansible_collections.bridgeport.net.plugins.module_utils._explain import explanation_to_json
from ansible_collections.bridgeport.net.plugins.module_utils._report import port_table


def describe(found: Inspection) -> dict[str, t.Any]:
    """The module's result."""
    topology = found.topology
    return {
        "networks": [
            {**describe_network(network), "counters": found.counters.get(name)}
            for name, network in sorted(topology.networks.items())
        ],
        "endpoints": [
            {**describe_endpoint(endpoint), "counters": found.counters.get(endpoint.host_interface)}
            for _name, endpoint in sorted(topology.endpoints.items())
        ],
        "ports": [describe_publish(publish) for publish in sorted(topology.publishes.values())],
        "masquerades": [describe_masquerade(item) for _name, item in sorted(topology.masquerades.items())],
        "port_table": port_table(topology),
        "drift": found.drift,
        "interrupted": found.interrupted,
        "backend": found.backend,
    }


def work(packets: list[dict[str, str]], warn: t.Callable[[str], None]) -> dict[str, t.Any]:
    """Look at the host and explain what is asked for; returns the module's result."""
    engine = Engine()
    explained = engine.explain([(packet["source"], packet["destination"]) for packet in packets])
    found = engine.inspect()
    for sentence in found.warnings:
        warn(sentence)
    return {
        "changed": False,
        **describe(found),
        "explanations": [explanation_to_json(each) for each in explained],
    }


def main() -> None:
    packet = {"source": {"type": "str", "required": True}, "destination": {"type": "str", "required": True}}
    module = AnsibleModule(
        argument_spec={"explain": {"type": "list", "elements": "dict", "options": packet, "default": []}},
        supports_check_mode=True,
    )
    leave_with(module, lambda: work(module.params["explain"], module.warn))


if __name__ == "__main__":
    main()
