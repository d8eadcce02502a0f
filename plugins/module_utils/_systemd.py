# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Asking systemd: whether it runs, which units are active, to start and to stop them, all units in one call."""

from __future__ import annotations

import os
import select
import signal
import time
import typing as t

from ._errors import KernelError

__all__ = ("active_units", "reload_manager", "start_units", "stop_units", "systemd_runs")

_RUNNING = "/run/systemd/system"
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
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
    read_end, write_end = os.pipe()
    try:
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, write_end, 1),
            (os.POSIX_SPAWN_DUP2, write_end, 2),
        ]
        environment = {"PATH": _PATH, "LC_ALL": "C", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}
        command = ("systemctl", "--no-ask-password", *words)
        try:
            pid = os.posix_spawnp("systemctl", command, environment, file_actions=actions)
        except OSError as problem:
            raise KernelError(
                "Cannot %s: the program systemctl could not be run: %s." % (attempt, problem.strerror),
                problem.errno or 0,
            ) from None
        finally:
            os.close(write_end)
        text, in_time = _read(read_end)
        if not in_time:
            os.kill(pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(read_end)
    if status not in (0, bearing):
        said = " ".join(text.split())[:500] if in_time else "nothing for %d seconds, and was ended" % _WAIT_SECONDS
        raise KernelError("Cannot %s: systemctl said: %s." % (attempt, said.rstrip(".") or "nothing"))
    return text


def _read(source: int) -> tuple[str, bool]:
    """What comes until the other end is closed, and whether that was in time."""
    deadline = time.monotonic() + _WAIT_SECONDS
    found = b""
    while select.select([source], [], [], max(0.0, deadline - time.monotonic()))[0]:
        data = os.read(source, 1 << 16)
        if not data:
            return found.decode(errors="replace"), True
        found += data
    return found.decode(errors="replace"), False
