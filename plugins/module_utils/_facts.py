# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""What the deciding half may ask about the host, as an interface that tests can answer with constants."""

from __future__ import annotations

import typing as t

from ._hostports import HostPorts
from ._model import Address, Subnet

__all__ = ("HostFacts", "StaticFacts")


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


class StaticFacts:
    """Facts given by value."""

    def __init__(
        self,
        on_link: t.Sequence[tuple[Subnet, str]] = (),
        nameservers: t.Sequence[Address] = (),
        default_mtu: int = 1500,
        ports: HostPorts | None = None,
    ) -> None:
        self._on_link = on_link
        self._nameservers = nameservers
        self._default_mtu = default_mtu
        self._ports = ports or HostPorts()

    def on_link(self) -> t.Sequence[tuple[Subnet, str]]:
        return self._on_link

    def nameservers(self) -> t.Sequence[Address]:
        return self._nameservers

    def default_mtu(self) -> int:
        return self._default_mtu

    def ports(self) -> HostPorts:
        return self._ports
