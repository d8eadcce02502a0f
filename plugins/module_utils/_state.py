# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""What the kernel holds, and what a topology wants it to hold, in the same words so that they can be compared."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface, ip_interface, ip_network

from ._backends import Tables
from ._foreign import ForeignChains
from ._hostports import versions_of
from ._model import Address, Endpoint, Network, Subnet, derived_mac
from ._proxy_units import Proxies
from ._topology import Topology

__all__ = (
    "ANY_UPSTREAM",
    "ENDPOINT_ALIAS",
    "NETWORK_ALIAS",
    "TO_ALL_GROUPS",
    "BridgeState",
    "EndpointState",
    "FileState",
    "Inside",
    "InterfaceAddress",
    "Link",
    "Observed",
    "RouteState",
    "bridge_state",
    "endpoint_files",
    "endpoint_state",
    "files_of",
    "hosts_path",
    "ipv6_settings",
    "is_ours",
    "network_files",
    "resolv_conf_path",
    "same_setting",
)

InterfaceAddress = t.Union[IPv4Interface, IPv6Interface]

# In place of nameservers, to name every file that an endpoint may have, whatever they are.
ANY_UPSTREAM = ("any",)

# The group_fwd_mask of a bridge's port by which frames to the link-local groups (01:80:c2:00:00:0X) are treated as any
# others. Without it the port's own stack gets them and the bridge learns from them, both past every rule. The kernel
# drops the one group that it refuses here, 1.
TO_ALL_GROUPS = 0xFFFD
# The aliases of interfaces by which they are known as ours, before the name of the network or endpoint.
NETWORK_ALIAS, ENDPOINT_ALIAS = "bridgeport.net network ", "bridgeport.net endpoint "

# By this line a resolv.conf of ours is known from one that an operator put there.
_MARK = "# Written by bridgeport.net."
_NAMESERVER = "nameserver "

_HOSTS_DIRECTORY = "/var/lib/bridgeport/hosts"
_NETNS_FILES = "/etc/netns"
_ANYWHERE = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}


@dataclass(frozen=True)
class Link:
    """One interface as the kernel has it. ``master`` is the index of the bridge it is a port of, 0 for none."""

    index: int
    name: str
    kind: str
    mac: str
    mtu: int
    up: bool
    alias: str
    master: int
    hairpin: bool
    isolated: bool
    group_fwd_mask: int = 0


class RouteState(t.NamedTuple):
    """One route of the main table. ``via`` is None for a destination on the link itself."""

    destination: Subnet
    via: Address | None


class FileState(t.NamedTuple):
    """A small file of ours: its text, or the target of a symbolic link."""

    text: str
    link: bool = False

    @property
    def ours(self) -> bool:
        """Whether we wrote it: a file of ours in a place that may hold one of an operator's is marked or is a link."""
        return self.text.startswith(_HOSTS_DIRECTORY if self.link else _MARK)

    @property
    def nameservers(self) -> tuple[str, ...]:
        """The nameservers that a resolv.conf of ours gives an endpoint."""
        lines = self.text.splitlines() if self.ours and not self.link else ()
        return tuple(line[len(_NAMESERVER) :] for line in lines if line.startswith(_NAMESERVER))


@dataclass(frozen=True)
class BridgeState:
    """A network's bridge. ``sysctls`` are (key, value) pairs of the host's namespace."""

    name: str
    mac: str
    mtu: int
    addresses: tuple[InterfaceAddress, ...]
    sysctls: tuple[tuple[str, str], ...]

    @property
    def alias(self) -> str:
        """The interface alias by which the bridge is known as ours."""
        return NETWORK_ALIAS + self.name


@dataclass(frozen=True)
class EndpointState:
    """An endpoint's veth pair and what is inside its namespace.

    ``sysctls`` are (key, value) pairs of that namespace, ``host_sysctls`` of the host's.
    """

    name: str
    bridge: str
    host_interface: str
    interface: str
    mac: str
    host_mac: str
    mtu: int
    addresses: tuple[InterfaceAddress, ...]
    routes: tuple[RouteState, ...]
    sysctls: tuple[tuple[str, str], ...]
    host_sysctls: tuple[tuple[str, str], ...]

    @property
    def alias(self) -> str:
        """The alias of the host's end, by which the endpoint is known as ours."""
        return ENDPOINT_ALIAS + self.name


@dataclass(frozen=True)
class Inside:
    """What a named namespace holds. ``broken`` is a file in /run/netns that is no namespace (any more)."""

    broken: bool = False
    links: t.Mapping[str, Link] = field(default_factory=dict)
    addresses: t.Mapping[str, frozenset[InterfaceAddress]] = field(default_factory=dict)
    routes: frozenset[RouteState] = frozenset()
    sysctls: t.Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Observed:
    """What was read from the host for one plan. A namespace or file that does not exist is absent from its mapping.

    ``upstream`` are the nameservers that the host's own local one asks: an endpoint cannot reach a nameserver at a
    loopback address of the host. Empty where /etc/resolv.conf names others, None where nobody is named yet that an
    endpoint could ask.
    ``reserved`` are the host ports that are kept from other processes, None where nothing can keep them.
    ``foreign`` is what others do to forwarded packets in nftables, ``firewalld`` the files of its configuration that
    bear our name, with their text.
    ``tables`` are what each backend that this host has holds of ours, by its full name.
    ``ra_interfaces`` are the interfaces that accept router advertisements as long as the host does not forward.
    """

    links: t.Mapping[str, Link] = field(default_factory=dict)
    addresses: t.Mapping[str, frozenset[InterfaceAddress]] = field(default_factory=dict)
    namespaces: t.Mapping[str, Inside] = field(default_factory=dict)
    sysctls: t.Mapping[str, str | None] = field(default_factory=dict)
    files: t.Mapping[str, FileState] = field(default_factory=dict)
    tables: t.Mapping[str, t.Mapping[int, Tables]] = field(default_factory=dict)
    ra_interfaces: tuple[str, ...] = ()
    upstream: tuple[str, ...] | None = ()
    proxies: Proxies = field(default_factory=Proxies)
    reserved: frozenset[str] | None = None
    foreign: ForeignChains = field(default_factory=ForeignChains)
    firewalld: t.Mapping[str, str] = field(default_factory=dict)


def is_ours(link: Link, wanted: BridgeState | EndpointState) -> bool:
    """Whether a link is the one that we made for ``wanted``: a bridge, or the host's end of a veth pair.

    Ours is what bears our alias. A run that was killed may have had no time to set it, but a link has its MAC address,
    which is derived from our names, from the moment that it exists.
    """
    kind, mac = ("bridge", wanted.mac) if isinstance(wanted, BridgeState) else ("veth", wanted.host_mac)
    return link.kind == kind and (link.alias == wanted.alias or (not link.alias and link.mac == mac))


def ipv6_settings(interface: str) -> str:
    """How the names of an interface's own settings of IPv6 begin."""
    return "net.ipv6.conf.%s." % interface


def same_setting(current: str | None, wanted: str) -> bool:
    """Whether a kernel setting has the wanted value, however the numbers are written."""
    if current is None:
        return False
    return [_plain(word) for word in current.split()] == [_plain(word) for word in wanted.split()]


def _plain(word: str) -> str:
    try:
        return str(int(word, 0))
    except ValueError:
        return word


def bridge_state(topology: Topology, network: Network) -> BridgeState:
    """The bridge that a network wants."""
    addresses: tuple[InterfaceAddress, ...] = ()
    if network.mode != "isolated":
        addresses = tuple(
            ip_interface("%s/%d" % (gateway, subnet.prefixlen))
            for subnet, gateway in zip(network.subnets, network.gateways)
        )
    speaks_ipv6 = any(address.version == 6 for address in addresses)
    ipv6 = ipv6_settings(network.name)
    sysctls = {ipv6 + "disable_ipv6": "0" if speaks_ipv6 else "1"}
    if speaks_ipv6:
        # A router advertisement from an endpoint must not change the host's routes.
        sysctls[ipv6 + "accept_ra"] = "0"
    # With a gateway that changes, the kernel would take away the other addresses of its subnet, whosever they are.
    sysctls["net.ipv4.conf.%s.promote_secondaries" % network.name] = "1"
    sysctls["net.ipv4.conf.%s.route_localnet" % network.name] = "1" if _serves_loopback(topology, network) else "0"
    return BridgeState(network.name, network.mac, network.mtu, addresses, tuple(sysctls.items()))


def _serves_loopback(topology: Topology, network: Network) -> bool:
    """Whether a connection to 127.0.0.1 may be led to this network, which the kernel forbids by default."""
    if not network.translated:
        return False
    return any(
        publish.loopback == "nat"
        and (publish.host_address in ("", "0.0.0.0") or publish.host_address.startswith("127."))
        and topology.endpoints[publish.endpoint].network == network.name
        and 4 in versions_of(publish, topology.endpoints[publish.endpoint])
        for publish in topology.publishes.values()
    )


def endpoint_state(topology: Topology, endpoint: Endpoint) -> EndpointState:
    """The veth pair and namespace that an endpoint wants."""
    network = topology.networks[endpoint.network]
    addresses = []
    for address in endpoint.addresses:
        subnet = network.subnet_of(address)
        if subnet is not None:
            addresses.append(ip_interface("%s/%d" % (address, subnet.prefixlen)))
    return EndpointState(
        name=endpoint.name,
        bridge=network.name,
        host_interface=endpoint.host_interface,
        interface=endpoint.interface,
        mac=endpoint.mac,
        # Stable, so that nothing that learned it has to learn anew when the pair is replaced.
        host_mac=derived_mac("host", endpoint.name),
        mtu=network.mtu,
        addresses=tuple(addresses),
        routes=tuple(_routes(network, endpoint)),
        sysctls=tuple({**dict(_sysctls(network, endpoint)), **dict(endpoint.sysctls)}.items()),
        # A port of a bridge has no business with IP: what comes in there is the bridge's.
        host_sysctls=((ipv6_settings(endpoint.host_interface) + "disable_ipv6", "1"),),
    )


def _routes(network: Network, endpoint: Endpoint) -> t.Iterator[RouteState]:
    if endpoint.default_route and not network.sealed:
        for version in sorted(network.families):
            gateways = [gateway for gateway in network.gateways if gateway.version == version]
            if gateways and endpoint.address(version) is not None:
                yield RouteState(_ANYWHERE[version], gateways[0])
    for route in endpoint.routes:
        yield RouteState(route.destination, route.via)


def _sysctls(network: Network, endpoint: Endpoint) -> t.Iterator[tuple[str, str]]:
    ipv6 = ipv6_settings(endpoint.interface)
    if 6 in network.families:
        yield ipv6 + "disable_ipv6", "0"
        yield ipv6 + "accept_ra", "0"
        yield ipv6 + "autoconf", "0"
    else:
        yield ipv6 + "disable_ipv6", "1"


def hosts_path(network: str) -> str:
    """The file that names the endpoints of a network, shared by all of them."""
    return "%s/%s" % (_HOSTS_DIRECTORY, network)


def network_files(topology: Topology, network: Network) -> dict[str, FileState]:
    """The files that a network wants: its hosts file."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    for endpoint in topology.endpoints_of(network.name):
        names = " ".join((endpoint.name, *endpoint.aliases))
        lines += ["%s %s" % (address, names) for address in endpoint.addresses]
    return {hosts_path(network.name): FileState("".join(line + "\n" for line in lines))}


def files_of(
    topology: Topology, networks: t.Iterable[str], endpoints: t.Iterable[str], upstream: tuple[str, ...] = ()
) -> dict[str, tuple[tuple[str, str], FileState]]:
    """The files that the named networks and endpoints want, each with the (kind, name) of its owner.

    :param upstream: the host's nameservers where endpoints need to be told them, see :attr:`Observed.upstream`.
    """
    found: dict[str, tuple[tuple[str, str], FileState]] = {}
    for name in sorted(endpoints):
        if name in topology.endpoints:
            for path, state in endpoint_files(topology.endpoints[name], upstream).items():
                found[path] = (("endpoints", name), state)
    for name in sorted(networks):
        if name in topology.networks:
            for path, state in network_files(topology, topology.networks[name]).items():
                found[path] = (("networks", name), state)
    return found


def endpoint_files(endpoint: Endpoint, upstream: tuple[str, ...] = ()) -> dict[str, FileState]:
    """The files that an endpoint wants, where ``ip netns exec`` and systemd units look for them.

    :param upstream: nameservers for an endpoint that has none of its own.
    """
    files = {"%s/%s/hosts" % (_NETNS_FILES, endpoint.name): FileState(hosts_path(endpoint.network), link=True)}
    nameservers = endpoint.nameservers or upstream
    if nameservers or endpoint.search:
        lines = [_MARK, *("%s%s" % (_NAMESERVER, address) for address in nameservers)]
        if endpoint.search:
            lines.append("search %s" % " ".join(endpoint.search))
        files[resolv_conf_path(endpoint.name)] = FileState("".join(line + "\n" for line in lines))
    return files


def resolv_conf_path(endpoint: str) -> str:
    """Where ``ip netns exec`` and systemd units look for an endpoint's nameservers."""
    return "%s/%s/resolv.conf" % (_NETNS_FILES, endpoint)
