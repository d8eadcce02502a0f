# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Echo server, a script: answers with its own name and the client's address as it sees it.

    echo.py NAME [--tcp ADDRESS:PORT ...] [--udp ADDRESS:PORT ...] [--sctp ADDRESS:PORT ...]

Forms: 0.0.0.0:5000, [::]:5000, 0.0.0.0:6000-6010. Each line (tcp, sctp) or datagram (udp) received is answered with
one line "NAME SOURCE_ADDRESS SOURCE_PORT". Prints "ready" once every port is bound. One thread.
"""

from __future__ import annotations

import argparse
import resource
import selectors
import socket
import struct
import sys
from collections.abc import Callable, Collection, Iterator
from typing import Any

IP_PKTINFO = 8  # <linux/in.h>; the socket module does not name it before Python 3.14
ADDRESS_SPACE = socket.CMSG_SPACE(20)


def parse(form: str) -> Iterator[tuple[int, str, int]]:
    """Yield (family, address, port) for each port of a form like "[::]:6000-6010"; ValueError when it is not one."""
    address, _unused, ports = form.rpartition(":")
    first, _unused, last = ports.partition("-")
    family = socket.AF_INET6 if address.startswith("[") else socket.AF_INET
    for port in range(int(first), int(last or first) + 1):
        yield family, address.strip("[]"), port


def answer(name: str, client: tuple[Any, ...]) -> bytes:
    """Return the line for a client's socket address."""
    return f"{name} {client[0]} {client[1]}\n".encode()


def bind(family: int, kind: int, address: str, port: int, proto: int = 0) -> socket.socket:
    """Return a bound, non-blocking socket; OSError with the address in its text."""
    server = socket.socket(family, kind, proto)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        server.bind((address, port))
    except OSError as error:
        raise OSError(error.errno, f"Binding {address} port {port} failed: {error.strerror}.") from error
    server.setblocking(False)
    return server


class Echo:
    """All sockets of one echo server, in one selector whose data are the functions to call."""

    def __init__(self, name: str, expected: Collection[int] = ()) -> None:
        """Make a server that calls itself `name` and listens nowhere yet.

        expected: the errnos with which an answer may fail without a word.
        """
        self.name = name
        self.expected = expected
        self.selector = selectors.DefaultSelector()

    def listen(self, form: str, proto: int = socket.IPPROTO_TCP) -> None:
        """Listen for connections on every port of `form`, over TCP or IPPROTO_SCTP."""
        for family, address, port in parse(form):
            server = bind(family, socket.SOCK_STREAM, address, port, proto)
            server.listen(1024)
            self._register(server, self._accept)

    def listen_udp(self, form: str) -> None:
        """Take datagrams on every port of `form`."""
        for family, address, port in parse(form):
            server = bind(family, socket.SOCK_DGRAM, address, port)
            if family == socket.AF_INET6:
                server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            else:
                server.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
            self._register(server, self._datagram)

    def serve(self) -> None:
        """Answer until the process is ended."""
        while True:
            for key, _unused in self.selector.select():
                try:
                    key.data(key.fileobj)
                except BlockingIOError:
                    continue

    def _register(self, server: socket.socket, handler: Callable[[socket.socket], None]) -> None:
        self.selector.register(server, selectors.EVENT_READ, handler)

    def _accept(self, server: socket.socket) -> None:
        connection, _unused = server.accept()
        connection.setblocking(False)
        self._register(connection, self._line)

    def _line(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(65536)
            for _unused in range(data.count(b"\n")):
                connection.sendall(answer(self.name, connection.getpeername()))
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.selector.unregister(connection)
            connection.close()

    def _datagram(self, server: socket.socket) -> None:
        _data, messages, _flags, client = server.recvmsg(65536, ADDRESS_SPACE)
        line = answer(self.name, client)
        try:
            server.sendmsg([line], [self._from(message) for message in messages], 0, client)
        except OSError as error:
            if error.errno not in self.expected:
                print(f"Answering {client} failed: {error}.", file=sys.stderr, flush=True)

    @staticmethod
    def _from(message: tuple[int, int, bytes]) -> tuple[int, int, bytes]:
        """Return the control message that sends an answer from the address that was asked.

        A socket on the wildcard address would otherwise answer from whichever address routing picks, and
        neither the client nor connection tracking would take that for the answer.
        """
        level, kind, data = message
        if level == socket.IPPROTO_IPV6:
            address, index = struct.unpack("16sI", data[:20])
            # The interface only matters for link-local addresses; for others it would override routing.
            link_local = address[0] == 0xFE and address[1] & 0xC0 == 0x80
            return level, socket.IPV6_PKTINFO, struct.pack("16sI", address, index if link_local else 0)
        asked = struct.unpack("I4s4s", data[:12])[2]
        return level, kind, struct.pack("I4s4s", 0, asked, b"\0" * 4)


def main() -> None:
    """Listen where the command line says, print "ready", serve."""
    parser = argparse.ArgumentParser(description="Answer with the client's address.")
    parser.add_argument("name")
    parser.add_argument("--tcp", action="append", default=[], metavar="ADDRESS:PORT")
    parser.add_argument("--udp", action="append", default=[], metavar="ADDRESS:PORT")
    parser.add_argument("--sctp", action="append", default=[], metavar="ADDRESS:PORT")
    arguments = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    echo = Echo(arguments.name)
    for form in arguments.tcp:
        echo.listen(form)
    for form in arguments.sctp:
        echo.listen(form, socket.IPPROTO_SCTP)
    for form in arguments.udp:
        echo.listen_udp(form)
    print("ready", flush=True)
    echo.serve()


if __name__ == "__main__":
    main()
