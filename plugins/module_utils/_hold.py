# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Inside of the unit that reserves ports: binding a socket for each, and leaving them all with systemd.

A socket is bound to an interface index that no interface has. The kernel refuses the port to every other socket, since
nobody binds to that index, and hands no packet to this one: where the rules are missing, a client is refused at once as
if nothing were there. It cannot refuse the port to a socket bound to another single interface, such as a proxy's to lo.

systemd's file descriptor store has two files of ours, however many the ports are: the ends of a pair of sockets. The
sockets of the ports are in flight between them, sent by the one and not yet received by the other. To systemd itself
they would be a message and an open file each, and it compares each one with all before it.

Nothing of the engine is loaded here: each run waits for this process.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import typing as t

from ._errors import KernelError, kernel_words
from ._reservations import ASKED_FILE, HELD_FILE, RESERVATION_UNIT, render_held

__all__ = ("NOWHERE", "STORED", "hold_ports")

# How many files the store has.
STORED = 2
# Of asm-generic/socket.h, linux/in.h and linux/in6.h; this Python may be older than the names.
_SO_BINDTOIFINDEX, _SO_SNDBUFFORCE = 62, 32
_IP_FREEBIND, _IPV6_FREEBIND = 15, 78
NOWHERE = 0x7FFFFFFF
_KINDS = {
    "tcp": (socket.SOCK_STREAM, socket.IPPROTO_TCP),
    "udp": (socket.SOCK_DGRAM, socket.IPPROTO_UDP),
    "sctp": (socket.SOCK_STREAM, socket.IPPROTO_SCTP),
}
_FORM = re.compile(r"\[?(?P<address>[^]]+?)\]?:(?P<port>\d+)/(?P<protocol>\w+)")
_BARRIER_MILLISECONDS = 60_000
# SCM_MAX_FD of net/scm.h, and room for so many names.
_AT_ONCE, _NAMES_SIZE = 253, 1 << 16
# A message of so many sockets counts as some kilobytes; every port there is, of three protocols, as a few megabytes.
_QUEUE_SIZE = 1 << 26
_FIRST_GIVEN = 3
# Nobody's, by systemd's list of user numbers; of 16 bits, for containers.
_CHARGED_USER = 65533


def hold_ports() -> None:
    """What the unit runs whenever it is started anew: hold what is asked for, and nothing else.

    What was held before comes back from systemd, which keeps it meanwhile.

    :raises KernelError: this process was not started by systemd, or it does not take sockets.
    """
    try:
        with open(ASKED_FILE, encoding="utf-8") as file:
            asked = set(file.read().splitlines())
    except OSError:
        asked = set()
    given = os.environ.get("LISTEN_FDS") == str(STORED)
    ends = [socket.socket(fileno=_FIRST_GIVEN + number) for number in range(STORED)] if given else _pair()
    held = _received(ends)
    for name in held.keys() - asked:
        os.close(held.pop(name))
    lacking = set()
    for name in sorted(asked - held.keys()):
        taken = _bind(name)
        if taken is None:
            lacking.add(name)
        else:
            held[name] = taken.detach()
    beyond = _send(ends[0], held)
    if not given:
        _store(ends)
    _write(render_held(held.keys() - beyond, lacking | beyond))


def _pair() -> list[socket.socket]:
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    for end in ends:
        end.setblocking(False)
        # Root of a container only may not; then some five thousand ports fit in.
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _QUEUE_SIZE)
    return list(ends)


def _received(ends: t.Sequence[socket.socket]) -> dict[str, int]:
    """Take what is in flight: the number of the open file of each name."""
    held: dict[str, int] = {}
    for end in ends:
        end.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                names, files, _flags, _address = socket.recv_fds(end, _NAMES_SIZE, _AT_ONCE)
                held.update(zip(names.decode().split(), files))
    return held


def _send(end: socket.socket, held: dict[str, int]) -> set[str]:
    """Put the sockets in flight; returns the names of those that the kernel would not take any more."""
    names = sorted(held)
    with _charged_to_nobody():
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            try:
                socket.send_fds(end, [" ".join(some).encode()], [held[name] for name in some])
            except OSError:
                return set(names[start:])
    return set()


@contextlib.contextmanager
def _charged_to_nobody() -> t.Iterator[None]:
    """Send as another user, who is charged for what is in flight.

    Charged to root, it would leave root's processes of few capabilities no file to send any more (ETOOMANYREFS).
    """
    try:
        os.setresuid(_CHARGED_USER, 0, 0)
    except OSError:
        # A container may have no such user.
        yield
        return
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


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


def _store(ends: t.Sequence[socket.socket]) -> None:
    """Hand the pair to systemd, by its notification protocol: sd_notify(3), sd_pid_notify_with_fds(3)."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
        try:
            notify.connect("\0" + path[1:] if path.startswith("@") else path)
        except OSError as problem:
            raise KernelError(
                "Cannot reserve ports: systemd does not listen at %r (%s). Start the unit %s in place of this command."
                % (path, problem.strerror, RESERVATION_UNIT)
            ) from None
        socket.send_fds(notify, [b"FDSTORE=1\nFDPOLL=0\nFDNAME=ports"], [end.fileno() for end in ends])
        # Whoever sent a message must live until systemd has read it, or it is nobody's.
        read_end, write_end = os.pipe()
        socket.send_fds(notify, [b"BARRIER=1"], [write_end])
        os.close(write_end)
        waiting = select.poll()
        waiting.register(read_end, 0)
        waiting.poll(_BARRIER_MILLISECONDS)
        os.close(read_end)


def _write(text: str) -> None:
    try:
        os.makedirs(os.path.dirname(HELD_FILE), mode=0o755, exist_ok=True)
        with open(HELD_FILE, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as problem:
        raise KernelError(
            "Cannot write %s: the system said: %s." % (HELD_FILE, kernel_words(problem.errno or 0)), problem.errno or 0
        ) from None
