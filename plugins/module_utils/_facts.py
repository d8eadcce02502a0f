# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""What the deciding half may ask about the host, as an interface that tests can answer with constants."""

from __future__ import annotations

import functools
import typing as t

from ._hostports import HostPorts
from ._model import Address, Subnet

__all__ = ("CheckedFacts", "HostFacts", "RememberedFacts", "StaticFacts", "Way")


class Way(t.NamedTuple):
    """How the host reaches an address: by which interface, via which gateway if any, and with which source address.

    ``local``: it is one of the host's own addresses.
    """

    interface: str
    via: Address | None = None
    source: Address | None = None
    local: bool = False


class HostFacts(t.Protocol):
    """Facts of the host's own network, outside the topology. Each is read only when it is asked for."""

    def on_link(self) -> t.Sequence[tuple[Subnet, str]]:
        """The subnets that the host reaches without a gateway, each with its interface."""

    def nameservers(self) -> t.Sequence[Address]:
        """The host's nameservers."""

    def default_mtu(self) -> int:
        """The MTU in bytes of the interface that has the default route; 1500 where there is none."""

    def ports(self) -> HostPorts:
        """The sockets and the port ranges of the host."""

    def route(self, destination: Address) -> Way | None:
        """How the host reaches an address; None if it has no route to it."""

    def proxy_problem(self) -> str:
        """Why this host cannot run a proxy, as the middle of a sentence; empty if it can."""

    def has_sctp(self) -> bool:
        """Whether the kernel has SCTP. To ask may load its module."""


class StaticFacts:
    """Facts given by value."""

    def __init__(
        self,
        on_link: t.Sequence[tuple[Subnet, str]] = (),
        nameservers: t.Sequence[Address] = (),
        default_mtu: int = 1500,
        ports: HostPorts | None = None,
        routes: t.Mapping[Subnet, Way] | None = None,
        proxy_problem: str = "",
        sctp: bool = True,
    ) -> None:
        self._on_link = on_link
        self._nameservers = nameservers
        self._default_mtu = default_mtu
        self._ports = ports or HostPorts()
        self._routes = routes or {}
        self._proxy_problem = proxy_problem
        self._sctp = sctp

    def on_link(self) -> t.Sequence[tuple[Subnet, str]]:
        return self._on_link

    def nameservers(self) -> t.Sequence[Address]:
        return self._nameservers

    def default_mtu(self) -> int:
        return self._default_mtu

    def ports(self) -> HostPorts:
        return self._ports

    def has_sctp(self) -> bool:
        return self._sctp

    def proxy_problem(self) -> str:
        return self._proxy_problem

    def route(self, destination: Address) -> Way | None:
        known = [subnet for subnet in self._routes if subnet.version == destination.version and destination in subnet]
        return self._routes[max(known, key=lambda subnet: subnet.prefixlen)] if known else None


class RememberedFacts:
    """The facts of another, each asked for once."""

    def __init__(self, facts: HostFacts) -> None:
        self.on_link = functools.lru_cache(maxsize=None)(facts.on_link)
        self.nameservers = functools.lru_cache(maxsize=None)(facts.nameservers)
        self.default_mtu = functools.lru_cache(maxsize=None)(facts.default_mtu)
        self.ports = functools.lru_cache(maxsize=None)(facts.ports)
        self.route = functools.lru_cache(maxsize=None)(facts.route)
        self.proxy_problem = functools.lru_cache(maxsize=None)(facts.proxy_problem)
        self.has_sctp = functools.lru_cache(maxsize=None)(facts.has_sctp)


class CheckedFacts(RememberedFacts):
    """The facts in check mode behind other tasks, which would have moved or stopped processes."""

    def __init__(self, facts: HostFacts) -> None:
        super().__init__(facts)
        self.ports = functools.lru_cache(maxsize=None)(lambda: facts.ports().in_check())
