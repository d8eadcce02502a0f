# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""The proxies for the host's loopback addresses: what systemd holds of them, and making it hold what is asked for."""

from __future__ import annotations

import os

from ._files import read_file, write_file
from ._proxy_units import PROXY_DIRECTORY, PROXY_PROGRAM, UNIT_FILES, Proxies, served_by, service_of
from ._state import FileState
from ._systemd import active_units, reload_manager, start_units, stop_units, systemd_runs

__all__ = ("apply_proxies", "proxied_ports", "proxy_problem", "read_proxies")


def proxy_problem() -> str:
    """Why this host cannot run a proxy, as the middle of a sentence; empty if it can."""
    if not systemd_runs():
        return "the proxy is started by systemd, which does not run on this host"
    if not os.access(PROXY_PROGRAM, os.X_OK):
        return "the proxy %s of systemd is not installed" % PROXY_PROGRAM
    return ""


def proxied_ports() -> frozenset[tuple[str, int]]:
    """The host addresses and ports at which systemd listens for us."""
    return frozenset(pair for name in _instances() for pair in served_by(name))


def _instances() -> list[str]:
    try:
        return os.listdir(PROXY_DIRECTORY)
    except FileNotFoundError:
        return []


def read_proxies(wanted: Proxies) -> Proxies:
    """The proxies that are there. A host that has none and wants none is not even asked.

    :raises KernelError: systemd did not answer.
    """
    paths = [*UNIT_FILES, *("%s/%s" % (PROXY_DIRECTORY, name) for name in _instances())]
    found = {path: state.text for path in paths if (state := read_file(path)) is not None}
    if not (found or wanted.files) or not systemd_runs():
        return Proxies(found)
    return Proxies(found, active_units("bridgeport-proxy*.socket"))


def apply_proxies(before: Proxies, after: Proxies) -> None:
    """Turn the proxies from ``before`` into ``after``. Sockets that stay are not touched, nor what goes through them.

    :raises KernelError: a file could not be written, or systemd refused.
    """
    stop_units(sorted(before.listening - after.listening))
    changed = [path for path in {**before.files, **after.files} if before.files.get(path) != after.files.get(path)]
    for path in changed:
        text = after.files.get(path)
        write_file(path, None if text is None else FileState(text))
    if not UNIT_FILES.keys().isdisjoint(changed):
        reload_manager()
    # One that runs would go on leading to where it led before.
    stop_units([service_of(path) for path in changed if path not in UNIT_FILES and path in before.files])
    start_units(sorted(after.listening - before.listening))
