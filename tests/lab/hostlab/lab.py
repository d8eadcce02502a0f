# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab: starts hosts, plugs them into the LAN, and leaves nothing behind."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from hostlab.errors import LabError, command_failed
from hostlab.holder import OVERLAID
from hostlab.host import Host
from hostlab.process import ProcessId, collect, kill_group
from hostlab.starter import NAMESPACES_HOST, NAMESPACES_LAN, start_holder

STATE = "state.json"
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,13}")  # also the name of the LAN's port, an interface
SETTLE_SECONDS = 3.0

# Started by this process for labs that outlive it. Kept so that no destructor complains that they still run.
_detached: list[subprocess.Popen[str]] = []


class Lab:
    """Hosts on one LAN. A context manager; stop() removes everything and may be called at any time.

    A lab that is not persistent ends with the process that made it, even if that is killed.
    """

    def __init__(self, directory: Path, persistent: bool = False) -> None:
        """Describe a lab whose files go to `directory` (made if missing, removed by stop); starts nothing yet."""
        self.directory = Path(directory).resolve()
        self.persistent = persistent
        self.hosts: dict[str, Host] = {}
        self._lan: ProcessId | None = None
        self._outer: list[ProcessId] = []
        self._children: list[subprocess.Popen[str]] = []
        self._maker = os.getpid()

    def __enter__(self) -> Lab:
        """Start the LAN."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the lab."""
        self.stop()

    @classmethod
    def load(cls, directory: Path) -> Lab:
        """Return the persistent lab in a directory, made by any process; LabError when there is none.

        Whether its processes still run is for alive() to say; stop() cleans up either way.
        """
        lab = cls(directory, persistent=True)
        path = lab.directory / STATE
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise LabError(f"Loading a lab from {path} failed: {error}. Was it made, and not stopped since?") from error
        lab.persistent = state["persistent"]
        lab._lan = ProcessId(*state["lan"])
        lab._outer = [ProcessId(*outer) for outer in state["outer"]]
        for entry in state["hosts"]:
            identity = ProcessId(*entry["process"])
            host = Host(entry["name"], identity, entry["addresses"], entry["mac"], lab._logs)
            host.group = entry["group"]
            lab.hosts[host.name] = host
        return lab

    def start(self) -> None:
        """Start the LAN; add_host does it when needed. LabError when the directory holds something already."""
        if self._lan is not None:
            return
        self._claim_directory()
        role = ["lan", str(self.directory)]
        log = self.directory / "lan.log"
        atexit.register(self._stop_at_exit)
        try:
            if self.persistent:
                self._keep(*start_holder(role, NAMESPACES_LAN, log))
            else:
                # A pidfd and not PR_SET_PDEATHSIG: that would fire at the end of the *thread* that started the lab.
                owner = os.pidfd_open(os.getpid())
                try:
                    self._keep(*start_holder([*role, str(owner)], NAMESPACES_LAN, log, pass_fds=[owner]))
                finally:
                    os.close(owner)
            self._save()
        except BaseException:
            self.stop()
            raise

    def add_host(self, name: str, addresses: Sequence[str], routes: Sequence[str] = ()) -> Host:
        """Start a host and plug it into the LAN with the interface eth0.

        addresses: interface form, "192.168.52.203/24" or "fd52::203/64". routes: as after `ip route add`,
        "default via 192.168.52.1". LabError when a step fails; the host is then gone and the lab as before.
        """
        if not NAME.fullmatch(name) or name == "lan" or name in self.hosts:
            taken = f"is taken (hosts: {', '.join(sorted(self.hosts))})" if name in self.hosts else "is not usable"
            raise LabError(f"Adding host {name!r} failed: the name {taken}. Use up to 14 of a-z, 0-9 and '-'.")
        self.start()
        lan = self._running_lan()
        scratch = self.directory / name
        scratch.mkdir()
        # Inside the LAN's pid namespace: when its process 1 ends, the kernel kills this host with it.
        inside = ["nsenter", "--target", str(lan.pid), "--pid", "--net", "--"]
        role, log = ["host", name, str(scratch)], self.directory / f"{name}.log"
        popen, identity = start_holder(role, NAMESPACES_HOST, log, inside)
        mac = ":".join(f"{byte:02x}" for byte in b"\x02" + hashlib.sha256(name.encode()).digest()[:5])
        host = Host(name, identity, addresses, mac, self._logs)
        try:
            self._plug(host, routes)
            self._remember(popen)
            self.hosts[name] = host
            self._save()
        except BaseException:
            self.hosts.pop(name, None)
            kill_group(popen)
            # The host's end of the veth goes with its namespace, but only some time later.
            self._in_lan(["ip", "link", "delete", name], check=False)
            scratch.rmdir()
            raise
        return host

    def replace_host(self, host: Host) -> None:
        """Let another view of a host, under the same name, take its place: that of what booted on it."""
        self.hosts[host.name] = host
        self._save()

    def forward(self, name: str, port: int) -> int:
        """Return a port of 127.0.0.1, outside the lab, that leads to a TCP port of a host until the lab ends."""
        enter = f"nsenter --target {self.hosts[name].holder.pid} --net --"
        with socket.socket() as chosen:
            chosen.bind(("127.0.0.1", 0))
            outside = int(chosen.getsockname()[1])
        listen = f"TCP4-LISTEN:{outside},bind=127.0.0.1,fork,reuseaddr"
        # In the LAN's pid namespace, so that it ends with the lab, but in the network namespace of the caller.
        command = ["nsenter", "--target", str(self._running_lan().pid), "--pid", "--"]
        command += ["socat", listen, f"EXEC:{enter} socat - TCP4\\:127.0.0.1\\:{port}"]
        with open(self.directory / "forward.log", "ab") as log:
            popen = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, text=True, start_new_session=True
            )
        self._remember(popen)
        self._save()
        return outside

    def alive(self) -> bool:
        """Say whether the LAN and every host still run."""
        return self._lan is not None and self._lan.alive() and all(host.alive() for host in self.hosts.values())

    def stop(self) -> None:
        """Kill every process of the lab and remove its directory; without effect when that is done already."""
        if self._lan is not None:
            # All hosts live in the LAN's pid namespace, so this one signal ends them all; the kernel reports
            # the end of a process 1 only after that of everything in its namespace.
            self._lan.kill()
        for process in (process for host in self.hosts.values() for process in host.processes):
            collect(process.popen)
        for child in self._children:
            collect(child)
        for outer in self._outer:
            outer.wait(2.0)
        for host in self.hosts.values():
            host.after_stop()
        if self._lan is not None or (self.directory / "lan.log").exists():
            shutil.rmtree(self.directory, ignore_errors=True)
            if self.directory.exists():
                raise LabError(f"Removing {self.directory} of the stopped lab failed. Remove it by hand.")
        self._lan = None
        self.hosts = {}
        self._outer, self._children = [], []
        atexit.unregister(self._stop_at_exit)

    def write_inventory(
        self, path: Path, groups: Mapping[str, Sequence[str]], variables: Mapping[str, Any] | None = None
    ) -> None:
        """Write an Ansible inventory of all hosts, in these groups; `variables` go to every host.

        The hosts are reached with the connection plugin `hostlab` (tests/lab/connection_plugins).
        """
        unknown = sorted({name for names in groups.values() for name in names} - set(self.hosts))
        if unknown:
            raise LabError(f"Writing the inventory {path} failed: there is no host {', '.join(unknown)} in the lab.")
        hosts = {name: {"ansible_connection": "hostlab", "hostlab_pid": host.pid} for name, host in self.hosts.items()}
        children: Any = {group: {"hosts": {name: {} for name in names}} for group, names in groups.items()}
        inventory = {"all": {"hosts": hosts, "vars": dict(variables or {}), "children": children}}
        # JSON is YAML.
        path.write_text(json.dumps(inventory, indent=2) + "\n", encoding="utf-8")

    @property
    def _logs(self) -> Path:
        return self.directory / "logs"

    def _claim_directory(self) -> None:
        hidden = ("/run", "/proc", "/sys", *OVERLAID)
        if any(parent in self.directory.parents for parent in map(Path, hidden)):
            own = ", ".join(hidden)
            raise LabError(f"Making a lab in {self.directory} is not possible: hosts have their own {own}.")
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            used = any(self.directory.iterdir())
        except OSError as error:
            raise LabError(f"Making the lab's directory {self.directory} failed: {error}.") from error
        if used:
            raise LabError(
                f"Making a lab in {self.directory} failed: there are files in it. "
                f"If they are those of an earlier lab, end that with Lab.load(...).stop()."
            )

    def _keep(self, popen: subprocess.Popen[str], lan: ProcessId) -> None:
        self._lan = lan
        self._remember(popen)

    def _remember(self, popen: subprocess.Popen[str]) -> None:
        """Note the outer process of a holder, which ends right after it."""
        self._outer.append(ProcessId.of(popen.pid))
        self._children.append(popen)
        if self.persistent:
            _detached.append(popen)

    def _running_lan(self) -> ProcessId:
        if self._lan is None or not self._lan.alive():
            raise LabError(f"The LAN of the lab in {self.directory} has ended. Stop the lab and make a new one.")
        return self._lan

    def _in_lan(self, command: list[str], script: str = "", check: bool = True) -> str:
        """Run a command in the LAN's network namespace and return what it prints."""
        pid = self._running_lan().pid
        enter = ["nsenter", "--target", str(pid), "--net", "--"]
        result = subprocess.run(
            [*enter, *command], check=False, input=script, capture_output=True, text=True, timeout=30
        )
        if check and result.returncode != 0:
            where = f"the LAN of {self.directory}"
            raise command_failed(where, [*command, script], result.returncode, result.stdout, result.stderr)
        return result.stdout

    def _plug(self, host: Host, routes: Sequence[str]) -> None:
        """Join a new host to the LAN and give it its addresses and routes."""
        peer = f"peer name eth0 address {host.mac} netns {host.pid}"
        script = f"link add {host.name} type veth {peer}\nlink set {host.name} master lan up\n"
        self._in_lan(["ip", "-batch", "-"], script)
        lines = [f"address add {address} dev eth0{' nodad' if ':' in address else ''}" for address in host.addresses]
        lines += ["link set eth0 up", *(f"route add {route}" for route in routes)]
        host.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n")
        self._settle(host)

    def _settle(self, host: Host) -> None:
        """Wait until the LAN forwards for the host and its link-local address is there."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            port = json.loads(self._in_lan(["ip", "-j", "-d", "link", "show", host.name]))[0]
            eth0 = next(entry for entry in host.addresses_of() if entry["ifname"] == "eth0")
            local = [address for address in eth0["addr_info"] if address["scope"] == "link"]
            if port["linkinfo"]["info_slave_data"]["state"] == "forwarding" and local and eth0["operstate"] == "UP":
                return
            time.sleep(0.005)
        raise LabError(f"Plugging {host.name} into the LAN failed: eth0 was not ready within {SETTLE_SECONDS} seconds.")

    def _save(self) -> None:
        """Write the state file, whole or not at all."""
        lan = self._running_lan()
        state = {
            "persistent": self.persistent,
            "lan": [lan.pid, lan.start],
            "outer": [[outer.pid, outer.start] for outer in self._outer],
            "hosts": [
                {
                    "name": host.name,
                    "process": [host.holder.pid, host.holder.start],
                    "group": host.group,
                    "addresses": host.addresses,
                    "mac": host.mac,
                }
                for host in self.hosts.values()
            ],
        }
        temporary = self.directory / f"{STATE}.new"
        temporary.write_text(json.dumps(state, indent=2), encoding="utf-8")
        temporary.replace(self.directory / STATE)

    def _stop_at_exit(self) -> None:
        # Not in a fork of the owner, and not when the lab is meant to go on.
        if os.getpid() == self._maker and not self.persistent:
            self.stop()
