# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs one module of the collection as Ansible's wrapper does, with its arguments as JSON on standard input.

Usage: run_module.py MODULE < arguments
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from typing import Any

from ansible.module_utils import basic


def load(name: str, arguments: dict[str, Any]) -> Callable[[], None]:
    """Hand the arguments over where AnsibleModule looks for them; returns the function that is the module."""
    # The name of the serialization that ansible-core 2.19 and newer ask for; older ones do not look.
    handed = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()
    vars(basic).update(_ANSIBLE_ARGS=handed, _ANSIBLE_PROFILE="legacy")
    module: Callable[[], None] = importlib.import_module(
        "ansible_collections.bridgeport.net.plugins.modules." + name
    ).main
    return module


if __name__ == "__main__":
    load(sys.argv[1], json.load(sys.stdin))()
