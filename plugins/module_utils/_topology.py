# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""The topology: all networks, endpoints, publishes and masquerades of one host, and what must hold between them."""

from __future__ import annotations

import functools
import typing as t
from dataclasses import dataclass, field, replace

from ._errors import InputError
from ._hostports import Binding, PortBook, bindings_of, proxied_of, translated_of
from ._model import Endpoint, Masquerade, Network, Publish, Subnet

__all__ = ("Topology", "once_for_each")

# The kernel gives a bridge 10 bits of port numbers, and port 0 does not exist (BR_PORT_BITS).
BRIDGE_PORT_LIMIT = 1023


Derived = t.TypeVar("Derived")


def once_for_each(derive: t.Callable[[Topology], Derived]) -> t.Callable[[Topology], Derived]:
    """Have a function derive its result once for each topology, which never changes. Nobody may change the result."""

    @functools.wraps(derive)
    def derived(topology: Topology) -> Derived:
        kept = topology._derived
        if derive not in kept:
            kept[derive] = derive(topology)
        return t.cast(Derived, kept[derive])

    return derived


@dataclass(frozen=True)
class Topology:
    """What a host is asked to hold. The dictionaries are never changed in place: :meth:`with_` makes a new topology.

    ``networks`` and ``endpoints`` are keyed by name, ``publishes`` by :attr:`Publish.key`, ``masquerades`` by
    :attr:`Masquerade.name`.
    """

    networks: t.Mapping[str, Network] = field(default_factory=dict)
    endpoints: t.Mapping[str, Endpoint] = field(default_factory=dict)
    publishes: t.Mapping[tuple[t.Any, ...], Publish] = field(default_factory=dict)
    masquerades: t.Mapping[str, Masquerade] = field(default_factory=dict)
    # What :func:`once_for_each` has kept of it, by function.
    _derived: dict[t.Any, t.Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def with_(self, **changes: t.Mapping[t.Any, t.Any]) -> Topology:
        """The same topology with some of its four mappings replaced."""
        return replace(self, **t.cast("dict[str, t.Any]", changes))

    @property
    def empty(self) -> bool:
        """Whether nothing at all is asked for."""
        return not (self.networks or self.endpoints or self.publishes or self.masquerades)

    def endpoints_of(self, network: str) -> list[Endpoint]:
        """The endpoints of one network, by name."""
        return sorted((e for e in self.endpoints.values() if e.network == network), key=lambda e: e.name)

    def publishes_of(self, endpoint: str) -> list[Publish]:
        """The publishes of one endpoint, by endpoint port."""
        return sorted(p for p in self.publishes.values() if p.endpoint == endpoint)

    def network_of(self, publish: Publish) -> Network:
        """The network through which a publish leads."""
        return self.networks[self.endpoints[publish.endpoint].network]

    def bindings(self, publish: Publish) -> tuple[Binding, ...]:
        """The host addresses and ports that a publish of this topology takes."""
        endpoint = self.endpoints[publish.endpoint]
        return bindings_of(publish, endpoint, self.networks[endpoint.network])

    def translated(self, publish: Publish) -> tuple[Binding, ...]:
        """Of those, the ones that rules carry."""
        endpoint = self.endpoints[publish.endpoint]
        return translated_of(publish, endpoint, self.networks[endpoint.network])

    def proxied(self, publish: Publish) -> tuple[Binding, ...]:
        """The loopback addresses and ports of the host at which a proxy serves a publish."""
        return proxied_of(publish, self.network_of(publish))

    def port_book(self) -> PortBook:
        """Who has which host port.

        :raises InputError: two publishes of this topology collide; both owners are named.
        """
        book = PortBook()
        for publish in self.publishes.values():
            for binding in self.bindings(publish):
                other = book.owner(binding)
                if other is not None:
                    raise InputError(
                        "Cannot publish %s for endpoint %s: host port %s collides with %s of endpoint %s. "
                        "Choose another host port or host address for one of them."
                        % (publish.spec, publish.endpoint, binding, other.spec, other.endpoint)
                    )
                book.enter(binding, publish)
        return book

    def check(self) -> None:
        """Check what must hold between networks and endpoints.

        :raises InputError: overlapping subnets, an address used twice, two endpoints with one host interface or MAC
            address, or more endpoints than a bridge takes.
        """
        self._check_subnets()
        self._check_endpoints()

    def _check_subnets(self) -> None:
        seen: list[tuple[Subnet, str]] = []
        for network in self.networks.values():
            for subnet in network.subnets:
                for other, owner in seen:
                    if subnet.version == other.version and subnet.overlaps(other):
                        raise InputError(
                            "Cannot give network %s the subnet %s: it overlaps %s of network %s. Choose a "
                            "subnet that is free." % (network.name, subnet, other, owner)
                        )
                seen.append((subnet, network.name))

    def _check_endpoints(self) -> None:
        addresses: dict[object, str] = {}
        interfaces: dict[str, str] = {name: "the bridge of network %s" % name for name in self.networks}
        macs: dict[tuple[str, str], str] = {}
        ports: dict[str, int] = {}
        for endpoint in self.endpoints.values():
            for address in endpoint.addresses:
                self._once(
                    addresses, address, endpoint, "address %s" % address, "Choose another address, or leave it out."
                )
            interface = endpoint.host_interface
            self._once(
                interfaces, interface, endpoint, "host interface %s" % interface, "Choose another endpoint name."
            )
            self._once(
                macs, (endpoint.network, endpoint.mac), endpoint, "MAC address %s" % endpoint.mac, "Choose another one."
            )
            ports[endpoint.network] = ports.get(endpoint.network, 0) + 1
            if ports[endpoint.network] > BRIDGE_PORT_LIMIT:
                raise InputError(
                    "Cannot join endpoint %s to network %s: a Linux bridge takes at most %d ports. "
                    "Put some endpoints on a second network." % (endpoint.name, endpoint.network, BRIDGE_PORT_LIMIT)
                )

    @staticmethod
    def _once(seen: dict[t.Any, str], thing: t.Any, endpoint: Endpoint, what: str, remedy: str) -> None:
        mine = "endpoint %s" % endpoint.name
        other = seen.setdefault(thing, mine)
        if other != mine:
            raise InputError("Cannot give endpoint %s the %s: %s has it. %s" % (endpoint.name, what, other, remedy))
