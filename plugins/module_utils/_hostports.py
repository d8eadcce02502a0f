# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Which host port goes where: collisions between publishes, and the choice of ports that were left open.

The order of choice is Docker's: exact ports first, then spans and free choice; what differs only in host address or
protocol gets one common number.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from ._errors import InputError, StateError
from ._model import Endpoint, Network, Publish, parse_address

__all__ = (
    "Binding",
    "Holder",
    "HostPorts",
    "PortBook",
    "bindings_of",
    "check_grown",
    "choose_host_ports",
    "family_problem",
    "held_warnings",
    "proxied_of",
    "translated_of",
    "versions_of",
)

_ANY = {4: "0.0.0.0", 6: "::"}

# The host addresses that a proxy serves for a publish; for one on another loopback address, just that.
_PROXIED = {"": ("127.0.0.1", "::1"), "0.0.0.0": ("127.0.0.1",), "::": ("::1",)}

# Publishes that share one number, each with what it takes, whatever the port in it.
Members = t.List[t.Tuple["Publish", t.Tuple["Binding", ...]]]


class Holder(t.NamedTuple):
    """A socket of the host that already has a port.

    ``address`` is "" where it listens on every address. ``may_go``: a task that was only checked may stop the process,
    so that an exact port is granted all the same.
    """

    version: int
    protocol: str
    address: str
    port: int
    process: str
    may_go: bool = False


class Binding(t.NamedTuple):
    """One host address and port of one IP version. ``address`` is "" for every address of that version."""

    version: int
    protocol: str
    address: str
    port: int

    def __str__(self) -> str:
        address = self.address or _ANY[self.version]
        return "%s:%d/%s" % ("[%s]" % address if self.version == 6 else address, self.port, self.protocol)


@dataclass(frozen=True)
class HostPorts:
    """What the host says of its ports.

    ``free_choice`` is the kernel's local port range (first, last); ``reserved`` are the ports it must not choose.
    """

    free_choice: tuple[int, int] = (49153, 65535)
    reserved: frozenset[int] = frozenset()
    holders: tuple[Holder, ...] = ()

    def in_check(self) -> HostPorts:
        """The same in check mode behind other tasks, any of which may stop a process."""
        return replace(self, holders=tuple(holder._replace(may_go=True) for holder in self.holders))


@dataclass
class PortBook:
    """Who has which host port: for each (version, protocol, port) the owners by host address."""

    entries: dict[tuple[int, str, int], dict[str, Publish]] = field(default_factory=dict)
    # The host ports that each (endpoint, endpoint port) has, and the highest that was freely chosen.
    siblings: dict[tuple[str, int], set[int]] = field(default_factory=dict)
    highest_free_choice: int = 0

    def owner(self, binding: Binding) -> Publish | None:
        """The publish that a new binding would collide with: the same address, or one of both being every address."""
        there = self.entries.get((binding.version, binding.protocol, binding.port))
        if not there:
            return None
        if binding.address == "":
            return next(iter(there.values()))
        return there.get(binding.address) or there.get("")

    def enter(self, binding: Binding, publish: Publish) -> None:
        """Write down that ``publish`` has ``binding``."""
        self.entries.setdefault((binding.version, binding.protocol, binding.port), {})[binding.address] = publish
        self.siblings.setdefault((publish.endpoint, publish.endpoint_port), set()).add(binding.port)
        if publish.asked_first == 0:
            self.highest_free_choice = max(self.highest_free_choice, binding.port)


def bindings_of(publish: Publish, endpoint: Endpoint, network: Network) -> tuple[Binding, ...]:
    """The host addresses and ports that a publish takes; none in a routed network, which translates nothing."""
    translated = translated_of(publish, endpoint, network)
    everywhere = {binding.version for binding in translated if not binding.address}
    return translated + tuple(b for b in proxied_of(publish, network) if b.version not in everywhere)


def translated_of(publish: Publish, endpoint: Endpoint, network: Network) -> tuple[Binding, ...]:
    """Of what a publish takes, that which the rules of the firewall carry."""
    if not network.translated or (_is_loopback(publish.host_address) and proxied_of(publish, network)):
        return ()
    address = "" if publish.host_address in ("", "0.0.0.0", "::") else publish.host_address
    versions = versions_of(publish, endpoint)
    return tuple(Binding(version, publish.protocol, address, publish.host_port) for version in versions)


def proxied_of(publish: Publish, network: Network) -> tuple[Binding, ...]:
    """Of what a publish takes, that which a proxy serves: the host's loopback addresses, where it is asked for."""
    if publish.loopback != "proxy" or publish.protocol != "tcp" or not network.translated:
        return ()
    own = (publish.host_address,) if _is_loopback(publish.host_address) else ()
    addresses = _PROXIED.get(publish.host_address, own)
    return tuple(Binding(6 if ":" in a else 4, publish.protocol, a, publish.host_port) for a in addresses)


def versions_of(publish: Publish, endpoint: Endpoint) -> tuple[int, ...]:
    """The IP versions in which a publish leads to an endpoint: those that both speak."""
    return tuple(v for v in (4, 6) if endpoint.address(v) is not None and _speaks(publish.host_address, v))


def _speaks(host_address: str, version: int) -> bool:
    return host_address == "" or (":" in host_address) == (version == 6)


def _is_loopback(host_address: str) -> bool:
    return host_address == "::1" or host_address.startswith("127.")


def _at(bindings: tuple[Binding, ...], port: int) -> tuple[Binding, ...]:
    return tuple(binding._replace(port=port) for binding in bindings)


def family_problem(publish: Publish, endpoint: Endpoint, network: Network) -> str | None:
    """Say why a publish can never carry a packet to this endpoint, or None if it can."""
    if network.sealed:
        return "its network %s is %s, so nothing from outside may reach it" % (network.name, network.mode)
    if _is_loopback(publish.host_address) and proxied_of(publish, network):
        # A proxy connects by whichever IP version the endpoint has.
        return None
    if not versions_of(publish, endpoint):
        return "the endpoint has no IPv%d address" % (6 if ":" in publish.host_address else 4)
    if publish.host_address and network.translated and publish.host_address not in ("0.0.0.0", "::"):
        address = parse_address(publish.host_address, "host address")
        if address.version == 6 and address.is_loopback:
            return "the kernel cannot translate ::1, so that only loopback 'proxy' could serve it"
        if address.is_loopback and publish.loopback == "none":
            return "it is published on a loopback address while its loopback is 'none', so nobody could reach it"
        kinds = (
            ("multicast", address.is_multicast),
            ("link-local", address.is_link_local),
            ("reserved", address.version == 4 and address.is_reserved),
        )
        for words, matches in kinds:
            if matches:
                return "%s is a %s address" % (address, words)
    return None


def choose_host_ports(
    fresh: t.Sequence[Publish],
    book: PortBook,
    bindings: t.Callable[[Publish], tuple[Binding, ...]],
    ports: HostPorts,
) -> list[Publish]:
    """Give every fresh publish its host port and write it into ``book``.

    :param fresh: publishes that have no port yet, or an exact one.
    :param bindings: what a publish takes, whatever its port.
    :raises InputError: two publishes collide; both owners are named.
    :raises StateError: a process of the host has the port, or no port is free.
    """
    held = _Held(ports.holders)
    chosen = []
    for members in _compatible(_groups(fresh), bindings):
        first = members[0][0]
        if first.asked_first == first.asked_last != 0:
            number = first.asked_first
            for publish, taken in members:
                _require_free(publish, _at(taken, number), book, held)
        else:
            number = _pick(members, book, held, ports)
        for publish, taken in members:
            settled = publish._replace(host_port=number)
            chosen.append(settled)
            for binding in _at(taken, number):
                book.enter(binding, settled)
    return chosen


def check_grown(
    grown: t.Sequence[tuple[Publish, tuple[Binding, ...], tuple[Binding, ...]]], book: PortBook, ports: HostPorts
) -> None:
    """Write publishes that change into ``book``, each with what it took until now and what it takes now.

    :raises InputError: what one takes besides collides with another publish.
    :raises StateError: a process of the host has it.
    """
    held = _Held(ports.holders)
    for publish, before, after in grown:
        for binding in after:
            if binding in before:
                book.enter(binding, publish)
    for publish, before, after in grown:
        added = tuple(binding for binding in after if binding not in before)
        _require_free(publish, added, book, held)
        for binding in added:
            book.enter(binding, publish)


def held_warnings(bindings: t.Iterable[Binding], ports: HostPorts) -> list[str]:
    """Say of each host port among ``bindings`` that a process holds it now."""
    held = _Held(ports.holders)
    found = ((binding, held.holder(binding)) for binding in bindings)
    # One sentence, however many IP versions and addresses there are.
    pairs = dict.fromkeys((b.port, b.protocol, holder.process) for b, holder in found if holder is not None)
    return [
        "Host port %d/%s is held by %s now. The run itself refuses to publish it unless a task before it stops or "
        "moves that process." % pair
        for pair in pairs
    ]


class _Held:
    """The host's own sockets, by port."""

    def __init__(self, holders: t.Iterable[Holder]) -> None:
        self._by_port: dict[tuple[int, str, int], list[Holder]] = {}
        for holder in holders:
            self._by_port.setdefault((holder.version, holder.protocol, holder.port), []).append(holder)

    def holder(self, binding: Binding) -> Holder | None:
        for holder in self._by_port.get((binding.version, binding.protocol, binding.port), ()):
            if binding.address in ("", holder.address) or holder.address == "":
                return holder
        return None


def _groups(fresh: t.Sequence[Publish]) -> t.Iterator[list[Publish]]:
    """Exact ports one by one, then those to choose, with what shares a number put together."""

    def order(publish: Publish) -> tuple[t.Any, ...]:
        exact = publish.asked_first == publish.asked_last != 0
        # A span is scarcer than the whole range, so it chooses first.
        return (0 if exact else 1 if publish.asked_first else 2, *publish)

    groups: dict[tuple[t.Any, ...], list[Publish]] = {}
    for publish in sorted(fresh, key=order):
        if publish.asked_first == publish.asked_last != 0:
            key: tuple[t.Any, ...] = publish.key
        else:
            key = (publish.endpoint, publish.endpoint_port, publish.asked_first, publish.asked_last)
        groups.setdefault(key, []).append(publish)
    return iter(groups.values())


def _compatible(
    groups: t.Iterable[list[Publish]], bindings: t.Callable[[Publish], tuple[Binding, ...]]
) -> t.Iterator[Members]:
    """Split groups whose members cannot share a number, because one's host addresses are among another's."""
    for group in groups:
        parts: list[tuple[Members, PortBook]] = []
        for publish in group:
            taken = bindings(publish)
            # Any number will do to see whether their addresses collide.
            alike = _at(taken, 1)
            part = next((part for part in parts if all(part[1].owner(b) is None for b in alike)), None)
            if part is None:
                part = ([], PortBook())
                parts.append(part)
            part[0].append((publish, taken))
            for binding in alike:
                part[1].enter(binding, publish)
        yield from (members for members, _book in parts)


def _require_free(publish: Publish, bindings: tuple[Binding, ...], book: PortBook, held: _Held) -> None:
    for binding in bindings:
        other = book.owner(binding)
        if other is not None:
            raise InputError(
                "Cannot publish %s for endpoint %s: host port %s collides with %s, which endpoint %s has published. "
                "Choose another host port or host address, or remove the other publish first."
                % (publish.spec, publish.endpoint, binding, other.spec, other.endpoint)
            )
        holder = held.holder(binding)
        if holder is not None and not holder.may_go:
            raise StateError(
                "Cannot publish %s for endpoint %s: host port %s is held by %s. "
                "Stop that process or choose another host port."
                % (publish.spec, publish.endpoint, binding, holder.process)
            )


def _pick(members: Members, book: PortBook, held: _Held, ports: HostPorts) -> int:
    publish = members[0][0]
    first, last = (publish.asked_first, publish.asked_last) if publish.asked_first else ports.free_choice
    in_the_way = None
    for number in _candidates(first, last, members, book):
        if number in ports.reserved:
            continue
        taken = _taken(members, number, book, held)
        if taken is None:
            return number
        if in_the_way is None or "held by" in taken:
            in_the_way = taken
    raise StateError(
        "Cannot publish %s for endpoint %s: no host port from %d to %d is free (%s). "
        "Widen the range or remove other publishes."
        % (publish.spec, publish.endpoint, first, last, in_the_way or "all of them are reserved on this host")
    )


def _candidates(first: int, last: int, members: Members, book: PortBook) -> t.Iterator[int]:
    """A sibling's number first (tcp and udp of one port belong together), then upwards.

    A free choice goes on behind the highest number in use, so that a port just given up is not at once another's.
    """
    publish = members[0][0]
    siblings = book.siblings.get((publish.endpoint, publish.endpoint_port), ())
    yield from sorted(port for port in siblings if first <= port <= last)
    begin = first
    if publish.asked_first == 0 and first <= book.highest_free_choice < last:
        begin = book.highest_free_choice + 1
    yield from range(begin, last + 1)
    yield from range(first, begin)


def _taken(members: Members, number: int, book: PortBook, held: _Held) -> str | None:
    for _publish, bindings in members:
        for binding in _at(bindings, number):
            owner = book.owner(binding)
            if owner is not None:
                return "%s belongs to endpoint %s" % (binding, owner.endpoint)
            holder = held.holder(binding)
            if holder is not None:
                return "%s is held by %s" % (binding, holder.process)
    return None
