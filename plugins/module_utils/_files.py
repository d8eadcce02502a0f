# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""The small files that belong to networks and endpoints: hosts and resolv.conf."""

from __future__ import annotations

import contextlib
import os

from ._errors import KernelError, kernel_words
from ._state import FileState

__all__ = ("read_file", "write_file")


def read_file(path: str) -> FileState | None:
    """The file's state, or None if there is none."""
    try:
        return FileState(os.readlink(path), link=True)
    except OSError:
        pass
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return FileState(file.read())
    except OSError:
        return None


def write_file(path: str, state: FileState | None) -> None:
    """Write a file or link, or remove it where ``state`` is None, together with the directory if that is then empty.

    A file that exists is written in place: a running service may have its inode mounted over its own /etc/hosts.

    :raises KernelError: the system refused.
    """
    try:
        if state is None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            with contextlib.suppress(OSError):
                os.rmdir(os.path.dirname(path))
            return
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        if os.path.islink(path) or (state.link and os.path.lexists(path)):
            os.unlink(path)
        if state.link:
            os.symlink(state.text, path)
        else:
            with open(path, "w", encoding="utf-8") as file:
                file.write(state.text)
            os.chmod(path, 0o644)
    except OSError as problem:
        raise KernelError(
            "Cannot write %s: the system said: %s." % (path, kernel_words(problem.errno or 0)), problem.errno or 0
        ) from None
