# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts of the lab that boot: a distribution's own systemd as process 1, in systemd-nspawn inside of a lab host."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hostlab.enter import nsenter_argv
from hostlab.errors import LabError
from hostlab.host import Host
from hostlab.lab import Lab
from hostlab.process import ProcessId

BOOT_SECONDS = 60.0
LOOK_SECONDS = 0.1
# The kernel's only hierarchy of control groups that systemd takes must be its own; its files live until the lab ends.
# 133 is how nspawn ends when the machine asked for a reboot.
BOOT = """
set -e
mkdir -p /run/machine/upper /run/machine/work /run/machine/root
mount -t overlay overlay -o lowerdir="$1",upperdir=/run/machine/upper,workdir=/run/machine/work /run/machine/root
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p "/sys/fs/cgroup/$3"
echo $$ > "/sys/fs/cgroup/$3/cgroup.procs"
export SYSTEMD_NSPAWN_API_VFS_WRITABLE=1
name=$2
shift 3
while :; do
    status=0
    systemd-nspawn --quiet --register=no --keep-unit --boot --machine="$name" --directory=/run/machine/root \\
        --capability=all --system-call-filter=@known --console=pipe "$@" || status=$?
    [ "$status" = 133 ] || exit "$status"
    # The machine has the lab host's kernel, which has not forgotten what a reboot forgets.
    for link in $(ls /sys/class/net); do
        case $link in lo | eth0) ;; *) ip link delete "$link" 2>/dev/null || true ;; esac
    done
    nft flush ruleset
    echo 0 > /proc/sys/net/ipv4/ip_forward
    echo 0 > /proc/sys/net/ipv6/conf/all/forwarding
done
"""


class Machine(Host):
    """A host with systemd. It shares the network namespace of the lab host that it boots in, and so its LAN."""

    python = "/usr/bin/python3"

    def __init__(self, hardware: Host, logs: Path) -> None:
        super().__init__(hardware.name, hardware.identity, hardware.addresses, hardware.mac, logs)
        self.holder = hardware.holder
        self.processes = hardware.processes
        self.group = f"hostlab-{hardware.name}-{hardware.pid}"

    def argv(self, command: Sequence[str], netns: str | None = None) -> list[str]:
        """Return the command line that runs `command` on this machine, in /: it has directories of its own."""
        return nsenter_argv(self.pid, command, netns, "/")

    def snapshot(self) -> dict[str, Any]:
        """Return what a plain host returns, without the files that systemd writes, and with the ports that are held."""
        taken = super().snapshot()
        taken["files"] = {path: state for path, state in taken["files"].items() if not path.startswith("/run/")}
        taken["ports"] = sorted(self.run(["ss", "-Hltun"]).stdout.splitlines())
        return taken

    def wait_until_up(self, since: ProcessId | None = None) -> None:
        """Wait until systemd has started all units; `since` is the process 1 that must have gone before."""
        deadline = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < deadline:
            leader = _leader(self.group)
            if leader is not None and leader != since:
                self.identity = leader
                state = self.run(["systemctl", "is-system-running"], check=False).stdout.strip()
                if state in ("running", "degraded"):
                    return
            time.sleep(LOOK_SECONDS)
        raise LabError(f"Booting {self.name} failed: systemd was not up after {BOOT_SECONDS:.0f} seconds.")

    def reboot(self) -> None:
        """Reboot: what is on the disk stays, what the kernel held for the network is gone."""
        before = self.identity
        self.run(["systemctl", "reboot"], check=False)
        self.wait_until_up(since=before)


def boot(lab: Lab, name: str, addresses: Sequence[str], root: Path, visible: Sequence[Path] = ()) -> Machine:
    """Add a host to the lab and boot it from a root file system, which stays untouched.

    visible: directories that the machine sees read-only at their own place, such as the checkout.
    """
    hardware = lab.add_host(name, addresses)
    binds = [f"--bind-ro={path}" for path in visible]
    machine = Machine(hardware, lab.directory / "logs")
    hardware.start(["sh", "-c", BOOT, "boot", str(root), name, machine.group, *binds])
    # From here on, the lab's inventory leads to the machine, and its end ends the machine.
    lab.replace_host(machine)
    machine.wait_until_up()
    return machine


def _leader(group: str) -> ProcessId | None:
    """The machine's process 1, seen from outside: the systemd in its control group that is number 1 in its own eyes."""
    for entry in Path("/proc").iterdir():
        try:
            if not entry.name.isdigit() or (entry / "comm").read_text() != "systemd\n":
                continue
            status = (entry / "status").read_text()
            if f"/{group}/" in (entry / "cgroup").read_text() + "/" and status.split("NSpid:")[1].split("\n")[
                0
            ].endswith("\t1"):
                return ProcessId.of(int(entry.name))
        except (OSError, LabError):
            continue
    return None
