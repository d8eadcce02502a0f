# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Root file systems of Debian with systemd, built from packages once and kept until their recipe changes."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

from hostlab.errors import LabError

# What a plain server has, what the roles would install, and the services that tests put into endpoints.
PACKAGES = (
    "ca-certificates",
    "curl",
    "dbus",
    "iproute2",
    "netbase",
    "nftables",
    "nginx-light",
    "procps",
    "python3",
    "python3-apt",
    "python3-pyroute2",
    "redis-server",
    "systemd",
    "systemd-resolved",
    "systemd-sysv",
    "tcpdump",
)
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
BUILD_SECONDS = 600


def image(directory: Path, suite: str = "bookworm") -> Path:
    """Return the root file system of a Debian suite below `directory`; builds it if it is not there.

    LabError when mmdebstrap fails. Safe to call from several processes at once.
    """
    command = ["mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", "--skip=check/empty"]
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    key = hashlib.sha256(repr((command, suite)).encode()).hexdigest()[:12]
    directory.mkdir(parents=True, exist_ok=True)
    root = directory / f"{suite}-{key}"
    with open(directory / f"{suite}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            for old in directory.glob(f"{suite}-*"):
                shutil.rmtree(old)
            _build([*command, suite], root)
    return root


def _build(command: list[str], root: Path) -> None:
    fresh = root.with_name(root.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    # 755: services of the machine run as users of their own, who must get past the root directory.
    fresh.chmod(0o755)
    done = subprocess.run([*command, str(fresh)], capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    if done.returncode:
        shutil.rmtree(fresh, ignore_errors=True)
        raise LabError(f"Building the image {root.name} failed: mmdebstrap said:\n{done.stderr[-2000:]}")
    # Nothing of a distribution's own start-up belongs into a test of ours.
    for unit in ("nginx.service", "redis-server.service", "nftables.service"):
        subprocess.run(["systemctl", f"--root={fresh}", "disable", "--quiet", unit], capture_output=True, check=False)
    fresh.rename(root)
