# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Keeping host ports from other processes without a process of our own: sockets in systemd's file descriptor store.

A socket is bound to an interface index that no interface has. The kernel refuses the port to every other socket, since
nobody binds to that index, and hands no packet to this one: where the rules are missing, a client is refused at once as
if nothing were there. It cannot refuse the port to a socket bound to another single interface, such as a proxy's to lo.
"""

from __future__ import annotations

import array
import contextlib
import os
import re
import select
import socket

from ._errors import KernelError
from ._files import read_file, write_file
from ._reservations import (
    RESERVATION_DIRECTORY,
    RESERVATION_UNIT,
    blocks_of,
    parse_held,
    render_held,
    unit_of,
)
from ._state import FileState
from ._systemd import change_units, show_units, stop_units, systemd_runs

__all__ = ("NOWHERE", "apply_reservations", "held_ports", "read_reservations", "reservation_problem", "serve_block")

_UNIT_DIRECTORY = "/etc/systemd/system"
# Of asm-generic/socket.h, linux/in.h and linux/in6.h; this Python may be older than the names.
_SO_BINDTOIFINDEX = 62
_IP_FREEBIND, _IPV6_FREEBIND = 15, 78
NOWHERE = 0x7FFFFFFF
_KINDS = {
    "tcp": (socket.SOCK_STREAM, socket.IPPROTO_TCP),
    "udp": (socket.SOCK_DGRAM, socket.IPPROTO_UDP),
    "sctp": (socket.SOCK_STREAM, socket.IPPROTO_SCTP),
}
_FORM = re.compile(r"\[?(?P<address>[^]]+?)\]?:(?P<port>\d+)/(?P<protocol>\w+)")
_BARRIER_MILLISECONDS = 60_000
# So many sockets go to systemd between two looks at how many it has.
_STEP = 100


def reservation_problem() -> str:
    """Why published ports are not reserved on this host, in a sentence; empty if they are."""
    if systemd_runs() and os.path.exists(os.path.join(_UNIT_DIRECTORY, RESERVATION_UNIT)):
        return ""
    return (
        "The published ports are not reserved against other processes of the host: that takes systemd and its unit %s, "
        "which the role bridgeport.net.host installs." % RESERVATION_UNIT
    )


def held_ports() -> frozenset[str]:
    """What is reserved, as :func:`_reservations.reserved_of` names it."""
    return frozenset(name for held, _lacking in _written().values() for name in held)


def _path(block: int, suffix: str = "") -> str:
    return "%s/%d%s" % (RESERVATION_DIRECTORY, block, suffix)


def _written() -> dict[int, tuple[frozenset[str], frozenset[str]]]:
    """What each unit holds and what it tried to hold in vain, by its own word."""
    try:
        names = os.listdir(RESERVATION_DIRECTORY)
    except FileNotFoundError:
        return {}
    read = {int(name): read_file(_path(int(name))) for name in names if name.isdigit()}
    return {block: parse_held(state.text) for block, state in read.items() if state is not None}


def read_reservations() -> frozenset[str] | None:
    """What the units hold, and what they tried to hold in vain. None where ports cannot be reserved.

    :raises KernelError: systemd did not answer.
    """
    if reservation_problem():
        return None
    written = _written()
    found = _states([unit_of(block) for block in written])
    # Where somebody stopped a unit, or something was lost of it, it begins anew.
    return frozenset(
        name
        for block, (held, lacking) in written.items()
        if found.get(unit_of(block)) == ("active", str(len(held)))
        for name in held | lacking
    )


def _states(units: list[str]) -> dict[str, tuple[str, str]]:
    """For each unit, whether it is active and how many sockets it holds, as systemd words it."""
    text = show_units(units, ("ActiveState", "NFileDescriptorStore")) if units else ""
    shown = [dict(line.split("=", 1) for line in part.splitlines()) for part in text.strip().split("\n\n")]
    return {
        unit: (state.get("ActiveState", ""), state.get("NFileDescriptorStore", "")) for unit, state in zip(units, shown)
    }


def apply_reservations(before: frozenset[str], after: frozenset[str]) -> None:
    """Have the units hold what is in ``after``. What they hold already they keep without a gap.

    :raises KernelError: a file could not be written, or systemd refused.
    """
    old, new = blocks_of(before), blocks_of(after)
    changed = sorted(block for block in old.keys() | new.keys() if old.get(block) != new.get(block))
    there = _written()
    anew = [block for block in changed if block not in new or (block not in old and block in there)]
    stop_units([unit_of(block) for block in anew])
    for block in anew:
        write_file(_path(block), None)
    for block in changed:
        names = new.get(block)
        text = "".join(name + "\n" for name in sorted(names)) if names else ""
        write_file(_path(block, ".asked"), FileState(text) if names else None)
    if not after:
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(RESERVATION_DIRECTORY))
    change_units("reload-or-restart", [unit_of(block) for block in changed if block in new])


# Inside of a unit


def serve_block(block: int) -> None:
    """What a unit runs, when it is started and when it is reloaded: bind what is asked for, and hand it to systemd.

    :raises KernelError: this process was not started by systemd, or it does not take sockets.
    """
    state = read_file(_path(block, ".asked"))
    asked = set(state.text.splitlines()) if state else set()
    given = os.environ.get("LISTEN_FDNAMES")
    written = _written().get(block)
    held = {_name(word) for word in given.split(":")} if given else set(written[0] if written else ())
    gone, held, lacking = held - asked, held & asked, set()
    with _Store() as store:
        for name in sorted(gone):
            store.remove(name)
        for number, name in enumerate(sorted(asked - held)):
            if number % _STEP == 0:
                store.settle()
                room = _room()
            taken = _bind(name) if room > number % _STEP else None
            if taken is None:
                lacking.add(name)
                continue
            with taken:
                store.add(name, taken)
            held.add(name)
    write_file(_path(block), FileState(render_held(held, lacking)))


def _room() -> int:
    """How many sockets systemd may still take from us: it keeps half of the files that it may have open for itself."""
    with open("/proc/1/limits", encoding="ascii") as file:
        found = re.search(r"^Max open files +(\d+)", file.read(), re.MULTILINE)
    limit = int(found.group(1)) if found else 1 << 30
    return limit // 2 - len(os.listdir("/proc/1/fd"))


def _bind(name: str) -> socket.socket | None:
    """A socket that has the port, or None where it is not to be had."""
    form = _FORM.fullmatch(name)
    if form is None:
        return None
    every = form["address"] == "*"
    for address in ("::", "0.0.0.0") if every else (form["address"],):
        # A connection that has ended keeps its port for a while, and lets it go to who says that it may be used again.
        for again in (0, 1) if form["protocol"] == "tcp" else (0,):
            with contextlib.suppress(OSError):
                return _bound(address, int(form["port"]), form["protocol"], not every, again)
    return None


def _bound(address: str, port: int, protocol: str, only: bool, again: int) -> socket.socket:
    """A bound socket; ``only`` keeps one of IPv6 off IPv4."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    taken = socket.socket(family, *_KINDS[protocol])
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, again)
        taken.setsockopt(socket.SOL_SOCKET, _SO_BINDTOIFINDEX, NOWHERE)
        # An address that the host does not have yet may be published, too.
        if family == socket.AF_INET6:
            taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
            taken.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        else:
            taken.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        taken.bind((address, port))
        # From now on it may not be used again.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except OSError:
        taken.close()
        raise
    return taken


# In a file descriptor's name a colon may not stand.


def _word(name: str) -> str:
    return name.replace(":", "=")


def _name(word: str) -> str:
    return word.replace("=", ":")


class _Store:
    """The unit's file descriptor store, by systemd's notification protocol: sd_notify(3), sd_pid_notify_with_fds(3)."""

    def __enter__(self) -> _Store:
        path = os.environ.get("NOTIFY_SOCKET", "")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            self._socket.connect("\0" + path[1:] if path.startswith("@") else path)
        except OSError as problem:
            self._socket.close()
            raise KernelError(
                "Cannot reserve ports: systemd does not listen at %r (%s). Start the unit %s in place of this command."
                % (path, problem.strerror, RESERVATION_UNIT)
            ) from None
        return self

    def __exit__(self, *_problem: object) -> None:
        # Whoever sent a message must live until systemd has read it, or it is nobody's.
        with self._socket:
            self.settle()

    def settle(self) -> None:
        """Wait until systemd has done what it was told."""
        read_end, write_end = os.pipe()
        try:
            self._send("BARRIER=1", write_end)
            os.close(write_end)
            waiting = select.poll()
            waiting.register(read_end, 0)
            waiting.poll(_BARRIER_MILLISECONDS)
        finally:
            os.close(read_end)

    def add(self, name: str, taken: socket.socket) -> None:
        # Without FDPOLL=0 systemd would drop it at once: a socket that is only bound counts as hung up.
        self._send("FDSTORE=1\nFDPOLL=0\nFDNAME=" + _word(name), taken.fileno())

    def remove(self, name: str) -> None:
        self._send("FDSTOREREMOVE=1\nFDNAME=" + _word(name))

    def _send(self, text: str, *files: int) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))] if files else []
        self._socket.sendmsg([text.encode()], rights)
