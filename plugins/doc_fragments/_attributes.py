# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

from __future__ import annotations


class ModuleDocFragment:
    """What all modules of the collection have in common."""

    # Of every module: requirements, and how it behaves.
    DOCUMENTATION = r"""
options: {}
requirements:
  - Python 3.9 or newer on the managed host
  - pyroute2 0.6.13 or newer on the managed host (Debian's python3-pyroute2); the module looks for it under the
    system's interpreter too
  - nftables 1.0 or newer on the managed host, or an iptables where that carries the rules, see the option backend of
    bridge_network; beside iptables nftables is still needed for the options guard of veth_endpoint and icc of
    bridge_network
  - root on the managed host
attributes:
  platform:
    description: Target operating systems.
    platforms: Linux
    support: full
  action_group:
    description: Use C(group/bridgeport.net.all) in C(module_defaults) to set defaults for all modules.
    support: full
    membership:
      - bridgeport.net.all
"""

    # Of the modules that change the host.
    WRITING = r"""
options:
  state:
    description:
      - Whether the objects are to be there.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    description: Whether check mode predicts what a run would do, and changes nothing.
    support: full
  diff_mode:
    description: Whether the result shows the objects that change, before and after.
    support: full
  idempotent:
    description: Whether a second run with the same arguments changes nothing.
    support: full
"""

    # Of the modules that start from the record.
    ASSUME = r"""
options:
  assume:
    description:
      - In check mode only, the topology to start from in place of the record of the host, as another module of this
        collection returned it in RV(topology).
      - A play in check mode passes it from task to task, so that a task can be checked whose network or endpoint an
        earlier task would have created. The roles of this collection do so.
      - An earlier task may also be the one that stops a process. So a host port that a process holds is then a warning,
        and not refused.
      - Outside check mode it is ignored.
    type: dict
"""

    # Of the modules that only read.
    READING = r"""
options: {}
attributes:
  check_mode:
    description: Whether check mode predicts what a run would do, and changes nothing.
    support: full
    details: The module never changes anything.
  diff_mode:
    description: Whether the result shows the objects that change, before and after.
    support: N/A
    details: The module never changes anything.
  idempotent:
    description: Whether a second run with the same arguments changes nothing.
    support: full
"""
