# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Docker's port grammar: from what an operator types to single publishes.

Source of the grammar: docker/cli's ``-p`` (go-connections/nat). A range stands for its ports: both sides of a publish
of 6000-6010 to 6000-6010 become eleven publishes, so that each can be compared, moved and removed by itself.
"""

from __future__ import annotations

import typing as t

from ._errors import InputError
from ._model import PROTOCOLS, Publish, parse_address

__all__ = ("parse_exposed", "parse_ports", "port_fields")

_HIGHEST_PORT = 65535
_HINT = "Write [HOST_ADDRESS:][HOST_PORT[-LAST]:]PORT[-LAST][/tcp|udp|sctp], IPv6 addresses in brackets."


class PortFields(t.NamedTuple):
    """The parts of one port specification, ranges not yet expanded.

    Ports are (first, last) pairs; ``host`` is (0, 0) for any free port.
    """

    host_address: str
    host: tuple[int, int]
    endpoint: tuple[int, int]
    protocol: str


class _Asking(t.NamedTuple):
    """What is being attempted, in words with places for the specification and the endpoint: for error messages."""

    words: str
    owner: str


def port_fields(spec: object, owner: str) -> PortFields:
    """Read one specification: a string in Docker's grammar, a number, or a dictionary.

    :param owner: the endpoint's name, for error messages.
    :raises InputError: one full sentence naming the specification and what is wrong with it.
    """
    asking = _Asking("publish %r for endpoint %s", owner)
    if isinstance(spec, dict):
        fields = _from_dictionary(spec, asking)
    else:
        fields = _from_text(str(spec).strip(), asking)
    _check_lengths(fields, spec, asking)
    return fields


def parse_ports(specs: t.Iterable[object], endpoint: str, loopback: str, sources: tuple[str, ...]) -> list[Publish]:
    """Expand port specifications of one endpoint into publishes, each once, in the order given.

    :raises InputError: a specification is wrong.
    """
    found: dict[tuple[t.Any, ...], Publish] = {}
    for spec in specs:
        for publish in _expand(port_fields(spec, endpoint), endpoint, loopback, sources):
            found.setdefault(publish.key, publish)
    return list(found.values())


def parse_exposed(specs: t.Iterable[object], owner: str) -> tuple[tuple[int, str], ...]:
    """Read exposed ports such as ``5000``, ``53/udp`` and ``3000-3003`` into sorted (port, protocol) pairs.

    :raises InputError: a specification is wrong or names a host port.
    """
    asking = _Asking("expose %r of endpoint %s", owner)
    exposed: set[tuple[int, str]] = set()
    for spec in specs:
        text = str(spec).strip()
        body, protocol = _split_protocol(text, text, asking)
        if ":" in body:
            raise _wrong(text, asking, "an exposed port has no host part", "Write PORT[-LAST][/tcp|udp|sctp].")
        first, last = _parse_range(body, text, asking)
        exposed.update((port, protocol) for port in range(first, last + 1))
    return tuple(sorted(exposed))


def _expand(fields: PortFields, endpoint: str, loopback: str, sources: tuple[str, ...]) -> t.Iterator[Publish]:
    first, last = fields.endpoint
    host_first, host_last = fields.host
    paired = host_first and host_last - host_first == last - first
    for offset in range(last - first + 1):
        asked = (host_first + offset, host_first + offset) if paired else (host_first, host_last)
        exact = asked[0] if asked[0] == asked[1] else 0
        yield Publish(
            endpoint, first + offset, fields.protocol, fields.host_address, asked[0], asked[1], exact, loopback, sources
        )


def _from_text(text: str, asking: _Asking) -> PortFields:
    body, protocol = _split_protocol(text, text, asking)
    address, host, port = "", "", body
    if body.startswith("["):
        bracketed, closed, rest = body[1:].partition("]")
        if not closed or not rest.startswith(":"):
            raise _wrong(text, asking, "the bracket of the IPv6 address is not closed and followed by a colon", _HINT)
        address = bracketed
        host, colon, port = rest[1:].rpartition(":")
        if not colon:
            raise _wrong(text, asking, "a host address needs a host port, or an empty one, behind it", _HINT)
        address = _parse_host_address(address, text, asking)
    elif ":" in body:
        head, _colon, port = body.rpartition(":")
        address, colon, host = head.rpartition(":")
        if ":" in address:
            raise _wrong(text, asking, "an IPv6 address needs brackets", _HINT)
        if colon or address:
            address = _parse_host_address(address, text, asking)
    return PortFields(
        address,
        _parse_range(host, text, asking) if host else (0, 0),
        _parse_range(port, text, asking),
        protocol,
    )


def _from_dictionary(spec: dict[t.Any, t.Any], asking: _Asking) -> PortFields:
    unknown = sorted(str(key) for key in set(spec) - {"host_address", "host_port", "port", "protocol"})
    if unknown:
        raise _wrong(
            spec, asking, "it has unknown keys: %s" % ", ".join(unknown), "Use host_address, host_port, port, protocol."
        )
    if spec.get("port") in (None, ""):
        raise _wrong(spec, asking, "the endpoint's port is missing", "Give it as 'port'.")
    address = str(spec.get("host_address") or "")
    host = spec.get("host_port")
    return PortFields(
        _parse_host_address(address.strip("[]"), spec, asking) if address else "",
        (0, 0) if host in (None, "") else _parse_range(str(host), spec, asking),
        _parse_range(str(spec["port"]), spec, asking),
        _parse_protocol(str(spec.get("protocol") or "tcp"), spec, asking),
    )


def _split_protocol(body: str, spec: object, asking: _Asking) -> tuple[str, str]:
    port, slash, protocol = body.partition("/")
    return port, _parse_protocol(protocol if slash and protocol else "tcp", spec, asking)


def _parse_protocol(text: str, spec: object, asking: _Asking) -> str:
    protocol = text.lower()
    if protocol not in PROTOCOLS:
        raise _wrong(spec, asking, "%r is not a protocol that can be published" % text, "Use tcp, udp or sctp.")
    return protocol


def _parse_host_address(text: str, spec: object, asking: _Asking) -> str:
    if not text:
        raise _wrong(spec, asking, "the host address is empty", _HINT)
    try:
        return str(parse_address(text, "host address"))
    except InputError:
        raise _wrong(
            spec,
            asking,
            "%r is not an IPv4 address, nor an IPv6 address in brackets" % text,
            "Give an address of the host, not a name, or leave it out to publish on all of them.",
        ) from None


def _parse_range(text: str, spec: object, asking: _Asking) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    begin = _parse_number(first, spec, asking)
    end = _parse_number(last, spec, asking) if dash else begin
    if end < begin:
        raise _wrong(spec, asking, "the range %s runs backwards" % text, "Write the lower port first.")
    return begin, end


def _parse_number(text: str, spec: object, asking: _Asking) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise _wrong(spec, asking, "%r is not a port number" % text, _HINT)
    number = int(text)
    if not 1 <= number <= _HIGHEST_PORT:
        raise _wrong(spec, asking, "port %d does not exist" % number, "Ports go from 1 to %d." % _HIGHEST_PORT)
    return number


def _check_lengths(fields: PortFields, spec: object, asking: _Asking) -> None:
    wanted = fields.endpoint[1] - fields.endpoint[0] + 1
    offered = fields.host[1] - fields.host[0] + 1
    if fields.host == (0, 0) or wanted == offered or wanted == 1:
        return
    raise _wrong(
        spec,
        asking,
        "%d host ports cannot be matched with %d endpoint ports" % (offered, wanted),
        "Make both ranges equally long, or give one endpoint port and a range to pick its host port from.",
    )


def _wrong(spec: object, asking: _Asking, problem: str, remedy: str) -> InputError:
    return InputError("Cannot %s: %s. %s" % (asking.words % (spec, asking.owner), problem, remedy))
