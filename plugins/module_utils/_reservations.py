# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Which host ports no other process may take while they are published, and how they are written down. Pure.

A unit of systemd holds a socket for each of them, bound and never used. No process is left behind it.
"""

from __future__ import annotations

import typing as t

if t.TYPE_CHECKING:
    # The unit is waited for, and its process needs nothing of the topology.
    from ._topology import Topology

__all__ = (
    "ASKED_FILE",
    "HELD_FILE",
    "RESERVATION_UNIT",
    "is_reserved",
    "parse_held",
    "render_held",
    "reserved_of",
)

RESERVATION_UNIT = "bridgeport-ports.service"
# What the unit is to hold, and what it holds. They go with a reboot, as that does.
ASKED_FILE = "/run/bridgeport/ports.asked"
HELD_FILE = "/run/bridgeport/ports"

_LACKING = " not reserved"


def reserved_of(topology: Topology) -> frozenset[str]:
    """The host addresses and ports that a topology publishes by rules, as ``192.0.2.1:80/tcp``.

    ``*`` stands for every host address of both IP versions: that takes one socket. What a proxy serves is not among
    them, for the proxy's socket has it.
    """
    taken = {binding for publish in topology.publishes.values() for binding in topology.translated(publish)}
    return frozenset(
        "*:%d/%s" % (binding.port, binding.protocol)
        if not binding.address and binding._replace(version=10 - binding.version) in taken
        else str(binding)
        for binding in taken
    )


def _everywhere(name: str) -> str | None:
    for any_address in ("0.0.0.0:", "[::]:"):
        if name.startswith(any_address):
            return name[len(any_address) - 1 :]
    return None


def is_reserved(name: str, held: t.Collection[str]) -> bool:
    """Whether a host address and port is among what is held."""
    rest = _everywhere(name)
    return name in held or (rest is not None and "*" + rest in held)


def render_held(held: t.Iterable[str], lacking: t.Iterable[str]) -> str:
    """What the unit writes down: what it holds, and what was not to be had."""
    return "".join("%s\n" % line for line in (*sorted(held), *(name + _LACKING for name in sorted(lacking))))


def parse_held(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """Read what :func:`render_held` wrote."""
    lines = text.splitlines()
    lacking = frozenset(line[: -len(_LACKING)] for line in lines if line.endswith(_LACKING))
    return frozenset(line for line in lines if not line.endswith(_LACKING)), lacking
