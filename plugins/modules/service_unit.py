#!/usr/bin/python
# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: service_unit
short_description: Run systemd services inside endpoints
version_added: 0.1.0
author: bridgeport.net contributors (@bridgeport-net)
description:
  - Puts existing systemd services into endpoints by a drop-in, and writes units for services that have none.
  - A service is restarted when it moves, when its unit changes, or when its main process runs in another namespace than
    it should, as after the namespace was deleted by hand and made anew; and never for anything else. A restart that a
    killed or failed run owes is done by the next one.
  - All units are changed in one go, with one reload of systemd and one restart.
  - If systemd refuses a step, what was done before it stays, and the next run goes on from there.
  - A systemd before 242 would ignore which endpoint a service belongs to and run it in the host's network. So that is
    refused.
requirements:
  - systemd 242 or newer on the managed host
extends_documentation_fragment:
  - bridgeport.net._attributes
  - bridgeport.net._attributes.writing
options:
  units:
    description:
      - The services.
    type: list
    elements: dict
    default: []
    suboptions:
      unit: &unit
        description:
          - The unit's whole name.
        type: str
        required: true
      network:
        description:
          - Where the service runs. V(endpoint:NAME) is inside that endpoint, V(host) in the host's own network, V(none)
            with no network but its own loopback.
          - Required with O(state=present).
        type: str
      exec:
        description:
          - The command that the service runs, as systemd's C(ExecStart) takes it. The module then writes the unit,
            enables it and has it running.
          - Without it, the unit is one that exists, and the options below cannot be set.
        type: str
      user:
        description: The user that it runs as; root if not given.
        type: str
      group:
        description: The group that it runs as; the user's own if not given.
        type: str
      environment:
        description:
          - Its environment variables. Everybody on the host can read them; secrets belong into
            O(units[].environment_files).
        type: dict
      environment_files:
        description: Files with more environment variables, as systemd's C(EnvironmentFile) takes them.
        type: list
        elements: str
      working_directory:
        description: The directory in which it runs.
        type: str
      restart:
        description:
          - When systemd starts it again by itself; V(on-failure) if not given. It does so after a second, and does not
            give up.
        type: str
        choices: ["no", on-success, on-failure, on-abnormal, on-abort, always]
      description:
        description: What C(systemctl status) calls it.
        type: str
      after:
        description: Units that must be up first, if they are started too.
        type: list
        elements: str
      requires:
        description: Units that must be up first, and that are started with it.
        type: list
        elements: str
      service_options:
        description:
          - Any other directive of the unit's section C([Service]), such as C(MemoryMax), with its value or list of
            values.
        type: dict
  endpoints:
    description:
      - With O(state=absent), everything that this module has placed into these endpoints is stopped.
      - Units that it wrote are removed. Drop-ins of other units stay, so that these do not start on the host's network
        in place of the endpoint.
    type: list
    elements: str
    default: []
  prune:
    description:
      - Whether what this module has placed or written, and is not in O(units), is stopped and removed, drop-ins too.
    type: bool
    default: false
  bound:
    description:
      - Whether services in endpoints are bound to C(bridgeport-endpoint@NAME.service), which the role
        C(bridgeport.net.host) installs, and so start after their endpoint and stop before it.
    type: bool
    default: true
  missing_ok:
    description:
      - Whether units may be named that systemd does not know yet. For check mode, where what installs them has not run.
    type: bool
    default: false
  state:
    description:
      - With V(absent), services are stopped and what the module wrote for them is removed. An existing unit stays
        stopped; start it again if it is to run on the host.
seealso:
  - module: bridgeport.net.veth_endpoint
"""

EXAMPLES = r"""
---
- name: Run Debian's nginx inside the endpoint web, and a program of ours inside db
  bridgeport.net.service_unit:
    units:
      - {unit: nginx.service, network: "endpoint:web"}
      - {unit: db.service, network: "endpoint:db", exec: /usr/bin/redis-server, user: redis}

- name: Give nginx back to the host
  bridgeport.net.service_unit:
    units:
      - {unit: nginx.service, network: host}
"""

RETURN = r"""
actions:
  description: What the run did, or in check mode would do, one sentence for each change.
  returned: success
  type: list
  elements: str
  sample: ["Write /etc/systemd/system/nginx.service.d/bridgeport.conf.", "Restart nginx.service."]
"""

import glob
import os
import typing as t
from dataclasses import replace

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bridgeport.net.plugins.module_utils._ansible import leave_with, state_option
from ansible_collections.bridgeport.net.plugins.module_utils._errors import DependencyError, StateError
from ansible_collections.bridgeport.net.plugins.module_utils._files import read_file, write_file
from ansible_collections.bridgeport.net.plugins.module_utils._netns import is_namespace
from ansible_collections.bridgeport.net.plugins.module_utils._owed import owe, read_owed, settle
from ansible_collections.bridgeport.net.plugins.module_utils._state import FileState
from ansible_collections.bridgeport.net.plugins.module_utils._systemd import (
    change_units,
    manager_version,
    reload_manager,
    show_units,
    start_units,
    stop_units,
    systemd_runs,
)
from ansible_collections.bridgeport.net.plugins.module_utils._unit_plan import (
    PROPERTIES,
    UnitPlan,
    UnitState,
    check_version,
    parse_states,
    plan_absent,
    plan_present,
)
from ansible_collections.bridgeport.net.plugins.module_utils._units import (
    MARK,
    UNIT_DIRECTORY,
    Unit,
    drop_in_path,
    endpoint_of_drop_in,
    namespace_path,
    owner_unit,
    parse_units,
    unit_path,
    valid_unit_name,
)


def states_of(names: t.Sequence[str]) -> list[UnitState]:
    """What systemd knows of the units."""
    states = parse_states(names, show_units(names, PROPERTIES)) if names else []
    return [replace(state, network=_inode("/proc/%d/ns/net" % state.pid) if state.pid else 0) for state in states]


def carry_out(plan: UnitPlan) -> None:
    """Do the steps of a plan.

    :raises KernelError: systemd refused one. What was done stays, so that the journal tells; the next run goes on.
    """
    stop_units(plan.stop)
    change_units("disable", plan.disable)
    owe(plan.restart, read=False)
    for path, text in plan.files.items():
        write_file(path, None if text is None else FileState(text))
    if plan.reload:
        reload_manager()
    owe(plan.restart, read=True)
    change_units("enable", plan.enable)
    change_units("restart", plan.restart)
    start_units(plan.start)
    settle(plan.units)


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def texts(names: t.Iterable[str]) -> dict[str, str | None]:
    """The text of each unit's file and drop-in of ours, None where there is none."""
    found: dict[str, str | None] = {}
    for name in names:
        for path in (unit_path(name), drop_in_path(name)):
            state = read_file(path)
            found[path] = state.text if state else None
    return found


def placed_units() -> list[str]:
    """All units that this module has written or placed on this host."""
    names = {os.path.basename(os.path.dirname(path))[: -len(".d")] for path in glob.glob(drop_in_path("*"))}
    names.update(os.path.basename(path) for path in glob.glob(UNIT_DIRECTORY + "/*.service"))
    files = texts(names)
    return sorted(
        name for name in names if MARK in (files[unit_path(name)] or "") or MARK in (files[drop_in_path(name)] or "")
    )


def networks_of(units: t.Iterable[Unit], check: bool) -> dict[str, int]:
    """The inodes of the namespaces that the units run in, by endpoint, and under "" the host's.

    :raises StateError: an endpoint is not there, and this is no check, in which it may be made first.
    """
    found = {"": _inode("/proc/1/ns/net")}
    for unit in units:
        if unit.mode == "endpoint" and is_namespace(unit.endpoint):
            found[unit.endpoint] = _inode(namespace_path(unit.endpoint))
        elif unit.mode == "endpoint" and not check:
            raise StateError(
                "Cannot run the unit %s in %s: there is no such endpoint. Create it with veth_endpoint first."
                % (unit.name, unit.place)
            )
    return found


def decide(module: AnsibleModule) -> list[UnitPlan]:
    """The plans of the request, in the order in which they are to be carried out."""
    params = module.params
    names = [entry["unit"] for entry in params["units"]]
    if params["state"] == "absent":
        names = list(dict.fromkeys(valid_unit_name(name, "remove") for name in names))
        placed = placed_units()
        files = texts(placed)
        inside = [
            name
            for name in placed
            if name not in names and endpoint_of_drop_in(files[drop_in_path(name)] or "") in params["endpoints"]
        ]
        owners = [owner_unit(endpoint) for endpoint in dict.fromkeys(params["endpoints"])]
        return [
            plan_absent(states_of(names), texts(names)),
            plan_absent(states_of(inside), files, states_of(owners), keep_drop_ins=True),
        ]
    units = parse_units(params["units"])
    if any(unit.mode == "endpoint" for unit in units):
        check_version(units, manager_version())
    present = plan_present(
        units,
        states_of(names),
        texts(names),
        networks_of(units, module.check_mode),
        params["bound"],
        params["missing_ok"],
        read_owed(),
    )
    others = [name for name in placed_units() if name not in names] if params["prune"] else []
    return [plan_absent(states_of(others), texts(others)), present]


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Decide, carry out; returns the module's result."""
    if not systemd_runs():
        raise DependencyError(
            "Cannot run services inside endpoints: systemd does not run on this host. Leave out 'unit' and 'exec', and "
            "start the services inside the endpoints by other means."
        )
    plans = decide(module)
    before = {path: read_file(path) for plan in plans for path in plan.files}
    if not module.check_mode:
        for plan in plans:
            carry_out(plan)
    actions = [action for plan in plans for action in plan.actions]
    diff = [
        {"before_header": path, "after_header": path, "before": _text(before[path]), "after": text or ""}
        for plan in plans
        for path, text in plan.files.items()
    ]
    return {"changed": bool(actions), "actions": actions, **({"diff": diff} if module._diff else {})}


def _text(state: FileState | None) -> str:
    return state.text if state else ""


def main() -> None:
    strings = {"type": "list", "elements": "str"}
    unit = {
        "unit": {"type": "str", "required": True},
        "network": {"type": "str"},
        "exec": {"type": "str"},
        "user": {"type": "str"},
        "group": {"type": "str"},
        "environment": {"type": "dict"},
        "environment_files": dict(strings),
        "working_directory": {"type": "str"},
        "restart": {
            "type": "str",
            "choices": ["no", "on-success", "on-failure", "on-abnormal", "on-abort", "always"],
        },
        "description": {"type": "str"},
        "after": dict(strings),
        "requires": dict(strings),
        "service_options": {"type": "dict"},
    }
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "list", "elements": "dict", "default": [], "options": unit},
            "endpoints": {**strings, "default": []},
            "prune": {"type": "bool", "default": False},
            "bound": {"type": "bool", "default": True},
            "missing_ok": {"type": "bool", "default": False},
            "state": state_option(),
        },
        supports_check_mode=True,
    )
    leave_with(module, lambda: work(module))


if __name__ == "__main__":
    main()
