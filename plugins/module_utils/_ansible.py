# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Between AnsibleModule and the engine: arguments in, errors as sentences, respawn, result and diff out."""

from __future__ import annotations

import gc
import os
import sys
import traceback
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.respawn import has_respawned, probe_interpreters_for_module, respawn_module

from ._codec import topology_from_json, topology_to_json
from ._engine import Assumed, Engine, Outcome, Touched
from ._errors import BridgeportError, InputError, LibraryError, RecordError
from ._facts import HostFacts
from ._netlink import PYROUTE2_PROBLEM
from ._topology import Topology

__all__ = (
    "assume_option",
    "entries_of",
    "go_on_elsewhere",
    "lasting_interpreter",
    "leave_with",
    "run_module",
    "state_option",
)

_ALLOCATIONS_BETWEEN_COLLECTIONS = 50_000
_INTERPRETERS = ("/usr/bin/python3", "/usr/libexec/platform-python", "/usr/local/bin/python3")

Decide = t.Callable[[Topology, HostFacts], Topology]
Describe = t.Callable[[Outcome], t.Dict[str, t.Any]]


def state_option() -> dict[str, t.Any]:
    """The argument spec of ``state``."""
    return {"type": "str", "choices": ["present", "absent"], "default": "present"}


def assume_option() -> dict[str, t.Any]:
    """The argument spec of ``assume``."""
    return {"type": "dict"}


def entries_of(
    module: AnsibleModule, many: str, one: str, options: t.Iterable[str], shared: t.Collection[str] = ()
) -> list[dict[str, t.Any]]:
    """The requested objects: the list option ``many``, or the single object that the top-level options describe.

    :param shared: top-level options that stand, beside the list, for those entries that do not have them.
    """
    params = module.params
    if params[many] is not None:
        return [
            {**entry, **{name: params[name] for name in shared if entry.get(name) is None}} for entry in params[many]
        ]
    if params[one] is None:
        return []
    return [{name: params[name] for name in options}]


def run_module(
    module: AnsibleModule, decide: Decide, touched: Touched, describe: Describe, backend: str | None = None
) -> None:
    """Run one request through the engine and leave the module with its result or its error."""

    def work() -> dict[str, t.Any]:
        assumed = _assumed(module)
        outcome = Engine().run(decide, touched, module.check_mode, assumed, backend)
        for sentence in outcome.warnings:
            module.warn(sentence)
        result: dict[str, t.Any] = {
            "changed": outcome.changed,
            "actions": outcome.actions,
            "phases": outcome.phases,
            **describe(outcome),
        }
        if module._diff:
            result["diff"] = outcome.diff
        if module.check_mode:
            result["topology"] = _to_assume(outcome.after, touched, assumed)
        return result

    leave_with(module, work)


def leave_with(module: AnsibleModule, work: t.Callable[[], dict[str, t.Any]]) -> None:
    """Leave the module with what ``work`` returns, or with the sentence of the error that it raises."""
    # Most of what a run makes it keeps to its end, which is soon. To look for garbage as often as Python does by itself
    # takes a tenth of a large run, and never to look would cost a thousand endpoints 80 MiB.
    gc.set_threshold(_ALLOCATIONS_BETWEEN_COLLECTIONS)
    if PYROUTE2_PROBLEM is not None:
        go_on_elsewhere("pyroute2")
    try:
        result = work()
    except BridgeportError as problem:
        if isinstance(problem, LibraryError):
            go_on_elsewhere("pyroute2", problem.library)
        module.fail_json(msg=str(problem))
    except Exception as problem:
        module.fail_json(
            msg="Cannot go on: the module met an unforeseen error (%s: %s). Please report it with its traceback."
            % (type(problem).__name__, problem),
            exception=traceback.format_exc(),
        )
    else:
        module.exit_json(**result)


def _to_assume(after: Topology, touched: Touched, assumed: Assumed | None) -> dict[str, t.Any]:
    """What the next task of a play that is checked is to assume."""
    named: list[Touched | Assumed] = [touched, assumed] if assumed else [touched]
    return {
        **topology_to_json(after),
        "touched": {
            "networks": sorted({name for each in named for name in each.networks}),
            "endpoints": sorted({name for each in named for name in each.endpoints}),
        },
    }


def _assumed(module: AnsibleModule) -> Assumed | None:
    data = module.params.get("assume")
    if not module.check_mode or not data:
        return None
    try:
        named = data.get("touched") or {}
        return Assumed(topology_from_json(data), set(named.get("networks", ())), set(named.get("endpoints", ())))
    except (RecordError, AttributeError, TypeError) as problem:
        raise InputError(
            "Cannot assume the given topology: %s. Pass the 'topology' that another module of this collection returned "
            "in check mode." % problem
        ) from None


def go_on_elsewhere(*libraries: str) -> None:
    """Go on under a system interpreter that has these libraries. Does nothing if none has, or if this is that one."""
    if has_respawned():
        return
    # By name, not by what it links to: a virtual environment's Python is the system's, and yet has other libraries.
    for path in _INTERPRETERS:
        if path != sys.executable and all(probe_interpreters_for_module([path], library) for library in libraries):
            _respawn(path)


def lasting_interpreter() -> str:
    """The path by which this Python can be started in times to come.

    Ansible may have found the system's one by a name such as /usr/bin/python3.11, which goes with an upgrade of the
    operating system. The name /usr/bin/python3 stays. A virtual environment's Python has other libraries, and is named
    as it is.
    """
    if sys.prefix == sys.base_prefix:
        here = os.path.realpath(sys.executable)
        for path in _INTERPRETERS:
            if os.path.realpath(path) == here:
                return path
    return sys.executable


def _respawn(interpreter: str) -> None:
    """Respawn with arguments of any size.

    ansible-core writes the module's arguments into a pipe before anybody reads from it, which hangs beyond the pipe's
    64 KiB. For that one call the pipe is a file in memory.
    """
    real = os.pipe

    def pipe_of_any_size() -> tuple[int, int]:
        os.pipe = real
        write_end = os.memfd_create("arguments")
        return os.open("/proc/self/fd/%d" % write_end, os.O_RDONLY), write_end

    os.pipe = pipe_of_any_size
    try:
        respawn_module(interpreter)
    finally:
        os.pipe = real
