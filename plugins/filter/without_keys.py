# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: without_keys
short_description: Leave out keys from each dictionary of a list
version_added: 0.1.0
author: bridgeport.net contributors (@bridgeport-net)
description:
  - Leaves out what belongs to a role and not to the module that the role calls.
options:
  _input:
    description: The dictionaries.
    type: list
    elements: dict
    required: true
  keys:
    description: The keys to leave out.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
---
- name: Show the entries without their units
  ansible.builtin.debug:
    msg: "{{ [{'name': 'web', 'unit': 'flask.service'}] | bridgeport.net.without_keys(['unit']) }}"
"""

RETURN = r"""
_value:
  description: The dictionaries without the keys, in the same order.
  type: list
  elements: dict
  sample: [{name: web}]
"""

import typing as t
from collections.abc import Iterable, Mapping

from ansible.errors import AnsibleFilterError


def without_keys(value: t.Any, keys: t.Iterable[str]) -> list[dict[str, t.Any]]:
    """The dictionaries of ``value`` without ``keys``.

    :raises AnsibleFilterError: ``value`` is not a list of dictionaries, or ``keys`` not one of strings.
    """
    if not isinstance(value, (list, tuple)) or not all(isinstance(entry, Mapping) for entry in value):
        raise AnsibleFilterError(
            "Cannot leave out keys from %r: it is not a list of dictionaries. Pass a list of dictionaries." % (value,)
        )
    if isinstance(keys, str) or not isinstance(keys, Iterable) or not all(isinstance(key, str) for key in keys):
        raise AnsibleFilterError("Cannot leave out %r: it is not a list of keys. Pass a list of strings." % (keys,))
    left_out = set(keys)
    return [{key: entry[key] for key in entry if key not in left_out} for entry in value]


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"without_keys": without_keys}
