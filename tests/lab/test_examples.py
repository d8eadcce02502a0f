# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules' documented examples run as they stand, one after the other, and a second time."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

from hostlab import Lab
from support import ROOT, playbook, recap

# What an example speaks of and does not itself create.
BEFORE = {
    "bridge_network": [],
    "masquerade": ["bridgeport.net.bridge_network: {name: docker0, subnets: [172.17.0.0/16]}"],
    "veth_endpoint": ["bridgeport.net.bridge_network: {name: docker0, subnets: [172.17.0.0/16]}"],
    "port_publish": [
        "bridgeport.net.bridge_network: {name: docker0, subnets: [172.17.0.0/16]}",
        "bridgeport.net.veth_endpoint: {network: docker0, endpoints: [{name: web}, {name: media}, {name: db}]}",
    ],
    "topology_info": [],
}


def constant(path: Path, name: str) -> str:
    """The text of a module's top-level constant."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            return str(ast.literal_eval(node.value))
    raise AssertionError(f"{path} has no {name}")


@pytest.mark.parametrize("module", sorted(BEFORE))
def test_examples_run(module: str, tmp_path: Path) -> None:
    examples = yaml.safe_load(constant(ROOT / "plugins" / "modules" / f"{module}.py", "EXAMPLES"))
    assert len(examples) >= 2
    tasks = [yaml.safe_load(text) for text in BEFORE[module]] + examples
    path = tmp_path / "examples.yml"
    path.write_text(yaml.safe_dump([{"hosts": "web", "gather_facts": False, "tasks": tasks}], sort_keys=False))
    with Lab(tmp_path / "lab") as lab:
        lab.add_host("host", ["192.168.52.203/24"])
        for options in (["--check"] if len(examples) == len(tasks) else [], [], []):
            done = playbook(lab, str(path), *options, hosts={"web": ["host"]})
            assert done.returncode == 0, done.stdout + done.stderr
            assert recap(done.stdout)["ok"] == len(tasks)
