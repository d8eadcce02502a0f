#!/usr/bin/python
# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: veth_endpoint
short_description: Manage network namespaces joined to a bridge network
version_added: 0.1.0
author: bridgeport.net contributors (@bridgeport-net)
description:
  - Creates, changes and removes an endpoint, that is a named network namespace C(/run/netns/NAME), joined to a network
    by a veth pair. Inside it the interface is C(eth0).
  - Of an endpoint that exists, an option that is omitted keeps its value; give an empty list or dictionary to empty it.
  - Addresses that are not given are allocated once and then kept, across runs and reboots.
  - An endpoint is changed in place. Another network, or another name of the interface inside, is refused; that takes
    removing the endpoint first.
  - One whose veth pair was removed by hand gets a new pair; what runs in the namespace goes on running.
  - A namespace or interface of the endpoint's name that this collection did not make is left alone, and the task fails.
  - Removing an endpoint removes its publishes too. Processes inside are not stopped, they lose their network.
extends_documentation_fragment:
  - bridgeport.net._attributes
  - bridgeport.net._attributes.writing
  - bridgeport.net._attributes.assume
options:
  network:
    description:
      - Network that the endpoint is joined to. An endpoint that exists does not move, another network is refused.
      - With O(endpoints), the network of the entries that name none.
    type: str
  name:
    description:
      - Name of the endpoint and of its namespace.
    type: str
  endpoints:
    description:
      - Several endpoints in one call, which is many times faster than one call for each. Each entry has the options of
        a single endpoint.
    type: list
    elements: dict
    suboptions:
      network:
        description:
          - Network that the endpoint is joined to. An endpoint that exists does not move, another network is refused.
        type: str
      name:
        description:
          - Name of the endpoint and of its namespace.
        type: str
        required: true
      addresses: &addresses
        description:
          - Addresses of the endpoint, without prefix lengths.
          - Of an IP version of which none is given, a new endpoint gets the lowest that is free, and an existing one
            keeps its own.
        type: list
        elements: str
      expose: &expose
        description:
          - Ports on which something listens inside, as in V(5000), V(53/udp) or V(3000-3003).
          - This is metadata, as Docker's EXPOSE is. It opens nothing by itself, see
            O(bridgeport.net.port_publish#module:publish_all).
        type: list
        elements: str
      mac: &mac
        description:
          - MAC address inside.
          - Omitted, a new endpoint gets one that is derived from its name and its network's and so never changes.
        type: str
      interface: &interface
        description:
          - Name of the interface inside. V(eth0) for a new endpoint.
          - Of an endpoint that exists, another name is refused, for something may use the interface by its name.
        type: str
      routes: &routes
        description:
          - Static routes inside, one to a destination, and none to the subnet of the endpoint's own address.
        type: list
        elements: dict
        suboptions:
          destination:
            description:
              - Subnet in CIDR notation.
            type: str
            required: true
          via:
            description:
              - Gateway, an address of the endpoint's network. Omitted, the destination is on the link itself.
            type: str
      default_route: &default_route
        description:
          - Whether the network's gateway is the default route. V(true) for a new endpoint.
          - In a network of mode V(internal) or V(isolated) there is no default route whatever is given.
        type: bool
      sysctls: &sysctls
        description:
          - Kernel settings of the namespace, below C(net.), for example V(net.core.somaxconn).
          - One that is taken out keeps its value in the namespace until that is made anew; what it was before is not
            known.
        type: dict
      nameservers: &nameservers
        description:
          - Nameservers in C(/etc/netns/NAME/resolv.conf), which C(ip netns exec) puts in place of C(/etc/resolv.conf).
        type: list
        elements: str
      search: &search
        description:
          - Search domains in C(/etc/netns/NAME/resolv.conf).
        type: list
        elements: str
      aliases: &aliases
        description:
          - Further host names of the endpoint in C(/etc/netns/NAME/hosts) of its network's endpoints.
        type: list
        elements: str
      guard: &guard
        description:
          - Whether the endpoint is held to its own MAC and IP addresses. What it sends with others, be it IPv4, IPv6,
            ARP or neighbour discovery, is dropped on the bridge, and so are router advertisements, redirects and frames
            that are neither IP nor ARP.
          - Its own are those that this module gave it, and the IPv6 link-local address that the kernel derives from the
            MAC address. An endpoint that routes or answers for others, or that takes further addresses by itself, needs
            V(false).
          - It takes nftables, also where iptables carries the rules. On a host without it has no effect, of which a
            warning tells.
          - V(true) for a new endpoint.
        type: bool
  addresses: *addresses
  expose: *expose
  mac: *mac
  interface: *interface
  routes: *routes
  default_route: *default_route
  sysctls: *sysctls
  nameservers: *nameservers
  search: *search
  aliases: *aliases
  guard: *guard
  prune:
    description:
      - With O(endpoints), remove those endpoints of O(network) and of the entries' networks that are not listed.
    type: bool
    default: false
seealso:
  - module: bridgeport.net.bridge_network
  - module: bridgeport.net.port_publish
"""

EXAMPLES = r"""
---
- name: Give a service its own namespace on docker0
  bridgeport.net.veth_endpoint:
    network: docker0
    name: web
    expose: [5000]

- name: Join several at once, and remove all others of the network
  bridgeport.net.veth_endpoint:
    network: docker0
    prune: true
    endpoints:
      - name: web
        addresses: [172.17.0.2]
      - name: db
        sysctls:
          net.core.somaxconn: 1024

- name: Remove an endpoint
  bridgeport.net.veth_endpoint:
    name: db
    state: absent

# A task whose network an earlier task makes: in check mode it starts from what that one would have done.
- name: Set up a network
  bridgeport.net.bridge_network:
    name: back
    subnets: [10.21.0.0/24]
  register: net

- name: Join it
  bridgeport.net.veth_endpoint:
    network: back
    name: cache
    assume: "{{ net.topology | default(omit) }}"
"""

RETURN = r"""
endpoints:
  description: The requested endpoints as they are after the run; empty with O(state=absent).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the endpoint.
      type: str
      sample: web
    network:
      description: Network that it is joined to.
      type: str
      sample: docker0
    addresses:
      description: Addresses.
      type: list
      elements: str
      sample: [172.17.0.2]
    mac:
      description: MAC address inside.
      type: str
      sample: 02:42:cc:99:2c:e7
    interface:
      description: Name of the interface inside.
      type: str
      sample: eth0
    host_interface:
      description: Name of the host's end of the veth pair.
      type: str
      sample: bp-web
    namespace:
      description: Path of the namespace.
      type: str
      sample: /run/netns/web
    default_route:
      description: Whether the gateway is the default route.
      type: bool
      sample: true
    routes:
      description: Static routes.
      type: list
      elements: dict
      sample: []
    expose:
      description: Exposed ports.
      type: list
      elements: str
      sample: [5000/tcp]
    sysctls:
      description: Kernel settings of the namespace.
      type: dict
      sample: {}
    nameservers:
      description: Nameservers.
      type: list
      elements: str
      sample: []
    search:
      description: Search domains.
      type: list
      elements: str
      sample: []
    aliases:
      description: Further host names.
      type: list
      elements: str
      sample: []
    guard:
      description: Whether the endpoint is held to its own addresses.
      type: bool
      sample: true
actions:
  description: What the run did, or in check mode would do, one sentence for each change.
  returned: success
  type: list
  elements: str
  sample: ["Create endpoint web on network docker0 with 172.17.0.2/16."]
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
from ansible_collections.bridgeport.net.plugins.module_utils._codec import describe_endpoint
from ansible_collections.bridgeport.net.plugins.module_utils._engine import Outcome, Touched
from ansible_collections.bridgeport.net.plugins.module_utils._facts import HostFacts
from ansible_collections.bridgeport.net.plugins.module_utils._topology import Topology
from ansible_collections.bridgeport.net.plugins.module_utils._want_endpoints import want_endpoints, without_endpoints


def endpoint_options(name_required: bool) -> dict[str, t.Any]:
    """The argument spec of one endpoint."""
    route = {"destination": {"type": "str", "required": True}, "via": {"type": "str"}}
    return {
        "network": {"type": "str"},
        "name": {"type": "str", "required": name_required},
        "addresses": {"type": "list", "elements": "str"},
        "expose": {"type": "list", "elements": "str"},
        "mac": {"type": "str"},
        "interface": {"type": "str"},
        "routes": {"type": "list", "elements": "dict", "options": route},
        "default_route": {"type": "bool"},
        "sysctls": {"type": "dict"},
        "nameservers": {"type": "list", "elements": "str"},
        "search": {"type": "list", "elements": "str"},
        "aliases": {"type": "list", "elements": "str"},
        "guard": {"type": "bool"},
    }


def main() -> None:
    options = endpoint_options(False)
    module = AnsibleModule(
        argument_spec={
            **options,
            "endpoints": {"type": "list", "elements": "dict", "options": endpoint_options(True)},
            "prune": {"type": "bool", "default": False},
            "state": state_option(),
            "assume": assume_option(),
        },
        required_one_of=[("name", "endpoints")],
        mutually_exclusive=[(option, "endpoints") for option in options if option != "network"],
        required_if=[("prune", True, ["endpoints"])],
        supports_check_mode=True,
    )
    network = module.params["network"]
    entries = entries_of(module, "endpoints", "name", options, ("network",))
    names = [entry["name"] for entry in entries]
    pruned = {entry["network"] for entry in entries} | {network} if module.params["prune"] else set()
    present = module.params["state"] == "present"

    def decide(topology: Topology, _facts: HostFacts) -> Topology:
        if present:
            return want_endpoints(topology, entries, pruned - {None})
        return without_endpoints(topology, names)

    def describe(outcome: Outcome) -> dict[str, t.Any]:
        there = outcome.after.endpoints
        return {"endpoints": [describe_endpoint(there[name]) for name in names if name in there]}

    run_module(module, decide, Touched(endpoints=names), describe)


if __name__ == "__main__":
    main()
