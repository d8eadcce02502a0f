# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""The subcommands of ``bridgeport`` that need the engine."""

from __future__ import annotations

import argparse
import json
import sys
import typing as t

from ._codec import topology_to_json
from ._engine import Engine
from ._explain import ARRIVING, explanation_lines, explanation_to_json, verdict_words
from ._host import KernelFacts
from ._record import Record
from ._report import port_table, strangers
from ._reserve import held_ports

__all__ = ("CLEAN", "DRIFTED", "apply", "explain_packet", "ports", "status")

CLEAN, DRIFTED = 0, 1


def _show(options: argparse.Namespace, data: dict[str, t.Any], lines: t.Iterable[str]) -> None:
    text = json.dumps(data, indent=2) if options.json else "\n".join(lines)
    if text:
        sys.stdout.write(text + "\n")


def _warn(warnings: t.Iterable[str]) -> None:
    for warning in warnings:
        sys.stderr.write("bridgeport: warning: %s\n" % warning)


def status(options: argparse.Namespace) -> int:
    """Compare the host with its record."""
    found = Engine().inspect()
    topology = found.topology
    counts = "%d networks, %d endpoints, %d published ports, rules by %s." % (
        len(topology.networks),
        len(topology.endpoints),
        len(topology.publishes),
        found.backend,
    )
    lines = [counts]
    if found.interrupted:
        lines.append("The last run was killed before its end; 'bridgeport apply' completes it.")
    if found.drift:
        lines += ["The host has drifted from its record; 'bridgeport apply' would:", *("  " + s for s in found.drift)]
    else:
        lines.append("The host holds what was asked for.")
    _warn(found.warnings)
    data = {
        **topology_to_json(topology),
        "drift": found.drift,
        "interrupted": found.interrupted,
        "backend": found.backend,
    }
    _show(options, data, lines)
    return DRIFTED if found.drift or found.interrupted else CLEAN


def apply(options: argparse.Namespace) -> int:
    """Bring the host to what its record holds."""
    outcome = Engine(tell=_tell).restore()
    _warn(outcome.warnings)
    _show(options, {"changed": outcome.changed, "actions": outcome.actions}, outcome.actions)
    return CLEAN


def _tell(sentence: str) -> None:
    sys.stderr.write("bridgeport: %s\n" % sentence)
    sys.stderr.flush()


def ports(options: argparse.Namespace) -> int:
    """Show the published ports of each endpoint."""
    record = Record()
    with record.locked(create=False):
        record.read()
    topology = record.pending or record.topology
    table = port_table(topology, held_ports())
    lines = ["%s: %s" % (name, line) for name, lines in table.items() for line in lines]
    _show(options, table, [*lines, *strangers(topology, KernelFacts().ports().holders)])
    return CLEAN


def explain_packet(options: argparse.Namespace) -> int:
    """Tell the way of a packet."""
    found = Engine().explain([(options.source, options.destination)])[0]
    _show(options, explanation_to_json(found), [*explanation_lines(found), "Verdict: %s." % verdict_words(found)])
    return CLEAN if found.verdict in ARRIVING else DRIFTED
