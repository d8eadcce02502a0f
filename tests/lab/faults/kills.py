# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs that are killed: after each step of their plan, between two calls to the host, and at any time."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from faults.ground import RECORD, Ended, Ground, Lost
from faults.states import AFTER, BEFORE, NOTHING, QUESTIONS, SERVED, State
from faults.tally import Tally

KILLED = -9
KEPT = [question for question in QUESTIONS if question.kept]
# Flows that lead elsewhere afterwards; one that has been there before must follow.
MOVED = [question for question in QUESTIONS if question.protocol == "udp" and question.before != question.after]
STATES = (NOTHING, BEFORE, AFTER)
# More steps than any of these plans has; and the calls of a run that leads to a state.
MOST = 250
CALLS = {NOTHING: 40, BEFORE: 130, AFTER: 130}
Task = tuple[str, dict[str, Any]]
# As after a loss of power: the kernel has forgotten everything, and the disk nothing.
FORGET = """
for name in $(ls /run/netns); do ip netns del "$name"; done
for name in $(ls /sys/class/net); do case "$name" in br-*|docker0|bp-*) ip link del "$name";; esac; done
nft flush ruleset
for v in ip ip6; do for table in $(cat /proc/net/${v}_tables_names); do
  ${v}tables-legacy -t "$table" -F; ${v}tables-legacy -t "$table" -X
done; done
"""


class Killer:
    """Kills runs on one ground, and looks at what becomes of the host."""

    def __init__(self, ground: Ground, tally: Tally) -> None:
        """Begin where nothing is on the host."""
        self.ground = ground
        self.tally = tally
        self.here = NOTHING

    def go(self, there: State) -> None:
        """Go to a state without being disturbed."""
        self.ground.settle(there)
        self.arrive(there)

    def arrive(self, there: State) -> None:
        """Make sure that the host is as it always is in a state.

        :raises Lost: it is not.
        """
        if there is NOTHING:
            self.ground.forget_forwarding()
        if there.name in self.ground.references:
            self.ground.compare(self.ground.references[there.name])
        self.here = there

    def kill(
        self, there: State, how: str, run: Callable[[], Ended], after: Callable[[State], None] | None = None
    ) -> Ended:
        """Kill one run on its way to a state, look at the doors, and go on by what comes after it: the next run.

        :raises Lost: a door was open or shut that must not be, or the host did not get where it should.
        """
        after = after or self.next_run
        try:
            return self._kill(there, run, after)
        except Lost as problem:
            words = f"{self.ground.backend}, from {self.here.name} to {there.name}, killed {how}, then {after.__name__}"
            raise Lost(f"{words}: {problem}") from None

    def _kill(self, there: State, run: Callable[[], Ended], after: Callable[[State], None]) -> Ended:
        here = self.here
        # Nothing is kept over a loss of power.
        both = {here, there} <= {BEFORE, AFTER} and after != self.power_loss
        self._follow(here, opening=True)
        self.ground.watch(KEPT if both else [])
        try:
            ended = run()
            self.tally.count("kills", ended.status == KILLED)
            if ended.status not in (0, KILLED):
                raise Lost(f"the run ended by itself with status {ended.status}: {(ended.text + ended.errors)[:500]}")
            self.tally.count("questions", self.ground.ask_all([here, there], between=True))
            after(there)
        finally:
            knocked = self.ground.watched()
        self.tally.count("knocks", knocked.knocks)
        if knocked.lost:
            raise Lost("; ".join(knocked.lost[:5]))
        self.arrive(there)
        if both:
            self._follow(there)
        return ended

    def _follow(self, state: State, opening: bool = False) -> None:
        """Ask by flows that stay: who answers now?"""
        self.ground.worker.ask("serve", ports=SERVED)
        client = self.ground.workers["client"]
        targets = [(q.protocol, q.address, q.port) for q in MOVED]
        found = client.ask("open_flows", targets=targets) if opening else client.ask("ask_flows")
        wrong = [f"{q}: {name}" for q, name in zip(MOVED, found) if name != q.answer(state)]
        if wrong:
            raise Lost(f"a flow that had begun before led elsewhere in the state {state.name}: {'; '.join(wrong)}")

    # What comes after a kill

    def next_run(self, there: State) -> None:
        """The next run asks for the same."""
        self.ground.settle(there)

    def boot_unit(self, there: State) -> None:
        """The boot unit completes what was begun, if it had begun, and then the next run comes."""
        self._boot()
        self.ground.settle(there)

    def power_loss(self, there: State) -> None:
        """The kernel forgets everything, the boot unit comes, and then the next run."""
        self.ground.host.run(["sh", "-c", FORGET], check=False)
        self._boot()
        self.ground.settle(there)

    def _boot(self) -> None:
        ended = self.ground.boot()
        if ended.status:
            raise Lost(
                f"the boot unit's command failed with status {ended.status}: {(ended.text + ended.errors)[-2000:]}"
            )


def step_kills(killer: Killer, one: State, other: State, *, first: int = 0, most: int = MOST, every: int = 1) -> None:
    """From one state to another and back, killed after each step of the plan in turn, on both ways.

    first, most: the numbers of the first step and the last. every: of so many, one.
    """
    killer.go(one)
    ways = {one: other, other: one}
    steps: dict[State, int | None] = {one: first, other: first}
    for number in range(2 * MOST):
        there, step = ways[killer.here], steps[killer.here]
        if step is None:
            if steps[there] is None:
                return
            killer.go(there)
            continue
        here, run = killer.here, partial(killer.ground.to, there, seams={"kill_change": step})
        ended = killer.kill(there, f"after step {step}", run, killer.boot_unit if number % 3 == 0 else killer.next_run)
        steps[here] = step + every if step + every <= min(len(ended.steps), most) else None


def call_kills(killer: Killer, seed: int, count: int) -> None:
    """Killed between two calls to the host, in the middle of a step: chosen at random."""
    dice = random.Random(seed)
    for _number in range(count):
        there = dice.choice([state for state in STATES if state is not killer.here])
        call = dice.randrange(CALLS[there])
        run = partial(killer.ground.to, there, seams={"kill_call": call})
        killer.kill(there, f"at call {call}", run, dice.choice([killer.next_run, killer.boot_unit]))


def record_kills(killer: Killer, there: State) -> None:
    """Killed after each of the last calls of a run, those that make what it was asked for the record."""
    here = killer.here
    calls = killer.ground.to(there, seams={}).calls
    killer.arrive(there)
    last = max(number for number, name in enumerate(calls) if RECORD not in name and not name.startswith("fsync"))
    for call in range(last, len(calls)):
        killer.go(here)
        run = partial(killer.ground.to, there, seams={"kill_call": call})
        killer.kill(there, f"after {calls[call]}", run, killer.boot_unit if call % 2 else killer.next_run)


def random_kills(killer: Killer, seed: int, count: int) -> None:
    """Killed from outside at any time, most of them after it began to change the host."""
    dice = random.Random(seed)
    for _number in range(count):
        there = dice.choice([state for state in STATES if state is not killer.here])
        begun = dice.random() < 0.7
        delay = dice.uniform(0.0, 0.25 if begun else 0.4)
        after = dice.choice([killer.next_run, killer.next_run, killer.boot_unit, killer.power_loss])
        how = f"{delay:.3f} s after {'its first change' if begun else 'its start'}"
        killer.kill(there, how, partial(_killed_at, killer.ground, there, delay, begun), after)


def _killed_at(ground: Ground, there: State, delay: float, begun: bool) -> Ended:
    run = ground.start("target", ground.target(there), seams={})
    return ground.end(run, delay, begun)


def module_kills(killer: Killer, seed: int, count: int) -> None:
    """The four modules one after the other, as a playbook runs them; one is killed, and the playbook run again."""
    dice = random.Random(seed)
    killer.go(NOTHING)
    for _number in range(count):
        there = BEFORE if killer.here is NOTHING else NOTHING
        tasks = tuple(playbook(there, killer.here, killer.ground.option))
        victim, delay = dice.randrange(len(tasks)), dice.uniform(0.0, 0.2)
        run = partial(_killed_task, killer.ground, tasks, victim, delay)

        def again(_there: State, tasks: Sequence[Task] = tasks) -> None:
            _play(killer.ground, tasks)

        killer.kill(there, f"{delay:.3f} s after the start of {tasks[victim][0]}", run, again)


def playbook(there: State, here: State, backend: str) -> Iterator[Task]:
    """The tasks that lead to a state from nothing, or the other way."""
    if there is not NOTHING:
        yield "bridge_network", {"networks": there.networks, "backend": backend}
        yield "masquerade", {"masquerades": there.masquerades}
        yield "veth_endpoint", {"endpoints": there.endpoints}
        yield "port_publish", {"publishes": there.publishes}
        return
    names = [{"endpoint": endpoint["name"]} for endpoint in here.endpoints]
    yield "port_publish", {"publishes": names, "state": "absent"}
    yield "veth_endpoint", {"endpoints": [{"name": each["name"]} for each in here.endpoints], "state": "absent"}
    yield "masquerade", {"masquerades": here.masquerades, "state": "absent"}
    yield "bridge_network", {"networks": [{"name": each["name"]} for each in here.networks], "state": "absent"}


def _killed_task(ground: Ground, tasks: Sequence[Task], victim: int, delay: float) -> Ended:
    for module, options in tasks[:victim]:
        _task(ground, module, options)
    module, options = tasks[victim]
    return ground.end(ground.start(module, options), delay)


def _play(ground: Ground, tasks: Sequence[Task]) -> None:
    for _module in tasks:
        _task(ground, *_module)
    for module, options in tasks:
        if _task(ground, module, options)["changed"]:
            raise Lost(f"the second run of {module} changed something")


def _task(ground: Ground, module: str, options: dict[str, Any]) -> dict[str, Any]:
    result = ground.run(module, options).result
    if result.get("failed"):
        raise Lost(f"{module} failed: {result['msg']}")
    return result
