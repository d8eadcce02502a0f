# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""The plan: the ordered changes between what is asked for and what the kernel holds. Pure.

The order makes every intermediate state a safe one. Rules come first, so that a guard stands before what it guards
and a port that goes is closed before its endpoint goes; then what is created or changed; then forwarding; what is
deleted comes last, so that nothing is lost if an earlier step fails; and after it the guard of what was deleted, and
the flows of addresses that have no owner any more.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from ._changes import (
    AddAddress,
    AddBridge,
    AddEndpoint,
    AddRoute,
    Change,
    DeleteBridge,
    DeleteEndpoint,
    RemoveAddress,
    RemoveRoute,
    SetLink,
    SetSysctl,
    TellNeighbours,
    WriteFile,
)
from ._errors import StateError
from ._model import Endpoint, Network
from ._plan_links import link_changes, moved_addresses, setting_changes, sysctl_changes
from ._plan_rules import RulesPlanner
from ._state import (
    ANY_UPSTREAM,
    TO_ALL_GROUPS,
    BridgeState,
    EndpointState,
    Inside,
    Link,
    Observed,
    bridge_state,
    endpoint_state,
    files_of,
    ipv6_settings,
    is_ours,
    resolv_conf_path,
)
from ._topology import Topology

__all__ = ("FORWARDING", "Scope", "make_plan", "networks_in", "scope_of")

FORWARDING = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}


@dataclass(frozen=True)
class Scope:
    """The networks and endpoints whose links a plan compares with the kernel. Rules are always compared whole."""

    networks: frozenset[str]
    endpoints: frozenset[str]


def scope_of(
    before: Topology, after: Topology, networks: t.Iterable[str], endpoints: t.Iterable[str], full: bool
) -> Scope:
    """What a run must look at: what it names, and whatever its request changes elsewhere.

    :param full: look at everything, as at boot and after an interrupted run.
    """
    if full:
        return Scope(frozenset({*before.networks, *after.networks}), frozenset({*before.endpoints, *after.endpoints}))
    joined = set(endpoints)
    bridges = set(networks)
    for name in {*before.networks, *after.networks}:
        old, new = before.networks.get(name), after.networks.get(name)
        if old is None or new is None or bridge_state(before, old) != bridge_state(after, new):
            bridges.add(name)
    for name in {*before.endpoints, *after.endpoints}:
        was, will = before.endpoints.get(name), after.endpoints.get(name)
        if was is not None and was == will and before.networks.get(was.network) == after.networks.get(was.network):
            continue
        if was is None or will is None or endpoint_state(before, was) != endpoint_state(after, will):
            joined.add(name)
    # An endpoint without its bridge is cut off, so whoever looks at the one looks at the other.
    for topology in (before, after):
        bridges.update(topology.endpoints[name].network for name in joined & topology.endpoints.keys())
    return Scope(frozenset(bridges), frozenset(joined))


def networks_in(scope: Scope, *topologies: Topology) -> set[str]:
    """The networks of a scope, and those of its endpoints: their hosts files name the endpoints."""
    joined = {
        topology.endpoints[name].network
        for topology in topologies
        for name in scope.endpoints & topology.endpoints.keys()
    }
    return joined | scope.networks


def make_plan(
    before: Topology,
    after: Topology,
    observed: Observed,
    scope: Scope,
    backend: str,
    had_backend: str = "",
    given: t.Sequence[Topology] = (),
    refused: list[str] | None = None,
) -> list[Change]:
    """The changes that bring the host from what is observed to ``after``.

    :param before: the topology that the host is known to have been given: what it names is ours.
    :param backend: the full name of the one that is to carry the rules.
    :param had_backend: the one that is known to carry those of ``before``, "" for none.
    :param given: after interrupted runs, all the topologies of which the host may hold something; otherwise that is
        ``before``.
    :param refused: is given the sentences on networks and endpoints that are not to be had, in place of an error.
    :raises StateError: an interface, a namespace or a firewall's chain of a wanted name is not ours.
    """
    given = given or (before,)
    planner = _Planner(before, after, observed, given)
    deletions = list(planner.deletions())
    rules_plan = RulesPlanner(before, after, observed, _going(deletions), given)
    changes: list[Change] = [*rules_plan.rules(backend, had_backend), *rules_plan.firewalld()]
    for name in sorted(scope.networks & after.networks.keys()):
        changes += _unless_refused(planner.bridge(after.networks[name]), refused)
    for name in sorted(scope.endpoints & after.endpoints.keys()):
        changes += _unless_refused(planner.endpoint(after.endpoints[name]), refused)
    changes += planner.files(scope)
    changes += planner.forwarding()
    changes += rules_plan.proxies()
    changes += rules_plan.reservations()
    changes += deletions
    changes += rules_plan.last_rules(backend)
    changes += rules_plan.former_addresses()
    return changes


def _unless_refused(steps: t.Iterable[Change], refused: list[str] | None) -> list[Change]:
    try:
        return list(steps)
    except StateError as problem:
        if refused is None:
            raise
        refused.append(str(problem))
        return []


def _going(deletions: t.Iterable[Change]) -> frozenset[tuple[str, str]]:
    """The networks and endpoints of which a link is there that is going to be deleted."""
    return frozenset(
        change.subject for change in deletions if not isinstance(change, DeleteEndpoint) or change.with_link
    )


class _Planner:
    def __init__(self, before: Topology, after: Topology, observed: Observed, given: t.Sequence[Topology]) -> None:
        self.before = before
        self.after = after
        self.seen = observed
        self.given = given

    # Networks

    def bridge(self, network: Network) -> t.Iterator[Change]:
        wanted = bridge_state(self.after, network)
        subject = ("networks", network.name)
        link = self.seen.links.get(network.name)
        if link is None:
            yield AddBridge(subject, wanted)
            yield from self._rejoin(network)
            return
        if not is_ours(link, wanted):
            raise _foreign_interface("set up network %s" % network.name, link)
        yield from link_changes(subject, "", link, {"mac": wanted.mac, "alias": wanted.alias})
        ipv6 = [(key, value) for key, value in wanted.sysctls if key.startswith("net.ipv6.")]
        yield from sysctl_changes(subject, "", [each for each in wanted.sysctls if each not in ipv6], self.seen.sysctls)
        had = [
            address
            for topology in self.given
            if network.name in topology.networks
            for address in bridge_state(topology, topology.networks[network.name]).addresses
        ]
        there = self.seen.addresses.get(network.name, frozenset())
        gone, new = moved_addresses(had, wanted.addresses, there)
        for address in gone:
            yield RemoveAddress(subject, "", network.name, address)
        # Between the two: while IPv6 is switched off, no address of it can be added, nor put back.
        yield from setting_changes(subject, "", link, wanted.mtu, ipv6, self.seen.sysctls)
        for address in new:
            yield AddAddress(subject, "", network.name, address)
        yield from link_changes(subject, "", link, {"up": True})

    def _rejoin(self, network: Network) -> t.Iterator[Change]:
        """Ports that lost their bridge: their services still run, so they are put back, not made anew.

        A port that joins a bridge begins without the settings that it had on the other.
        """
        for endpoint in self.after.endpoints_of(network.name):
            wanted = endpoint_state(self.after, endpoint)
            link = self.seen.links.get(wanted.host_interface)
            if link is None or not is_ours(link, wanted):
                continue
            subject = ("endpoints", endpoint.name)
            yield SetLink(subject, "", link.name, "master", self._master(link), network.name)
            yield SetLink(subject, "", link.name, "hairpin", False, True)
            yield SetLink(subject, "", link.name, "group_fwd_mask", 0, TO_ALL_GROUPS)

    def _master(self, link: Link) -> str | None:
        return next((name for name, item in self.seen.links.items() if item.index == link.master), None)

    # Endpoints

    def endpoint(self, endpoint: Endpoint) -> t.Iterator[Change]:
        wanted = endpoint_state(self.after, endpoint)
        subject = ("endpoints", endpoint.name)
        link = self.seen.links.get(wanted.host_interface)
        inside = self.seen.namespaces.get(endpoint.name)
        known = endpoint.name in self.before.endpoints
        if link is not None and not is_ours(link, wanted):
            raise _foreign_interface("create endpoint %s" % endpoint.name, link)
        if inside is not None and link is None and not known:
            raise StateError(
                "Cannot create endpoint %s: the namespace /run/netns/%s exists already and is not ours. "
                "It was left alone; remove it or choose another name." % (endpoint.name, endpoint.name)
            )
        if inside is None or inside.broken or link is None or wanted.interface not in inside.links:
            yield AddEndpoint(
                subject,
                wanted,
                into_existing=inside is not None and not inside.broken,
                broken_file=inside is not None and inside.broken,
                stale_link=link is not None,
            )
            return
        yield from self._host_end(subject, wanted, link)
        yield from self._inside(subject, wanted, inside)

    def _host_end(self, subject: tuple[str, str], wanted: EndpointState, link: Link) -> t.Iterator[Change]:
        yield from setting_changes(subject, "", link, wanted.mtu, wanted.host_sysctls, self.seen.sysctls)
        settings: dict[str, t.Any] = {"mac": wanted.host_mac, "alias": wanted.alias}
        bridge = self.seen.links.get(wanted.bridge)
        # A bridge that this plan creates takes its ports back itself.
        if bridge is not None:
            # Rules keep neighbours apart. A port that is isolated would also stop what the kernel translates on the
            # bridge itself, which with br_netfilter is how one reaches a published port of the other.
            settings.update(hairpin=True, isolated=False, group_fwd_mask=TO_ALL_GROUPS)
            if link.master != bridge.index:
                yield SetLink(subject, "", link.name, "master", self._master(link), wanted.bridge)
                link = replace(link, hairpin=False, isolated=False, group_fwd_mask=0)
        yield from link_changes(subject, "", link, {**settings, "up": True})

    def _inside(self, subject: tuple[str, str], wanted: EndpointState, inside: Inside) -> t.Iterator[Change]:
        name, interface = wanted.name, wanted.interface
        link = inside.links[interface]
        had = self._had(name)
        yield from link_changes(subject, name, link, {"mac": wanted.mac})
        there = inside.addresses.get(interface, frozenset())
        for route in dict.fromkeys(route for state in had for route in state.routes):
            if route not in wanted.routes and route in inside.routes:
                yield RemoveRoute(subject, name, interface, route)
        gone, new = moved_addresses([address for state in had for address in state.addresses], wanted.addresses, there)
        if gone:
            # The kernel would drop these with the addresses, and an undone run has to know of them.
            for route in wanted.routes:
                if route in inside.routes:
                    yield RemoveRoute(subject, name, interface, route)
        for address in gone:
            yield RemoveAddress(subject, name, interface, address)
        yield from setting_changes(subject, name, link, wanted.mtu, wanted.sysctls, inside.sysctls)
        loopback = inside.links.get("lo")
        if loopback is not None:
            yield from link_changes(subject, name, loopback, {"up": True})
        yield from link_changes(subject, name, link, {"up": True})
        for address in new:
            yield AddAddress(subject, name, interface, address)
        # The kernel drops routes together with the address or the link that they stood on.
        dropped = bool(gone) or not link.up
        for route in wanted.routes:
            if dropped or route not in inside.routes:
                yield AddRoute(subject, name, interface, route)
        if link.mac != wanted.mac or any(set(wanted.addresses) - set(state.addresses) for state in had):
            yield TellNeighbours(subject, wanted)

    def _had(self, name: str) -> list[EndpointState]:
        """What the endpoint may have been given, the latest last."""
        return [
            endpoint_state(topology, topology.endpoints[name])
            for topology in self.given
            if name in topology.endpoints and topology.endpoints[name].network in topology.networks
        ]

    # What belongs to no single link

    def files(self, scope: Scope) -> t.Iterator[WriteFile]:
        networks = networks_in(scope, self.before, self.after)
        old = files_of(self.before, networks, scope.endpoints, self.seen.upstream or ANY_UPSTREAM)
        new = {}
        for name in sorted(scope.endpoints):
            new.update(files_of(self.after, (), (name,), self._upstream(name)))
        new.update(files_of(self.after, networks, ()))
        for path, (subject, wanted) in new.items():
            there = self.seen.files.get(path)
            if there is not None and there != wanted and not there.ours and self._is_new(subject):
                raise StateError(
                    "Cannot create endpoint %s: the file %s exists already and is not ours. "
                    "It was left alone; move it away or choose another name." % (subject[1], path)
                )
            if there != wanted:
                yield WriteFile(subject, path, there, wanted)
        for path, (subject, _was) in old.items():
            there = self.seen.files.get(path)
            if path not in new and there is not None and (there.ours or subject[0] == "networks"):
                yield WriteFile(subject, path, there, None)

    def _upstream(self, name: str) -> tuple[str, ...]:
        """The nameservers for an endpoint that has none of its own: while nobody knows them, those that it was told.

        What it was told because an operator had given it nameservers goes with these.
        """
        if self.seen.upstream is not None:
            return self.seen.upstream
        there = self.seen.files.get(resolv_conf_path(name))
        own = any(name in each.endpoints and each.endpoints[name].nameservers for each in self.given)
        return () if there is None or own else there.nameservers

    def _is_new(self, subject: tuple[str, str]) -> bool:
        """Whether it is an endpoint of which neither the record nor the kernel knows anything."""
        kind, name = subject
        if kind != "endpoints" or name in self.before.endpoints:
            return False
        return self.after.endpoints[name].host_interface not in self.seen.links

    def forwarding(self) -> t.Iterator[SetSysctl]:
        subject = ("host", "sysctls")
        for version, key in FORWARDING.items():
            needed = any(version in n.families and not n.sealed for n in self.after.networks.values())
            current = self.seen.sysctls.get(key)
            if not needed or current == "1":
                continue
            if version == 6:
                # A host that forwards accepts no router advertisements, and drops what it learned, unless told so.
                for interface in self.seen.ra_interfaces:
                    yield SetSysctl(subject, "", ipv6_settings(interface) + "accept_ra", "1", "2")
            yield SetSysctl(subject, "", key, current, "1")

    def deletions(self) -> t.Iterator[Change]:
        for name in sorted(self.before.endpoints.keys() - self.after.endpoints.keys()):
            yield from self.without_endpoint(self.before.endpoints[name])
        for name in sorted(self.before.networks.keys() - self.after.networks.keys()):
            yield from self.without_bridge(self.before.networks[name])

    def without_endpoint(self, endpoint: Endpoint) -> t.Iterator[Change]:
        had = self._had(endpoint.name)
        link = self.seen.links.get(endpoint.host_interface)
        ours = link is not None and any(is_ours(link, state) for state in had)
        if had and (ours or endpoint.name in self.seen.namespaces):
            yield DeleteEndpoint(("endpoints", endpoint.name), had[-1], ours)

    def without_bridge(self, network: Network) -> t.Iterator[Change]:
        state: BridgeState = bridge_state(self.before, network)
        link = self.seen.links.get(network.name)
        if link is not None and is_ours(link, state):
            yield DeleteBridge(("networks", network.name), state)


def _foreign_interface(attempt: str, link: Link) -> StateError:
    return StateError(
        "Cannot %s: the interface %s exists already and is not ours (kind %s, alias %r). "
        "It was left alone; remove it or choose another name."
        % (attempt, link.name, link.kind or "physical", link.alias)
    )
