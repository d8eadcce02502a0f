# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Virtual machines: QEMU, booted straight into the kernel of an image, reached by ssh on a port of 127.0.0.1."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hostlab.errors import LabError
from hostlab.image import Disk
from hostlab.process import ProcessId

QEMU = "qemu-system-x86_64"
MEMORY = "768"
KERNEL = (
    "root=/dev/nvme0n1 rootfstype=ext4 console=ttyS0 quiet loglevel=3 mitigations=off audit=0 lsm=capability "
    "random.trust_cpu=on panic=5 net.ifnames=0"
)
PROBE_MARK = "bridgeport-probe"
PROBE_SECONDS = 10.0


@dataclass(frozen=True)
class Spec:
    """One virtual machine: its name, its address on the LAN, and the port of 127.0.0.1 that leads to its ssh.

    peer: the name of the other machine on the LAN.
    """

    name: str
    address: str
    port: int
    peer: str


def start(directory: Path, disk: Disk, spec: Spec, accelerator: str) -> ProcessId:
    """Start a machine on a copy-on-write disk in `directory`; it outlives this process. LabError if QEMU ends at once.

    Its console is in NAME.console and QEMU's own words in NAME.log.
    """
    overlay = directory / f"{spec.name}.qcow2"
    create = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(disk.path), str(overlay)]
    subprocess.run(create, check=True)
    log = directory / f"{spec.name}.log"
    with open(log, "ab") as output:
        # In its directory: the path of a socket may have 107 characters only.
        popen = subprocess.Popen(
            [*_machine(accelerator), *_devices(disk, spec)],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        popen.wait(0.5)
    except subprocess.TimeoutExpired:
        return ProcessId.of(popen.pid)
    raise LabError(f"Starting the machine {spec.name} failed: QEMU said: {log.read_text(encoding='utf-8')}")


def accelerator(disk: Disk, cache: Path) -> str:
    """Return "kvm" where a guest's kernel really boots under it, else "tcg". Kept in `cache` until the next boot.

    There are hosts with a /dev/kvm under which no unmodified kernel comes up: those of some nested hypervisors.
    """
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    answer = cache / f"accelerator.{boot_id}"
    if not answer.exists():
        for old in cache.glob("accelerator.*"):
            old.unlink()
        usable = os.access("/dev/kvm", os.R_OK | os.W_OK) and boots(disk, "kvm", PROBE_SECONDS)
        answer.write_text("kvm" if usable else "tcg", encoding="ascii")
    return answer.read_text(encoding="ascii")


def boots(disk: Disk, accelerator: str, seconds: float) -> bool:
    """Say whether the kernel starts a program from the disk within so many seconds: echo(1), as process 1."""
    kernel = f"{KERNEL} ro panic=-1 init=/bin/echo -- {PROBE_MARK}"
    drive = ["-drive", f"if=none,id=root,file={disk.path},format=raw,snapshot=on"]
    command = [*_machine(accelerator), "-no-reboot", "-serial", "stdio", *_boot(disk, kernel), *drive]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return False
    return PROBE_MARK.encode() in done.stdout.split()


def _machine(accelerator: str) -> list[str]:
    return [
        *(QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35", "-m", MEMORY),
        *(("-accel", "kvm", "-cpu", "host") if accelerator == "kvm" else ("-accel", "tcg", "-cpu", _cpu())),
    ]


def _cpu() -> str:
    """The emulated processor. QEMU before 8 corrupts the flags in cmpxchg16b, by which Linux 6.12 crashes at times."""
    said = subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (\d+)", said)
    return "Nehalem" if found and int(found.group(1)) >= 8 else "Nehalem,-cx16"


def _boot(disk: Disk, kernel: str) -> list[str]:
    # NVMe and ext4 are built into Debian's cloud kernels, which therefore need no initial file system.
    return ["-kernel", str(disk.kernel), "-append", kernel, "-device", "nvme,drive=root,serial=root"]


def _devices(disk: Disk, spec: Spec) -> list[str]:
    last = int(spec.address.rpartition(".")[2])
    lan, management = f"52:54:00:00:52:{last:02x}", f"52:54:00:00:10:{last:02x}"
    kernel = (
        f"{KERNEL} rw systemd.hostname={spec.name}"
        f" ifname=eth0:{lan} ip={spec.address}:::255.255.255.0::eth0:none"
        f" ifname=mgmt0:{management} ip=10.0.2.15:::255.255.255.0::mgmt0:none"
    )
    sockets = f"local.type=unix,local.path={spec.name}.lan,remote.type=unix,remote.path={spec.peer}.lan"
    return [
        *_boot(disk, kernel),
        *("-drive", f"if=none,id=root,file={spec.name}.qcow2,format=qcow2,cache=unsafe"),
        *("-netdev", f"dgram,id=lan,{sockets}"),
        *("-device", f"virtio-net-pci,netdev=lan,mac={lan}"),
        *("-netdev", f"user,id=management,restrict=on,hostfwd=tcp:127.0.0.1:{spec.port}-:22"),
        *("-device", f"virtio-net-pci,netdev=management,mac={management}"),
        *("-device", "virtio-rng-pci"),
        *("-serial", f"file:{spec.name}.console"),
    ]
