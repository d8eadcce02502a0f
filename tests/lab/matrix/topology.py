# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is on the host of the matrices, as data: for our modules and for Docker alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

LAN = {4: "192.168.52.203", 6: "fd52::203"}
CLIENT = {4: "192.168.52.202", 6: "fd52::202"}
LOOPBACK = {4: "127.0.0.1", 6: "::1"}


@dataclass(frozen=True)
class Net:
    """A network: its subnets are 172.NUMBER.0.0/16 and fd00:NUMBER::/64. ``options`` are those of bridge_network.

    docker: the options of `docker network create` that ask for the same, None where Docker 20.10 has no such mode.
    """

    name: str
    number: int
    options: dict[str, Any] = field(default_factory=dict)
    docker: tuple[str, ...] | None = ()
    versions: tuple[int, ...] = (4, 6)

    def subnet(self, version: int) -> str:
        """Its subnet of one IP version."""
        return f"172.{self.number}.0.0/16" if version == 4 else f"fd00:{self.number}::/64"

    def address(self, version: int, host: int) -> str:
        """One of its addresses."""
        return f"172.{self.number}.0.{host}" if version == 4 else f"fd00:{self.number}::{host}"


class Place(NamedTuple):
    """An endpoint: its network, and the last part of its addresses."""

    name: str
    network: str
    host: int


class Port(NamedTuple):
    """A publish, over tcp and udp. ``only_on`` is a host address, "" for all. ``loopback`` "" is that of the run."""

    endpoint: str
    host_port: int
    port: int
    only_on: str = ""
    loopback: str = ""

    def spec(self, protocol: str) -> str:
        """The publish in Docker's grammar."""
        address = f"[{self.only_on}]:" if ":" in self.only_on else f"{self.only_on}:" if self.only_on else ""
        return f"{address}{self.host_port}:{self.port}/{protocol}"


# Docker's names of the modes' networks, in the order of its table; each has a server and a neighbour of it.
MODES = {
    "nat": Net("br-nat", 20),
    "trusted": Net("br-trusted", 21, {"trusted_interfaces": ["eth0"]}, None),
    "routed": Net("br-routed", 22, {"mode": "routed"}, None),
    "internal": Net("br-internal", 23, {"mode": "internal"}, ("--internal",)),
    "isolated": Net("br-isolated", 24, {"mode": "isolated"}, None),
    "no-icc": Net("br-no-icc", 25, {"icc": False}, ("--opt", "com.docker.network.bridge.enable_icc=false")),
}
NETWORKS = (Net("docker0", 17), Net("br-other", 18), Net("br-four", 19, versions=(4,)), *MODES.values())
PLACES = (
    Place("web", "docker0", 2),
    Place("peer", "docker0", 3),
    Place("local", "docker0", 4),
    Place("plain", "docker0", 5),
    Place("other", "br-other", 2),
    Place("four", "br-four", 2),
    *(Place(mode, net.name, 2) for mode, net in MODES.items()),
    *(Place(f"{mode}-2", net.name, 3) for mode, net in MODES.items()),
)
SERVED = (80, 81)
# What the client serves: something of its own, and what the host publishes too.
OUTSIDE = (7000, 8080)
# A service of the host itself, on its loopback addresses only.
HOSTS_OWN = 9999
PUBLISHED = (
    Port("web", 8080, 80),
    Port("local", 8081, 80, LOOPBACK[4]),
    Port("local", 5000, 80, "127.0.0.2"),
    Port("web", 8083, 80, loopback="none"),
    Port("web", 8084, 80, LAN[4]),
    Port("web", 8084, 80, LAN[6]),
    Port("four", 8085, 80),
    *(Port(mode, 8100 + net.number, 80) for mode, net in MODES.items() if mode not in ("internal", "isolated")),
)

_NETWORK = {net.name: net for net in NETWORKS}
_PLACE = {place.name: place for place in PLACES}


def network_of(endpoint: str) -> Net:
    """The network of an endpoint."""
    return _NETWORK[_PLACE[endpoint].network]


def address_of(name: str, version: int) -> str:
    """The address that a name of the tables stands for: an endpoint's, or one of the host's or the client's.

    gw is the gateway of docker0, gw2 that of the other network; lo2 is a second loopback address.
    """
    named = {
        "E": CLIENT[version],
        "LAN": LAN[version],
        "lo": LOOPBACK[version],
        "lo2": "127.0.0.2",
        "gw": _NETWORK["docker0"].address(version, 1),
        "gw2": _NETWORK["br-other"].address(version, 1),
    }
    if name in named:
        return named[name]
    place = _PLACE[name]
    return _NETWORK[place.network].address(version, place.host)
