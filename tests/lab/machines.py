# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two machines on one LAN, for molecule: up and down.

    machines.py up --tier vm|nspawn --suite SUITE DIRECTORY NAME=ADDRESS NAME=ADDRESS
    machines.py down [DIRECTORY ...]

`up` makes DIRECTORY, starts the machines and prints how to reach them by ssh, in the form of molecule's instance
configuration. `down` ends those of each DIRECTORY and removes it; without effect when that is done already.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from hostlab import Lab, LabError
from hostlab.image import disk, image, key
from hostlab.machine import boot
from hostlab.process import ProcessId
from hostlab.vm import Spec, accelerator, start

CACHE = Path(__file__).resolve().parents[2] / ".cache"
IMAGES = CACHE / "images"
STATE = "machines.json"
BOOT_SECONDS = 240.0
END_SECONDS = 10.0
LOOK_SECONDS = 0.2
SSH = ("ssh", "-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
       "-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10")  # fmt: skip


def up(tier: str, suite: str, directory: Path, addresses: dict[str, str]) -> list[dict[str, Any]]:
    """Start the machines and wait until systemd has started all their units; returns the instance configuration.

    LabError when one does not come up; nothing is then left but the logs.
    """
    down(directory)
    directory.mkdir(parents=True)
    starter = {"vm": start_virtual, "nspawn": start_nspawn}[tier]
    try:
        ports = starter(suite, directory, addresses)
        instances = [instance(name, port) for name, port in ports.items()]
        for entry in instances:
            wait_until_up(entry)
    except BaseException:
        consoles = "".join(tail(path) for path in sorted(directory.glob("*.console")))
        sys.stderr.write(consoles)
        down(directory)
        raise
    return instances


def start_virtual(suite: str, directory: Path, addresses: dict[str, str]) -> dict[str, int]:
    """Start virtual machines; returns the port of 127.0.0.1 that leads to the ssh of each."""
    if len(addresses) != 2:
        raise LabError(f"Starting {len(addresses)} virtual machines is not possible: their LAN is one between two.")
    medium = disk(IMAGES, suite)
    accelerated = accelerator(medium, IMAGES)
    ports = {name: free_port() for name in addresses}
    processes = []
    for name, address in addresses.items():
        peer = next(other for other in addresses if other != name)
        process = start(directory, medium, Spec(name, address, ports[name], peer), accelerated)
        processes.append([process.pid, process.start])
        (directory / STATE).write_text(json.dumps(processes), encoding="ascii")
    return ports


def start_nspawn(suite: str, directory: Path, addresses: dict[str, str]) -> dict[str, int]:
    """Boot machines in a lab, by systemd-nspawn; returns the port of 127.0.0.1 that leads to the ssh of each."""
    root = image(IMAGES, suite)
    lab = Lab(directory / "lab", persistent=True)
    for name, address in addresses.items():
        boot(lab, name, [f"{address}/24"], root)
    return {name: lab.forward(name, 22) for name in addresses}


def instance(name: str, port: int) -> dict[str, Any]:
    """One entry of molecule's instance configuration."""
    return {
        "instance": name,
        "address": "127.0.0.1",
        "port": port,
        "user": "root",
        "identity_file": str(key(IMAGES)),
    }


def wait_until_up(entry: dict[str, Any]) -> None:
    """Wait until a machine answers by ssh and all its units are started. LabError when it is not, or one has failed."""
    deadline = time.monotonic() + BOOT_SECONDS
    while not answers(entry["port"]):
        if time.monotonic() > deadline:
            raise LabError(f"Booting {entry['instance']} failed: no ssh after {BOOT_SECONDS:.0f} seconds.")
        time.sleep(LOOK_SECONDS)
    reach = [*SSH, "-i", entry["identity_file"], "-p", str(entry["port"]), "root@127.0.0.1"]
    wait = "systemctl is-system-running --wait || systemctl --failed --no-legend"
    done = subprocess.run(
        [*reach, wait], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BOOT_SECONDS, check=False
    )
    if done.stdout != "running\n":
        raise LabError(f"Booting {entry['instance']} failed: systemd is not content: {done.stdout}{done.stderr}")


def answers(port: int) -> bool:
    """Say whether an ssh server is behind a port of 127.0.0.1; that it can be connected to says nothing."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def free_port() -> int:
    """A port of 127.0.0.1 that nobody holds just now."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return int(chosen.getsockname()[1])


def tail(path: Path) -> str:
    """The end of a machine's console, under its name."""
    return f"--- {path.name}\n{path.read_text(encoding='utf-8', errors='replace')[-4000:]}\n"


def down(directory: Path) -> None:
    """End the machines and remove their directory."""
    if (directory / "lab").exists():
        Lab.load(directory / "lab").stop()
    if (directory / STATE).exists():
        for process in json.loads((directory / STATE).read_text(encoding="ascii")):
            ProcessId(*process).kill(END_SECONDS)
    shutil.rmtree(directory, ignore_errors=True)


def main() -> int:
    """Run the verb; returns the exit status."""
    parser = argparse.ArgumentParser(description="Two machines on one LAN, for molecule.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    upper = verbs.add_parser("up")
    upper.add_argument("--tier", choices=["vm", "nspawn"], default="vm")
    upper.add_argument("--suite", choices=["bookworm", "trixie"], default="bookworm")
    upper.add_argument("directory", type=Path)
    upper.add_argument("machines", nargs="+", metavar="NAME=ADDRESS")
    verbs.add_parser("down").add_argument("directories", nargs="*", type=Path, metavar="DIRECTORY")
    options = parser.parse_args()
    try:
        if options.verb == "down":
            for directory in options.directories:
                down(directory.resolve())
        else:
            addresses = dict(machine.split("=") for machine in options.machines)
            print(json.dumps(up(options.tier, options.suite, options.directory.resolve(), addresses)))
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
