# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: netns
short_description: Run tasks inside an endpoint
version_added: 0.1.0
author: bridgeport.net contributors (@bridgeport-net)
description:
  - Runs a task inside a named network namespace of the host, as root, with the C(hosts) and C(resolv.conf) of
    C(/etc/netns/NAME).
  - The connection must be root's, for only root may enter a namespace.
options:
  endpoint:
    description: Endpoint to run the task in, a name in C(/run/netns).
    type: str
    required: true
    ini:
      - section: netns_become_plugin
        key: endpoint
    vars:
      - name: ansible_netns_endpoint
    env:
      - name: ANSIBLE_NETNS_ENDPOINT
  become_exe:
    description: The C(ip) program.
    type: str
    default: ip
    ini:
      - section: netns_become_plugin
        key: executable
    vars:
      - name: ansible_netns_exe
    env:
      - name: ANSIBLE_NETNS_EXE
  become_flags:
    description: Options to pass to the C(ip) program.
    type: str
    default: ""
    ini:
      - section: netns_become_plugin
        key: flags
    vars:
      - name: ansible_netns_flags
    env:
      - name: ANSIBLE_NETNS_FLAGS
"""

EXAMPLES = r"""
---
- name: Ask the service from inside its endpoint
  ansible.builtin.uri:
    url: http://127.0.0.1:5000/
  become: true
  become_method: bridgeport.net.netns
  vars:
    ansible_netns_endpoint: web
"""

import shlex

from ansible.plugins.become import BecomeBase


class BecomeModule(BecomeBase):
    """Prefixes a task's command with ``ip netns exec``."""

    # There is no option become_user on purpose: with one, Ansible would hand its files over to a user of that name, or
    # leave the plugin out where the user is the connection's own.
    name = "bridgeport.net.netns"

    def build_become_command(self, cmd: str, shell: object) -> str:
        """The command line that runs ``cmd`` in the endpoint."""
        super().build_become_command(cmd, shell)
        if not cmd:
            return cmd
        words = [self.get_option("become_exe") or "ip", self.get_option("become_flags") or ""]
        endpoint = shlex.quote(self.get_option("endpoint"))
        return "%s netns exec %s %s" % (
            " ".join(word for word in words if word),
            endpoint,
            self._build_success_command(cmd, shell),
        )
