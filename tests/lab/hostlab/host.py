# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One host of the lab, as tests use it: run commands, read and write files, look at links, probe ports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hostlab import snapshot
from hostlab.enter import nsenter_argv
from hostlab.errors import LabError, command_failed
from hostlab.probes import PROBE_SCRIPT, Probe
from hostlab.process import Process, ProcessId, kill_group

CONTROL_GROUPS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))


class Host:
    """A running host. Lab.add_host makes it; it lives until the lab is stopped."""

    # The Python that runs the lab's own scripts there.
    python = sys.executable

    def __init__(self, name: str, identity: ProcessId, addresses: Sequence[str], mac: str, logs: Path) -> None:
        """Describe the host whose process 1 is `identity`; logs of background commands go below `logs`."""
        self.name = name
        self.identity = identity
        # What the host begins and ends with: process 1 of its namespaces, whatever boots inside of them.
        self.holder = identity
        # Of a host that boots an operating system of its own: the name of its control group, which outlives it.
        self.group = ""
        self.addresses = list(addresses)
        self.mac = mac
        self.processes: list[Process] = []
        self._logs = logs

    @property
    def pid(self) -> int:
        """The pid of the host's process 1, as seen from outside."""
        return self.identity.pid

    def alive(self) -> bool:
        """Say whether the host still runs."""
        return self.identity.alive()

    def after_stop(self) -> None:
        """Remove what the host's end leaves behind."""
        if self.group:
            remove_control_groups(self.group)

    def argv(self, command: Sequence[str], netns: str | None = None) -> list[str]:
        """Return the command line that runs `command` in this host, in the caller's working directory.

        netns: a namespace under /run/netns of the host, to run in that one instead.
        """
        return nsenter_argv(self.pid, command, netns, os.getcwd())

    def run(
        self,
        command: Sequence[str],
        *,
        netns: str | None = None,
        check: bool = True,
        timeout: float = 60.0,
        input: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end and return its status and captured text; env adds to the caller's.

        LabError after `timeout` seconds (the command and its process group are then gone), or with `check`
        when the status is not 0.
        """
        popen = subprocess.Popen(
            self.argv(command, netns),
            stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
        with popen:
            try:
                stdout, stderr = popen.communicate(input, timeout)
            except subprocess.TimeoutExpired as error:
                kill_group(popen)
                said = "\n".join(stream for stream in popen.communicate(timeout=5) if stream)
                what = f"The command {list(command)!r} on {self.place(netns)} took longer than {timeout} seconds"
                raise LabError(f"{what} and was killed. It had said:\n{said}") from error
            except BaseException:
                kill_group(popen)
                raise
        if check and popen.returncode != 0:
            raise command_failed(self.place(netns), command, popen.returncode, stdout, stderr)
        return subprocess.CompletedProcess(list(command), popen.returncode, stdout, stderr)

    def start(
        self,
        command: Sequence[str],
        *,
        netns: str | None = None,
        log: Path | None = None,
        ready: str | None = None,
        timeout: float = 10.0,
    ) -> Process:
        """Start a command in the background; it is ended with the host at the latest.

        log: file for stdout and stderr (default: one in the lab's directory). ready: a text to wait for in
        that file, at most `timeout` seconds (LabError).
        """
        if log is None:
            self._logs.mkdir(exist_ok=True)
            log = self._logs / f"{self.name}-{os.getpid()}-{len(self.processes)}.log"
        process = Process(self.place(netns), self.argv(command, netns), command, log)
        self.processes.append(process)
        if ready is not None:
            process.wait_for(ready, timeout)
        return process

    def place(self, netns: str | None = None) -> str:
        """Return the words for this host, or a namespace of it, in messages."""
        return f"host {self.name}" + (f", namespace {netns}" if netns else "")

    def links(self, netns: str | None = None) -> list[dict[str, Any]]:
        """Return `ip -j -d link`, parsed."""
        return self._json(["ip", "-j", "-d", "link"], netns)

    def addresses_of(self, netns: str | None = None) -> list[dict[str, Any]]:
        """Return `ip -j addr`, parsed: one dictionary for each link, with addr_info."""
        return self._json(["ip", "-j", "addr"], netns)

    def read(self, path: str | Path, netns: str | None = None) -> str:
        """Return the text of a file as this host (and namespace, for /proc/sys/net) sees it."""
        return self.run(["cat", str(path)], netns=netns).stdout

    def write(self, path: str | Path, text: str, netns: str | None = None) -> None:
        """Replace the text of a file as this host (and namespace, for /proc/sys/net) sees it."""
        self.run(["sh", "-c", 'cat > "$1"', "sh", str(path)], netns=netns, input=text)

    def probe(
        self,
        proto: str,
        address: str,
        port: int,
        netns: str | None = None,
        *,
        timeout: float = 1.0,
        source_port: int | None = None,
    ) -> Probe:
        """Ask an echo server; say what it saw, or why there was no answer within `timeout` seconds."""
        options = ["--source-port", str(source_port)] if source_port is not None else []
        return self._probe([(proto, address, port)], netns, timeout, options)[0]

    def probe_many(
        self, targets: Sequence[tuple[str, str, int]], netns: str | None = None, timeout: float = 1.0
    ) -> list[Probe]:
        """Ask many echo servers (protocol, address, port) at once; answers in the order of `targets`."""
        return self._probe(targets, netns, timeout, [])

    def _probe(
        self, targets: Sequence[tuple[str, str, int]], netns: str | None, timeout: float, options: list[str]
    ) -> list[Probe]:
        command = [self.python, "-I", "-S", str(PROBE_SCRIPT), "--timeout", str(timeout), *options, "--batch"]
        allowance = 30 + timeout * (1 + len(targets) / 100)
        result = self.run(command, netns=netns, timeout=allowance, input=json.dumps(list(targets)))
        return [Probe.parse(answer) for answer in json.loads(result.stdout)]

    def snapshot(self) -> dict[str, Any]:
        """Return everything that a network module could change, for comparison with a later snapshot.

        Keys: links, addresses, routes, nftables, iptables, sysctls, namespaces, files. Two snapshots of an
        idle host are equal; see hostlab.snapshot for what is left out.
        """
        script = str(Path(snapshot.__file__).resolve())
        text = self.run([self.python, "-I", "-S", script]).stdout
        result: dict[str, Any] = json.loads(text)
        return result

    def _json(self, command: list[str], netns: str | None) -> list[dict[str, Any]]:
        result: list[dict[str, Any]] = json.loads(self.run(command, netns=netns).stdout or "[]")
        return result


def remove_control_groups(name: str) -> None:
    """Remove a control group below the top of the second hierarchy, and those in it; none has a process any more."""
    for hierarchy in CONTROL_GROUPS:
        top = hierarchy / name
        for directory, _inner, _files in os.walk(top, topdown=False) if top.exists() else ():
            os.rmdir(directory)
