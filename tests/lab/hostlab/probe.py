# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ask echo servers who they are and whom they see; a script, and a function to import.

    probe.py [--timeout 1.0] [--source-port N] PROTO ADDRESS PORT     prints one JSON object
    probe.py [--timeout 1.0] --batch < '[["tcp", "192.0.2.1", 80], …]' prints a list, all asked at once

{"ok": true, "name": …, "source": …, "port": …} or {"ok": false, "error": "timeout" | "refused" | …}.
A tcp or sctp probe connects, sends a line and reads one; a udp probe asks again after half of the timeout. PROTO icmp
is an echo request, of ICMP or ICMPv6 as the address has it: {"ok": true} when it is answered; its port is 0.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import selectors
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

KINDS = {
    "tcp": socket.SOCK_STREAM,
    "udp": socket.SOCK_DGRAM,
    "sctp": socket.SOCK_STREAM,
    "icmp": socket.SOCK_RAW,
}
PING = {socket.AF_INET: socket.IPPROTO_ICMP, socket.AF_INET6: socket.IPPROTO_ICMPV6}
# Type of an echo request and of its answer, and length of the header in front of the answer on a raw socket.
ECHO = {socket.AF_INET: (8, 0, 20), socket.AF_INET6: (128, 129, 0)}
AT_ONCE = 500  # probes in flight; more would need more files than a process may open by default
ERRORS = {
    errno.ECONNREFUSED: "refused",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTUNREACH: "unreachable",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.EACCES: "denied",
    errno.EPERM: "denied",
    errno.ETIMEDOUT: "timeout",
}


def error_word(code: int | None) -> str:
    """Return the word for an errno: one of ERRORS, or its symbolic name in lower case."""
    return ERRORS.get(code or 0) or errno.errorcode.get(code or 0, f"errno {code}").lower()


class Attempt:
    """One question in flight; `result` is None until it has its end."""

    def __init__(self, proto: str, address: str, port: int, timeout: float, source_port: int) -> None:
        """Prepare the question; nothing is sent before start(). `timeout` in seconds, source_port 0: any."""
        if proto not in KINDS:
            raise SystemExit(
                f"Probing {address} port {port} over {proto!r} is not possible: give one of {', '.join(KINDS)}."
            )
        self.connected = proto in ("tcp", "sctp")
        # Bytes: for text, getaddrinfo would load the tables of internationalised names first.
        info = socket.getaddrinfo(address.encode(), port, flags=socket.AI_NUMERICHOST)[0]
        self.peer: Any = info[4]
        self.socket = socket.socket(info[0], KINDS[proto], self._number(info[0], proto))
        self.socket.setblocking(False)
        self.question = b"?"
        self.source_port = source_port
        self.deadline = time.monotonic() + timeout
        self.retry: float | None = None if self.connected else time.monotonic() + timeout / 2
        self.received = b""
        self.connecting = self.connected
        self.result: dict[str, Any] | None = None

    @staticmethod
    def _number(family: int, proto: str) -> int:
        """The number of the protocol, 0 where the kind of socket says it."""
        return {"sctp": socket.IPPROTO_SCTP, "icmp": PING[socket.AddressFamily(family)]}.get(proto, 0)

    def start(self) -> None:
        """Connect; over udp also ask."""
        try:
            if self.source_port:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                self.socket.bind(("", self.source_port))
            self.socket.connect(self.peer)
            if not self.connected:
                self.socket.send(self.question)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(error_word(error.errno))

    def events(self) -> int:
        """Return what to wait for on the socket."""
        return selectors.EVENT_WRITE if self.connecting else selectors.EVENT_READ

    def ready(self) -> None:
        """Go on after the socket became ready for events()."""
        try:
            if self.connecting:
                self._connected()
            else:
                self._read()
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(error_word(error.errno))

    def tick(self, now: float) -> None:
        """Ask again or give up when the time has come."""
        if now >= self.deadline:
            self._fail("timeout")
        elif self.retry is not None and now >= self.retry:
            self.retry = None
            try:
                self.socket.send(self.question)
            except OSError as error:
                self._fail(error_word(error.errno))

    def due(self) -> float:
        """Return when tick() is next needed (time.monotonic)."""
        return self.deadline if self.retry is None else self.retry

    def _connected(self) -> None:
        code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._fail(error_word(code))
            return
        self.connecting = False
        self.socket.sendall(b"?\n")

    def _read(self) -> None:
        data = self.socket.recv(65536)
        self.received += data
        if b"\n" in self.received:
            name, source, port = self.received.split(b"\n")[0].decode().split()
            self.result = {"ok": True, "name": name, "source": source, "port": int(port)}
        elif not data:
            self._fail("closed")

    def _fail(self, word: str) -> None:
        self.result = {"ok": False, "error": word}


class Ping(Attempt):
    """An echo request in flight. The socket is raw and root's: the other kind is closed to every user by default."""

    def __init__(self, proto: str, address: str, port: int, timeout: float, source_port: int) -> None:
        super().__init__(proto, address, port, timeout, source_port)
        request, self.answer, self.header = ECHO[socket.AddressFamily(self.socket.family)]
        self.question = bytes([request, 0, 0, 0]) + os.urandom(4)
        # The kernel sums up ICMPv6 by itself.
        self.question = self.question[:2] + struct.pack("!H", checksum(self.question)) + self.question[4:]

    def _read(self) -> None:
        data = self.socket.recv(65536)[self.header :]
        if data[0] == self.answer and data[4:8] == self.question[4:8]:
            self.result = {"ok": True}


def checksum(data: bytes) -> int:
    """Return the Internet checksum of an even number of bytes."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def probe(targets: Sequence[Sequence[Any]], timeout: float = 1.0, source_port: int = 0) -> list[dict[str, Any]]:
    """Ask every (protocol, address, port) at once and return the results in the same order."""
    results: list[dict[str, Any]] = [{}] * len(targets)
    waiting = deque(enumerate(targets))
    flying: dict[int, Attempt] = {}
    with selectors.DefaultSelector() as selector:
        while waiting or flying:
            while waiting and len(flying) < AT_ONCE:
                number, (proto, address, port) = waiting.popleft()
                kind = Ping if proto == "icmp" else Attempt
                attempt = kind(proto, address, int(port), timeout, source_port)
                flying[number] = attempt
                attempt.start()
                selector.register(attempt.socket, attempt.events(), attempt)
            step(selector, flying)
            for number in [number for number, attempt in flying.items() if attempt.result]:
                attempt = flying.pop(number)
                selector.unregister(attempt.socket)
                attempt.socket.close()
                results[number] = attempt.result or {}
    return results


def step(selector: selectors.BaseSelector, flying: dict[int, Attempt]) -> None:
    """Wait for the next event or time limit and let the attempts go on."""
    if not any(attempt.result for attempt in flying.values()):
        due = min(attempt.due() for attempt in flying.values())
        for key, _unused in selector.select(max(0.0, due - time.monotonic())):
            attempt = key.data
            attempt.ready()
            selector.modify(key.fileobj, attempt.events(), attempt)
    now = time.monotonic()
    for attempt in flying.values():
        if attempt.result is None:
            attempt.tick(now)


def main() -> None:
    """Probe what the command line, or with --batch the standard input, names; print JSON."""
    parser = argparse.ArgumentParser(description="Ask echo servers.")
    parser.add_argument("--timeout", type=float, default=1.0, help="seconds")
    parser.add_argument("--source-port", type=int, default=0)
    parser.add_argument("--batch", action="store_true", help="read a JSON list of [proto, address, port]")
    parser.add_argument("target", nargs="*", metavar="PROTO ADDRESS PORT")
    arguments = parser.parse_args()
    if arguments.batch:
        targets = json.load(sys.stdin)
        print(json.dumps(probe(targets, arguments.timeout, arguments.source_port)))
        return
    if len(arguments.target) != 3:
        parser.error("give PROTO ADDRESS PORT, or --batch")
    print(json.dumps(probe([arguments.target], arguments.timeout, arguments.source_port)[0]))


if __name__ == "__main__":
    main()
