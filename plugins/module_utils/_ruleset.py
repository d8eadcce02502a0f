# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""What the firewall must do for a topology, said without saying which firewall does it.

One :class:`FamilyRules` for each IP version, and one :class:`LinkRules` for the frames below them. A backend renders
them; no backend decides anything.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ._hostports import Binding, versions_of
from ._model import Address, Masquerade, Network, Publish, Subnet, link_local, subnets_of
from ._topology import Topology, once_for_each

__all__ = (
    "Apart",
    "FamilyRules",
    "Identity",
    "LinkRules",
    "NetworkRules",
    "OpenPort",
    "SourceRule",
    "Translation",
    "link_rules_of",
    "rules_of",
)


class Translation(t.NamedTuple):
    """Connections to a host port are led to an endpoint's port. ``host_address`` is "" for every host address.

    ``allowed`` are the subnets from which alone others than the host itself may connect; None lets everybody.
    """

    protocol: str
    host_address: str
    host_port: int
    to_address: str
    to_port: int
    owner: str
    allowed: tuple[Subnet, ...] | None = None


class OpenPort(t.NamedTuple):
    """A port of an endpoint that may be reached from outside its network.

    ``allowed`` are the subnets that alone may send to it, whether or not a connection is there already; None lets
    everybody. Where several publishes lead to one port, it is open to whom any of them allows.
    """

    address: str
    protocol: str
    port: int
    allowed: tuple[Subnet, ...] | None = None


@dataclass(frozen=True)
class NetworkRules:
    """What holds for one bridge in one IP version.

    ``guarded``: only the bridge itself and ``trusted`` interfaces may address the subnets directly, new connections
    from elsewhere are dropped. ``sealed``: nothing crosses between the bridge and the rest of the world. ``icc``:
    endpoints may talk to each other. ``pings``: ICMP from outside is let in, as a routed network needs it.
    ``addressed``: the host is on the network, so that what comes from its subnets comes from the bridge.
    """

    bridge: str
    subnets: tuple[Subnet, ...]
    guarded: bool
    sealed: bool
    icc: bool
    pings: bool
    trusted: tuple[str, ...] = ()
    addressed: bool = True


class Identity(t.NamedTuple):
    """Who an endpoint is on its bridge. ``interface`` is the port of the bridge.

    No frame comes from there but IPv4, IPv6 and ARP with this MAC address and these addresses, and none that tells
    neighbours another way: no neighbour advertisement for another address, no router advertisement, no redirect.
    """

    interface: str
    mac: str
    addresses: tuple[Address, ...]


class Apart(t.NamedTuple):
    """A port of a bridge from which only the host is reached, whose MAC address on that bridge is ``bridge_mac``."""

    interface: str
    bridge_mac: str


@dataclass(frozen=True)
class LinkRules:
    """All that must hold for frames on the bridges, before IP is looked at. Empty means: nothing at all."""

    identities: tuple[Identity, ...] = ()
    apart: tuple[Apart, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.identities or self.apart)


@dataclass(frozen=True)
class SourceRule:
    """What ``subnet`` sends out of any interface but ``except_out`` gets another source address.

    ``to_source`` None means the address of the outgoing interface.
    """

    owner: str
    subnet: Subnet
    except_out: str
    to_source: Address | None


@dataclass(frozen=True)
class FamilyRules:
    """All that the firewall must do in one IP version. Empty means: nothing at all, not even a table.

    ``silent_loopback`` are (protocol, port) pairs, published on every host address, that a connection to the host's
    own loopback addresses must not reach.
    """

    version: int
    networks: tuple[NetworkRules, ...] = ()
    sources: tuple[SourceRule, ...] = ()
    translations: tuple[Translation, ...] = ()
    open_ports: frozenset[OpenPort] = field(default_factory=frozenset)
    silent_loopback: frozenset[tuple[str, int]] = field(default_factory=frozenset)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.networks or self.sources)


@once_for_each
def rules_of(topology: Topology) -> dict[int, FamilyRules]:
    """Derive the rules of each IP version, 4 and 6, from a topology."""
    return {version: _family_rules(topology, version) for version in (4, 6)}


@once_for_each
def link_rules_of(topology: Topology) -> LinkRules:
    """Derive what must hold for frames on the bridges from a topology."""
    identities, apart = [], []
    for name in sorted(topology.endpoints):
        endpoint = topology.endpoints[name]
        network = topology.networks[endpoint.network]
        if endpoint.guard:
            addresses = endpoint.addresses
            if 6 in network.families:
                addresses += (link_local(endpoint.mac),)
            identities.append(Identity(endpoint.host_interface, endpoint.mac, addresses))
        if not network.icc:
            apart.append(Apart(endpoint.host_interface, network.mac))
    return LinkRules(tuple(identities), tuple(apart))


def _family_rules(topology: Topology, version: int) -> FamilyRules:
    translations: list[Translation] = []
    opened: dict[tuple[str, str, int], set[str] | None] = {}
    silent: set[tuple[str, int]] = set()
    for publish in topology.publishes.values():
        endpoint = topology.endpoints[publish.endpoint]
        address = endpoint.address(version)
        if address is None:
            continue
        bindings = [binding for binding in topology.translated(publish) if binding.version == version]
        routed = topology.networks[endpoint.network].mode == "routed" and version in versions_of(publish, endpoint)
        if routed or any(_from_outside(binding) for binding in bindings):
            _open(opened, (str(address), publish.protocol, publish.endpoint_port), publish.sources)
        for binding in bindings:
            translations.append(_translation(publish, binding, str(address)))
            if publish.loopback != "nat" and not binding.address:
                silent.add((publish.protocol, publish.host_port))
    return FamilyRules(
        version=version,
        networks=tuple(
            _network_rules(topology.networks[name], version)
            for name in sorted(topology.networks)
            if version in topology.networks[name].families
        ),
        sources=tuple(_source_rules(topology, version)),
        translations=tuple(translations),
        open_ports=frozenset(
            OpenPort(*port, None if names is None else subnets_of(tuple(sorted(names)), version))
            for port, names in opened.items()
        ),
        silent_loopback=frozenset(silent),
    )


def _from_outside(binding: Binding) -> bool:
    """Whether anybody but the host itself can use it."""
    return not (binding.version == 4 and binding.address.startswith("127."))


def _open(
    opened: dict[tuple[str, str, int], set[str] | None], port: tuple[str, str, int], sources: tuple[str, ...]
) -> None:
    there = opened.setdefault(port, set())
    if not sources:
        opened[port] = None
    elif there is not None:
        there.update(sources)


def _translation(publish: Publish, binding: Binding, address: str) -> Translation:
    return Translation(
        binding.protocol,
        binding.address,
        binding.port,
        address,
        publish.endpoint_port,
        publish.endpoint,
        subnets_of(publish.sources, binding.version) if publish.sources else None,
    )


def _network_rules(network: Network, version: int) -> NetworkRules:
    return NetworkRules(
        bridge=network.name,
        subnets=tuple(subnet for subnet in network.subnets if subnet.version == version),
        guarded=network.mode != "routed",
        sealed=network.sealed,
        icc=network.icc,
        pings=network.mode == "routed",
        trusted=network.trusted_interfaces,
        addressed=network.mode != "isolated",
    )


def _source_rules(topology: Topology, version: int) -> t.Iterator[SourceRule]:
    for name in sorted(topology.masquerades):
        masquerade = topology.masquerades[name]
        for subnet, except_out in _masqueraded(topology, masquerade):
            if subnet.version == version:
                to_source = masquerade.to_source
                if to_source is not None and to_source.version != version:
                    to_source = None
                yield SourceRule(name, subnet, except_out, to_source)


def _masqueraded(topology: Topology, masquerade: Masquerade) -> t.Iterator[tuple[Subnet, str]]:
    if masquerade.source is not None:
        yield masquerade.source, masquerade.except_out_interface
        return
    for subnet in topology.networks[masquerade.network].subnets:
        yield subnet, masquerade.network
