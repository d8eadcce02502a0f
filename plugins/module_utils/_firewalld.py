# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""firewalld: the files of its configuration that are ours, and its reload."""

from __future__ import annotations

import contextlib
import os
import typing as t

from ._errors import KernelError, kernel_words
from ._foreign import FIREWALLD_FILES
from ._nftables import read_foreign_chains
from ._process import find_program, run_program

__all__ = ("apply_files", "read_files")


def read_files() -> dict[str, str]:
    """The files of our names that there are, with their text."""
    found = {}
    for path in FIREWALLD_FILES:
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            found[path] = file.read()
    return found


def apply_files(after: t.Mapping[str, str]) -> None:
    """Write the given files and remove the others; a firewalld that runs then reads them.

    :raises KernelError: the system refused, or firewalld did.
    """
    for path in FIREWALLD_FILES:
        try:
            if path in after:
                os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
                with open(path, "w", encoding="utf-8") as file:
                    file.write(after[path])
                os.chmod(path, 0o644)
            else:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
        except OSError as problem:
            raise KernelError(
                "Cannot write %s: the system said: %s." % (path, kernel_words(problem.errno or 0)), problem.errno or 0
            ) from None
    if read_foreign_chains().firewalld:
        _reload()


def _reload() -> None:
    program = find_program("firewall-cmd")
    if program is None:
        raise KernelError(
            "Cannot have firewalld read its new zone: it runs, and there is no program firewall-cmd. Install it."
        )
    done = run_program([program, "--reload"])
    if done.status:
        raise KernelError("Cannot have firewalld read its new zone: firewall-cmd said: %s." % done.words)
