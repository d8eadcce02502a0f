# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Writing rules of legacy iptables with python-iptables, each table in one commit.

The library loads and runs the C code of iptables, which may write to the process's own output, jump out of it or end
it; and it keeps a table open in the network namespace of its first use. So it works in a child process, one for each
piece of work, which answers over a pipe.

The library is used below its convenient parts, which lose errors: rules are built word by word, entered into a copy of
the table and committed explicitly, under the lock that iptables itself takes. Three of its faults are repaired in the
child (:mod:`_iptc`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import importlib.util
import json
import os
import signal
import sys
import time
import typing as t

from ._errors import KernelError, LibraryError
from ._ipt_blob import BlobMaker
from ._ipt_table import PROGRAM, Step
from ._iptc import IptcTable, load_library, try_library

__all__ = ("apply_steps", "require_library")

_LIBRARY = "iptc"
_LOCK_FILE = "/run/xtables.lock"
_LOCK_SECONDS = 60
_POLL_SECONDS = 0.02
_CHILD_SECONDS = 180
_TRIES = 20
# How python-iptables begins to say so.
_NO_TABLE = "can't initialize"


def require_library() -> None:
    """Make sure that python-iptables is there and works, by building some rules with it.

    :raises LibraryError: it is missing or broken; names its version, its path and the interpreter.
    """
    found = importlib.util.find_spec(_LIBRARY)
    remedy = (
        "Install python3-iptables (Debian) or python-iptables >= 1.0 for this interpreter, or make the host's iptables "
        "that of nf_tables, or use the backend nftables."
    )
    if found is None or found.origin is None:
        raise LibraryError(
            "Cannot write the rules of legacy iptables: the Python library python-iptables is not there for %s. %s"
            % (sys.executable, remedy),
            _LIBRARY,
        )
    problem = _in_child(try_library)
    if problem:
        raise LibraryError(
            "Cannot write the rules of legacy iptables: python-iptables %s at %s does not work (%s). %s"
            % (_version(), os.path.dirname(found.origin), problem.rstrip("."), remedy),
            _LIBRARY,
        )


def _version() -> str:
    try:
        from importlib.metadata import version

        return version("python-iptables")
    except Exception:  # packaged without metadata
        return "of unknown version"


def apply_steps(version: int, tables: t.Mapping[str, t.Sequence[Step]]) -> None:
    """Carry out steps in the tables of one IP version, each table at once.

    :raises KernelError: the library or the kernel refused; the tables before it are done.
    """
    problem = _in_child(lambda: _apply(version, tables))
    if problem.startswith(_NO_TABLE):
        raise KernelError(
            "Cannot write the firewall rules of IPv%d: the kernel has no tables of legacy iptables (%s). Make the "
            "host's iptables that of nf_tables, or use the backend nftables." % (version, problem.rstrip("."))
        )
    if problem:
        raise KernelError(
            "Cannot write the firewall rules of IPv%d: %s said: %s." % (version, PROGRAM[version], problem.rstrip("."))
        )


def _apply(version: int, tables: t.Mapping[str, t.Sequence[Step]]) -> None:
    library = load_library()
    for name, listed in tables.items():
        with _lock():
            for attempt in range(_TRIES):
                if _commit(IptcTable(library, version, name), version, listed):
                    break
                # Somebody who does not take the lock changed the table meanwhile.
                time.sleep(_POLL_SECONDS * attempt)
            else:
                raise TimeoutError("the table %s kept changing under the lock of iptables" % name)


def _commit(table: IptcTable, version: int, listed: t.Sequence[Step]) -> bool:
    """Enter the steps into a fresh copy of the table and hand it to the kernel; False if the copy is out of date."""
    maker = BlobMaker(version, table.build)
    for step in listed:
        if step.verb == "make":
            table.make(step.chain)
        elif step.verb == "append":
            table.append(step.chain, maker.make(step.rule))
        elif step.verb == "insert":
            table.insert(step.chain, maker.make(step.rule), step.behind)
        elif step.verb == "delete":
            table.delete(step.chain, step.rule[-1])
        elif step.verb == "flush":
            table.flush(step.chain)
        else:
            table.remove(step.chain)
    return table.commit()


@contextlib.contextmanager
def _lock() -> t.Iterator[None]:
    """Hold the lock that the iptables programs take."""
    path = os.environ.get("XTABLES_LOCKFILE", _LOCK_FILE)
    file = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _LOCK_SECONDS
    try:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as problem:
                if problem.errno != errno.EAGAIN:
                    raise
                if time.monotonic() > deadline:
                    raise TimeoutError("another program has held %s for %d seconds" % (path, _LOCK_SECONDS)) from None
                time.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(file)


def _in_child(work: t.Callable[[], t.Any]) -> str:
    """Do some work in a child process; returns its problem in words, "" for none."""
    said = os.memfd_create("said")
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(work, writer, said)
    os.close(writer)
    try:
        with open(reader, "rb") as answers:
            answer = answers.read()
        _pid, status = os.waitpid(pid, 0)
        with open(said, "rb", closefd=False) as file:
            file.seek(0)
            words = " ".join(file.read(2000).decode(errors="replace").split())
    finally:
        os.close(said)
    if answer:
        return str(json.loads(answer)["problem"])
    return words or "nothing, and ended with status %d" % os.waitstatus_to_exitcode(status)


def _child(work: t.Callable[[], t.Any], writer: int, said: int) -> t.NoReturn:
    """The child's whole life. It never returns into the code of its parent."""
    problem = ""
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_CHILD_SECONDS)
        os.dup2(said, 1)
        os.dup2(said, 2)
        work()
    except BaseException as caught:
        problem = " ".join(("%s" % caught).split()) or type(caught).__name__
    os.write(writer, json.dumps({"problem": problem}).encode())
    os._exit(0)
