# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Debian's dockerd in a lab host, from packages that are unpacked and not installed.

The containers of its one image only wait; who needs a service in one enters its namespace from the host. Nothing of it
outlives the lab but control groups, which :meth:`Dockerd.clean` removes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from hostlab.errors import LabError
from hostlab.host import Host, remove_control_groups
from hostlab.process import Process

READY_SECONDS = 60.0
SOCKET = "unix:///run/docker.sock"
WAITING = ["waiting:1", "/bin/busybox", "sleep", "86400"]  # the image, and what runs in it
IMPORT = """
set -e
mkdir -p /run/image/bin
cp "$1" /run/image/bin/busybox
tar -C /run/image -c . | docker import - waiting:1
"""


class Dockerd:
    """A dockerd without networks on a lab host, and the commands that talk to it."""

    def __init__(self, host: Host, unpacked: Path, proxy: bool) -> None:
        """Describe it. unpacked: where Debian's packages were unpacked; proxy: with its userland proxy."""
        self.host = host
        self.proxy = proxy
        self.unpacked = unpacked
        self.group = f"hostlab-docker-{host.pid}"
        self._daemon: Process | None = None
        self._options: Sequence[str] = ()

    def start(self, options: Sequence[str] = ()) -> str:
        """Start dockerd, with these further options, and import the image; returns its version.

        :raises LabError: it was not ready in time.
        """
        self.host.run(["mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"])
        self._options = options
        version = self._start()
        self.run("sh", "-c", IMPORT, "import", str(self.unpacked / "bin/busybox"))
        return version

    def restart(self) -> str:
        """Start it anew, which rewrites its rules; the containers go on. Returns its version.

        :raises LabError: it was not ready in time.
        """
        assert self._daemon is not None
        self._daemon.stop(READY_SECONDS)
        return self._start()

    def _start(self) -> str:
        places = [
            *("--host", SOCKET, "--bridge", "none", "--storage-driver", "vfs", "--cgroup-parent", f"/{self.group}"),
            *("--data-root", "/var/lib/docker", "--exec-root", "/run/docker", "--pidfile", "/run/docker.pid"),
            *("--exec-opt", "native.cgroupdriver=cgroupfs", f"--userland-proxy={str(self.proxy).lower()}"),
            "--live-restore",
        ]
        daemon = self._daemon = self.host.start(self.command("dockerd", *places, *self._options))
        deadline = time.monotonic() + READY_SECONDS
        while self.host.run(self.command("docker", "info"), check=False).returncode:
            if time.monotonic() > deadline or not daemon.running():
                raise LabError(f"Starting dockerd on {self.host.name} failed. It said:\n{daemon.output()}")
            time.sleep(0.1)
        return self.run("docker", "version", "--format", "{{.Server.Version}}").strip()

    def run(self, *command: str, timeout: float = 120.0) -> str:
        """Run a command with Docker's programs in reach; returns what it prints."""
        return self.host.run(self.command(*command), timeout=timeout).stdout

    def command(self, *command: str) -> list[str]:
        """The command line that finds Docker's programs, their libraries and the daemon."""
        usr = self.unpacked / "usr"
        libraries = ":".join(str(path) for path in (*self.unpacked.glob("lib/*-linux-*"), *usr.glob("lib/*-linux-*")))
        return [
            "env",
            f"PATH={usr}/bin:{usr}/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
            f"LD_LIBRARY_PATH={libraries}",
            f"DOCKER_HOST={SOCKET}",
            *command,
        ]

    def name_namespace(self, container: str) -> None:
        """Give a container's network namespace the container's name, so that the host's commands can enter it."""
        pid = self.run("docker", "inspect", "--format", "{{.State.Pid}}", container).strip()
        self.host.run(["ip", "netns", "attach", container, pid])

    def clean(self) -> None:
        """Remove the containers' control groups, once the lab has ended."""
        remove_control_groups(self.group)
