# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""The administrator's command ``bridgeport``, and what units run: the modules' engine without Ansible."""

from __future__ import annotations

import argparse
import sys
import typing as t

from ._errors import BridgeportError

__all__ = ("main",)

_EXPLAIN = (
    "Tell the way of a packet from a source to a destination through the rules, and where it ends. Exit status 1 if it "
    "does not arrive. What another firewall does to it is not known here."
)
_CLEAN, _FAILED = 0, 2


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
    for name, words in (
        ("status", "compare the host with its record; exit status 1 if it has drifted"),
        ("apply", "bring the host to what its record holds, as at boot"),
        ("ports", "show the published ports of each endpoint"),
    ):
        command = commands.add_parser(name, help=words, description=words)
        command.add_argument("--json", action="store_true", help="print JSON")
        command.set_defaults(run=_engine_command(name))
    way = commands.add_parser("explain", help="tell the way of a packet", description=_EXPLAIN)
    way.add_argument("source", help="an endpoint, 'host', 'outside', or an address")
    way.add_argument("destination", help="for example 192.0.2.10:80/tcp, web:5000 or 192.0.2.10/icmp")
    way.add_argument("--json", action="store_true", help="print JSON")
    way.set_defaults(run=_engine_command("explain_packet"))
    check = commands.add_parser("check", help="fail unless an endpoint's namespace is there, for systemd units")
    check.add_argument("endpoint")
    check.set_defaults(run=_check)
    words = "hold the published ports, as the unit for it does"
    commands.add_parser("reserve", help=words, description=words).set_defaults(run=_reserve)
    return parser


def _engine_command(name: str) -> t.Callable[[argparse.Namespace], int]:
    """A subcommand that needs the engine. To load that takes longer than the others, which services wait for, do."""

    def run(options: argparse.Namespace) -> int:
        from . import _commands

        return t.cast(int, getattr(_commands, name)(options))

    return run


def _reserve(_options: argparse.Namespace) -> int:
    from ._hold import hold_ports

    hold_ports()
    return _CLEAN


def _check(options: argparse.Namespace) -> int:
    from ._netns import is_namespace

    if is_namespace(options.endpoint):
        return _CLEAN
    sys.stderr.write(
        "bridgeport: The endpoint %s has no namespace /run/netns/%s. "
        "'bridgeport status' tells what is missing, 'bridgeport apply' makes it.\n"
        % (options.endpoint, options.endpoint)
    )
    return _FAILED
