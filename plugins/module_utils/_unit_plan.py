# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""What must happen to systemd units: from what is asked for and what systemd says, to steps. Pure."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from ._errors import DependencyError, StateError
from ._units import MARK, Unit, drop_in_path, drop_in_text, namespace_path, unit_path

__all__ = (
    "PROPERTIES",
    "UnitPlan",
    "UnitState",
    "check_version",
    "parse_states",
    "parse_version",
    "plan_absent",
    "plan_present",
)

PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "UnitFileState",
    "FragmentPath",
    "DropInPaths",
    "PrivateNetwork",
    "NetworkNamespacePath",
    "MainPID",
    "NeedDaemonReload",
    "InactiveExitTimestampMonotonic",
)
# The first systemd that knows NetworkNamespacePath.
_LEAST_VERSION = 242
# Not a commit's hash, which may begin with digits too.
_VERSION = re.compile(r"\s*(?:systemd )?v?(\d+)(?![0-9A-Za-z])")
# A unit in one of these states has no need to be started.
_UP = ("active", "activating", "reloading")


@dataclass(frozen=True)
class UnitState:
    """What systemd says of a unit.

    ``network`` is the inode of the main process's network namespace, 0 if there is no process. ``started`` is when it
    was last started, in microseconds of the monotonic clock; 0 if never.
    """

    name: str
    id: str
    load: str
    active: str
    enabled: str
    fragment: str
    drop_ins: tuple[str, ...]
    private_network: bool
    namespace: str
    pid: int
    stale: bool
    network: int = 0
    started: int = 0

    @property
    def up(self) -> bool:
        """Whether it runs or is about to."""
        return self.active in _UP

    @property
    def ours(self) -> bool:
        """Whether a drop-in of ours has placed it where it is."""
        return drop_in_path(self.name) in self.drop_ins


@dataclass
class UnitPlan:
    """Steps, in this order: ``stop``, ``disable``, ``files`` (path to text, None to remove), reload, ``enable``, then
    ``restart`` and ``start``. ``units`` are those that it is about, ``actions`` the sentences of the steps."""

    units: list[str] = field(default_factory=list)
    stop: list[str] = field(default_factory=list)
    disable: list[str] = field(default_factory=list)
    files: dict[str, str | None] = field(default_factory=dict)
    enable: list[str] = field(default_factory=list)
    restart: list[str] = field(default_factory=list)
    start: list[str] = field(default_factory=list)
    reload: bool = False
    actions: list[str] = field(default_factory=list)

    def write(self, path: str, text: str | None, files: t.Mapping[str, str | None]) -> bool:
        """Have a file hold ``text``; returns whether that is a change."""
        if files.get(path) == text:
            return False
        self.files[path] = text
        self.reload = True
        self.actions.append("%s %s." % ("Remove" if text is None else "Write", path))
        return True

    def add(self, step: str, name: str) -> None:
        """Have systemctl do ``step`` to a unit."""
        getattr(self, step).append(name)
        self.actions.append("%s %s." % (step.capitalize(), name))


def parse_states(names: t.Sequence[str], shown: str) -> list[UnitState]:
    """Read the output of ``systemctl show`` for ``names``: a paragraph of PROPERTY=VALUE lines for each, in order."""
    paragraphs = [dict(line.split("=", 1) for line in block.splitlines()) for block in (shown + "\n").split("\n\n")]
    return [
        UnitState(
            name,
            said.get("Id", name),
            said.get("LoadState", "not-found"),
            said.get("ActiveState", "inactive"),
            said.get("UnitFileState", ""),
            said.get("FragmentPath", ""),
            tuple(said.get("DropInPaths", "").split()),
            said.get("PrivateNetwork") == "yes",
            said.get("NetworkNamespacePath", ""),
            int(said.get("MainPID") or 0),
            said.get("NeedDaemonReload") == "yes",
            started=int(said.get("InactiveExitTimestampMonotonic") or 0),
        )
        for name, said in zip(names, paragraphs)
    ]


def parse_version(said: str) -> int | None:
    """The number in what systemd says of its version; None if there is none to be read."""
    found = _VERSION.match(said)
    return int(found.group(1)) if found else None


def check_version(units: t.Sequence[Unit], said: str) -> None:
    """Refuse to place units where systemd would ignore where they belong, and run them in the host's network.

    :param said: what systemd says of its version. One that cannot be read stands in nobody's way.
    :raises DependencyError: it is too old.
    """
    version = parse_version(said)
    inside = [unit for unit in units if unit.mode == "endpoint"]
    if inside and version is not None and version < _LEAST_VERSION:
        raise DependencyError(
            "Cannot run the unit %s in %s: this host's systemd is of version %s, which does not know "
            "NetworkNamespacePath and would run it in the host's network. Upgrade systemd to %d or newer, or leave out "
            "'unit' and 'exec' and start the service inside the endpoint by other means."
            % (inside[0].name, inside[0].place, said, _LEAST_VERSION)
        )


def plan_present(
    units: t.Sequence[Unit],
    states: t.Sequence[UnitState],
    files: t.Mapping[str, str | None],
    networks: t.Mapping[str, int],
    bound: bool,
    missing_ok: bool,
    owed: t.Mapping[str, int] | None = None,
) -> UnitPlan:
    """Have each unit run where it is asked to.

    :param files: the text of each unit file and drop-in of ours, None where there is none.
    :param networks: the inode of each endpoint's namespace, and of the host's own under "".
    :param missing_ok: a unit that systemd does not know may yet be installed.
    :param owed: the units that an earlier run had to restart, each with the time since when, 0 if systemd has not read
        its files yet.
    :raises StateError: a unit cannot be placed; one full sentence.
    """
    by_id: dict[str, Unit] = {}
    for unit, state in zip(units, states):
        other = by_id.setdefault(state.id, unit)
        if other is not unit:
            raise StateError(
                "Cannot run the unit %s: it is the same as %s, by another name. Name it once." % (unit.name, other.name)
            )
        _refuse(unit, state, files, missing_ok)
    plan = UnitPlan([state.name for state in states])
    for unit, state in zip(units, states):
        _place(plan, unit, state, files, networks, bound, (owed or {}).get(unit.name))
    return plan


def _owes(state: UnitState, since: int | None) -> bool:
    """Whether a restart of an earlier run was not done: the unit has not been started since."""
    return since is not None and (since == 0 or state.started < since or not state.up)


def _place(
    plan: UnitPlan,
    unit: Unit,
    state: UnitState,
    files: t.Mapping[str, str | None],
    networks: t.Mapping[str, int],
    bound: bool,
    since: int | None,
) -> None:
    changed = False
    if unit.text is not None:
        changed = plan.write(unit_path(unit.name), unit.text, files)
    drop_in = drop_in_text(unit, bound)
    moved = plan.write(drop_in_path(unit.name), drop_in, files) or (drop_in is not None and not state.ours)
    if unit.text is not None and state.enabled != "enabled":
        plan.add("enable", unit.name)
    astray = state.up and state.network != 0 and not _is_there(unit, state, networks)
    if changed or moved or astray or _owes(state, since):
        # A run that was killed may have written a file that systemd has not read yet.
        plan.reload = plan.reload or state.stale or since == 0
        plan.add("restart", unit.name)
    elif unit.text is not None and not state.up:
        plan.add("start", unit.name)


def _is_there(unit: Unit, state: UnitState, networks: t.Mapping[str, int]) -> bool:
    if unit.mode == "none":
        return state.network not in networks.values()
    wanted = networks.get(unit.endpoint)
    # A service may well run in another namespace than the host's because its own unit says so.
    return wanted is None or state.network == wanted or (unit.mode == "host" and not state.ours)


def _refuse(unit: Unit, state: UnitState, files: t.Mapping[str, str | None], missing_ok: bool) -> None:
    attempt = "Cannot run the unit %s in %s: " % (unit.name, unit.place)
    if unit.text is None and state.load == "not-found" and not missing_ok:
        raise StateError(attempt + "systemd knows no such unit. Install the service first, or correct the name.")
    if state.load == "masked":
        raise StateError(attempt + "it is masked. Unmask it first.")
    if unit.text is not None and state.load != "not-found":
        ours = state.fragment == unit_path(unit.name) and MARK in (files.get(state.fragment) or "")
        if not ours:
            raise StateError(
                "Cannot write the unit %s: there is one of that name, %s, which is not ours. Choose another name, or "
                "leave 'exec' out to run that one." % (unit.name, state.fragment or "made by systemd itself")
            )
    if unit.mode != "endpoint":
        return
    if state.private_network and not state.ours:
        raise StateError(
            attempt + "it sets PrivateNetwork, which gives it a network of its own. Override that in a drop-in first."
        )
    if not state.ours and state.namespace not in ("", namespace_path(unit.endpoint)):
        raise StateError(
            attempt + "it runs in %s already. Take it out of there first, for example by one run with its network "
            "'host'." % state.namespace
        )


def plan_absent(
    states: t.Sequence[UnitState],
    files: t.Mapping[str, str | None],
    owners: t.Sequence[UnitState] = (),
    keep_drop_ins: bool = False,
) -> UnitPlan:
    """Have units that we placed stop, and remove what we wrote for them.

    :param owners: the units of endpoints that go; with them stops whatever an administrator has bound to them.
    :param keep_drop_ins: leave the drop-ins of units that others installed, so that they do not start on the host's
        network instead.
    """
    plan = UnitPlan([state.name for state in states])
    for owner in owners:
        if owner.up:
            plan.add("stop", owner.name)
    for state in states:
        text, drop_in = unit_path(state.name), drop_in_path(state.name)
        written = MARK in (files.get(text) or "")
        placed = MARK in (files.get(drop_in) or "")
        if not (written or placed):
            continue
        if state.up:
            plan.add("stop", state.name)
        if written:
            if state.enabled == "enabled":
                plan.add("disable", state.name)
            plan.write(text, None, files)
        if placed and (written or not keep_drop_ins):
            plan.write(drop_in, None, files)
    return plan
