# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""The administrator's command ``bridgeport``, and what the boot unit runs: the modules' engine without Ansible."""

from __future__ import annotations

import argparse
import json
import sys
import typing as t

from ._codec import topology_to_json
from ._engine import Engine, Touched
from ._errors import BridgeportError
from ._explain import ARRIVING, explanation_lines, explanation_to_json, verdict_words
from ._host import KernelFacts
from ._netns import is_namespace
from ._record import Record
from ._report import port_table, strangers
from ._reserve import held_ports, serve_block

__all__ = ("main",)

_EXPLAIN = (
    "Tell the way of a packet from a source to a destination through the rules, and where it ends. Exit status 1 if it "
    "does not arrive. What another firewall does to it is not known here."
)
# Exit statuses: as asked for; the host has drifted; it could not be done.
_CLEAN, _DRIFTED, _FAILED = 0, 1, 2


def main(arguments: t.Sequence[str] | None = None) -> int:
    """Run one subcommand.

    :param arguments: the words behind the command's name.
    :returns: 0 if the host holds what was asked for, 1 if it has drifted (or the packet to explain does not arrive), 2
        for an error, which is on standard error.
    """
    options = _parser().parse_args(arguments)
    try:
        return t.cast(int, options.run(options))
    except BridgeportError as problem:
        sys.stderr.write("bridgeport: %s\n" % problem)
    except Exception as problem:
        sys.stderr.write(
            "bridgeport: Cannot go on: an unforeseen error (%s: %s). Please report it.\n"
            % (type(problem).__name__, problem)
        )
    return _FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bridgeport", description="Bridge networking of this host, as its record has it."
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, run, words in (
        ("status", _status, "compare the host with its record; exit status 1 if it has drifted"),
        ("apply", _apply, "bring the host to what its record holds, as at boot"),
        ("ports", _ports, "show the published ports of each endpoint"),
    ):
        command = commands.add_parser(name, help=words, description=words)
        command.add_argument("--json", action="store_true", help="print JSON")
        command.set_defaults(run=run)
    way = commands.add_parser("explain", help="tell the way of a packet", description=_EXPLAIN)
    way.add_argument("source", help="an endpoint, 'host', 'outside', or an address")
    way.add_argument("destination", help="for example 192.0.2.10:80/tcp, web:5000 or 192.0.2.10/icmp")
    way.add_argument("--json", action="store_true", help="print JSON")
    way.set_defaults(run=_explain)
    check = commands.add_parser("check", help="fail unless an endpoint's namespace is there, for systemd units")
    check.add_argument("endpoint")
    check.set_defaults(run=_check)
    words = "hand sockets for a block of published ports to systemd, for its unit"
    reserve = commands.add_parser("reserve", help=words, description=words)
    reserve.add_argument("block", type=int)
    reserve.set_defaults(run=_reserve)
    return parser


def _reserve(options: argparse.Namespace) -> int:
    serve_block(options.block)
    return _CLEAN


def _check(options: argparse.Namespace) -> int:
    if is_namespace(options.endpoint):
        return _CLEAN
    sys.stderr.write(
        "bridgeport: The endpoint %s has no namespace /run/netns/%s. "
        "'bridgeport status' tells what is missing, 'bridgeport apply' makes it.\n"
        % (options.endpoint, options.endpoint)
    )
    return _FAILED


def _show(options: argparse.Namespace, data: dict[str, t.Any], lines: t.Iterable[str]) -> None:
    text = json.dumps(data, indent=2) if options.json else "\n".join(lines)
    if text:
        sys.stdout.write(text + "\n")


def _warn(warnings: t.Iterable[str]) -> None:
    for warning in warnings:
        sys.stderr.write("bridgeport: warning: %s\n" % warning)


def _status(options: argparse.Namespace) -> int:
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
    return _DRIFTED if found.drift or found.interrupted else _CLEAN


def _apply(options: argparse.Namespace) -> int:
    outcome = Engine().run(lambda topology, _facts: topology, Touched(everything=True), check=False)
    _warn(outcome.warnings)
    _show(options, {"changed": outcome.changed, "actions": outcome.actions}, outcome.actions)
    return _CLEAN


def _ports(options: argparse.Namespace) -> int:
    record = Record()
    with record.locked(create=False):
        record.read()
    topology = record.pending or record.topology
    table = port_table(topology, held_ports())
    lines = ["%s: %s" % (name, line) for name, lines in table.items() for line in lines]
    _show(options, table, [*lines, *strangers(topology, KernelFacts().ports().holders)])
    return _CLEAN


def _explain(options: argparse.Namespace) -> int:
    found = Engine().explain([(options.source, options.destination)])[0]
    _show(options, explanation_to_json(found), [*explanation_lines(found), "Verdict: %s." % verdict_words(found)])
    return _CLEAN if found.verdict in ARRIVING else _DRIFTED
