#!/usr/bin/python
# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: port_publish
short_description: Publish ports of endpoints on the host
version_added: 0.1.0
author: bridgeport.net contributors (@bridgeport-net)
description:
  - Leads connections to ports of the host to ports of an endpoint, as C(docker run -p) does. However many ports there
    are, it is one listing and one transaction of the firewall.
  - A published port can be reached from outside, from the host, from 127.0.0.1, and from every endpoint, its own
    included. The endpoint's own address cannot be reached from outside the host.
  - What is omitted takes its default, on a publish that exists too. Only a host port that was chosen is kept.
  - Nothing is changed if a port collides with another publish, or a process of the host has it; both are named.
  - Where the role P(bridgeport.net.host#role) has set up the host's systemd, no other process can take a port while it
    is published.
extends_documentation_fragment:
  - bridgeport.net._attributes
  - bridgeport.net._attributes.writing
  - bridgeport.net._attributes.assume
options:
  endpoint:
    description:
      - Endpoint whose ports are published.
    type: str
  publishes:
    description:
      - The ports of several endpoints in one call. Each entry has the options of a single endpoint.
      - O(publish_all), O(sources) and O(loopback) beside it are those of the entries that do not have their own. An
        entry that is to have no list of sources then names V(0.0.0.0/0), V(::/0) or both.
    type: list
    elements: dict
    suboptions:
      endpoint:
        description:
          - Endpoint whose ports are published.
        type: str
        required: true
      ports: &ports
        description:
          - Ports in Docker's grammar, C([HOST_ADDRESS:][HOST_PORT[-LAST]:]PORT[-LAST][/tcp|udp|sctp]), or as
            dictionaries with the keys C(host_address), C(host_port), C(port) and C(protocol).
          - Quote them. YAML reads an unquoted C(22:22) as a number in base 60.
          - Without a host address the port is published on every host address, IPv4 and IPv6, as far as the endpoint
            has addresses of both.
          - Without a host port a free one is chosen once and then kept. A range of host ports for one endpoint port
            means one out of that range.
          - In a network of mode V(routed) the host part is ignored and the endpoint's own port is opened.
          - With O(state=absent), the ports to unpublish; omitted, all of the endpoint.
        type: list
        elements: raw
      publish_all: &publish_all
        description:
          - Publish each exposed port of the endpoint that O(publishes[].ports) does not mention on a free host port.
          - Omitted, it is V(false).
        type: bool
      sources: &sources
        description:
          - Addresses and subnets, IPv4 and IPv6, from which alone others than the host may connect. Omitted, everybody
            may. What overlaps is merged. A subnet with host bits, or of an IP version that the publish does not have,
            is refused, and so is an empty list.
          - A list that names one IP version only lets nobody connect by the other. V(0.0.0.0/0) and V(::/0) stand for
            everybody of one.
          - It limits every way from outside the endpoint's network, the endpoint's own port by route included (a
            network of mode V(routed), a trusted interface). Endpoints count by their own address, also those that go
            by way of the host's address.
          - It does not limit the host itself, and not the neighbours that address the endpoint directly within their
            network.
          - Others are dropped before translation. Connections of a source that is taken from the list end with the run.
            An endpoint does not send from a limited port to anybody who is not listed, unless he asked.
          - Each publish has its own list, also where several have one host port on different host addresses. Where
            several lead to one port of the endpoint, that port is open by route to whom any of them allows.
        type: list
        elements: str
      loopback: &loopback
        description:
          - How the host itself reaches the port at its loopback addresses.
          - V(nat) translates 127.0.0.0/8 like any other address. The kernel cannot translate C(::1); connections to it
            are refused at once.
          - V(proxy) has systemd listen on 127.0.0.1 and C(::1), or on the loopback address of the publish, and start
            systemd-socket-proxyd with the first connection; it ends a minute after the last one. C(::1) then works for
            an endpoint without IPv6 as well. The endpoint sees the gateway's address. For tcp only, and on a host with
            systemd.
          - V(none) leaves connections to the loopback addresses alone. The port is taken there all the same. While a
            service of the host listens on it at a loopback address, it is refused, and once it is published and
            reserved, no service of the host can begin to. Publish it on single host addresses to leave it to them.
          - A publish on a host address that is none of loopback cannot be reached there, whatever is chosen.
          - Omitted, it is V(nat).
        type: str
        choices: [nat, proxy, none]
  ports: *ports
  publish_all: *publish_all
  sources: *sources
  loopback: *loopback
  prune:
    description:
      - Unpublish those ports of the named endpoints that are not listed.
    type: bool
    default: false
seealso:
  - module: bridgeport.net.veth_endpoint
"""

EXAMPLES = r"""
---
- name: Publish port 5000 of web as port 80 of the host
  bridgeport.net.port_publish:
    endpoint: web
    ports:
      - "80:5000"

- name: Publish the ports of several endpoints, and nothing else of them
  bridgeport.net.port_publish:
    prune: true
    publishes:
      - endpoint: web
        ports:
          - "80:5000"
          - "127.0.0.1:8443:443/tcp"
      - endpoint: media
        ports:
          - "6000-6010:6000-6010/udp"
          - "9000"

- name: Publish every exposed port, on all but the loopback addresses
  bridgeport.net.port_publish:
    publish_all: true
    loopback: none
    publishes:
      - endpoint: web
      - endpoint: media
        loopback: nat

- name: Let the office alone reach the database
  bridgeport.net.port_publish:
    endpoint: db
    ports:
      - "5432:5432"
    sources: [192.0.2.0/24, 198.51.100.7]

- name: Unpublish all ports of an endpoint
  bridgeport.net.port_publish:
    endpoint: media
    state: absent
"""

RETURN = r"""
ports:
  description: All published ports of the named endpoints as they are after the run.
  returned: success
  type: list
  elements: dict
  contains:
    endpoint:
      description: The endpoint.
      type: str
      sample: web
    host_address:
      description: The host address; empty for every one.
      type: str
      sample: ""
    host_port:
      description: The host port; 0 in a routed network, where the endpoint's own port is open.
      type: int
      sample: 80
    endpoint_port:
      description: The endpoint's port.
      type: int
      sample: 5000
    protocol:
      description: The protocol.
      type: str
      sample: tcp
    loopback:
      description: How the host itself reaches the port at its loopback addresses.
      type: str
      sample: nat
    sources:
      description: Addresses and subnets that alone may connect; empty for all.
      type: list
      elements: str
      sample: [192.0.2.0/24, 2001:db8::7]
actions:
  description: What the run did, or in check mode would do, one sentence for each change.
  returned: success
  type: list
  elements: str
  sample: ["Publish *:80/tcp to port 5000 of endpoint web."]
notes:
  description: What an operator should know of this host besides, a sentence each.
  returned: success
  type: list
  elements: str
  sample:
    - >-
      The published ports are not reserved against other processes of the host: that takes systemd and its unit
      bridgeport-ports.service, which the role bridgeport.net.host installs.
phases:
  description: >-
    The seconds that each part of the run took: to V(wait) for another run, to V(read) the record and the kernel, to
    V(plan), to write the V(record), and to V(apply). A part that was not needed is left out.
  returned: success
  type: dict
  sample: {wait: 0.0, read: 0.051, plan: 0.023, record: 0.004, apply: 0.187}
topology:
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
from ansible_collections.bridgeport.net.plugins.module_utils._codec import describe_publish
from ansible_collections.bridgeport.net.plugins.module_utils._engine import Outcome, Touched
from ansible_collections.bridgeport.net.plugins.module_utils._facts import HostFacts
from ansible_collections.bridgeport.net.plugins.module_utils._reserve import reservation_problem
from ansible_collections.bridgeport.net.plugins.module_utils._topology import Topology
from ansible_collections.bridgeport.net.plugins.module_utils._want_rules import want_publishes, without_publishes

# Beside the list, they stand for the entries that do not have them.
SHARED = ("publish_all", "sources", "loopback")


def publish_options(endpoint_required: bool) -> dict[str, t.Any]:
    """The argument spec of one endpoint's publishes."""
    return {
        "endpoint": {"type": "str", "required": endpoint_required},
        "ports": {"type": "list", "elements": "raw"},
        "publish_all": {"type": "bool"},
        "sources": {"type": "list", "elements": "str"},
        "loopback": {"type": "str", "choices": ["nat", "proxy", "none"]},
    }


def main() -> None:
    options = publish_options(False)
    module = AnsibleModule(
        argument_spec={
            **options,
            "publishes": {"type": "list", "elements": "dict", "options": publish_options(True)},
            "prune": {"type": "bool", "default": False},
            "state": state_option(),
            "assume": assume_option(),
        },
        required_one_of=[("endpoint", "publishes")],
        mutually_exclusive=[(option, "publishes") for option in ("endpoint", "ports")],
        supports_check_mode=True,
    )
    entries = entries_of(module, "publishes", "endpoint", options, SHARED)
    names = {entry["endpoint"] for entry in entries}
    present = module.params["state"] == "present"

    def decide(topology: Topology, facts: HostFacts) -> Topology:
        if present:
            return want_publishes(topology, entries, facts, module.params["prune"])
        return without_publishes(topology, entries)

    def describe(outcome: Outcome) -> dict[str, t.Any]:
        there = sorted(publish for publish in outcome.after.publishes.values() if publish.endpoint in names)
        problem = reservation_problem()
        return {"ports": [describe_publish(publish) for publish in there], "notes": [problem] if problem else []}

    run_module(module, decide, Touched(endpoints=names), describe)


if __name__ == "__main__":
    main()
