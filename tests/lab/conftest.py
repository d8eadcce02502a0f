# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures: labs, hosts and the modules on them. Each test file gets a lab of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from hostlab import Host, Lab
from hostlab.image import image
from hostlab.machine import boot
from support import CLIENT, HOST, ROOT, Interpreter, Modules, interpreters


@pytest.fixture(scope="session")
def pythons(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Interpreter]:
    """The Pythons that a managed host may have, by name."""
    return {interpreter.name: interpreter for interpreter in interpreters(tmp_path_factory.mktemp("pythons"))}


@pytest.fixture(scope="module")
def backend() -> str:
    """Who carries the rules. A file that wants them all gives this fixture parameters; each then has its own lab."""
    return "nftables"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, backend: str) -> Iterator[Lab]:
    """A LAN with the articles' two machines."""
    with Lab(tmp_path_factory.mktemp("lab") / "lab") as made:
        made.add_host("client", CLIENT)
        made.add_host("host", HOST)
        yield made


@pytest.fixture(scope="module")
def host(lab: Lab) -> Host:
    """The managed host, 192.168.52.203."""
    return lab.hosts["host"]


@pytest.fixture(scope="module")
def client(lab: Lab) -> Host:
    """The outside client, 192.168.52.202."""
    return lab.hosts["client"]


@pytest.fixture(scope="module")
def modules(host: Host, pythons: dict[str, Interpreter]) -> Modules:
    """The modules on the managed host, run by this Python."""
    return Modules(host, pythons["pypi"])


@pytest.fixture
def fresh(tmp_path: Path, pythons: dict[str, Interpreter]) -> Iterator[Callable[[str], Modules]]:
    """Make a managed host that no other test has touched, with the named Python."""
    labs: list[Lab] = []

    def make(python: str = "pypi") -> Modules:
        made = Lab(tmp_path / f"fresh{len(labs)}")
        labs.append(made)
        made.start()
        return Modules(made.add_host("host", HOST), pythons[python])

    yield make
    for made in labs:
        made.stop()


@pytest.fixture(scope="session")
def image_root() -> Path:
    """The file system of machines with systemd."""
    return image(ROOT / ".cache" / "images")


@pytest.fixture
def booted(tmp_path: Path, image_root: Path) -> Iterator[Lab]:
    """A lab of its own with a client, and a machine with systemd in the host's place that has just been installed."""
    with Lab(tmp_path / "lab") as made:
        made.add_host("client", CLIENT)
        boot(made, "host", HOST, image_root)
        yield made
