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

from ansible.module_utils import basic


def main() -> None:
    """Hand the arguments over where AnsibleModule looks for them, and run the module."""
    arguments = json.dumps({"ANSIBLE_MODULE_ARGS": json.load(sys.stdin)}).encode()
    # The name of the serialization that ansible-core 2.19 and newer ask for; older ones do not look.
    vars(basic).update(_ANSIBLE_ARGS=arguments, _ANSIBLE_PROFILE="legacy")
    importlib.import_module("ansible_collections.bridgeport.net.plugins.modules." + sys.argv[1]).main()


if __name__ == "__main__":
    main()
