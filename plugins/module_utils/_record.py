# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""The record: the topology as last asked for, on the managed host, under one lock.

Two files. ``topology.json`` is what the host holds. ``pending.json`` is there only while a run is changing the host:
it is what that run was asked for. Committing is one rename, so nothing can fail between the last change and the
record of it; and a run that was killed leaves ``pending.json`` behind, which the next run carries to its end. Should
that one be killed as well, ``unfinished.json`` still tells what the first had been asked for. Where nothing is asked
for any more, no file is left: committing is then to remove ``topology.json``, and ``pending.json`` goes after it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
import typing as t

from ._backends import BACKENDS
from ._codec import topology_from_json, topology_to_json
from ._errors import RecordError, kernel_words
from ._topology import Topology

__all__ = ("DIRECTORY", "Record")

DIRECTORY = "/var/lib/bridgeport"
_Read = t.TypeVar("_Read")
_FORMAT = 1
_WAIT_SECONDS = 300
_POLL_SECONDS = 0.05


class Record:
    """The record of this host.

    :ivar topology: what the host holds, as far as the last completed run knows.
    :ivar pending: what an interrupted run was asked for, or None.
    :ivar unfinished: what runs had been asked for that were interrupted before that one.
    :ivar backend: who carries the rules, by its full name; None while there is no record.
    """

    def __init__(self, directory: str = DIRECTORY) -> None:
        self.directory = directory
        self.path = os.path.join(directory, "topology.json")
        self.pending_path = os.path.join(directory, "pending.json")
        self.unfinished_path = os.path.join(directory, "unfinished.json")
        self.topology = Topology()
        self.pending: Topology | None = None
        self.unfinished: tuple[Topology, ...] = ()
        self.backend: str | None = None

    @property
    def given(self) -> tuple[Topology, ...]:
        """All that the host may hold something of, the oldest first; the last is where the next run starts."""
        return (self.topology,) if self.pending is None else (self.topology, *self.unfinished, self.pending)

    @contextlib.contextmanager
    def locked(self, create: bool) -> t.Iterator[None]:
        """Hold the host's lock; another run waits.

        :param create: make the directory; a check must not, and where there is no directory there is nothing to guard.
        :raises RecordError: the lock was not to be had in time, or the directory cannot be made.
        """
        try:
            if create:
                os.makedirs(self.directory, mode=0o700, exist_ok=True)
                # Whoever may open the directory may lock it, and so hold up every run.
                os.chmod(self.directory, 0o700)
            folder = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
            # A program of a run that was killed may still be at work: as long as it is, the next run waits.
            os.set_inheritable(folder, True)
        except FileNotFoundError:
            yield
            return
        except OSError as problem:
            raise RecordError(
                "Cannot open the directory of the record, %s: the system said: %s."
                % (self.directory, kernel_words(problem.errno or 0))
            ) from None
        try:
            self._wait(folder)
            yield
        finally:
            os.close(folder)

    def _wait(self, folder: int) -> None:
        deadline = time.monotonic() + _WAIT_SECONDS
        while True:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError as problem:
                if problem.errno not in (errno.EAGAIN, errno.EACCES):
                    raise RecordError(
                        "Cannot lock %s: the system said: %s." % (self.directory, kernel_words(problem.errno or 0))
                    ) from None
            if time.monotonic() > deadline:
                raise RecordError(
                    "Cannot lock %s: another run has held it for %d seconds. Wait for that run, or find it with "
                    "'fuser %s'." % (self.directory, _WAIT_SECONDS, self.directory)
                )
            time.sleep(_POLL_SECONDS)

    def read(self) -> None:
        """Read the files; a missing one means an empty topology, or no interrupted run.

        :raises RecordError: a file is there and cannot be understood. It is left as it is.
        """
        found = self._read(self.path, _topology)
        if found is not None:
            self.topology, self.backend = found
        pending = self._read(self.pending_path, _topology)
        if pending is not None:
            self.pending, self.backend = pending
            self.unfinished = self._read(self.unfinished_path, _topologies) or ()

    def _read(self, path: str, convert: t.Callable[[t.Any], _Read]) -> _Read | None:
        try:
            with open(path, encoding="utf-8") as file:
                data = json.load(file)
            if data["format"] != _FORMAT:
                raise RecordError("its format is %r and this release reads %d" % (data["format"], _FORMAT))
            return convert(data)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError, RecordError) as problem:
            raise RecordError(
                "Cannot read the record %s: %s. Nothing was changed and the file was left as it is. Restore it from a "
                "backup; or move it away and run your playbook again, which takes over what it names of what is there."
                % (path, problem)
            ) from None

    def begin(self, wanted: Topology, backend: str) -> None:
        """Write down what this run is about to do, so that the next one can end it.

        :param backend: who is to carry the rules.
        :raises RecordError: the file cannot be written; nothing of it is left.
        """
        if self.pending is not None:
            begun = (*(topology for topology in self.unfinished if topology != self.pending), self.pending)
            self._write(self.unfinished_path, {"topologies": [topology_to_json(topology) for topology in begun]})
        self._write(self.pending_path, {"backend": backend, "topology": topology_to_json(wanted)})

    def _write(self, path: str, data: dict[str, t.Any]) -> None:
        fresh = path + ".new"
        try:
            with open(fresh, "w", encoding="utf-8") as file:
                os.chmod(fresh, 0o600)
                file.write(json.dumps({"format": _FORMAT, **data}, separators=(",", ":")) + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.rename(fresh, path)
            self._sync()
        except OSError as problem:
            with contextlib.suppress(OSError):
                os.unlink(fresh)
            raise RecordError(
                "Cannot write the record %s: the system said: %s. Nothing was changed. Make room or mend the "
                "file system." % (fresh, kernel_words(problem.errno or 0))
            ) from None

    def commit(self, keep: bool = True) -> None:
        """Make what :meth:`begin` wrote the record. One rename, or one removal.

        :param keep: False where nothing is asked for any more: then no file is left.

        :raises RecordError: that failed, and nothing was put in place.
        """
        try:
            # Nothing is left of it: the host holds what is pending.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.unfinished_path)
            if keep:
                os.rename(self.pending_path, self.path)
            else:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.path)
        except OSError as problem:
            raise RecordError(
                "Cannot put the record %s in place: the system said: %s."
                % (self.path, kernel_words(problem.errno or 0))
            ) from None
        # From here on the run is done. Should the disk forget it, the next run completes what it has done.
        with contextlib.suppress(OSError):
            if not keep:
                os.unlink(self.pending_path)
            self._sync()

    def abort(self) -> None:
        """Forget what :meth:`begin` wrote, because all of it was undone.

        What an earlier run had left to be completed is left as before.
        """
        if self.pending is not None:
            self.begin(self.pending, self.backend or "")
            return
        with contextlib.suppress(OSError):
            os.unlink(self.pending_path)
            self._sync()

    def _sync(self) -> None:
        folder = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _topology(data: t.Any) -> tuple[Topology, str]:
    if data["backend"] not in BACKENDS:
        raise RecordError("%r is no backend" % (data["backend"],))
    return topology_from_json(data["topology"]), data["backend"]


def _topologies(data: t.Any) -> tuple[Topology, ...]:
    return tuple(topology_from_json(item) for item in data["topologies"])
