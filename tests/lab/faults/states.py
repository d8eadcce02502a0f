# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is on the host of the faults, as data: three states of it, and who may reach what in each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

LAN = {4: "192.168.52.203", 6: "fd52::203"}
CLIENT = {4: "192.168.52.202", 6: "fd52::202"}
FRIEND = {4: "192.168.52.210", 6: "fd52::210"}
FRIENDS = [FRIEND[4], FRIEND[6]]
CLIENTS = [CLIENT[4], CLIENT[6]]
# What every endpoint serves, over tcp and udp. Nobody publishes the first one.
SERVED = (22, 5000, 5001)
CLOSED = "closed"


@dataclass(frozen=True, eq=False)
class State:
    """What is asked for, as the lists of the four modules."""

    name: str
    networks: list[dict[str, Any]] = field(default_factory=list)
    masquerades: list[dict[str, Any]] = field(default_factory=list)
    endpoints: list[dict[str, Any]] = field(default_factory=list)
    publishes: list[dict[str, Any]] = field(default_factory=list)

    def lists(self) -> dict[str, Any]:
        """The four lists by name."""
        return {key: getattr(self, key) for key in ("networks", "masquerades", "endpoints", "publishes")}


def _network(name: str, number: int, **options: Any) -> dict[str, Any]:
    return {"name": name, "subnets": [f"172.{number}.0.0/16", f"fd00:{number}::/64"], "mtu": 1500, **options}


def _endpoint(name: str, network: str, number: int, host: int, **options: Any) -> dict[str, Any]:
    addresses = [f"172.{number}.0.{host}", f"fd00:{number}::{host}"]
    return {"name": name, "network": network, "addresses": addresses, **options}


def _publish(endpoint: str, *ports: str, sources: list[str] | None = None) -> dict[str, Any]:
    return {"endpoint": endpoint, "ports": list(ports), **({"sources": sources} if sources else {})}


NOTHING = State("nothing")
# Everything at once: two families, icc off, no guard, lists of sources, a port on a loopback address only.
BEFORE = State(
    "before",
    [_network("docker0", 17), _network("br-back", 18, icc=False), _network("br-old", 19)],
    [{"network": "docker0"}, {"network": "br-back"}],
    [
        _endpoint("web", "docker0", 17, 2),
        _endpoint("peer", "docker0", 17, 3, aliases=["p"], sysctls={"net.core.somaxconn": "333"}),
        _endpoint("store", "br-back", 18, 2),
        _endpoint("spare", "br-back", 18, 3, guard=False),
        _endpoint("old", "br-old", 19, 2, nameservers=["192.0.2.53"]),
    ],
    [
        _publish("web", "80:5000", "53:5000/udp", "8000:5000", "8001:5000", "8001:5000/udp", "127.0.0.1:8004:5000"),
        _publish("web", "81:5001", sources=FRIENDS),
        _publish("peer", "8002:5000"),
        _publish("peer", "8003:5000", sources=FRIENDS),
        _publish("store", "8005:5000", "8005:5000/udp"),
        _publish("old", "8007:5000"),
    ],
)
# The same host later: ports that moved, closed, opened, got and changed a list; endpoints and networks that came, went
# and changed. What leads to web on 80, 53 and 81 stays.
AFTER = State(
    "after",
    [
        _network("docker0", 17, mtu=1400),
        _network("br-back", 18, icc=False, gateways=["172.18.0.254", "fd00:18::254"], trusted_interfaces=["eth0"]),
        _network("br-far", 20, mode="routed"),
    ],
    [{"network": "docker0", "to_source": LAN[4]}, {"source": "10.9.0.0/24", "except_out_interface": "docker0"}],
    [
        _endpoint("web", "docker0", 17, 2),
        _endpoint(
            "peer", "docker0", 17, 33, nameservers=["192.0.2.53"],
            routes=[{"destination": "10.99.0.0/16", "via": "172.17.0.77"}],
        ),
        _endpoint("extra", "docker0", 17, 4),
        _endpoint("store", "br-back", 18, 2, guard=False),
        _endpoint("app", "br-far", 20, 2),
    ],
    [
        _publish("web", "80:5000", "53:5000/udp", "127.0.0.1:8004:5000"),
        _publish("web", "81:5001", sources=FRIENDS),
        _publish("peer", "8001:5000", "8001:5000/udp"),
        _publish("peer", "8002:5000", sources=FRIENDS),
        _publish("peer", "8003:5000", sources=CLIENTS),
        _publish("store", "5000:5000"),
        _publish("extra", "8006:5000", "8006:5000/udp"),
        _publish("extra", "8007:5000"),
        _publish("app", "5000"),
    ],
)  # fmt: skip
SUBNETS = {17: "docker0", 18: "br-back", 19: "br-old", 20: "br-far"}


class Question(NamedTuple):
    """Who (client, friend, or an endpoint by name) asks what, and who answers in the states before and after."""

    place: str
    protocol: str
    address: str
    port: int
    before: str = CLOSED
    after: str = CLOSED

    def answer(self, state: State) -> str:
        """Who answers in a state."""
        return {"before": self.before, "after": self.after}.get(state.name, CLOSED)

    @property
    def kept(self) -> bool:
        """Whether it leads to the same endpoint at the same address before and after, and so must all the time."""
        return self.before == self.after == "web"

    def __str__(self) -> str:
        """The question in words."""
        return f"{self.place} asks {self.address} port {self.port}/{self.protocol}"


def _everywhere(place: str, protocols: str, port: int, before: str = CLOSED, after: str = CLOSED) -> list[Question]:
    """The same question to the host's address of both families."""
    return [
        Question(place, protocol, address, port, before, after)
        for protocol in protocols.split()
        for address in LAN.values()
    ]


def _direct(number: int, host: int, port: int, after: str = CLOSED) -> list[Question]:
    """The client asks an endpoint's own address, by a route through the host."""
    addresses = (f"172.{number}.0.{host}", f"fd00:{number}::{host}")
    return [
        Question("client", protocol, address, port, CLOSED, after)
        for protocol in ("tcp", "udp")
        for address in addresses
    ]


QUESTIONS = [
    *_everywhere("client", "tcp", 80, "web", "web"),
    *_everywhere("client", "udp", 53, "web", "web"),
    *_everywhere("friend", "tcp", 81, "web", "web"),
    *_everywhere("client", "tcp", 81),
    *_everywhere("client", "tcp udp", 22),
    *_everywhere("client", "tcp udp", 5001),
    *_everywhere("client", "tcp", 8004),
    *_everywhere("client", "tcp", 8000, "web"),
    *_everywhere("client", "tcp udp", 8001, "web", "peer"),
    *_everywhere("client", "tcp", 8002, "peer"),
    *_everywhere("friend", "tcp", 8002, "peer", "peer"),
    *_everywhere("client", "tcp", 8003, CLOSED, "peer"),
    *_everywhere("friend", "tcp", 8003, "peer"),
    *_everywhere("client", "tcp udp", 8005, "store"),
    *_everywhere("client", "tcp", 5000, CLOSED, "store"),
    *_everywhere("client", "tcp udp", 8006, CLOSED, "extra"),
    *_everywhere("client", "tcp", 8007, "old", "extra"),
    *(
        question
        for number, host in ((17, 2), (17, 3), (17, 4), (17, 33), (19, 2))
        for question in _direct(number, host, 5000)
    ),
    *(question for number, host in ((17, 2), (18, 2), (18, 3), (20, 2)) for question in _direct(number, host, 22)),
    # By a trusted interface, and into a routed network, a published port answers at the endpoint's own address.
    *(Question("client", "tcp", address, 5000, CLOSED, "store") for address in ("172.18.0.2", "fd00:18::2")),
    *(Question("client", "tcp", address, 5000, CLOSED, "app") for address in ("172.20.0.2", "fd00:20::2")),
    # icc is off: neighbours do not reach each other, whatever a killed run had still to do.
    *(
        Question("spare", protocol, address, 5001)
        for protocol in ("tcp", "udp")
        for address in ("172.18.0.2", "fd00:18::2")
    ),
]
