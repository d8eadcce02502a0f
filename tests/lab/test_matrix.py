# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who reaches what, with real packets: every cell asserts the source address that the service saw, or the refusal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hostlab import Host
from matrix import ours
from matrix.asking import Ground, ask, expected, give_routes, serve
from matrix.conditions import PLAIN, Condition, held
from matrix.rows import questions
from matrix.topology import PLACES
from support import Modules

# Backend and way of loopback.
KINDS = [("nftables", "nat")]


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def kind(request: pytest.FixtureRequest) -> tuple[str, str]:
    """What carries the rules, and how 127.0.0.1 and ::1 reach the published ports."""
    asked: tuple[str, str] = request.param
    return asked


@pytest.fixture(scope="module")
def ground(host: Host, client: Host, modules: Modules, kind: tuple[str, str]) -> Iterator[Ground]:
    """The host of both matrices, with a service in every endpoint."""
    made = Ground(client, host)
    ours.make(modules, *kind)
    serve(made, [place.name for place in PLACES])
    give_routes(made)
    assert modules.ok("topology_info")["drift"] == []
    yield made


@pytest.mark.parametrize("condition", PLAIN, ids=str)
def test_who_reaches_what(ground: Ground, modules: Modules, kind: tuple[str, str], condition: Condition) -> None:
    wanted = questions(kind[1]) if held(condition) else []
    with condition.on(ground.host, lambda: modules.ok("bridge_network", name="docker0")):
        answers = ask(ground, wanted)
        assert modules.ok("topology_info")["drift"] == []
    wrong = [f"{each}: wanted {each.wanted}, got {answers[each]}" for each in wanted if not each.right(answers[each])]
    assert not wrong, "\n".join(wrong)


def test_explanations_foretell_the_answers(ground: Ground, modules: Modules, kind: tuple[str, str]) -> None:
    """What the host says of a packet's way is what becomes of a real one, for every cell of both matrices."""
    with Condition().on(ground.host, lambda: modules.ok("bridge_network", name="docker0")):
        answers = ask(ground, questions(kind[1]))
    told = modules.ok("topology_info", explain=[question.packet for question in answers])["explanations"]
    wrong = [
        f"{question}: got {answer}, told {' | '.join(explanation['path'])}: {explanation['verdict']}"
        for (question, answer), explanation in zip(answers.items(), told)
        if answer not in expected(question, explanation)
    ]
    assert not wrong, "\n".join(wrong)


def test_a_neighbours_martian_really_arrives(ground: Ground, modules: Modules) -> None:
    """The guard of loopback addresses is what stops them: without it the port on 127.0.0.2 is open to the LAN.

    If, that is, the endpoint's port is published elsewhere too: otherwise the way to it is shut in FORWARD as well.
    """
    client, host = ground
    elsewhere: dict[str, Any] = {"endpoint": "local", "ports": ["192.168.52.203:8999:80/udp"]}
    modules.ok("port_publish", **elsewhere)
    assert not client.probe("udp", "127.0.0.2", 5000)
    saved = host.run(["nft", "-a", "list", "chain", "ip", "bridgeport", "guard"]).stdout
    handle = next(line for line in saved.splitlines() if "127.0.0.0/8" in line).rsplit(" ", 1)[1]
    host.run(["nft", "delete", "rule", "ip", "bridgeport", "guard", "handle", handle])
    try:
        assert client.probe("udp", "127.0.0.2", 5000).ok
    finally:
        mended = modules.ok("bridge_network", name="docker0")
    assert mended["actions"] == ["Restore the changed rules of chain guard in table ip bridgeport."]
    modules.ok("port_publish", **elsewhere, state="absent")
    assert not client.probe("udp", "127.0.0.2", 5000)
