# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a probe found, and the command line of the echo server that it asks."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROBE_SCRIPT = Path(__file__).resolve().parent / "probe.py"
ECHO_SCRIPT = Path(__file__).resolve().parent / "echo.py"
WATCH_SCRIPT = Path(__file__).resolve().parent / "watch.py"


@dataclass(frozen=True)
class Probe:
    """The result of one question to an echo server; true when there was an answer, a ping's too.

    name: of the server that answered. source, port: the client as that server saw it.
    error: "timeout", "refused", "unreachable", "reset", "closed", "denied" or an errno name, when not ok.
    """

    ok: bool
    name: str | None = None
    source: str | None = None
    port: int | None = None
    error: str | None = None

    def __bool__(self) -> bool:
        """Say whether there was an answer."""
        return self.ok

    @classmethod
    def parse(cls, answer: Mapping[str, Any]) -> Probe:
        """Return the Probe for one JSON object printed by probe.py."""
        return cls(**answer)


def echo_command(
    name: str,
    tcp: Sequence[str] = (),
    udp: Sequence[str] = (),
    sctp: Sequence[str] = (),
    *,
    python: str = sys.executable,
) -> list[str]:
    """Return the command of an echo server called `name`, listening on forms like "[::]:5000" (see echo.py).

    It prints "ready" once every port is bound. python: that of the host, see Host.python.
    """
    forms = [("--tcp", tcp), ("--udp", udp), ("--sctp", sctp)]
    options = [word for option, words in forms for form in words for word in (option, form)]
    return [python, "-I", "-S", str(ECHO_SCRIPT), name, *options]


def watch_command(open_door: str, *shut_doors: str) -> list[str]:
    """Return the command that watches doors, ADDRESS:PORT, while something is done to them (see watch.py)."""
    return [sys.executable, "-I", "-S", str(WATCH_SCRIPT), "--open", open_door, "--shut", *shut_doors]
