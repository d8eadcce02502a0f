# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Machines' file systems: Debian with systemd, built from packages once and kept until their recipe changes.

One file system of a suite serves both kinds of machine: systemd-nspawn boots from the directory (image), a virtual
machine from a disk with the same files (disk).
"""

from __future__ import annotations

import fcntl
import hashlib
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hostlab.errors import LabError

# What a plain server has, what the roles would install, and the services that tests put into endpoints.
PACKAGES = (
    "ca-certificates",
    "curl",
    "dbus",
    "docker.io",
    "firewalld",
    "iproute2",
    "iptables",
    "kmod",
    "linux-image-cloud-amd64",
    "netbase",
    "nftables",
    "nginx-light",
    "openssh-server",
    "postgresql",
    "procps",
    "python3",
    "python3-apt",
    "python3-flask",
    "python3-iptables",
    "python3-pyroute2",
    "redis-server",
    "redis-tools",
    "systemd",
    "systemd-resolved",
    "systemd-sysv",
    "tcpdump",
    "udev",
    "ufw",
)
# What was split off from one of those later.
PACKAGES_OF = {"trixie": ("docker-cli",)}
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
CUSTOMISE = Path(__file__).with_name("customise.sh")
DISK_SIZE = "4G"
BUILD_SECONDS = 900


@dataclass(frozen=True)
class Disk:
    """What a virtual machine boots from: a kernel, and an ext4 file system that is to stay untouched."""

    kernel: Path
    path: Path


def image(directory: Path, suite: str = "bookworm") -> Path:
    """Return the root file system of a Debian suite below `directory`; builds it if it is not there.

    LabError when mmdebstrap fails. Safe to call from several processes at once.
    """
    with _locked(directory, suite):
        return _image(directory, suite)


def disk(directory: Path, suite: str = "bookworm") -> Disk:
    """Return a disk with the files of image(directory, suite); builds what is not there. LabError as for image."""
    with _locked(directory, suite):
        root = _image(directory, suite)
        path = root.with_name(root.name + ".ext4")
        if not path.exists():
            fresh = path.with_name(path.name + ".new")
            fresh.unlink(missing_ok=True)
            _run(path.name, ["mke2fs", "-q", "-t", "ext4", "-m", "0", "-d", str(root), str(fresh), DISK_SIZE])
            fresh.rename(path)
    return Disk(max((root / "boot").glob("vmlinuz-*")), path)


def key(directory: Path) -> Path:
    """Return the private key by which root of every machine is reached; makes it if it is not there."""
    with _locked(directory, "key"):
        private = directory / "id_ed25519"
        if not private.exists():
            fresh = directory / "id_ed25519.new"
            _run(private.name, ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(fresh)])
            fresh.with_name("id_ed25519.new.pub").rename(directory / "id_ed25519.pub")
            fresh.rename(private)
    return private


@contextmanager
def _locked(directory: Path, name: str) -> Iterator[None]:
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / f"{name}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _image(directory: Path, suite: str) -> Path:
    public = key(directory).with_suffix(".pub")
    recipe = (suite, _packages(suite), LEFT_OUT, CUSTOMISE.read_text("utf-8"), public.read_text("ascii"))
    root = directory / f"{suite}-{hashlib.sha256(repr(recipe).encode()).hexdigest()[:12]}"
    if not root.exists():
        for old in directory.glob(f"{suite}-*"):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        _build(suite, root, public)
    return root


def _packages(suite: str) -> tuple[str, ...]:
    return (*PACKAGES, *PACKAGES_OF.get(suite, ()))


def _build(suite: str, root: Path, public: Path) -> None:
    fresh = root.with_name(root.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    # 755: services of the machine run as users of their own, who must get past the root directory.
    fresh.chmod(0o755)
    command = ["mmdebstrap", "--variant=minbase", f"--include={','.join(_packages(suite))}", "--skip=check/empty"]
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    command += ["--dpkgopt=force-unsafe-io"]
    command += [f'--customize-hook=sh {shlex.quote(str(CUSTOMISE))} "$1" {shlex.quote(str(public))}']
    # INITRD: the kernels of Debian's cloud images need none, and making one takes a third of the time.
    try:
        _run(root.name, ["env", "INITRD=No", *command, suite, str(fresh)])
    except LabError:
        shutil.rmtree(fresh)
        raise
    fresh.rename(root)


def _run(what: str, command: Sequence[str]) -> None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
    )
    if done.returncode:
        raise LabError(f"Building {what} failed: {shlex.join(command)} said:\n{done.stderr[-2000:]}")
