# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules' own main(), run in this process by Ansible's own AnsibleModule."""

from __future__ import annotations

import importlib
import json
import typing as t
from unittest import mock

from ansible.module_utils import basic
from hostile import arguments
from hypothesis import strategies as st

NAME = "ansible_collections.bridgeport.net.plugins.modules."
Result = t.Dict[str, t.Any]


class _LeftError(Exception):
    """The module has ended, with this result."""

    def __init__(self, result: Result) -> None:
        super().__init__(result)
        self.result = result


class Module(basic.AnsibleModule):
    """AnsibleModule that ends with an exception in place of the process."""

    def exit_json(self, **result: t.Any) -> t.NoReturn:
        json.dumps(result)
        raise _LeftError(result)

    def fail_json(self, msg: str, **result: t.Any) -> t.NoReturn:
        raise _LeftError({"failed": True, "msg": msg, **result})


def requests(name: str) -> st.SearchStrategy[dict[str, t.Any]]:
    """Arguments for a module as its own argument spec has them."""
    spec = _spec(name)
    return arguments(spec["argument_spec"], spec)


def _spec(name: str) -> dict[str, t.Any]:
    module = importlib.import_module(NAME + name)
    with mock.patch.object(module, "AnsibleModule", side_effect=lambda **spec: _leave(spec)):
        try:
            module.main()
        except _LeftError as left:
            return left.result
    raise AssertionError("the module has no argument spec")


def _leave(spec: dict[str, t.Any]) -> t.NoReturn:
    raise _LeftError(spec)


def run(name: str, options: dict[str, t.Any], check: bool = False) -> Result:
    """Run a module with arguments as they come over the wire; returns its result.

    :raises AssertionError: it ended without one.
    """
    module = importlib.import_module(NAME + name)
    flags = {"_ansible_check_mode": check, "_ansible_diff": True, "_ansible_no_log": True}
    wire = json.dumps({"ANSIBLE_MODULE_ARGS": {**options, **flags}}, ensure_ascii=False)
    # Half of a surrogate pair comes through no pipe.
    given: dict[str, t.Any] = {"_ANSIBLE_ARGS": wire.encode(errors="replace"), "_ANSIBLE_PROFILE": "legacy"}
    with mock.patch.dict(vars(basic), given), mock.patch.object(module, "AnsibleModule", Module):
        try:
            module.main()
        except _LeftError as left:
            return left.result
    raise AssertionError("the module ended without a result")


def check_refusal(result: Result) -> None:
    """One sentence in one line, and no traceback."""
    message = result["msg"]
    assert "exception" not in result, result["exception"]
    assert message.startswith("Cannot ") and message.endswith("."), message
    assert message.isprintable(), message
