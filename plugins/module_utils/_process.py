# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Running a program to its end, with text in and text out."""

from __future__ import annotations

import os
import select
import shutil
import signal
import typing as t

from ._errors import KernelError, kernel_words

__all__ = ("Finished", "find_program", "run_program")

# A module may be started with less.
_SEARCH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
_WAIT_SECONDS = 60


class Finished(t.NamedTuple):
    """How a program ended: its exit status (negative: the signal that ended it) and what it wrote."""

    status: int
    output: str
    errors: str

    @property
    def words(self) -> str:
        """What it said of an error, in one line."""
        return " ".join((self.errors or self.output).split())[:500].rstrip(".") or "nothing"


def find_program(name: str) -> str | None:
    """The path of a program, or None if this host has none of the name."""
    return shutil.which(name, path=os.pathsep.join(filter(None, (os.environ.get("PATH"), _SEARCH))))


def run_program(command: t.Sequence[str], text: str = "", seconds: float = _WAIT_SECONDS) -> Finished:
    """Run a program, with ``text`` as its standard input and in the C locale.

    :param command: the program's path and its arguments.
    :raises KernelError: it could not be started, or took longer than ``seconds`` and was killed.
    """
    # Files in memory and not pipes: of any size, and nobody has to read while the other writes.
    streams = [os.memfd_create(name) for name in ("input", "output", "errors")]
    try:
        _write(streams[0], text.encode())
        os.lseek(streams[0], 0, os.SEEK_SET)
        actions = [(os.POSIX_SPAWN_DUP2, stream, number) for number, stream in enumerate(streams)]
        environment = {**os.environ, "LC_ALL": "C"}
        try:
            pid = os.posix_spawn(command[0], list(command), environment, file_actions=actions)
        except OSError as problem:
            raise KernelError(
                "Cannot run %s: the system said: %s." % (command[0], kernel_words(problem.errno or 0)),
                problem.errno or 0,
            ) from None
        status = _wait(pid, command[0], seconds)
        return Finished(status, _read(streams[1]), _read(streams[2]))
    finally:
        for stream in streams:
            os.close(stream)


def _wait(pid: int, program: str, seconds: float) -> int:
    watched = os.pidfd_open(pid)
    try:
        ended, _writable, _failed = select.select([watched], [], [], seconds)
        if not ended:
            os.kill(pid, signal.SIGKILL)
        _pid, status = os.waitpid(pid, 0)
    finally:
        os.close(watched)
    if not ended:
        raise KernelError("Cannot wait for %s: it took longer than %d seconds and was killed." % (program, seconds))
    return os.waitstatus_to_exitcode(status)


def _write(stream: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(stream, view) :]


def _read(stream: int) -> str:
    with open(stream, "rb", closefd=False) as file:
        file.seek(0)
        return file.read().decode(errors="replace")
