# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: port_spec
short_description: Read a port in Docker's grammar into a dictionary
version_added: 0.1.0
author: bridgeport.net contributors (@bridgeport-net)
description:
  - Reads what M(bridgeport.net.port_publish) takes in O(bridgeport.net.port_publish#module:ports), with the same code.
options:
  _input:
    description: The port, for example V(127.0.0.1:8080:80/tcp).
    type: str
    required: true
"""

EXAMPLES = r"""
---
- name: Show the parts
  ansible.builtin.debug:
    msg: "{{ '127.0.0.1:8080:80/tcp' | bridgeport.net.port_spec }}"
"""

RETURN = r"""
_value:
  description:
    - C(host_address), empty for every one; C(host_port) and C(port), a number or for a range V(FIRST-LAST), and
      C(host_port) empty for any free one; C(protocol).
    - It can be passed back to M(bridgeport.net.port_publish).
  type: dict
  sample: {host_address: 127.0.0.1, host_port: 8080, port: 80, protocol: tcp}
"""

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.bridgeport.net.plugins.module_utils._errors import InputError
from ansible_collections.bridgeport.net.plugins.module_utils._ports import port_fields


def _span(first: int, last: int) -> int | str:
    if first == 0:
        return ""
    return first if first == last else "%d-%d" % (first, last)


def port_spec(value: t.Any) -> dict[str, t.Any]:
    """Read one port specification.

    :raises AnsibleFilterError: it is wrong; one full sentence.
    """
    try:
        fields = port_fields(value, "of the filter")
    except InputError as problem:
        raise AnsibleFilterError(str(problem)) from problem
    return {
        "host_address": fields.host_address,
        "host_port": _span(*fields.host),
        "port": _span(*fields.endpoint),
        "protocol": fields.protocol,
    }


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"port_spec": port_spec}
