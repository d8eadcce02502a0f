# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the collection's code, servers and probes on a lab host, each in a process of its own; a script.

One request a line on standard input, one answer a line on standard output, JSON both. Processes are forked from this
one, which has imported everything: a run takes a tenth of the time of one that starts from nothing.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from ansible.module_utils import basic

from faults import seams, target, watch
from hostlab import echo, probe, snapshot

MODULES = "ansible_collections.bridgeport.net.plugins.modules."
NAMES = ("bridge_network", "masquerade", "veth_endpoint", "port_publish", "topology_info")
RUN_SECONDS = 120
NETNS = "/run/netns"


class Run:
    """One run of a module, or of the boot unit's command, in a process of its own."""

    def __init__(self, request: dict[str, Any]) -> None:
        """Fork it. What it prints goes to files in memory, what its seams say to a pipe."""
        self.printed = [os.memfd_create("out"), os.memfd_create("errors")]
        self.said, writer = os.pipe()
        self.began = time.monotonic()
        self.pid = fork(lambda: self._live(request, writer))
        os.close(writer)

    def _live(self, request: dict[str, Any], writer: int) -> None:
        for number, file in enumerate(self.printed, 1):
            os.dup2(file, number)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        os.environ.update(request.get("environment", {}))
        for key, value in request.get("limits", {}).items():
            limit(key, value)

        def note(words: dict[str, Any]) -> None:
            os.write(writer, json.dumps(words).encode() + b"\n")

        counted = seams.Seams(note, **request.get("seams", {}))
        if "seams" in request:
            counted.install()
        try:
            act(request)
        finally:
            note({"calls": counted.calls})
            sys.stdout.flush()
            sys.stderr.flush()

    def end(self, delay: float | None = None, begun: bool = False) -> dict[str, Any]:
        """Wait for its end; kill it ``delay`` seconds after it began, or after it began to change the host."""
        if delay is not None:
            if begun:
                select.select([self.said], [], [], RUN_SECONDS)
            time.sleep(delay)
            os.kill(self.pid, signal.SIGKILL)
        watched = os.pidfd_open(self.pid)
        ended = select.select([watched], [], [], RUN_SECONDS)[0]
        if not ended:
            os.kill(self.pid, signal.SIGKILL)
        os.close(watched)
        _pid, status = os.waitpid(self.pid, 0)
        took = time.monotonic() - self.began
        texts = []
        for descriptor in self.printed:
            with open(descriptor, "rb") as file:
                file.seek(0)
                texts.append(file.read().decode(errors="replace"))
        notes: dict[str, Any] = {}
        # Not to its end: a child of the run, such as iptables-restore, may outlive it and hold the pipe.
        os.set_blocking(self.said, False)
        with open(self.said, "rb", buffering=0) as said:
            for line in (said.read(1 << 20) or b"").splitlines():
                notes.update(json.loads(line))
        ending = {"status": os.waitstatus_to_exitcode(status), "seconds": took, "hung": not ended}
        return {**ending, "text": texts[0], "errors": texts[1], **notes}


def act(request: dict[str, Any]) -> None:
    """Do what a run is for, in its own process."""
    if "command" in request:
        cli = importlib.import_module("ansible_collections.bridgeport.net.plugins.module_utils._cli")
        sys.exit(cli.main(request["command"]))
    arguments = {**request["options"], "_ansible_check_mode": False, "_ansible_diff": True}
    vars(basic).update(_ANSIBLE_ARGS=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode(), _ANSIBLE_PROFILE="legacy")
    if request["module"] == "target":
        target.main()
    else:
        importlib.import_module(MODULES + request["module"]).main()


def limit(name: str, value: int) -> None:
    """Set a limit of this process, such as NOFILE."""
    import resource

    resource.setrlimit(getattr(resource, "RLIMIT_" + name), (value, value))


def fork(work: Callable[[], object]) -> int:
    """Run a function in a child process, which ends with it; returns its pid."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def enter(name: str) -> bool:
    """Enter a namespace of this host for good; False if a killed run has left a file that leads to none, or nothing."""
    try:
        with open(f"{NETNS}/{name}", "rb") as file:
            _setns(file.fileno())
    except FileNotFoundError:
        return False
    except OSError as problem:
        if problem.errno != errno.EINVAL:
            raise
        return False
    return True


def _setns(file: int) -> None:
    if hasattr(os, "setns"):
        os.setns(file, 0x40000000)
        return
    import ctypes

    if ctypes.CDLL(None, use_errno=True).setns(file, 0x40000000):
        raise OSError(ctypes.get_errno(), "setns")


class Worker:
    """What the requests ask for; the name of a method is that of the request."""

    def __init__(self) -> None:
        """Begin with nothing running."""
        self.runs: dict[int, Run] = {}
        self.servers: dict[tuple[str, int], int] = {}
        self.watchers: list[tuple[int, int]] = []
        self.flows = watch.Flows()

    def start(self, request: dict[str, Any]) -> int:
        """Begin a run; returns its number."""
        run = Run(request)
        self.runs[run.pid] = run
        return run.pid

    def end(self, run: int, delay: float | None = None, begun: bool = False) -> dict[str, Any]:
        """The end of a run, see Run.end."""
        return self.runs.pop(run).end(delay, begun)

    def probe(self, targets: list[Any], timeout: float, netns: str | None = None) -> list[dict[str, Any]]:
        """Ask echo servers, from this host or from a namespace of it; nobody answers one that is not there."""
        if netns is None:
            return probe.probe(targets, timeout)
        if not os.path.exists(f"{NETNS}/{netns}"):
            return [{"ok": False, "error": "absent"}] * len(targets)
        reader, writer = os.pipe()

        def ask() -> None:
            if enter(netns):
                os.write(writer, json.dumps(probe.probe(targets, timeout)).encode())

        pid = fork(ask)
        os.close(writer)
        with open(reader, "rb") as answers:
            text = answers.read()
        os.waitpid(pid, 0)
        return json.loads(text) if text else [{"ok": False, "error": "absent"}] * len(targets)

    def serve(self, ports: list[int], only: list[str] | None = None) -> list[str]:
        """Start a server, by the namespace's name, in each that has none; returns the names of all that there are."""
        present = {}
        for name in only or (os.listdir(NETNS) if os.path.isdir(NETNS) else []):
            try:
                present[name, os.stat(f"{NETNS}/{name}").st_ino] = name
            except FileNotFoundError:
                continue
        for key in [key for key in self.servers if key not in present]:
            self._stop(self.servers.pop(key))
        for key in [key for key in present if key not in self.servers]:
            pid = serve(key[0], ports)
            if pid:
                self.servers[key] = pid
        return sorted(present.values())

    def watch(self, kept: list[Any], closed: list[Any]) -> None:
        """Begin to knock at doors, again and again; the end is asked for by watched()."""
        for work in (lambda until: watch.kept(kept, until), lambda until: watch.closed(closed, until)):
            reader, writer = os.pipe()

            def live(work: Any = work, writer: int = writer) -> None:
                patience = watch.Patience()
                os.write(writer, b" ")
                os.write(writer, json.dumps(work(patience)).encode())

            self.watchers.append((fork(live), reader))
            os.close(writer)
            os.read(reader, 1)

    def watched(self) -> dict[str, Any]:
        """What the doors did, in sentences, and how often each was knocked at."""
        found: dict[str, Any] = {"lost": [], "knocks": 0}
        for pid, reader in self.watchers:
            os.kill(pid, signal.SIGTERM)
            with open(reader, "rb") as file:
                said = json.loads(file.read() or b'{"lost": ["a watcher ended before its time"], "knocks": 0}')
            os.waitpid(pid, 0)
            found = {"lost": found["lost"] + said["lost"], "knocks": found["knocks"] + said["knocks"]}
        self.watchers = []
        return found

    def open_flows(self, targets: list[Any]) -> list[str]:
        """Open flows that stay; returns who answers."""
        return self.flows.open(targets)

    def ask_flows(self) -> list[str]:
        """Who answers by the flows that stayed, "closed" for nobody."""
        return self.flows.ask()

    def snapshot(self, inside: bool = True) -> dict[str, Any]:
        """See hostlab.snapshot. The kernel's own link-local addresses are not waited for: see ground.comparable."""
        real = snapshot.tentative, snapshot.namespaces
        vars(snapshot)["tentative"] = lambda _links: False
        if not inside:
            vars(snapshot)["namespaces"] = lambda: dict.fromkeys(os.listdir(NETNS))
        try:
            return snapshot.collect()
        finally:
            snapshot.tentative, snapshot.namespaces = real

    def write(self, values: dict[str, str]) -> None:
        """Write files, those of /proc/sys for example."""
        for path, value in values.items():
            with open(path, "w", encoding="ascii") as file:
                file.write(value)

    def _stop(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def serve(name: str, ports: list[int]) -> int:
    """Start an echo server in a namespace; returns its pid once it listens, or 0 if it cannot."""
    reader, writer = os.pipe()

    def live() -> None:
        if not enter(name):
            return
        # A killed run, and one that is undone, may have taken the way back to who asked.
        server = echo.Echo(name, expected=[errno.ENETUNREACH])
        for port in ports:
            for address in ("0.0.0.0", "[::]"):
                server.listen(f"{address}:{port}")
                server.listen_udp(f"{address}:{port}")
        os.write(writer, b"ready")
        os.close(writer)
        server.serve()

    pid = fork(live)
    os.close(writer)
    with open(reader, "rb") as said:
        ready = said.read()
    if ready:
        return pid
    os.waitpid(pid, 0)
    return 0


def main() -> None:
    """Answer requests until there are no more."""
    for name in NAMES:
        importlib.import_module(MODULES + name)
    worker = Worker()
    print('"ready"', flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"answer": getattr(worker, request.pop("do"))(**request)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
