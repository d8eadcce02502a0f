# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Route netlink: requests encoded by pyroute2 and sent in batches, dumps read with a small decoder.

pyroute2's encoder gives the same bytes from 0.6.13 to 0.9; its sockets and decoders differ between those versions and
cost ten times what the kernel does. So a batch of requests goes out in one ``send`` on a socket of ours, each request
with a sequence number of its own, and the acknowledgements are matched back to them.
"""

from __future__ import annotations

import errno
import functools
import os
import socket
import struct
import traceback
import typing as t
from ipaddress import ip_address, ip_interface, ip_network

from ._errors import DependencyError, KernelError, kernel_words
from ._facts import Way
from ._model import Address
from ._nla import pack_attribute, read_attributes
from ._state import InterfaceAddress, Link, RouteState

try:
    from pyroute2 import IPBatch
except Exception:  # a broken library raises more than ImportError
    IPBatch = None
    PYROUTE2_PROBLEM: str | None = traceback.format_exc()
else:
    PYROUTE2_PROBLEM = None

__all__ = ("PYROUTE2_MINIMUM", "Batch", "Request", "Socket", "require_pyroute2")

PYROUTE2_MINIMUM = (0, 6, 13)

_HEADER = struct.Struct("=IHHII")
_NLM_F_REQUEST, _NLM_F_REQUEST_ACK, _NLM_F_REQUEST_DUMP = 0x1, 0x5, 0x301
_NLM_F_ECHO = 0x8
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_DUMP_INTERRUPTED = 0x10
_RTM_GETLINK, _RTM_GETADDR, _RTM_GETROUTE, _RTM_GETNEIGH = 18, 22, 26, 30
# NUD_NOARP and NUD_PERMANENT: what nobody has learned.
_NOT_LEARNED = 0xC0
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_SOL_NETLINK, _NETLINK_CAP_ACK = 270, 10
_BUFFER = 1 << 21
# More requests in one send than this fill the receive buffer with acknowledgements before they are read.
_CHUNK = 64
_IFF_UP = 1
_MAIN_TABLE = 254
_RTN_UNICAST, _RTN_LOCAL = 1, 2
_RTA_OIF, _RTA_GATEWAY, _RTA_MULTIPATH, _RTA_VIA = 4, 5, 9, 18


def require_pyroute2() -> str:
    """Make sure that pyroute2 is there and new enough; returns its version.

    :raises DependencyError: missing, broken or too old; names the version, the path and the interpreter.
    """
    import sys

    wanted = ".".join(map(str, PYROUTE2_MINIMUM))
    remedy = (
        "Install python3-pyroute2 (Debian) or pyroute2 >= %s for this interpreter, or point "
        "ansible_python_interpreter at one that has it." % wanted
    )
    if IPBatch is None:
        raise DependencyError(
            "Cannot set up links: the Python library pyroute2 (>= %s) could not be imported by %s (%s). %s"
            % (wanted, sys.executable, (PYROUTE2_PROBLEM or "").strip().splitlines()[-1], remedy)
        )
    version, path = _pyroute2_version()
    if _as_numbers(version) < PYROUTE2_MINIMUM:
        raise DependencyError(
            "Cannot set up links: pyroute2 %s at %s is too old for this collection, which needs %s. %s"
            % (version, path, wanted, remedy)
        )
    return version


def _pyroute2_version() -> tuple[str, str]:
    import pyroute2

    path = os.path.dirname(pyroute2.__file__ or "")
    try:
        from importlib.metadata import version

        return version("pyroute2"), path
    except Exception:  # packaged without metadata
        return str(getattr(pyroute2, "__version__", "unknown")), path


def _as_numbers(version: str) -> tuple[int, ...]:
    numbers = []
    for part in version.split(".")[:3]:
        digits = "".join(character for character in part if character.isdigit())
        numbers.append(int(digits or 0))
    # A version that says nothing cannot be called too old.
    return tuple(numbers) if any(numbers) else PYROUTE2_MINIMUM


class Request(t.NamedTuple):
    """One request: what it is meant to do, for the error; the errnos that count as success; and its bytes."""

    attempt: str
    tolerated: tuple[int, ...]
    message: bytearray

    @classmethod
    def of(cls, attempt: str, tolerated: tuple[int, ...], kind: int, body: bytes) -> Request:
        """A request of this type, to be acknowledged."""
        return cls(attempt, tolerated, bytearray(_HEADER.pack(16 + len(body), kind, _NLM_F_REQUEST_ACK, 0, 0) + body))


@functools.cache
def _encoder() -> t.Any:
    # One for the whole process: from pyroute2 0.9 on each of them has an event loop and its files.
    return IPBatch()


def _is_plain(value: t.Any) -> bool:
    return isinstance(value, (int, str))


@functools.lru_cache(maxsize=1024)
def _encoded(method: str, args: tuple[str, ...], options: tuple[tuple[str, t.Any], ...]) -> bytes:
    encoder = _encoder()
    encoder.reset()
    getattr(encoder, method)(*args, **dict(options))
    return bytes(encoder.batch)


class Batch:
    """Requests collected to be sent together."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def add(self, attempt: str, method: str, *args: str, tolerate: tuple[int, ...] = (), **options: t.Any) -> None:
        """Collect one request.

        :param attempt: the sentence's head, as in ``bring up interface eth0 of endpoint web``.
        :param method: the pyroute2 call, for example ``link``; ``args`` and ``options`` are its own.
        :param tolerate: errnos that mean that the work was done already.
        """
        # What is said inside a thousand namespaces is mostly the same, and encoding takes longer than what it asks for.
        encode = _encoded if all(map(_is_plain, options.values())) else _encoded.__wrapped__
        self.requests.append(Request(attempt, tolerate, bytearray(encode(method, args, tuple(options.items())))))

    def send(self, sock: Socket) -> None:
        """Send all that was collected and wait for every answer.

        :raises KernelError: the first request that the kernel refused; those behind it in its chunk were still tried.
        """
        requests, self.requests = self.requests, []
        for start in range(0, len(requests), _CHUNK):
            sock.transact(requests[start : start + _CHUNK])


class Socket:
    """A route netlink socket in the network namespace that the thread is in when it is made."""

    def __init__(self, protocol: int = socket.NETLINK_ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.bind((0, 0))
        for option, modest in ((_SO_SNDBUFFORCE, socket.SO_SNDBUF), (_SO_RCVBUFFORCE, socket.SO_RCVBUF)):
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
            except PermissionError:  # root of a container only
                self._socket.setsockopt(socket.SOL_SOCKET, modest, _BUFFER)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._socket.settimeout(60)
        self._sequence = 0

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_problem: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; twice does no harm."""
        self._socket.close()

    def transact(self, requests: t.Sequence[Request]) -> None:
        """Send requests in one message and check each acknowledgement.

        :raises KernelError: the first refusal that is not tolerated.
        """
        first = self._sequence + 1
        self._sequence += len(requests)
        for number, request in enumerate(requests):
            flags = struct.unpack_from("=H", request.message, 6)[0] & ~_NLM_F_ECHO
            struct.pack_into("=HII", request.message, 6, flags, first + number, 0)
        self._socket.send(b"".join(request.message for request in requests))
        refused = self._acknowledgements(first, len(requests))
        for number, code in sorted(refused.items()):
            request = requests[number]
            if code not in request.tolerated:
                raise KernelError("Cannot %s: the kernel said: %s." % (request.attempt, kernel_words(code)), code)

    def _acknowledgements(self, first: int, count: int) -> dict[int, int]:
        refused: dict[int, int] = {}
        waiting = count
        while waiting:
            for kind, _flags, sequence, body in self._messages():
                if kind != _NLMSG_ERROR or not first <= sequence < first + count:
                    continue
                code = -struct.unpack_from("=i", body)[0]
                waiting -= 1
                if code:
                    refused[sequence - first] = code
        return refused

    def _messages(self) -> t.Iterator[tuple[int, int, int, memoryview]]:
        data = memoryview(self._socket.recv(1 << 18))
        offset = 0
        while offset < len(data):
            length, kind, flags, sequence, _port = _HEADER.unpack_from(data, offset)
            yield kind, flags, sequence, data[offset + 16 : offset + length]
            offset += (length + 3) & ~3

    def dump(
        self, what: str, kind: int, body: bytes, keep: t.Callable[[memoryview], bool] = lambda _: True
    ) -> list[memoryview]:
        """What the kernel lists, without the headers of its messages.

        :param what: for words of an error, for example ``routes``.
        :param kind: the type of the request, and ``body`` what is behind its header.
        :param keep: which of them are of interest.
        :raises KernelError: the kernel refused, or could not come to an end.
        """
        # The kernel tells when what it lists changed while it was listing: then the list may have gaps.
        for _attempt in range(20):
            found, complete = self._dump_once(what, kind, body, keep)
            if complete:
                return found
        raise KernelError(
            "Cannot list the %s: they were changing all the time. Run again when the host is quiet." % what,
            errno.EINTR,
        )

    def _dump_once(
        self, what: str, kind: int, body: bytes, keep: t.Callable[[memoryview], bool]
    ) -> tuple[list[memoryview], bool]:
        self._sequence += 1
        header = _HEADER.pack(16 + len(body), kind, _NLM_F_REQUEST_DUMP, self._sequence, 0)
        self._socket.send(header + body)
        found: list[memoryview] = []
        complete = True
        while True:
            for answer, flags, sequence, content in self._messages():
                if sequence != self._sequence:
                    continue
                complete = complete and not flags & _DUMP_INTERRUPTED
                if answer == _NLMSG_DONE:
                    return found, complete
                if answer == _NLMSG_ERROR:
                    code = -struct.unpack_from("=i", content)[0]
                    words = "Cannot list the %s: the kernel said: %s." % (what, kernel_words(code))
                    raise KernelError(words, code)
                if keep(content):
                    found.append(content)

    def links(self) -> dict[str, Link]:
        """All interfaces of the namespace, by name."""
        return {link.name: link for link in map(_link, self.dump("interfaces", _RTM_GETLINK, bytes(16)))}

    def counters(self) -> dict[str, dict[str, int]]:
        """Packets and bytes, received and sent, of all interfaces of the namespace, by name."""
        found = {}
        for message in self.dump("interfaces", _RTM_GETLINK, bytes(16)):
            attributes = read_attributes(message, 16)
            if 23 in attributes:  # IFLA_STATS64
                values = struct.unpack_from("=4Q", attributes[23])
                found[_text(attributes.get(3))] = dict(
                    zip(("rx_packets", "tx_packets", "rx_bytes", "tx_bytes"), values)
                )
        return found

    def addresses(self, names: t.Mapping[int, str]) -> dict[str, frozenset[InterfaceAddress]]:
        """The addresses of the interfaces in ``names`` (index to name), link-local ones left out."""
        found: dict[str, set[InterfaceAddress]] = {}
        for message in self.dump("addresses", _RTM_GETADDR, bytes(8)):
            family, prefix, _flags, _scope, index = struct.unpack_from("=BBBBi", message)
            if index not in names or family not in (socket.AF_INET, socket.AF_INET6):
                continue
            attributes = read_attributes(message, 8)
            # IFA_LOCAL where there is one: IFA_ADDRESS is the other end of a point-to-point link.
            packed = bytes(attributes.get(2) or attributes.get(1) or b"")
            address = ip_address(packed)
            if not address.is_link_local:
                found.setdefault(names[index], set()).add(ip_interface("%s/%d" % (address, prefix)))
        return {name: frozenset(items) for name, items in found.items()}

    def neighbours(self) -> list[tuple[int, Address, str]]:
        """What was learned of neighbours: interface index, address and MAC address ("" while there is none)."""
        found = []
        for message in self.dump("neighbours", _RTM_GETNEIGH, bytes(12)):
            family, index, state = struct.unpack_from("=BxxxiH", message)
            attributes = read_attributes(message, 12)
            if family in (socket.AF_INET, socket.AF_INET6) and 1 in attributes and not state & _NOT_LEARNED:
                mac = ":".join("%02x" % octet for octet in attributes.get(2, b""))
                found.append((index, ip_address(bytes(attributes[1])), mac))
        return found

    def routes(self) -> list[tuple[RouteState, int]]:
        """The unicast routes of the main table, each with its outgoing interface's index; of several ways the first."""
        found = []
        for message in self.dump("routes", _RTM_GETROUTE, bytes(12)):
            family, prefix, _source, _tos, table, _protocol, _scope, kind = struct.unpack_from("=8B", message)
            if table != _MAIN_TABLE or kind != _RTN_UNICAST or family not in (socket.AF_INET, socket.AF_INET6):
                continue
            attributes = read_attributes(message, 12)
            packed = bytes(attributes.get(1) or bytes(4 if family == socket.AF_INET else 16))
            via, index = _hop(attributes)
            found.append((RouteState(ip_network("%s/%d" % (ip_address(packed), prefix)), via), index))
        return found

    def route_to(self, destination: Address) -> Way | None:
        """How the kernel would send to an address; None if it would not."""
        size = len(destination.packed)
        family = socket.AF_INET if size == 4 else socket.AF_INET6
        body = struct.pack("=8BI", family, 8 * size, 0, 0, 0, 0, 0, 0, 0) + pack_attribute(1, destination.packed)
        self._sequence += 1
        header = _HEADER.pack(16 + len(body), _RTM_GETROUTE, _NLM_F_REQUEST, self._sequence, 0)
        self._socket.send(header + body)
        while True:
            for answer, _flags, sequence, content in self._messages():
                if sequence == self._sequence:
                    return None if answer == _NLMSG_ERROR else self._way(content)

    def _way(self, message: memoryview) -> Way | None:
        kind = struct.unpack_from("=8B", message)[7]
        if kind not in (_RTN_UNICAST, _RTN_LOCAL):
            return None
        attributes = read_attributes(message, 12)
        via, index = _hop(attributes)
        names = {link.index: link.name for link in self.links().values()}
        source = ip_address(bytes(attributes[7])) if 7 in attributes else None
        return Way(names.get(index, ""), via, source, kind == _RTN_LOCAL)


def _hop(attributes: t.Mapping[int, memoryview]) -> tuple[Address | None, int]:
    """The gateway of a route, None for none, and its outgoing interface's index, 0 for none; of several the first."""
    if _RTA_MULTIPATH in attributes:
        # struct rtnexthop: the length with its attributes, flags, weight and index.
        hops = attributes[_RTA_MULTIPATH]
        length, index = struct.unpack_from("=Hxxi", hops)
        return _gateway(read_attributes(hops[:length], 8)), index
    index = struct.unpack("=i", attributes[_RTA_OIF])[0] if _RTA_OIF in attributes else 0
    return _gateway(attributes), index


def _gateway(attributes: t.Mapping[int, memoryview]) -> Address | None:
    if _RTA_VIA in attributes:
        # struct rtvia: the address behind its family.
        return ip_address(bytes(attributes[_RTA_VIA][2:]))
    return ip_address(bytes(attributes[_RTA_GATEWAY])) if _RTA_GATEWAY in attributes else None


def _text(value: memoryview | None) -> str:
    return "" if value is None else bytes(value).split(b"\0", 1)[0].decode(errors="replace")


def _link(message: memoryview) -> Link:
    _family, _type, index, flags, _change = struct.unpack_from("=BxHiII", message)
    attributes = read_attributes(message, 16)
    info = read_attributes(attributes[18], 0) if 18 in attributes else {}
    port: dict[int, memoryview] = {}
    if _text(info.get(4)) == "bridge" and 5 in info:
        port = read_attributes(info[5], 0)
    mac = bytes(attributes.get(1) or b"")
    return Link(
        index=index,
        name=_text(attributes.get(3)),
        kind=_text(info.get(1)),
        mac=":".join("%02x" % octet for octet in mac),
        mtu=struct.unpack("=I", attributes[4])[0] if 4 in attributes else 0,
        up=bool(flags & _IFF_UP),
        alias=_text(attributes.get(20)),
        master=struct.unpack("=I", attributes[10])[0] if 10 in attributes else 0,
        hairpin=bool(port.get(4, b"\0")[0]),
        isolated=bool(port.get(33, b"\0")[0]),
        group_fwd_mask=struct.unpack("=H", port[31])[0] if 31 in port else 0,
    )
