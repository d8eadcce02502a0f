# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Some of each kind of what ``make faults`` does in full: runs that are killed, refused, or not alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from faults import crowds, injections
from faults.ground import Ground
from faults.kills import Killer, call_kills, module_kills, random_kills, record_kills, step_kills
from faults.states import AFTER, BEFORE, NOTHING
from faults.tally import Tally

SEED = 17


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A host whose states are known as they are when nothing disturbs."""
    with Ground(tmp_path_factory.mktemp("faults") / "lab", "nftables") as made:
        made.make_references([NOTHING, BEFORE, AFTER])
        yield made


@pytest.fixture
def killer(ground: Ground) -> Killer:
    """Kills runs, beginning where nothing is on the host."""
    made = Killer(ground, Tally())
    made.go(NOTHING)
    return made


def test_killed_after_some_of_the_steps(killer: Killer) -> None:
    step_kills(killer, BEFORE, AFTER, every=16)
    assert killer.tally.tried["kills"] > 4


def test_killed_between_two_calls(killer: Killer) -> None:
    call_kills(killer, SEED, 3)


def test_killed_while_the_record_is_put_in_place(killer: Killer) -> None:
    killer.go(BEFORE)
    record_kills(killer, NOTHING)


def test_killed_at_any_time(killer: Killer) -> None:
    random_kills(killer, SEED, 3)


def test_a_playbook_whose_module_is_killed(killer: Killer) -> None:
    module_kills(killer, SEED, 2)


def test_refused_by_the_kernel(ground: Ground) -> None:
    tally = Tally()
    injections.refused_calls(ground, tally, ["nft", "netlink NEWADDR", "rename"])
    assert tally.tried["injections"] > 4


def test_a_host_with_a_fault(ground: Ground) -> None:
    injections.troubles(ground, Tally())


def test_a_process_that_may_open_few_files(ground: Ground) -> None:
    injections.few_files(ground, Tally(), [14, 48])


def test_runs_at_once(ground: Ground) -> None:
    crowds.at_once(ground, Tally(), [AFTER, BEFORE, AFTER])


def test_a_run_while_links_are_deleted(ground: Ground) -> None:
    crowds.while_deleted(ground, Tally(), 2)
