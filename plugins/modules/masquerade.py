#!/usr/bin/python
# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: masquerade
short_description: Manage source NAT for traffic that leaves a network
version_added: 0.1.0
author: bridgeport.net contributors (@bridgeport-net)
description:
  - Lets what a network's endpoints send to the outside leave with an address of the host, by anything but the network's
    own bridge, as Docker does for C(docker0).
  - It also serves subnets that are not networks of this collection.
  - What is omitted takes its default, on a masquerade that exists too.
extends_documentation_fragment:
  - bridgeport.net._attributes
  - bridgeport.net._attributes.writing
  - bridgeport.net._attributes.assume
options:
  network:
    description:
      - Network of mode V(nat) whose subnets are masqueraded.
    type: str
  source:
    description:
      - Instead of O(network), a subnet in CIDR notation.
    type: str
  except_out_interface:
    description:
      - With O(source), an interface behind which the subnet lies. What leaves by it keeps its source address.
    type: str
  to_source:
    description:
      - Fixed source address instead of that of the outgoing interface. It serves the subnets of its own IP version.
    type: str
  masquerades:
    description:
      - Several masquerades in one call. Each entry has the options of a single one.
    type: list
    elements: dict
    suboptions:
      network:
        description:
          - Network of mode V(nat) whose subnets are masqueraded.
        type: str
      source:
        description:
          - Instead of the network, a subnet in CIDR notation.
        type: str
      except_out_interface:
        description:
          - With the source, an interface behind which the subnet lies. What leaves by it keeps its source address.
        type: str
      to_source:
        description:
          - Fixed source address instead of that of the outgoing interface. It serves the subnets of its own IP version.
        type: str
  prune:
    description:
      - With O(masquerades), remove the masquerades that are not listed, those of subnets too.
    type: bool
    default: false
seealso:
  - module: bridgeport.net.bridge_network
"""

EXAMPLES = r"""
---
- name: Let the endpoints of docker0 reach the outside
  bridgeport.net.masquerade:
    network: docker0

- name: Let a subnet behind br9 leave with a fixed address
  bridgeport.net.masquerade:
    source: 10.9.0.0/24
    except_out_interface: br9
    to_source: 203.0.113.7

- name: Masquerade docker0 and nothing else
  bridgeport.net.masquerade:
    prune: true
    masquerades:
      - network: docker0
"""

RETURN = r"""
masquerades:
  description: The requested masquerades as they are after the run; empty with O(state=absent).
  returned: success
  type: list
  elements: dict
  contains:
    network:
      description: The network, if it is one's.
      type: str
      sample: docker0
    source:
      description: The subnet, if there is no network.
      type: str
      sample: 10.9.0.0/24
    except_out_interface:
      description: The interface by which the source keeps its address, if one was given.
      type: str
      sample: br9
    to_source:
      description: The fixed source address, if one was given.
      type: str
      sample: 203.0.113.7
actions:
  description: What the run did, or in check mode would do, one sentence for each change.
  returned: success
  type: list
  elements: str
  sample: ["Masquerade docker0."]
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
    run_module,
    state_option,
)
from ansible_collections.bridgeport.net.plugins.module_utils._codec import describe_masquerade
from ansible_collections.bridgeport.net.plugins.module_utils._engine import Outcome, Touched
from ansible_collections.bridgeport.net.plugins.module_utils._facts import HostFacts
from ansible_collections.bridgeport.net.plugins.module_utils._topology import Topology
from ansible_collections.bridgeport.net.plugins.module_utils._want_rules import (
    masquerade_name,
    want_masquerades,
    without_masquerades,
)

OPTIONS = ("network", "source", "except_out_interface", "to_source")
RULES: dict[str, t.Any] = {
    "mutually_exclusive": [("network", "source"), ("network", "except_out_interface")],
    "required_by": {"except_out_interface": ("source",)},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **{option: {"type": "str"} for option in OPTIONS},
            "masquerades": {
                "type": "list",
                "elements": "dict",
                "options": {option: {"type": "str"} for option in OPTIONS},
                "required_one_of": [("network", "source")],
                **RULES,
            },
            "prune": {"type": "bool", "default": False},
            "state": state_option(),
            "assume": assume_option(),
        },
        required_one_of=[("network", "source", "masquerades")],
        mutually_exclusive=[*RULES["mutually_exclusive"], *((option, "masquerades") for option in OPTIONS)],
        required_if=[("prune", True, ["masquerades"])],
        required_by=RULES["required_by"],
        supports_check_mode=True,
    )
    entries = module.params["masquerades"]
    if entries is None:
        entries = [{option: module.params[option] for option in OPTIONS}]
    present = module.params["state"] == "present"

    def decide(topology: Topology, _facts: HostFacts) -> Topology:
        if present:
            return want_masquerades(topology, entries, module.params["prune"])
        return without_masquerades(topology, entries)

    def describe(outcome: Outcome) -> dict[str, t.Any]:
        there = outcome.after.masquerades
        names = [masquerade_name(entry) for entry in entries]
        return {"masquerades": [describe_masquerade(there[name]) for name in names if name in there]}

    networks = [entry["network"] for entry in entries if entry["network"]]
    run_module(module, decide, Touched(networks=networks), describe)


if __name__ == "__main__":
    main()
