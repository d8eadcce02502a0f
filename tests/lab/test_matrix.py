# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who reaches what, with real packets: every cell asserts the source address that the service saw, or the refusal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from hostlab import Host, Lab
from matrix import ours
from matrix.asking import Ground, ask, expected, give_routes, serve
from matrix.conditions import FOREIGN, PLAIN, Condition
from matrix.rows import Question, questions
from matrix.topology import NETWORKS, PLACES
from support import BACKENDS, Modules

# Backend and way of loopback.
KINDS = [(backend, loopback) for backend in BACKENDS for loopback in ("nat", "proxy")]


class Scene(NamedTuple):
    """The matrices' machines, the modules on the host, and what is asked there."""

    ground: Ground
    modules: Modules
    questions: list[Question]
    backend: str

    def repair(self) -> None:
        """What puts all rules back."""
        self.modules.ok("bridge_network", name="docker0")


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The host of both matrices, with a service in every endpoint."""
    backend, loopback = request.param
    scratch = tmp_path_factory.mktemp("matrix")
    with Lab(scratch / "lab") as lab:
        ground, modules = ours.machines(lab, scratch, loopback)
        ours.make(modules, backend, loopback)
        serve(ground, [place.name for place in PLACES])
        give_routes(ground, NETWORKS)
        assert modules.ok("topology_info")["drift"] == []
        yield Scene(ground, modules, questions(loopback), backend)


@pytest.mark.parametrize("condition", [*PLAIN, *FOREIGN], ids=str)
def test_who_reaches_what(scene: Scene, condition: Condition) -> None:
    wanted = list(scene.questions)
    with condition.on(scene.ground.host, scene.repair):
        answers = ask(scene.ground, wanted)
        assert scene.modules.ok("topology_info")["drift"] == []
    wrong = [f"{each}: wanted {each.wanted}, got {answers[each]}" for each in wanted if not each.right(answers[each])]
    assert not wrong, "\n".join(wrong)


def test_explanations_foretell_the_answers(scene: Scene) -> None:
    """What the host says of a packet's way is what becomes of a real one, for every cell of both matrices."""
    with Condition().on(scene.ground.host, scene.repair):
        answers = ask(scene.ground, scene.questions)
    told = scene.modules.ok("topology_info", explain=[question.packet for question in answers])["explanations"]
    wrong = [
        f"{question}: got {answer}, told {' | '.join(explanation['path'])}: {explanation['verdict']}"
        for (question, answer), explanation in zip(answers.items(), told)
        if answer not in expected(question, explanation)
    ]
    assert not wrong, "\n".join(wrong)


def without_loopback_guard(host: Host, backend: str) -> str:
    """Delete the rule that keeps loopback addresses off the wire; returns the sentence of its repair."""
    if backend == "nftables":
        chain = ["ip", "bridgeport", "guard"]
        saved = host.run(["nft", "-a", "list", "chain", *chain]).stdout
        handle = next(line for line in saved.splitlines() if "127.0.0.0/8" in line).rsplit(" ", 1)[1]
        host.run(["nft", "delete", "rule", *chain, "handle", handle])
        return "Restore the changed rules of chain guard in table ip bridgeport."
    assert "127.0.0.0/8" in host.run(["iptables", "-t", "mangle", "-S", "BRIDGEPORT", "1"]).stdout
    host.run(["iptables", "-t", "mangle", "-D", "BRIDGEPORT", "1"])
    return "Restore the changed rules of chain BRIDGEPORT in table mangle of iptables."


def test_a_neighbours_martian_really_arrives(scene: Scene) -> None:
    """The guard of loopback addresses is what stops them: without it the port on 127.0.0.2 is open to the LAN.

    If, that is, the endpoint's port is published elsewhere too: otherwise the way to it is shut in FORWARD as well.
    """
    client, host = scene.ground
    elsewhere: dict[str, Any] = {"endpoint": "local", "ports": ["192.168.52.203:8999:80/udp"]}
    scene.modules.ok("port_publish", **elsewhere)
    assert not client.probe("udp", "127.0.0.2", 5000)
    repair = without_loopback_guard(host, scene.backend)
    try:
        assert client.probe("udp", "127.0.0.2", 5000).ok
    finally:
        mended = scene.modules.ok("bridge_network", name="docker0")
    assert mended["actions"] == [repair]
    scene.modules.ok("port_publish", **elsewhere, state="absent")
    assert not client.probe("udp", "127.0.0.2", 5000)
