# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes as the lab handles them: named by pid *and* start time, so that a recycled pid is never killed."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hostlab.errors import LabError

POLL_SECONDS = 0.005
LEADER_SECONDS = 1.0


@dataclass(frozen=True)
class ProcessId:
    """One process of this machine for good: its pid, and its start in clock ticks after boot."""

    pid: int
    start: int

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """Return the identity of a running process; LabError when there is none with this pid."""
        fields = _stat(pid)
        if fields is None:
            raise LabError(f"Looking up process {pid} failed: it has ended. Its log, if it has one, may say why.")
        return cls(pid, int(fields[19]))

    def alive(self) -> bool:
        """Say whether this very process still runs (a zombie does not)."""
        fields = _stat(self.pid)
        return fields is not None and int(fields[19]) == self.start and fields[0] not in "ZX"

    def kill(self, timeout: float = 5.0) -> None:
        """Kill it and wait until it is gone; do nothing when it already is. `timeout` in seconds."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            # The pidfd pins the process: what is alive under it now cannot become another one before the signal.
            if self.alive():
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                if not select.select([descriptor], [], [], timeout)[0]:
                    raise LabError(f"Process {self.pid} was killed but is still there after {timeout} seconds.")
        except ProcessLookupError:
            return
        finally:
            os.close(descriptor)

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for its end and say whether it came; it need not be a child of ours."""
        deadline = time.monotonic() + timeout
        while self.alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat from the third (state) on, or None when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def _group(leader: int) -> list[int]:
    """Return the pids of the running processes in the process group of `leader`, without the leader."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != leader:
            fields = _stat(int(entry))
            if fields is not None and int(fields[2]) == leader and fields[0] not in "ZX":
                found.append(int(entry))
    return found


def kill_group(popen: subprocess.Popen[str]) -> None:
    """Kill a child that leads a process group, with the group, and reap it.

    The leader (nsenter, unshare) goes last and by itself. Were it killed with the others, process 1 of the
    machine would inherit its child, and a pid namespace cannot end before every zombie in it is collected:
    stopping the lab would wait for that process 1, which in many containers collects nothing.
    """
    deadline = time.monotonic() + LEADER_SECONDS
    while popen.poll() is None and time.monotonic() < deadline:
        for pid in _group(popen.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            popen.wait(0.02)
    if popen.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(popen.pid, signal.SIGKILL)
    popen.wait(5)


def collect(popen: subprocess.Popen[str]) -> None:
    """Reap a child that is about to end, because what it waits for was killed; kill it if it does not."""
    try:
        popen.wait(LEADER_SECONDS)
    except subprocess.TimeoutExpired:
        kill_group(popen)


class Process:
    """A command that runs in the background of a host; its stdout and stderr go to the file `log`."""

    def __init__(self, where: str, argv: Sequence[str], command: Sequence[str], log: Path) -> None:
        """Start `argv` (which runs `command` inside the host `where`)."""
        self.where = where
        self.command = list(command)
        self.log = log
        with open(log, "ab") as output:
            # Its own session: Ctrl-C in the terminal is for the owner, who then stops this in order.
            self.popen = subprocess.Popen(
                list(argv), stdin=subprocess.DEVNULL, stdout=output, stderr=output, text=True, start_new_session=True
            )

    def output(self) -> str:
        """Return what it has printed so far, stdout and stderr mixed."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def running(self) -> bool:
        """Say whether it still runs."""
        return self.popen.poll() is None

    def wait_for(self, text: str, timeout: float) -> None:
        """Wait until it has printed `text`; LabError when it ends before or `timeout` seconds pass."""
        deadline = time.monotonic() + timeout
        while text not in self.output():
            status = self.popen.poll()
            if status is not None and text not in self.output():
                raise LabError(
                    f"The command {self.command!r} on {self.where} ended with status {status} "
                    f"before it printed {text!r}. It said:\n{self.output()}"
                )
            if time.monotonic() > deadline:
                self.stop()
                raise LabError(
                    f"The command {self.command!r} on {self.where} did not print {text!r} "
                    f"within {timeout} seconds and was stopped. It said:\n{self.output()}"
                )
            time.sleep(POLL_SECONDS)

    def wait(self, timeout: float) -> int:
        """Wait for its end and return its status; LabError after `timeout` seconds."""
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired as error:
            said = f"The command {self.command!r} on {self.where} still runs after {timeout} seconds."
            raise LabError(said) from error

    def signal(self, number: int) -> None:
        """Send a signal to the command and its children."""
        # Not to nsenter, the group's leader: that would end at once, and hide the command's own end and status.
        for pid in _group(self.popen.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self, timeout: float = 3.0) -> int:
        """End it with SIGTERM, after `timeout` seconds with SIGKILL; return its status. May be called again."""
        if self.popen.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.popen.wait(timeout)
            except subprocess.TimeoutExpired:
                kill_group(self.popen)
        return int(self.popen.wait(timeout))
