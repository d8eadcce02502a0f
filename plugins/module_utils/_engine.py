# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""The way through: from a request, under the lock, by record, kernel and plan, to a changed host and a new record.

Playbook runs and the boot take the same way; only what they ask for differs.
"""

from __future__ import annotations

import contextlib
import os
import typing as t
from dataclasses import dataclass, field, replace

from ._apply import apply
from ._carried import carried_out
from ._changes import Change
from ._changes_rules import ChangeProxies, ChangeReservations
from ._clock import Clock
from ._errors import DependencyError, KernelError, system_words
from ._explain import Explanation, explain
from ._facts import CheckedFacts, HostFacts, RememberedFacts
from ._firewall import choose_backend
from ._foreign import foreign_warnings
from ._host import KernelFacts, observe
from ._hostports import held_warnings
from ._links import require_open_files
from ._model import Endpoint, Network
from ._netlink import Socket, require_pyroute2
from ._plan import Scope, make_plan, scope_of
from ._record import Record
from ._report import actions_of, diff_of, unrecorded, warnings_of
from ._state import Observed
from ._topology import Topology

__all__ = ("Assumed", "Engine", "Inspection", "Outcome", "Touched", "require_host")

Decide = t.Callable[[Topology, HostFacts], Topology]
Tell = t.Callable[[str], None]


@dataclass(frozen=True)
class Touched:
    """The networks and endpoints that a request names; ``everything`` as at boot."""

    networks: t.Collection[str] = ()
    endpoints: t.Collection[str] = ()
    everything: bool = False


@dataclass(frozen=True)
class Assumed:
    """Where the checked tasks of a play before this one would have led, and the networks and endpoints they named."""

    topology: Topology
    networks: t.Collection[str] = ()
    endpoints: t.Collection[str] = ()


@dataclass(frozen=True)
class Outcome:
    """What a run did, or in check mode would do. ``phases`` are the seconds of each part of it."""

    before: Topology
    after: Topology
    changes: t.Sequence[Change] = ()
    actions: list[str] = field(default_factory=list)
    backend: str = "nftables"
    warnings: list[str] = field(default_factory=list)
    phases: dict[str, float] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Whether anything of the host or of the record is another now."""
        return bool(self.changes) or self.before != self.after

    @property
    def diff(self) -> dict[str, t.Any]:
        """The objects that change, before and after. Drawn up when it is asked for: few runs show it."""
        return diff_of(self.before, self.after, self.changes)


@dataclass(frozen=True)
class Inspection:
    """What a look at the host found.

    ``drift`` has a sentence for each thing that the next run would mend, and for each whose name something else has
    taken. ``counters`` are packets and bytes, received and sent, of each interface of the host. ``warnings`` are what
    no run of ours can mend.
    """

    topology: Topology
    drift: list[str]
    interrupted: bool
    backend: str
    counters: dict[str, dict[str, int]]
    warnings: t.Sequence[str] = ()


def require_host() -> None:
    """Make sure that this process can work on this host.

    :raises DependencyError: not root, or pyroute2 is missing or too old, or too few files may be opened.
    """
    if os.geteuid() != 0:
        raise DependencyError(
            "Cannot change the network of this host: this process runs as user id %d and needs root. "
            "Set 'become: true' for the task." % os.geteuid()
        )
    require_pyroute2()
    require_open_files()


class Engine:
    """Runs requests against this host. ``tell`` is given a sentence before each step of a run that changes it."""

    def __init__(
        self, record: Record | None = None, facts: HostFacts | None = None, tell: Tell = lambda _: None
    ) -> None:
        self.record = record or Record()
        self.facts = facts or KernelFacts()
        self._tell = tell
        self._clock = Clock()

    def run(
        self,
        decide: Decide,
        touched: Touched,
        check: bool,
        assume: Assumed | None = None,
        backend: str | None = None,
        bearing: t.Collection[type[Change]] = (),
    ) -> Outcome:
        """Bring the host to what ``decide`` makes of the recorded topology.

        :param decide: the request: from the topology that there is to the one that is wanted. Pure.
        :param check: stop at the plan.
        :param assume: in check mode, what to start from in place of the record.
        :param backend: who is to carry the rules: ``nftables``, ``iptables``; ``auto`` or None keeps what the record
            has, and takes what the host has where there is no record.
        :param bearing: the kinds of steps whose failure is a warning and undoes nothing.
        :raises BridgeportError: the request was refused, or a step failed and was undone.
        """
        require_host()
        self._clock.begin("wait")
        with _in_words(), self.record.locked(create=not check):
            outcome = self._run(decide, touched, check, assume, backend, bearing)
        return replace(outcome, phases=self._clock.phases())

    def restore(self) -> Outcome:
        """Bring the host to what its record holds, as at boot.

        Nobody asks for anything new, and every service in an endpoint waits for the networks and the rules. So a port
        at loopback that somebody else has, or one that cannot be kept from others, is a warning.

        :raises BridgeportError: another step failed and was undone.
        """
        touched, bearing = Touched(everything=True), (ChangeProxies, ChangeReservations)
        return self.run(lambda topology, _facts: topology, touched, check=False, bearing=bearing)

    def _run(
        self,
        decide: Decide,
        touched: Touched,
        check: bool,
        assume: Assumed | None,
        backend: str | None,
        bearing: t.Collection[type[Change]],
    ) -> Outcome:
        self._clock.begin("read")
        self.record.read()
        chosen = choose_backend(backend, self.record.backend)
        if check and assume is not None:
            facts = CheckedFacts(self.facts)
            outcome = self._plan_assumed(assume, decide(assume.topology, facts), touched, chosen)
            return replace(outcome, warnings=[*_held(outcome, facts), *outcome.warnings])
        interrupted = self.record.pending is not None
        start = self.record.given[-1]
        self._clock.begin("plan")
        after = decide(start, self.facts)
        if after == start:
            # What is derived from a topology is kept with it, and so is derived once for both.
            after = start
        outcome, changes = self._plan(after, touched, interrupted, chosen)
        if check:
            return outcome
        moved = self.record.backend not in (None, chosen)
        if changes or interrupted or moved or after != self.record.topology:
            borne = self._carry_out(after, changes, chosen, bearing)
            return replace(outcome, warnings=[*outcome.warnings, *borne])
        return outcome

    def inspect(self) -> Inspection:
        """Compare the whole record with the kernel, and change nothing.

        :raises BridgeportError: the record or the kernel could not be read.
        """
        require_host()
        with _in_words(), self.record.locked(create=False):
            self.record.read()
            start = self.record.given[-1]
            backend = choose_backend(None, self.record.backend)
            refused: list[str] = []
            outcome, _changes = self._plan(start, Touched(everything=True), False, backend, refused)
            with Socket() as sock:
                counters = sock.counters()
            interrupted = self.record.pending is not None
            return Inspection(start, [*refused, *outcome.actions], interrupted, backend, counters, outcome.warnings)

    def explain(self, packets: t.Sequence[tuple[str, str]]) -> list[Explanation]:
        """Explain the way of packets, each from a source to a destination, through what was last asked for.

        :raises BridgeportError: a packet says nothing that this host knows of, or the record could not be read.
        """
        require_host()
        with _in_words(), self.record.locked(create=False):
            self.record.read()
            topology = self.record.given[-1]
            facts = RememberedFacts(self.facts)
            return [explain(topology, facts, source, destination) for source, destination in packets]

    def _plan_assumed(self, assume: Assumed, after: Topology, touched: Touched, backend: str) -> Outcome:
        """What this request adds to what earlier ones of the same play would have done, had they not been checked."""
        given, assumed = self.record.given, assume.topology
        before = _union(given)
        interrupted = self.record.pending is not None
        until_then = scope_of(before, assumed, assume.networks, assume.endpoints, interrupted)
        scope = scope_of(assumed, after, touched.networks, touched.endpoints, touched.everything)
        both = Scope(until_then.networks | scope.networks, until_then.endpoints | scope.endpoints)
        observed = observe(before, after, both)
        earlier = make_plan(before, assumed, observed, until_then, backend, self.record.backend or "", given)
        seen = carried_out(earlier, observed)
        changes = make_plan(assumed, after, seen, scope, backend, backend)
        outcome = _outcome(assumed, after, changes, backend)
        return replace(outcome, warnings=_warnings(after, touched, seen, backend))

    def _plan(
        self, after: Topology, touched: Touched, interrupted: bool, backend: str, refused: list[str] | None = None
    ) -> tuple[Outcome, list[Change]]:
        given = self.record.given
        before = _union(given)
        full = touched.everything or interrupted
        scope = scope_of(before, after, touched.networks, touched.endpoints, full)
        self._clock.begin("read")
        observed = observe(before, after, scope)
        self._clock.begin("plan")
        changes = make_plan(before, after, observed, scope, backend, self.record.backend or "", given, refused)
        outcome = _outcome(before, after, changes, backend)
        warnings = _warnings(after, touched, observed, backend)
        if touched.everything:
            warnings += unrecorded(before, observed.links.values())
        return replace(outcome, warnings=warnings), changes

    def _carry_out(
        self, after: Topology, changes: list[Change], backend: str, bearing: t.Collection[type[Change]]
    ) -> list[str]:
        self._clock.begin("record")
        self.record.begin(after, backend)
        self._clock.begin("apply")
        try:
            return apply(changes, lambda: self._finish(after), self._tell, bearing)
        except BaseException:
            # It was undone, whatever it was: kept pending, it would make every later run fail like this one.
            self.record.abort()
            raise

    def _finish(self, after: Topology) -> None:
        self._clock.begin("record")
        self.record.commit(keep=not after.empty)


@contextlib.contextmanager
def _in_words() -> t.Iterator[None]:
    """What the system refuses while a run only looks is an error in words, too."""
    try:
        yield
    except OSError as problem:
        place = " at %s" % problem.filename if problem.filename else ""
        raise KernelError(
            "Cannot look at this host: the system said: %s%s. Nothing was changed." % (system_words(problem), place),
            problem.errno or 0,
        ) from problem


def _outcome(before: Topology, after: Topology, changes: list[Change], backend: str) -> Outcome:
    return Outcome(before, after, changes, actions_of(before, after, changes), backend)


def _held(outcome: Outcome, facts: HostFacts) -> list[str]:
    """Of the host ports that a run would take beside those that its topology has, which a process holds now."""
    before, after = outcome.before, outcome.after
    bindings = []
    for key, publish in after.publishes.items():
        known = before.publishes.get(key)
        if known != publish:
            had = before.bindings(known) if known else ()
            bindings += [binding for binding in after.bindings(publish) if binding not in had]
    return held_warnings(bindings, facts.ports()) if bindings else []


def _warnings(after: Topology, touched: Touched, observed: Observed, backend: str) -> list[str]:
    return [
        *warnings_of(after, touched.networks, observed.links),
        *foreign_warnings(after, observed.foreign, observed.tables, backend),
    ]


def _union(given: t.Sequence[Topology]) -> Topology:
    """Everything that may be on the host after interrupted runs: what was there and what was being made."""
    if all(topology == given[-1] for topology in given):
        return given[-1]
    networks: dict[str, Network] = {}
    endpoints: dict[str, Endpoint] = {}
    for topology in given:
        networks.update(topology.networks)
        endpoints.update(topology.endpoints)
    return given[-1].with_(networks=networks, endpoints=endpoints)
