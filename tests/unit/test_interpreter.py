# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The name of the Python that the command ``bridgeport`` is to run under."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from ansible_collections.bridgeport.net.plugins.module_utils import _ansible


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a system's Python of one version, that of another, and the name that leads to the first."""
    for name in ("python3.11", "python3.12"):
        (tmp_path / name).touch()
    (tmp_path / "python3").symlink_to("python3.11")
    monkeypatch.setattr(_ansible, "_INTERPRETERS", (str(tmp_path / "missing"), str(tmp_path / "python3")))
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    return tmp_path


@pytest.mark.parametrize(
    ("running", "named"), [("python3.11", "python3"), ("python3", "python3"), ("python3.12", "python3.12")]
)
def test_the_name_that_lasts(programs: Path, monkeypatch: pytest.MonkeyPatch, running: str, named: str) -> None:
    monkeypatch.setattr(sys, "executable", str(programs / running))
    assert _ansible.lasting_interpreter() == str(programs / named)


def test_a_virtual_environment_is_named_as_it_is(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its Python is a link to the system's, whose libraries are others."""
    own = programs / "environment"
    own.symlink_to("python3.11")
    monkeypatch.setattr(sys, "executable", str(own))
    monkeypatch.setattr(sys, "prefix", str(programs))
    assert _ansible.lasting_interpreter() == str(own)
