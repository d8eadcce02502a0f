# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module of the tests' own, by the glue and the engine of the others: one run from any state to any other.

So that one plan has changes of every kind in it, which those of the four modules have not.
"""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bridgeport.net.plugins.module_utils._ansible import run_module
from ansible_collections.bridgeport.net.plugins.module_utils._engine import Touched
from ansible_collections.bridgeport.net.plugins.module_utils._facts import HostFacts
from ansible_collections.bridgeport.net.plugins.module_utils._topology import Topology
from ansible_collections.bridgeport.net.plugins.module_utils._want_endpoints import want_endpoints
from ansible_collections.bridgeport.net.plugins.module_utils._want_networks import want_networks
from ansible_collections.bridgeport.net.plugins.module_utils._want_rules import want_masquerades, want_publishes

LISTS = ("networks", "masquerades", "endpoints", "publishes")


def main() -> None:
    """Bring the host to exactly what is asked for, whatever it holds."""
    lists: dict[str, Any] = {name: {"type": "list", "elements": "dict", "default": []} for name in LISTS}
    module = AnsibleModule(argument_spec={**lists, "backend": {"type": "str"}}, supports_check_mode=True)
    asked = module.params

    def decide(_topology: Topology, facts: HostFacts) -> Topology:
        wanted = want_networks(Topology(), asked["networks"], facts)
        wanted = want_endpoints(wanted, asked["endpoints"])
        return want_masquerades(want_publishes(wanted, asked["publishes"], facts), asked["masquerades"])

    run_module(module, decide, Touched(everything=True), lambda _outcome: {}, asked["backend"])
