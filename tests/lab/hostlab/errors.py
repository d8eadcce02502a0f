# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one exception of the lab."""

from __future__ import annotations

from collections.abc import Sequence


class LabError(Exception):
    """The lab could not do what was asked; the message is written for whoever reads the test's output."""


def command_failed(where: str, command: Sequence[str], status: int, stdout: str, stderr: str) -> LabError:
    """Return the error for a command that ended with a status (negative: a signal) other than 0."""
    return LabError(
        f"The command {list(command)!r} ended with status {status} on {where}.\n"
        f"--- stdout\n{stdout.rstrip()}\n--- stderr\n{stderr.rstrip()}"
    )
