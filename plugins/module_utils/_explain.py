# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""The way of one packet through the rules, told in their order, with the verdict at its end. Pure.

The rules are those of :func:`_ruleset.rules_of`, which the backends render; routes are the kernel's. What another
firewall does to the packet is not known here.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ._explain_question import OUTSIDE, Asked, read_question
from ._facts import HostFacts
from ._model import Address, Endpoint, Network, Subnet, parse_address
from ._ruleset import FamilyRules, NetworkRules, Translation, rules_of
from ._state import RouteState, endpoint_state
from ._topology import Topology

__all__ = ("ARRIVING", "Explanation", "Step", "explain", "explanation_lines", "explanation_to_json", "verdict_words")

# To an endpoint; to a process of the host; out by another interface.
ARRIVING = ("endpoint", "host", "outside")


class Step(t.NamedTuple):
    """What happens to the packet at one place, in the kernel's own words for places."""

    place: str
    words: str


@dataclass(frozen=True)
class Explanation:
    """The way of a packet.

    ``verdict``: ``endpoint``, ``host`` or ``outside`` where it arrives there; ``refused`` where the host has no process
    that waits for it; ``dropped``; ``unreachable``. ``destination`` is where it was going in the end, ``seen`` the
    source address that is seen there, ``outside`` for that of any client.
    """

    verdict: str
    path: tuple[Step, ...]
    destination: str
    seen: str
    endpoint: str = ""


def explain(topology: Topology, facts: HostFacts, source: str, destination: str) -> Explanation:
    """Explain what happens to the first packet of a connection.

    :param source: the name of an endpoint, ``host``, ``outside``, or an address.
    :param destination: ``address:port/protocol``, an endpoint's name for the address, or ``address/icmp`` for a ping.
    :raises InputError: one of them says nothing that this host knows of.
    """
    return _Way(topology, facts, read_question(topology, facts, source, destination)).walk()


def explanation_lines(found: Explanation) -> list[str]:
    """The way, a line for each place."""
    return ["%s: %s" % step for step in found.path]


def verdict_words(found: Explanation) -> str:
    """The verdict as the end of a sentence."""
    arrived = "the packet reaches %s at %s, which sees %s"
    return {
        "endpoint": arrived % ("endpoint " + found.endpoint, found.destination, _seen(found.seen)),
        "host": arrived % ("the host", found.destination, _seen(found.seen)),
        "outside": arrived % ("the outside", found.destination, _seen(found.seen)),
        "refused": "the host refuses it, for nothing listens at %s" % found.destination,
        "dropped": "the packet is dropped",
        "unreachable": "the packet cannot be sent there",
    }[found.verdict]


def explanation_to_json(found: Explanation) -> dict[str, t.Any]:
    """The way as JSON has it."""
    return {
        "verdict": found.verdict,
        "path": explanation_lines(found),
        "destination": found.destination,
        "seen": found.seen,
        "endpoint": found.endpoint or None,
    }


class _Way:
    """A packet under way: where it is, and what became of its addresses."""

    def __init__(self, topology: Topology, facts: HostFacts, asked: Asked) -> None:
        self.topology, self.facts, self.asked = topology, facts, asked
        self.rules: FamilyRules = rules_of(topology)[asked.version]
        self.source, self.by = asked.source, asked.by
        self.destination, self.port = asked.destination, asked.port
        self.out = ""
        self.translated = False
        self.steps: list[Step] = []

    def walk(self) -> Explanation:
        stages = (self._endpoint, self._guard, self._publish, self._route, self._forward, self._postrouting)
        for stage in stages:
            verdict = stage()
            if verdict:
                return self._end(verdict)
        return self._end(self._arrive())

    def _end(self, verdict: str) -> Explanation:
        owner = self._owner(self.destination) if verdict == "endpoint" else None
        where = "[%s]" % self.destination if self.destination.version == 6 else str(self.destination)
        where += "/icmp" if self.asked.protocol == "icmp" else ":%d/%s" % (self.port, self.asked.protocol)
        seen = str(self.source or OUTSIDE)
        return Explanation(verdict, tuple(self.steps), where, seen, owner.name if owner else "")

    def _say(self, place: str, words: str, verdict: str = "") -> str:
        self.steps.append(Step(place, words))
        return verdict

    # From the endpoint to the host.

    def _endpoint(self) -> str:
        """What an endpoint does with the packet: send it across the bridge, to the gateway, or not at all."""
        endpoint = self.asked.endpoint
        if endpoint is None:
            return ""
        network = self.topology.networks[endpoint.network]
        self.by = network.name
        if self.destination in endpoint.addresses:
            return self._say(
                endpoint.name, "%s is its own address, the packet stays there" % self.destination, "endpoint"
            )
        if self.destination.is_loopback:
            # It takes routes made on purpose to send it there.
            return self._say(_inner(endpoint), "out, to the host")
        if network.subnet_of(self.destination) is not None and self._inside(endpoint):
            if network.mode != "isolated" and self.destination in network.gateways:
                return self._say(_inner(endpoint), "out, to the gateway")
            return self._across(endpoint, network)
        route = self._route_of(endpoint)
        if route is None:
            return self._say(endpoint.name, "it has no route to %s" % self.destination, "unreachable")
        return self._say(_inner(endpoint), "out, via %s" % (route.via or network.name))

    def _inside(self, endpoint: Endpoint) -> bool:
        """Whether the endpoint has an address in the subnet of the destination, and so reaches it by the bridge."""
        addresses = endpoint_state(self.topology, endpoint).addresses
        return any(self.destination in address.network for address in addresses)

    def _route_of(self, endpoint: Endpoint) -> RouteState | None:
        routes = [r for r in endpoint_state(self.topology, endpoint).routes if _leads_to(r, self.destination)]
        return max(routes, key=lambda route: route.destination.prefixlen, default=None)

    def _across(self, endpoint: Endpoint, network: Network) -> str:
        """Over the bridge, where packets are not routed."""
        owner = self._owner(self.destination)
        place = "bridge %s" % network.name
        if owner is None:
            return self._say(place, "no endpoint has the address %s" % self.destination, "unreachable")
        if not network.icc:
            return self._say(place, "%s and %s are kept apart: dropped" % (endpoint.name, owner.name), "dropped")
        self._say(place, "within the network, not routed")
        return self._delivered(owner)

    # Through the host.

    def _guard(self) -> str:
        if not self.by:
            return ""
        if self.destination.is_loopback:
            words = "loopback addresses do not come by wire: dropped (came in by %s)" % self.by
            return self._say("PREROUTING", words, "dropped")
        for home in self.rules.networks:
            if self.by == home.bridge and not home.addressed and self._local(self.destination):
                return self._say("PREROUTING", "%s is kept apart from the host: dropped" % home.bridge, "dropped")
            alien = self.by != home.bridge and home.addressed and self.source is not None
            if alien and any(self.source in subnet for subnet in home.subnets):
                words = "%s is an address of %s and does not come in by %s: dropped"
                return self._say("PREROUTING", words % (self.source, home.bridge, self.by), "dropped")
        network = self._guarded_network()
        if network is None or self._local(self.destination) or self.by in (network.bridge, *network.trusted):
            return ""
        words = "%s is an endpoint's address in %s and is not addressed from %s: dropped"
        return self._say("PREROUTING", words % (self.destination, network.bridge, self.by), "dropped")

    def _guarded_network(self) -> NetworkRules | None:
        for network in self.rules.networks:
            if network.guarded and any(self.destination in subnet for subnet in network.subnets):
                return network
        return None

    def _publish(self) -> str:
        """The destination is translated, or the host itself is meant."""
        if not self._local(self.destination):
            return ""
        place = "PREROUTING" if self.by else "OUTPUT"
        found = self._translation()
        if found is None and self._proxied():
            return ""
        if found is None:
            if self.asked.protocol != "icmp":
                self._say(place, "%s is not published for this packet" % _socket(self.destination, self.port))
            return self._host()
        before = _socket(self.destination, self.port)
        if self.by and not self._allowed(found.allowed):
            words = "%s is open to %s only: dropped" % (before, ", ".join(map(str, found.allowed or ())))
            return self._say(place, words, "dropped")
        if not self.by and self.source is None:
            self.source = self._source_to(self.destination)
        self.destination, self.port = parse_address(found.to_address, "address of an endpoint"), found.to_port
        self.translated = True
        after = _socket(self.destination, self.port)
        return self._say(place, "%s is translated to %s (publish of %s)" % (before, after, found.owner))

    def _proxied(self) -> bool:
        """Whether a proxy of the host takes the connection, and goes on with one of its own."""
        if self.by or self.asked.protocol != "tcp":
            return False
        for publish in self.topology.publishes.values():
            for binding in self.topology.proxied(publish):
                if (binding.address, binding.port) == (str(self.destination), self.port):
                    before = _socket(self.destination, self.port)
                    endpoint = self.topology.endpoints[publish.endpoint]
                    address = endpoint.address(binding.version) or endpoint.addresses[0]
                    self.source, self.destination, self.port = None, address, publish.endpoint_port
                    self.rules = rules_of(self.topology)[address.version]
                    after = _socket(self.destination, self.port)
                    self._say("INPUT", "a proxy serves %s and connects to %s itself" % (before, after))
                    return True
        return False

    def _allowed(self, subnets: tuple[Subnet, ...] | None) -> bool:
        """Whether a list of sources lets the packet pass; a client of which nothing is known is in no list."""
        return subnets is None or (self.source is not None and any(self.source in subnet for subnet in subnets))

    def _translation(self) -> Translation | None:
        asked = self.asked
        # The kernel cannot translate ::1.
        deaf = asked.version == 6 or (asked.protocol, self.port) in self.rules.silent_loopback
        if not self.by and self.destination.is_loopback and deaf:
            return None
        if asked.version == 6 and self.source is not None and self.source.is_link_local:
            return None
        wanted = [
            item for item in self.rules.translations if (item.protocol, item.host_port) == (asked.protocol, self.port)
        ]
        for address in (str(self.destination), ""):
            for item in wanted:
                if item.host_address == address:
                    return item
        return None

    def _host(self) -> str:
        """The packet is for the host itself, and what listens there decides."""
        if self.asked.protocol == "icmp":
            return self._say("INPUT", "delivered to the host itself", "host")
        for holder in self.facts.ports().holders:
            same = (holder.version, holder.protocol, holder.port) == (
                self.asked.version,
                self.asked.protocol,
                self.port,
            )
            if same and holder.address in ("", str(self.destination)):
                if self.source is None and not self.by:
                    self.source = self._source_to(self.destination)
                return self._say("INPUT", "delivered to the host itself, to the %s" % holder.process, "host")
        return self._say("INPUT", "delivered to the host itself, where nothing listens on that port", "refused")

    def _route(self) -> str:
        way = self.facts.route(self.destination)
        if way is None or not way.interface:
            return self._say("routing", "the host has no route to %s" % self.destination, "unreachable")
        self.out = way.interface
        if not self.by and self.source is None:
            self.source = way.source
        via = " via %s" % way.via if way.via is not None else ""
        return self._say("routing", "out by %s%s" % (self.out, via))

    def _forward(self) -> str:
        if not self.by:
            return ""
        came, goes = self._rules_of(self.by), self._rules_of(self.out)
        if came is not None and came.sealed and self.out != self.by:
            return self._say("FORWARD", "network %s is sealed, nothing leaves it: dropped" % self.by, "dropped")
        if goes is None:
            return self._say("FORWARD", "no rule of ours forbids it")
        why = self._welcome(goes)
        if not why:
            words = "%s is not published: dropped" % _socket(self.destination, self.port)
            return self._say("FORWARD", "network %s is sealed: dropped" % self.out if goes.sealed else words, "dropped")
        return self._say("FORWARD", "accepted, %s" % why)

    def _welcome(self, network: NetworkRules) -> str:
        """Why a new connection may enter a network; empty if it may not."""
        if network.icc and self.by == self.out:
            return "within the network"
        if network.sealed:
            return ""
        port = (str(self.destination), self.asked.protocol, self.port)
        if any(port == item[:3] and self._allowed(item.allowed) for item in self.rules.open_ports):
            return "a published port"
        return "a ping to a routed network" if network.pings and self.asked.protocol == "icmp" else ""

    def _postrouting(self) -> str:
        before = self.source
        rewritten = self._returns() or self._sources()
        if rewritten:
            words = "the source %s becomes %s (%s)" % (before or "of the client", self.source, rewritten)
            self._say("POSTROUTING", words)
        return ""

    def _returns(self) -> str:
        """Why the answer would not come back to this host, if it would not: the source is then the gateway's."""
        network = self._rules_of(self.out)
        if not self.translated or network is None or self.source is None:
            return ""
        if any(self.source in subnet for subnet in network.subnets):
            why = "from the same network"
        elif self._local(self.source):
            why = "from this host"
        else:
            return ""
        self.source = self._source_to(self.destination)
        return why

    def _sources(self) -> str:
        for rule in self.rules.sources:
            if self.source is None or self.source not in rule.subnet or self.destination.is_multicast:
                continue
            if self.out not in ("lo", rule.except_out):
                self.source = rule.to_source or self._source_to(self.destination)
                return "masquerade of %s" % rule.owner
        return ""

    # Where it ends.

    def _arrive(self) -> str:
        network = self.topology.networks.get(self.out)
        if network is None:
            return self._say(self.out, "leaves this host, the source is %s" % _seen(self.source or OUTSIDE), "outside")
        owner = self._owner(self.destination)
        if owner is None or owner.network != network.name:
            words = "no endpoint has the address %s" % self.destination
            return self._say("bridge %s" % network.name, words, "unreachable")
        return self._delivered(owner)

    def _delivered(self, owner: Endpoint) -> str:
        self._say("bridge %s" % owner.network, "%s, the host's end of the pair" % owner.host_interface)
        words = "delivered to %s, the service sees %s" % (
            _socket(self.destination, self.port),
            _seen(self.source or OUTSIDE),
        )
        return self._say(_inner(owner), words, "endpoint")

    # What is known.

    def _owner(self, address: Address) -> Endpoint | None:
        return next((item for item in self.topology.endpoints.values() if address in item.addresses), None)

    def _rules_of(self, interface: str) -> NetworkRules | None:
        return next((item for item in self.rules.networks if item.bridge == interface), None)

    def _local(self, address: Address) -> bool:
        way = self.facts.route(address)
        return way is not None and way.local

    def _source_to(self, address: Address) -> Address | None:
        """The address with which the host itself sends to another."""
        way = self.facts.route(address)
        return way.source if way is not None else None


def _seen(source: object) -> str:
    return "the client's own address" if source == OUTSIDE else str(source)


def _inner(endpoint: Endpoint) -> str:
    return "%s of %s" % (endpoint.interface, endpoint.name)


def _leads_to(route: RouteState, address: Address) -> bool:
    return route.destination.version == address.version and address in route.destination


def _socket(address: Address, port: int) -> str:
    shown = "[%s]" % address if address.version == 6 else str(address)
    return "%s:%d" % (shown, port) if port else shown
