# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Asking systemd: whether it runs, what it knows of units, and to start, stop or change them, all in one call."""

from __future__ import annotations

import os
import typing as t

from ._errors import KernelError
from ._process import find_program, run_program

__all__ = (
    "active_units",
    "change_units",
    "manager_version",
    "reload_manager",
    "show_units",
    "start_units",
    "stop_units",
    "systemd_runs",
)

_RUNNING = "/run/systemd/system"
_WAIT_SECONDS = 600
# Names in one command line: far from the kernel's limit, and thousands of ports are still a few calls.
_BATCH = 2000
_NOT_LOADED = 5


def systemd_runs() -> bool:
    """Whether systemd is this host's process 1."""
    return os.path.isdir(_RUNNING)


def active_units(pattern: str) -> frozenset[str]:
    """The units that are active, out of those whose name matches a shell pattern.

    :raises KernelError: systemd did not answer.
    """
    options = ("--plain", "--no-legend", "--full", "--state=active")
    text = _systemctl("list the units %s" % pattern, "list-units", *options, pattern)
    return frozenset(line.split()[0] for line in text.splitlines() if line.strip())


def start_units(names: t.Sequence[str]) -> None:
    """Start units; those that are active stay as they are.

    :raises KernelError: systemd refused.
    """
    for some in _batches(names):
        _systemctl("start %s" % _shown(names), "start", *some)


def stop_units(names: t.Sequence[str]) -> None:
    """Stop units; it is no error that there are none of these names.

    :raises KernelError: systemd refused.
    """
    for some in _batches(names):
        _systemctl("stop %s" % _shown(names), "stop", *some, bearing=_NOT_LOADED)


def change_units(verb: str, names: t.Sequence[str]) -> None:
    """Have units restarted, enabled or disabled, as ``verb`` says.

    :raises KernelError: systemd refused.
    """
    for some in _batches(names):
        _systemctl("%s %s" % (verb, _shown(names)), verb, "--quiet", "--", *some)


def show_units(names: t.Sequence[str], properties: t.Sequence[str]) -> str:
    """What systemd knows of units: a paragraph of PROPERTY=VALUE lines for each, in the order of ``names``.

    :raises KernelError: systemd did not answer.
    """
    wanted = "--property=%s" % ",".join(properties)
    return "\n".join(_systemctl("ask for %s" % _shown(names), "show", wanted, "--", *some) for some in _batches(names))


def manager_version() -> str:
    """The version of the systemd that runs, in its own words, such as ``252.36-1~deb12u1``.

    :raises KernelError: systemd did not answer.
    """
    return _systemctl("ask systemd for its version", "show", "--property=Version").strip().partition("=")[2]


def reload_manager() -> None:
    """Make systemd read the unit files anew.

    :raises KernelError: systemd refused.
    """
    _systemctl("have systemd read its unit files", "daemon-reload")


def _batches(names: t.Sequence[str]) -> t.Iterator[t.Sequence[str]]:
    for begin in range(0, len(names), _BATCH):
        yield names[begin : begin + _BATCH]


def _shown(names: t.Sequence[str]) -> str:
    return names[0] + (" and %d more" % (len(names) - 1) if len(names) > 1 else "")


def _systemctl(attempt: str, *words: str, bearing: int = 0) -> str:
    """Run systemctl and return what it printed.

    :param bearing: an exit status that is as good as 0.
    :raises KernelError: it failed; carries its own words.
    """
    program = find_program("systemctl")
    if program is None:
        raise KernelError("Cannot %s: this host has no systemctl. Install systemd." % attempt)
    done = run_program([program, "--no-ask-password", "--no-pager", *words], seconds=_WAIT_SECONDS)
    if done.status not in (0, bearing):
        raise KernelError("Cannot %s: systemctl said: %s." % (attempt, done.words))
    return done.output
