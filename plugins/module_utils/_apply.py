# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Carrying out a plan, step by step, and taking it back if a step fails."""

from __future__ import annotations

import typing as t
from itertools import groupby

from . import _netns as netns
from ._changes import (
    AddAddress,
    AddBridge,
    AddEndpoint,
    AddRoute,
    Change,
    DeleteBridge,
    DeleteEndpoint,
    RemoveAddress,
    RemoveRoute,
    SetLink,
    SetSysctl,
    TellNeighbours,
    WriteFile,
)
from ._changes_rules import (
    ChangeFirewalld,
    ChangeProxies,
    ChangeReservations,
    ChangeRules,
    ForgetFlows,
)
from ._conntrack import forget_flows
from ._endpoints import add_endpoints, delete_endpoints, undo_add_endpoints
from ._errors import BridgeportError, KernelError, system_words
from ._files import read_file, write_file
from ._firewall import write_rules
from ._firewalld import apply_files
from ._links import (
    add_address,
    add_bridge,
    add_route,
    delete_bridge,
    indexes,
    remove_address,
    remove_route,
    restore_bridge,
    set_link,
)
from ._neighbours import introduce
from ._proxy import apply_proxies
from ._reserve import apply_reservations
from ._sysctl import write_optional

__all__ = ("apply",)

Handler = t.Callable[[t.Sequence[t.Any]], None]


def _each(function: t.Callable[[t.Any], None]) -> Handler:
    def handle(changes: t.Sequence[t.Any]) -> None:
        for change in changes:
            function(change)

    return handle


def _each_undone(function: t.Callable[[t.Any], None]) -> Handler:
    """Of what is undone, one failure leaves the others to be undone all the same."""

    def handle(changes: t.Sequence[t.Any]) -> None:
        failures = []
        for change in changes:
            try:
                function(change)
            except (BridgeportError, OSError) as problem:
                failures.append(_said(problem))
        if failures:
            raise KernelError(" ".join(failures))

    return handle


def _one_by_one(do: t.Callable[[t.Any], None], undo: t.Callable[[t.Any], None]) -> tuple[Handler, Handler]:
    return _each(do), _each_undone(undo)


def _said(problem: BridgeportError | OSError) -> str:
    return "The system said: %s." % system_words(problem) if isinstance(problem, OSError) else str(problem)


def _set_sysctl(change: SetSysctl, value: str | None) -> None:
    if value is None:
        return
    if change.endpoint:
        netns.inside(change.endpoint, lambda: write_optional(change.key, value))
    else:
        write_optional(change.key, value)


def _restore_endpoints(changes: t.Sequence[DeleteEndpoint]) -> None:
    links = indexes()
    gone = []
    for change in changes:
        state = change.state
        there = netns.is_namespace(state.name)
        if not there or (change.with_link and state.host_interface not in links):
            broken = not there and netns.exists(state.name)
            gone.append(AddEndpoint(change.subject, state, into_existing=there, broken_file=broken))
    undo_add_endpoints(gone)
    add_endpoints(gone)


def _restore_file(change: WriteFile) -> None:
    # What was not written, because nobody may, need not be written back.
    if read_file(change.path) != change.old:
        write_file(change.path, change.old)


def _tell_neighbours(changes: t.Sequence[TellNeighbours]) -> None:
    introduce([change.state for change in changes], {change.state.bridge for change in changes})


# For each kind of step: how to do it and how to undo it. Undoing must bear that the step was done in part, or not.
_HANDLERS: dict[type[Change], tuple[Handler, Handler]] = {
    ChangeRules: _one_by_one(
        lambda change: write_rules(change.backend, change.before, change.after),
        lambda change: write_rules(change.backend, change.after, change.before),
    ),
    ChangeFirewalld: _one_by_one(lambda change: apply_files(change.after), lambda change: apply_files(change.before)),
    ChangeProxies: _one_by_one(
        lambda change: apply_proxies(change.before, change.after),
        lambda change: apply_proxies(change.after, change.before),
    ),
    ChangeReservations: _one_by_one(
        lambda change: apply_reservations(change.before, change.after),
        lambda change: apply_reservations(change.after, change.before),
    ),
    # What was forgotten comes back with its next packet.
    ForgetFlows: _one_by_one(lambda change: forget_flows(change.flows), lambda change: forget_flows(change.flows)),
    SetSysctl: _one_by_one(
        lambda change: _set_sysctl(change, change.new), lambda change: _set_sysctl(change, change.old)
    ),
    SetLink: _one_by_one(lambda change: set_link(change, change.new), lambda change: set_link(change, change.old)),
    AddAddress: _one_by_one(add_address, remove_address),
    RemoveAddress: _one_by_one(remove_address, add_address),
    AddRoute: _one_by_one(add_route, remove_route),
    RemoveRoute: _one_by_one(remove_route, add_route),
    AddBridge: _one_by_one(lambda change: add_bridge(change.state), lambda change: delete_bridge(change.state)),
    DeleteBridge: _one_by_one(lambda change: delete_bridge(change.state), lambda change: restore_bridge(change.state)),
    AddEndpoint: (add_endpoints, undo_add_endpoints),
    # Whoever was told wrongly asks again when nobody answers.
    TellNeighbours: (_tell_neighbours, _each(lambda _change: None)),
    DeleteEndpoint: (delete_endpoints, _restore_endpoints),
    WriteFile: _one_by_one(lambda change: write_file(change.path, change.new), _restore_file),
}


def apply(
    changes: t.Sequence[Change],
    finish: t.Callable[[], None],
    tell: t.Callable[[str], None] = lambda _sentence: None,
    bearing: t.Collection[type[Change]] = (),
) -> list[str]:
    """Carry out the changes in order; steps of one kind that follow each other go together.

    :param finish: what is left to do after them, and undoes itself.
    :param tell: is given a sentence before each.
    :param bearing: the kinds of steps whose failure ends nothing: what they did in part stays, and the others go on.
    :returns: a sentence on each step that failed and was borne.
    :raises BridgeportError: a step failed and all that this run had done was undone; or, as the sentence then says,
        what could not be undone.
    """
    tried: list[tuple[type[Change], list[Change]]] = []
    borne: list[str] = []
    for (kind, _backend), group in groupby(changes, _group):
        step = list(group)
        tell(_words(step))
        tried.append((kind, step))
        try:
            _HANDLERS[kind][0](step)
        except BaseException as problem:
            if kind in bearing and isinstance(problem, (BridgeportError, OSError)):
                left = "All else was done; 'bridgeport apply' tries this again."
                borne.append(str(_told(problem, left, step[0].sentence)))
                continue
            # A failed transaction changed nothing: there is nothing of it to undo.
            left = undo(tried[:-1] if kind is ChangeRules else tried)
            raise _told(problem, left, step[0].sentence) from problem
    try:
        finish()
    except BaseException as problem:
        raise _told(problem, undo(tried), "") from problem
    return borne


def _told(problem: BaseException, left: str, step: str) -> BaseException:
    """The problem of a step, with words on what is left of the run."""
    if isinstance(problem, OSError):
        words = "Cannot carry out a step of the plan (%s): the system said: %s." % (
            step.rstrip("."),
            system_words(problem),
        )
        problem = KernelError(words, problem.errno or 0)
    if isinstance(problem, BridgeportError):
        return type(problem)("%s %s" % (problem, left))
    return problem


def _words(step: t.Sequence[Change]) -> str:
    # What the rules change for the topology's sake is in the sentences of the topology.
    first = step[0].sentence or ("Forget flows." if isinstance(step[0], ForgetFlows) else "Write the firewall rules.")
    return first if len(step) == 1 else "%s And %d more." % (first, len(step) - 1)


def _group(change: Change) -> tuple[type[Change], str]:
    # The rules of two backends are two transactions.
    return type(change), change.backend if isinstance(change, ChangeRules) else ""


def undo(tried: t.Sequence[tuple[type[Change], t.Sequence[Change]]]) -> str:
    """Undo steps, the last first, and say in a sentence how that went."""
    failures = []
    for kind, step in reversed(tried):
        try:
            _HANDLERS[kind][1](list(reversed(step)))
        except (BridgeportError, OSError) as problem:
            failures.append(_said(problem))
    if failures:
        return "Undoing what this run had changed failed as well: %s Run again to complete it." % " ".join(failures)
    return "What this run had changed until then was undone."
