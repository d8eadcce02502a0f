# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The machines that molecule's scenarios run on: their images, what QEMU is told, and that nothing of them is left."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

import hostlab.image
from hostlab import Lab, LabError
from hostlab.image import disk, image
from hostlab.vm import accelerator, boots
from machines import IMAGES, SSH, down, up

ADDRESSES = {"client": "192.168.52.202", "host": "192.168.52.203"}
BOOT_SECONDS = 120.0


def test_nspawn_machines_outlive_their_maker_and_leave_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "machines"
    instances = up("nspawn", "bookworm", directory, ADDRESSES)
    reach = {
        entry["instance"]: [*SSH, "-i", entry["identity_file"], "-p", str(entry["port"]), "root@127.0.0.1"]
        for entry in instances
    }
    for name, peer in (("client", "host"), ("host", "client")):
        said = subprocess.run(
            [*reach[name], f"hostname && timeout 5 bash -c '</dev/tcp/{ADDRESSES[peer]}/22'"],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        assert said.stdout == f"{name}\n"

    # What another process finds is enough to end them.
    groups = [f"hostlab-{name}-{host.holder.pid}" for name, host in Lab.load(directory / "lab").hosts.items()]
    assert len(found(groups)) == 2
    down(directory)
    assert found(groups) == []
    assert not directory.exists()
    for entry in instances:
        assert subprocess.run([*reach[entry["instance"]], "true"], capture_output=True, check=False).returncode == 255
    down(directory)


def found(groups: list[str]) -> list[Path]:
    """Those of the control groups that exist."""
    return [path for top in hostlab.host.CONTROL_GROUPS for path in (top / group for group in groups) if path.exists()]


def test_an_image_is_built_again_when_its_recipe_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Path] = []

    def build(_suite: str, root: Path, _public: Path) -> None:
        built.append(root)
        (root / "boot").mkdir(parents=True)
        (root / "boot" / "vmlinuz-1").touch()

    monkeypatch.setattr(hostlab.image, "_build", build)
    monkeypatch.setattr(hostlab.image, "DISK_SIZE", "16M")
    first = disk(tmp_path)
    assert first.path.stat().st_size == 16 << 20
    assert image(tmp_path) == built[0] and len(built) == 1
    other = image(tmp_path, "trixie")
    monkeypatch.setattr(hostlab.image, "PACKAGES", (*hostlab.image.PACKAGES, "nano"))
    again = disk(tmp_path)
    assert len(built) == 3
    assert not first.path.exists() and not built[0].exists(), "the old one goes"
    assert other.exists() and again.path.exists()


def test_a_failed_build_says_why_and_leaves_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostlab.image, "PACKAGES", ("no-such-package",))
    with pytest.raises(LabError, match="Unable to locate package no-such-package"):
        image(tmp_path)
    assert not list(tmp_path.glob("bookworm-*/"))


def test_the_accelerator_is_one_under_which_the_kernel_boots(tmp_path: Path) -> None:
    medium = disk(IMAGES)
    assert boots(medium, "tcg", BOOT_SECONDS)
    assert not boots(replace(medium, path=medium.kernel), "tcg", BOOT_SECONDS), "no file system to boot from"
    chosen = accelerator(medium, tmp_path)
    assert chosen in ("kvm", "tcg")
    if chosen == "kvm":
        assert boots(medium, "kvm", BOOT_SECONDS)
    (answer,) = tmp_path.iterdir()
    answer.write_text("kept", encoding="ascii")
    assert accelerator(medium, tmp_path) == "kept"
