# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""The ways in which a run can be refused or fail, each carrying one full sentence for the operator."""

from __future__ import annotations

import errno
import os

__all__ = (
    "BridgeportError",
    "DependencyError",
    "InputError",
    "KernelError",
    "LibraryError",
    "RecordError",
    "StateError",
    "kernel_words",
    "system_words",
)


class BridgeportError(Exception):
    """Base of every error that a module reports as a sentence instead of a traceback.

    The sentence stays in one line, whatever the values are that it names.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message if message.isprintable() else "".join(map(_shown, message)))


class InputError(BridgeportError):
    """An argument is wrong in itself, or contradicts the rest of the topology. Nothing was changed."""


class StateError(BridgeportError):
    """The host holds something that forbids the change, such as a foreign interface. Nothing was changed."""


class DependencyError(BridgeportError):
    """A library, a program or a privilege that the managed host must have is missing or too old."""


class LibraryError(DependencyError):
    """A Python library is missing or does not work, for this interpreter.

    :ivar library: the name by which it is imported.
    """

    def __init__(self, message: str, library: str = "") -> None:
        super().__init__(message)
        self.library = library


class RecordError(BridgeportError):
    """The record of the topology cannot be read or written."""


class KernelError(BridgeportError):
    """The kernel, or a program that speaks to it, refused a step.

    :ivar code: the errno it gave, 0 where it gave words only.
    """

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


def _shown(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def kernel_words(code: int) -> str:
    """Name an errno as the kernel's own words, for example ``File exists (EEXIST)``."""
    return "%s (%s)" % (os.strerror(code), errno.errorcode.get(code, "errno %d" % code))


def system_words(problem: OSError) -> str:
    """Name what the system refused: as :func:`kernel_words`, or in Python's words where no errno belongs to it."""
    return kernel_words(problem.errno) if problem.errno else str(problem) or type(problem).__name__
