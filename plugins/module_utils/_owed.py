# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Restarts of units that a run owes, should it be killed or fail before it has done them.

They are written down before the units' files change. A file that says what is asked for does not tell whether the
process behind it does. With a reboot they go, as the processes do.
"""

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from ._errors import KernelError, kernel_words

__all__ = ("owe", "read_owed", "settle")

_OWED_FILE = "/run/bridgeport/restarts"


def read_owed() -> dict[str, int]:
    """The units to restart, each with the time since which it had to be, in microseconds of the monotonic clock as
    systemd counts them; 0 if systemd had not read its files yet."""
    try:
        with open(_OWED_FILE, encoding="utf-8") as file:
            lines = [line.split() for line in file]
    except OSError:
        return {}
    return {words[0]: int(words[1]) for words in lines if len(words) == 2 and words[1].isdigit()}


def owe(names: t.Collection[str], read: bool) -> None:
    """Write down that units are to be restarted from now on.

    :param read: systemd has read their files.
    :raises KernelError: the system refused.
    """
    if names:
        _write({**read_owed(), **dict.fromkeys(names, time.monotonic_ns() // 1000 if read else 0)})


def settle(names: t.Collection[str]) -> None:
    """Strike off units of which nothing is owed any more.

    :raises KernelError: the system refused.
    """
    owed = read_owed()
    left = {name: since for name, since in owed.items() if name not in names}
    if left != owed:
        _write(left)


def _write(owed: t.Mapping[str, int]) -> None:
    try:
        if not owed:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(_OWED_FILE)
            return
        os.makedirs(os.path.dirname(_OWED_FILE), mode=0o755, exist_ok=True)
        with open(_OWED_FILE + ".new", "w", encoding="utf-8") as file:
            file.write("".join("%s %d\n" % item for item in sorted(owed.items())))
        os.replace(_OWED_FILE + ".new", _OWED_FILE)
    except OSError as problem:
        code = problem.errno or 0
        raise KernelError("Cannot write %s: the system said: %s." % (_OWED_FILE, kernel_words(code)), code) from None
