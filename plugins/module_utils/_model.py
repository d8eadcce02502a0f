# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""The nouns of the collection: network, endpoint, publish, masquerade, and the topology that holds them.

Everything here is a value: no root, no libraries, no input or output. An object that exists has passed the
checks that need nothing but itself; what needs the other objects is checked in :mod:`_topology`.
"""

from __future__ import annotations

import functools
import hashlib
import re
import typing as t
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_address,
    ip_network,
)

from ._errors import InputError
from ._names import INTERFACE_NAME_LIMIT

__all__ = (
    "LEAST_MTU",
    "MODES",
    "Address",
    "Endpoint",
    "Masquerade",
    "Network",
    "Publish",
    "Route",
    "Subnet",
    "derived_mac",
    "host_interface_name",
    "link_local",
    "parse_address",
    "parse_mac",
    "parse_subnet",
    "plain_address",
    "plain_subnet",
    "source_text",
    "source_texts",
    "subnets_of",
)

Address = t.Union[IPv4Address, IPv6Address]
Subnet = t.Union[IPv4Network, IPv6Network]

# RFC 791 and RFC 8200: the smallest MTU that a link of each IP version may have, in bytes.
LEAST_MTU = {4: 68, 6: 1280}

MODES = ("nat", "routed", "internal", "isolated")
PROTOCOLS = ("tcp", "udp", "sctp")
LOOPBACKS = ("nat", "proxy", "none")

_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\Z")


def plain_address(text: str) -> Address:
    """Read an address as it was written down by us.

    :raises ValueError: it is none, or has a zone, which would reach the rules as it stands.
    """
    if "%" in text:
        raise ValueError("the zone has no meaning here")
    return ip_address(text)


def plain_subnet(text: str) -> Subnet:
    """Read a subnet as it was written down by us.

    :raises ValueError: it is none, or has a zone, which would reach the rules as it stands.
    """
    if "%" in text:
        raise ValueError("the zone has no meaning here")
    return ip_network(text)


def parse_address(text: str, what: str) -> Address:
    """Parse an IPv4 or IPv6 address; an IPv4-mapped IPv6 address becomes the IPv4 address.

    :param what: what the address is for, for example ``host address of the publish``.
    :raises InputError: not an address, or an IPv6 address that is none of its own.
    """
    try:
        address = plain_address(text)
    except ValueError:
        raise InputError(
            "Cannot use %r as the %s: it is not an IPv4 or IPv6 address. Give an address such as 192.0.2.10 or "
            "2001:db8::10." % (text, what)
        ) from None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    _check_kind(address, text, what)
    return address


def _check_kind(address: Address, text: str, what: str) -> None:
    """Refuse what the kernel's tools spell with an IPv4 address at its end: none of ours would be found again."""
    if address.version == 6 and (0xFFFF < int(address) < 1 << 32 or int(address) >> 32 == 0xFFFF):
        raise InputError(
            "Cannot use %r as the %s: it is an IPv4 address written as an IPv6 one, which no packet has. "
            "Give the IPv4 address, or another IPv6 address." % (text, what)
        )


def parse_subnet(text: str, what: str) -> Subnet:
    """Parse a subnet in CIDR notation without host bits.

    :raises InputError: not a subnet, no prefix length, or host bits set; the error names the right subnet. Or one of
        IPv4 addresses in the guise of IPv6.
    """
    if "/" not in text:
        raise InputError(
            "Cannot use %r as the %s: the prefix length is missing. Write it as in 172.17.0.0/16." % (text, what)
        )
    try:
        subnet = plain_subnet(text)
    except ValueError as problem:
        try:
            meant = ip_network("" if "%" in text else text, strict=False)
        except ValueError:
            raise InputError(
                "Cannot use %r as the %s: it is not an IPv4 or IPv6 subnet (%s). Write it as in 172.17.0.0/16."
                % (text, what, problem)
            ) from None
        raise InputError(
            "Cannot use %r as the %s: it has host bits set. Write the subnet itself, %s." % (text, what, meant)
        ) from None
    _check_kind(subnet.network_address, text, what)
    return subnet


def source_texts(texts: t.Iterable[str], what: str) -> tuple[str, ...]:
    """Parse addresses and subnets into the shortest list that means the same: sorted, IPv4 first, overlaps merged.

    :raises InputError: one is neither; the error names the right subnet where there is one.
    """
    subnets = [
        parse_subnet(text, what) if "/" in text else plain_subnet(str(parse_address(text, what)))
        for text in map(str.strip, texts)
    ]
    merged: list[Subnet] = [
        *collapse_addresses(subnet for subnet in subnets if isinstance(subnet, IPv4Network)),
        *collapse_addresses(subnet for subnet in subnets if isinstance(subnet, IPv6Network)),
    ]
    return tuple(map(source_text, merged))


def source_text(subnet: Subnet) -> str:
    """Spell a subnet as sources are spelled: one address is written without its prefix length."""
    return str(subnet.network_address if subnet.prefixlen == subnet.max_prefixlen else subnet)


@functools.lru_cache(maxsize=4096)
def subnets_of(sources: tuple[str, ...], version: int) -> tuple[Subnet, ...]:
    """The sources of one IP version, merged and in order. Thousands of publishes share a few lists.

    :raises ValueError: one is no address and no subnet.
    """
    found = [subnet for subnet in map(plain_subnet, sources) if subnet.version == version]
    return tuple(collapse_addresses(found))  # type: ignore[type-var]


def parse_mac(text: str, what: str) -> str:
    """Return a unicast MAC address in the kernel's spelling (lower case, colons).

    :raises InputError: not a MAC address, all zero, or a group address.
    """
    mac = text.strip().lower().replace("-", ":")
    if not _MAC.match(mac) or mac == "00:00:00:00:00:00" or int(mac[:2], 16) & 1:
        raise InputError(
            "Cannot use %r as the MAC address of the %s: it is not a unicast MAC address. "
            "Write six pairs of hexadecimal digits as in 02:42:ac:11:00:02, or leave it out." % (text, what)
        )
    return mac


def derived_mac(*names: str) -> str:
    """Derive a stable, locally administered MAC address (02:42 and 32 bits of SHA-256) from names."""
    digest = hashlib.sha256("/".join(names).encode()).digest()
    return "02:42:" + ":".join("%02x" % octet for octet in digest[:4])


def link_local(mac: str) -> IPv6Address:
    """The IPv6 link-local address that the kernel derives from a MAC address (modified EUI-64)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    return IPv6Address(
        bytes.fromhex("fe80000000000000") + bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    )


def host_interface_name(endpoint: str) -> str:
    """Name the host's end of an endpoint's veth pair.

    ``bp-`` keeps clear of the names that systemd-networkd claims (``ve-``, ``vb-``, ``veth``). A long endpoint name
    is cut and completed by a hash, so that the result fits the kernel's 15 characters.
    """
    if len(endpoint) <= INTERFACE_NAME_LIMIT - 3:
        return "bp-" + endpoint
    return "bp-%s-%s" % (endpoint[:4], hashlib.sha256(endpoint.encode()).hexdigest()[:7])


@dataclass(frozen=True)
class Network:
    """One Linux bridge with its subnets, gateway addresses and policy.

    ``gateways`` stand in the order of ``subnets``, one for each. ``mtu`` is in bytes.
    """

    name: str
    subnets: tuple[Subnet, ...]
    gateways: tuple[Address, ...]
    mtu: int
    mac: str
    mode: str = "nat"
    icc: bool = True
    allocate_from: tuple[Subnet, ...] = ()
    trusted_interfaces: tuple[str, ...] = ()

    @property
    def families(self) -> frozenset[int]:
        """The IP versions, 4 and 6, that this network speaks."""
        return frozenset(subnet.version for subnet in self.subnets)

    @property
    def translated(self) -> bool:
        """Whether publishes translate a host port (``nat``), rather than open the endpoint's own (``routed``)."""
        return self.mode == "nat"

    @property
    def sealed(self) -> bool:
        """Whether nothing may enter or leave by way of the host."""
        return self.mode in ("internal", "isolated")

    def subnet_of(self, address: Address) -> Subnet | None:
        """The subnet of this network that holds ``address``."""
        for subnet in self.subnets:
            if address.version == subnet.version and address in subnet:
                return subnet
        return None


@dataclass(frozen=True)
class Route:
    """A static route inside an endpoint. ``via`` is None for a destination on the link itself."""

    destination: Subnet
    via: Address | None = None


@dataclass(frozen=True)
class Endpoint:
    """One named network namespace joined to a network by a veth pair.

    ``expose`` are (port, protocol) pairs: metadata that opens nothing by itself. ``guard`` holds the endpoint to its
    own MAC and IP addresses.
    """

    name: str
    network: str
    addresses: tuple[Address, ...]
    mac: str
    interface: str = "eth0"
    default_route: bool = True
    routes: tuple[Route, ...] = ()
    expose: tuple[tuple[int, str], ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    guard: bool = True

    @property
    def host_interface(self) -> str:
        """The name of the host's end of the veth pair."""
        return host_interface_name(self.name)

    def address(self, version: int) -> Address | None:
        """The first address of the given IP version (4 or 6), to which publishes lead."""
        for address in self.addresses:
            if address.version == version:
                return address
        return None


class Publish(t.NamedTuple):
    """One published port: a host port on one host address, or on all, that leads to one port of an endpoint.

    ``host_address`` is "" for every host address of both families, ``0.0.0.0`` and ``::`` for all of one family.
    ``asked_first`` and ``asked_last`` are the host ports that were asked for: equal for an exact port, a span to pick
    one from, 0 and 0 for any free one. ``host_port`` is the one that it got, 0 while none is chosen (and for good in
    a routed network). ``sources`` are the addresses and subnets that may connect, as :func:`source_texts` spells them;
    all if empty.
    """

    endpoint: str
    endpoint_port: int
    protocol: str
    host_address: str
    asked_first: int
    asked_last: int
    host_port: int
    loopback: str = "nat"
    sources: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, int, str, str, int, int]:
        """What makes two publishes the same request, whatever port was chosen for it."""
        return self[:6]

    @property
    def spec(self) -> str:
        """The request in Docker's grammar, for example ``127.0.0.1:8443:443/tcp``."""
        address = "[%s]" % self.host_address if ":" in self.host_address else self.host_address
        if self.asked_first == 0:
            wanted = ""
        elif self.asked_first == self.asked_last:
            wanted = str(self.asked_first)
        else:
            wanted = "%d-%d" % (self.asked_first, self.asked_last)
        head = "%s:%s:" % (address, wanted) if address else ("%s:" % wanted if wanted else "")
        return "%s%d/%s" % (head, self.endpoint_port, self.protocol)


@dataclass(frozen=True)
class Masquerade:
    """Source NAT for what leaves by anything but one bridge.

    Either ``network`` names one of our networks, or ``source`` is a subnet and ``except_out_interface`` an interface.
    ``to_source`` is a fixed source address; None takes the address of the outgoing interface.
    """

    network: str = ""
    source: Subnet | None = None
    except_out_interface: str = ""
    to_source: Address | None = None

    @property
    def name(self) -> str:
        """The key of this masquerade: the network's name or the subnet."""
        return self.network or str(self.source)
