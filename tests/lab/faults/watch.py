# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Knocking at doors again and again while something else goes on: what must stay open, and what must stay shut."""

from __future__ import annotations

import selectors
import signal
import socket
import struct
import time
from types import FrameType
from typing import Any

PAUSE = 0.02
PATIENCE = 3.0
# How long one knock at a closed door waits: the next one follows at once.
KNOCK = 0.15
TCP_INFO_RETRANSMITS = struct.Struct("=100xI")


def socket_to(protocol: str, address: str, port: int, blocking: bool) -> socket.socket:
    """A socket on its way to an address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
    made.settimeout(PATIENCE if blocking else 0)
    try:
        made.connect((address, port))
    except BlockingIOError:
        pass
    except OSError:
        made.close()
        raise
    return made


def retransmits(connection: socket.socket) -> int:
    """How many segments the kernel had to send again: a packet that was dropped shows, however late this process is."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_RETRANSMITS.size)
    return int(TCP_INFO_RETRANSMITS.unpack(info)[0])


def answer(made: socket.socket) -> str:
    """The name of who answers on a connected socket."""
    made.send(b"?\n")
    words = made.recv(4096).decode().split()
    return words[0] if words else "closed"


class Patience:
    """Lasts until this process is told to end, by SIGTERM."""

    def __init__(self) -> None:
        """Begin."""
        self.over = False
        signal.signal(signal.SIGTERM, self._end)

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self.over = True


def kept(doors: list[Any], patience: Patience) -> dict[str, Any]:
    """Doors (protocol, address, port, name) must answer every knock, and a connection through each must live on."""
    lost: list[str] = []
    knocks = 0
    lasting = [(door, socket_to(door[0], door[1], door[2], blocking=True)) for door in doors if door[0] == "tcp"]
    while not patience.over and len(lost) < 20:
        for door in doors:
            knocks += 1
            lost += knock(door)
        for door, connection in lasting:
            lost += ask_again(door, connection)
        time.sleep(PAUSE)
    for _door, connection in lasting:
        connection.close()
    return {"lost": lost, "knocks": knocks}


def knock(door: Any) -> list[str]:
    """One new connection, or datagram, to a door that is open; says what went wrong."""
    protocol, address, port, name = door
    words = f"{address} port {port}/{protocol}"
    try:
        with socket_to(protocol, address, port, blocking=True) as made:
            if protocol == "tcp" and retransmits(made):
                return [f"{words} was closed for a while: the first packet was dropped"]
            said = answer(made)
            return [] if said == name else [f"{words} led to {said} in place of {name}"]
    except OSError as problem:
        return [f"{words} was closed: {problem}"]


def ask_again(door: Any, connection: socket.socket) -> list[str]:
    """One more line by a connection that stays."""
    protocol, address, port, name = door
    try:
        said = answer(connection)
        return [] if said == name else [f"the connection to {address} port {port}/{protocol} met {said}"]
    except OSError as problem:
        return [f"the connection to {address} port {port}/{protocol} broke: {problem}"]


def closed(doors: list[Any], patience: Patience) -> dict[str, Any]:
    """Nobody may answer at these doors (protocol, address, port)."""
    lost: list[str] = []
    knocks = 0
    while not patience.over and len(lost) < 20:
        opened = round_of_knocks(doors)
        knocks += len(doors)
        lost += [f"{address} port {port}/{protocol} was open" for protocol, address, port in opened]
    return {"lost": lost, "knocks": knocks}


def round_of_knocks(doors: list[Any]) -> list[Any]:
    """Knock at all doors at once; returns those that were opened."""
    opened = []
    with selectors.DefaultSelector() as selector:
        for door in doors:
            try:
                made = socket_to(door[0], door[1], door[2], blocking=False)
                if door[0] == "udp":
                    made.send(b"?\n")
            except OSError:
                continue
            selector.register(made, selectors.EVENT_WRITE if door[0] == "tcp" else selectors.EVENT_READ, door)
        deadline = time.monotonic() + KNOCK
        while selector.get_map() and time.monotonic() < deadline:
            for key, _events in selector.select(max(0.0, deadline - time.monotonic())):
                knocking = key.fileobj
                assert isinstance(knocking, socket.socket)
                if is_open(knocking, key.data[0]):
                    opened.append(key.data)
                selector.unregister(knocking)
                knocking.close()
        for key in list(selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
    time.sleep(PAUSE)
    return opened


def is_open(made: socket.socket, protocol: str) -> bool:
    """Whether somebody is there."""
    if protocol == "tcp":
        return made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    try:
        return bool(made.recv(4096))
    except OSError:
        return False


class Flows:
    """Flows of UDP, and connections of TCP, that stay open across runs."""

    def __init__(self) -> None:
        """Begin without any."""
        self.sockets: list[socket.socket] = []

    def open(self, targets: list[Any]) -> list[str]:
        """Open one to each (protocol, address, port), in place of those that there were; returns who answers."""
        for made in self.sockets:
            made.close()
        self.sockets = [socket_to(protocol, address, port, blocking=True) for protocol, address, port in targets]
        return self.ask()

    def ask(self) -> list[str]:
        """Who answers by each, "closed" for nobody."""
        found = []
        for made in self.sockets:
            made.settimeout(0.5)
            try:
                while made.type == socket.SOCK_DGRAM and _drained(made):
                    pass
                found.append(answer(made))
            except OSError:
                found.append("closed")
        return found


def _drained(made: socket.socket) -> bool:
    """Read one datagram that came late; False if there is none."""
    try:
        return bool(made.recv(4096, socket.MSG_DONTWAIT))
    except OSError:
        return False
