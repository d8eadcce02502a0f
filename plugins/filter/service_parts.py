# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: service_parts
short_description: Part a list of services into endpoints and units
version_added: 0.1.0
author: bridgeport.net contributors (@bridgeport-net)
description:
  - Parts the entries of the role C(bridgeport.net.service) into what M(bridgeport.net.veth_endpoint) and what
    M(bridgeport.net.service_unit) takes.
options:
  _input:
    description: The entries of C(service_endpoints).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
---
- name: Show both
  ansible.builtin.debug:
    msg: "{{ [{'name': 'web', 'network': 'docker0', 'unit': 'flask.service'}] | bridgeport.net.service_parts }}"
"""

RETURN = r"""
_value:
  description: The lists C(endpoints) and C(units).
  type: dict
  sample:
    endpoints: [{name: web, network: docker0}]
    units: [{unit: flask.service, network: "endpoint:web"}]
"""

import typing as t
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError
from ansible_collections.bridgeport.net.plugins.module_utils._errors import InputError
from ansible_collections.bridgeport.net.plugins.module_utils._units import split_entries


def service_parts(value: t.Any) -> dict[str, list[dict[str, t.Any]]]:
    """The endpoints and the units of ``value``.

    :raises AnsibleFilterError: an entry is wrong; one full sentence.
    """
    if not isinstance(value, (list, tuple)) or not all(isinstance(entry, Mapping) for entry in value):
        raise AnsibleFilterError(
            "Cannot read the services %r: they are not a list of dictionaries. Pass a list of dictionaries." % (value,)
        )
    try:
        endpoints, units = split_entries(value)
    except InputError as problem:
        raise AnsibleFilterError(str(problem)) from problem
    return {"endpoints": endpoints, "units": units}


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"service_parts": service_parts}
