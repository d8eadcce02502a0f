# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Molecule's scenarios are whole: it passes silently over a step whose playbook is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / ".config" / "molecule" / "config.yml"
SCENARIOS = sorted(path.parent for path in (ROOT / "molecule").glob("*/molecule.yml"))
REQUIRED = ("create", "converge", "idempotence", "verify", "destroy")


def load(path: Path) -> Any:
    """The content of a YAML file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def playbook(scenario: Path, step: str) -> Path:
    """The playbook of one step of a test sequence, as molecule finds it: "verify" or "verify fresh.yml"."""
    name, _unused, other = step.partition(" ")
    name = {"idempotence": "converge"}.get(name, name)
    return scenario / (other or load(BASE)["provisioner"]["playbooks"].get(name, f"{name}.yml"))


def test_the_scenarios_that_are_promised_exist() -> None:
    promised = {"coexistence", "default", "existing", "iptables", "reboot"}
    assert promised <= {scenario.name for scenario in SCENARIOS}
    readme = (ROOT / "molecule" / "README.md").read_text(encoding="utf-8")
    assert [scenario.name for scenario in SCENARIOS if f"| `{scenario.name}` |" not in readme] == []


def test_every_directory_is_a_scenario_or_shared() -> None:
    """A scenario without its molecule.yml would not be run at all."""
    directories = {path.name for path in (ROOT / "molecule").iterdir() if path.is_dir()}
    assert directories == {scenario.name for scenario in SCENARIOS} | {"shared"}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_step_has_its_playbook(scenario: Path) -> None:
    settings = load(scenario / "molecule.yml")
    sequence = settings["scenario"]["test_sequence"]
    names = [step.partition(" ")[0] for step in sequence]
    assert [step for step in REQUIRED if step not in sequence] == []
    assert names[0] == names[-1] == "destroy"
    assert names.index("create") < names.index("converge") < names.index("idempotence")
    assert names.index("idempotence") < len(names) - 1 - names[::-1].index("verify")
    # Molecule looks for a step's own playbook first, even where another one is named behind it.
    for step in {*sequence, *names}:
        plays = load(playbook(scenario, step))
        assert isinstance(plays, list) and plays, step
    overridden = settings.get("provisioner", {}).get("playbooks", {})
    assert not overridden, "The playbooks of a step stand where this test looks for them."


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_no_playbook_is_forgotten(scenario: Path) -> None:
    """Each file of a scenario is part of its sequence, or named by one that is."""
    used = {playbook(scenario, step).name for step in load(scenario / "molecule.yml")["scenario"]["test_sequence"]}
    texts = {path.name: path.read_text(encoding="utf-8") for path in scenario.rglob("*") if path.is_file()}
    for name in set(texts) - used - {"molecule.yml"}:
        assert any(name in text for other, text in texts.items() if other != name), name


def test_nothing_shared_is_forgotten() -> None:
    """What scenarios share is named by one of them, by another shared file or by what all have in common."""
    files = [BASE, *(path for path in (ROOT / "molecule").rglob("*.yml"))]
    texts = {path: path.read_text(encoding="utf-8") for path in files}
    for path in (ROOT / "molecule" / "shared").rglob("*.yml"):
        name = path.relative_to(ROOT / "molecule" / "shared")
        assert any(str(name) in text for other, text in texts.items() if other != path), name


def test_every_neighbour_has_its_turn() -> None:
    """It comes by a side effect; then the roles run twice beside it, and both are verified."""
    scenario = ROOT / "molecule" / "coexistence"
    neighbours = load(scenario / "vars" / "neighbours.yml")["neighbours"]
    assert [neighbour["name"] for neighbour in neighbours] == ["docker", "ufw", "firewalld"]
    sequence = load(scenario / "molecule.yml")["scenario"]["test_sequence"]
    turn = ["side_effect", "converge", "idempotence", "verify"]
    assert sequence == ["destroy", "create", "prepare", *turn * len(neighbours), "destroy"]


def test_the_verifications_can_fail() -> None:
    for scenario in SCENARIOS:
        text = (scenario / "verify.yml").read_text(encoding="utf-8")
        assert "ignore_errors" not in text and "failed_when: false" not in text
        assert "ansible.builtin.assert" in text or "failed_when" in text
