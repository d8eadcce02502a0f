# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Reading the host: the facts that decisions ask for, and the state that a plan compares."""

from __future__ import annotations

import errno
import os
import typing as t

from . import _netns as netns
from ._errors import InputError, KernelError
from ._facts import Way
from ._files import read_file
from ._firewall import read_rules
from ._firewalld import read_files
from ._hostports import HostPorts
from ._model import Address, Subnet, parse_address
from ._netlink import Socket
from ._nftables import read_foreign_chains
from ._plan import FORWARDING, Scope, networks_in
from ._proxy import proxied_ports, proxy_problem, read_proxies
from ._proxy_units import proxies_of
from ._reserve import read_reservations
from ._sockets import has_protocol, port_holders
from ._state import (
    ANY_UPSTREAM,
    EndpointState,
    FileState,
    Inside,
    Observed,
    bridge_state,
    endpoint_state,
    files_of,
    ipv6_settings,
)
from ._sysctl import read_sysctl
from ._topology import Topology

__all__ = ("KernelFacts", "observe")

_RESOLV_CONF = "/etc/resolv.conf"
# Where systemd-resolved, the usual nameserver at a loopback address, tells whom it asks itself.
_UPSTREAM_CONF = "/run/systemd/resolve/resolv.conf"
_PORT_RANGE = "net.ipv4.ip_local_port_range"
_RESERVED_PORTS = "net.ipv4.ip_local_reserved_ports"


class KernelFacts:
    """The facts of the host that this process runs on; see :class:`_facts.HostFacts`."""

    def on_link(self) -> t.Sequence[tuple[Subnet, str]]:
        with Socket() as sock:
            names = {link.index: link.name for link in sock.links().values()}
            return [
                (route.destination, names.get(index, "unknown"))
                for route, index in sock.routes()
                if route.via is None and route.destination.prefixlen and not route.destination.is_link_local
            ]

    def nameservers(self) -> t.Sequence[Address]:
        return _nameservers(_RESOLV_CONF)

    def default_mtu(self) -> int:
        with Socket() as sock:
            links = {link.index: link for link in sock.links().values()}
            for route, index in sock.routes():
                if route.destination.prefixlen == 0 and index in links:
                    return links[index].mtu
        return 1500

    def ports(self) -> HostPorts:
        bounds = (read_sysctl(_PORT_RANGE) or "49153 65535").split()
        proxied = proxied_ports()
        return HostPorts(
            (int(bounds[0]), int(bounds[1])),
            frozenset(_numbers(read_sysctl(_RESERVED_PORTS) or "")),
            tuple(holder for holder in port_holders() if (holder.address, holder.port) not in proxied),
        )

    def route(self, destination: Address) -> Way | None:
        with Socket() as sock:
            return sock.route_to(destination)

    def proxy_problem(self) -> str:
        return proxy_problem()

    def has_sctp(self) -> bool:
        return has_protocol("sctp")


def _nameservers(path: str) -> list[Address]:
    found = []
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return []
    for line in lines:
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            try:
                found.append(parse_address(words[1].partition("%")[0], "nameserver"))
            except InputError:
                continue
    return found


def _upstream() -> tuple[str, ...] | None:
    """See :attr:`Observed.upstream`."""
    local = [address.is_loopback for address in _nameservers(_RESOLV_CONF)]
    asked = _nameservers(_UPSTREAM_CONF) if any(local) else ()
    found = tuple(str(address) for address in asked if not address.is_loopback)
    # At boot, either file may be missing or name nobody until the host has heard of its nameservers.
    return found or (None if all(local) else ())


def _numbers(text: str) -> t.Iterator[int]:
    for part in text.replace(",", " ").split():
        first, _dash, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def observe(before: Topology, after: Topology, scope: Scope) -> Observed:
    """Read from the kernel what a plan from ``before`` to ``after`` compares.

    :raises KernelError: the kernel refused.
    """
    with Socket() as sock:
        links = sock.links()
        names = {link.index: name for name, link in links.items() if name in scope.networks}
        addresses = sock.addresses(names) if names else {}
        sysctls = {key: read_sysctl(key) for key in (*FORWARDING.values(), *_keys(after, scope))}
    upstream = _upstream()
    return Observed(
        links=links,
        addresses=addresses,
        namespaces=_namespaces(before, after, scope),
        sysctls=sysctls,
        files=_files(before, after, scope, upstream),
        tables=read_rules(),
        foreign=read_foreign_chains(),
        firewalld=read_files(),
        upstream=upstream,
        ra_interfaces=_advertised(after) if sysctls[FORWARDING[6]] == "0" else (),
        proxies=read_proxies(proxies_of(after)),
        reserved=read_reservations(),
    )


def _advertised(after: Topology) -> tuple[str, ...]:
    """The interfaces that take router advertisements, and ``default`` for those to come: at boot a card may be late."""
    ours = {*after.networks, *(endpoint.host_interface for endpoint in after.endpoints.values()), "all", "lo"}
    try:
        names = sorted(os.listdir("/proc/sys/net/ipv6/conf"))
    except FileNotFoundError:
        return ()
    return tuple(name for name in names if name not in ours and read_sysctl(ipv6_settings(name) + "accept_ra") == "1")


def _keys(after: Topology, scope: Scope) -> t.Iterator[str]:
    for name in scope.networks & after.networks.keys():
        for key, _value in bridge_state(after, after.networks[name]).sysctls:
            yield key
    for name in scope.endpoints & after.endpoints.keys():
        for key, _value in endpoint_state(after, after.endpoints[name]).host_sysctls:
            yield key


def _namespaces(before: Topology, after: Topology, scope: Scope) -> dict[str, Inside]:
    try:
        there = set(os.listdir(netns.NAMESPACE_DIRECTORY))
    except FileNotFoundError:
        return {}
    found = {}
    for name in scope.endpoints & there:
        if name in after.endpoints:
            found[name] = _look_inside(endpoint_state(after, after.endpoints[name]))
        elif name in before.endpoints:
            # It is going to be deleted whatever it holds.
            found[name] = Inside()
    return found


def _look_inside(wanted: EndpointState) -> Inside:
    def look() -> Inside:
        with Socket() as sock:
            links = sock.links()
            names = {link.index: name for name, link in links.items()}
            return Inside(
                links=links,
                addresses=sock.addresses(names),
                routes=frozenset(route for route, _index in sock.routes()),
                sysctls={key: read_sysctl(key) for key, _value in wanted.sysctls},
            )

    try:
        return t.cast(Inside, netns.inside(wanted.name, look))
    except KernelError as problem:
        if problem.code == errno.EINVAL:
            return Inside(broken=True)
        raise


def _files(before: Topology, after: Topology, scope: Scope, upstream: tuple[str, ...] | None) -> dict[str, FileState]:
    networks = networks_in(scope, before, after)
    paths = {
        path
        for topology in (before, after)
        for path in files_of(topology, networks, scope.endpoints, upstream or ANY_UPSTREAM)
    }
    read = {path: read_file(path) for path in paths}
    return {path: state for path, state in read.items() if state is not None}
