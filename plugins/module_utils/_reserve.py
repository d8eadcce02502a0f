# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Keeping host ports from other processes without a process of our own: what systemd's unit for it is told, and says.

What the unit itself does is in :mod:`_hold`.
"""

from __future__ import annotations

import os

from ._files import read_file, write_file
from ._hold import STORED
from ._reservations import ASKED_FILE, HELD_FILE, RESERVATION_UNIT, parse_held
from ._state import FileState
from ._systemd import change_units, show_units, stop_units, systemd_runs

__all__ = ("apply_reservations", "held_ports", "read_reservations", "reservation_problem")

_UNIT_DIRECTORY = "/etc/systemd/system"


def reservation_problem() -> str:
    """Why published ports are not reserved on this host, in a sentence; empty if they are."""
    if systemd_runs() and os.path.exists(os.path.join(_UNIT_DIRECTORY, RESERVATION_UNIT)):
        return ""
    return (
        "The published ports are not reserved against other processes of the host: that takes systemd and its unit %s, "
        "which the role bridgeport.net.host installs." % RESERVATION_UNIT
    )


def held_ports() -> frozenset[str]:
    """What is reserved, as :func:`_reservations.reserved_of` names it."""
    return _written()[0]


def _written() -> tuple[frozenset[str], frozenset[str]]:
    """What the unit holds and what it tried to hold in vain, by its own word."""
    state = read_file(HELD_FILE)
    return parse_held(state.text if state else "")


def read_reservations() -> frozenset[str] | None:
    """What the unit holds, and what it tried to hold in vain. None where ports cannot be reserved.

    :raises KernelError: systemd did not answer.
    """
    if reservation_problem():
        return None
    held, lacking = _written()
    if not held and not lacking:
        return frozenset()
    shown = show_units([RESERVATION_UNIT], ("ActiveState", "NFileDescriptorStore"))
    # Where somebody stopped the unit, or something was lost of it, it begins anew.
    whole = {"ActiveState=active", "NFileDescriptorStore=%d" % STORED} <= set(shown.split())
    return held | lacking if whole else frozenset()


def apply_reservations(before: frozenset[str], after: frozenset[str]) -> None:
    """Have the unit hold what is in ``after``. What it holds already it keeps without a gap.

    :raises KernelError: a file could not be written, or systemd refused.
    """
    if not before or not after:
        stop_units([RESERVATION_UNIT])
        write_file(HELD_FILE, None)
    write_file(ASKED_FILE, FileState("".join(name + "\n" for name in sorted(after))) if after else None)
    if after:
        # systemd keeps what it holds over a restart, and gives it to the process that it starts.
        change_units("restart", [RESERVATION_UNIT])
