# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Deciding what must happen to the host as a whole: its firewall rules, proxies and reserved ports. Pure."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ._backends import BACKENDS, NFTABLES, Tables, bridge_words, check_names, parts_held, rendered, wanted_tables
from ._changes import Change
from ._changes_rules import ChangeFirewalld, ChangeProxies, ChangeReservations, ChangeRules, ForgetFlows
from ._errors import StateError
from ._flows import OwnFlows, former, redirected, shut_out, slipped_in, uncovered, unrouted
from ._foreign import firewalld_files, is_written_by_us
from ._ipt_table import has_our_rules, same_table
from ._model import Subnet
from ._proxy_units import proxies_of
from ._reservations import reserved_of
from ._ruleset import FamilyRules, rules_of
from ._state import Observed
from ._topology import Topology

__all__ = ("RulesPlanner",)


class RulesPlanner:
    """Compares what a topology asks of the host as a whole with what is there.

    ``going`` are the (kind, name) of the networks and endpoints whose links a plan deletes, ``given`` the topologies of
    which the host may hold something.
    """

    def __init__(
        self,
        before: Topology,
        after: Topology,
        observed: Observed,
        going: t.Collection[tuple[str, str]],
        given: t.Sequence[Topology],
    ) -> None:
        self.before = before
        self.after = after
        self.seen = observed
        self.given = given
        self._others: set[str] = set()
        self._until_then = _closing(before, after, going)

    def rules(self, backend: str, had_backend: str) -> t.Iterator[Change]:
        """The wanted backend's rules first, then what another still holds: in between both say the same."""
        subject = ("rules", "bridgeport")
        self._check_bridges()
        for name in self._holders(backend):
            there = self._there(name)
            wanted, accepted = wanted_tables(name, backend, self._first(name, backend), there)
            if self._had_nothing(name, backend, had_backend, there) and not check_names(name, there, wanted):
                self._others.add(name)
                continue
            if all(BACKENDS[name].same(there[version], wanted[version]) for version in there):
                continue
            known = wanted
            if (self.before, had_backend) != (self.after, backend):
                known, _words = wanted_tables(name, had_backend, self.before, there)
            drifted = accepted or [
                text for version in there for text in BACKENDS[name].drift(there[version], known[version])
            ]
            replaces = had_backend if name == backend and had_backend not in ("", backend) else ""
            yield ChangeRules(
                subject, name, self._spelled(name, there, (wanted, known)), wanted, tuple(drifted), replaces
            )
        yield from self._stale(subject, had_backend)
        astray = tuple(dict.fromkeys(self._astray(backend, had_backend)))
        if astray:
            yield ForgetFlows(subject, astray)

    def _holders(self, backend: str) -> list[str]:
        """Who may hold rules of ours, the wanted backend first. Whose chains are another's are left out."""
        return sorted({backend, *self.seen.tables} - self._others, key=lambda name: (name != backend, name))

    def _there(self, name: str) -> t.Mapping[int, Tables]:
        return self.seen.tables.get(name) or rendered(name, Topology())

    def _had_nothing(self, name: str, backend: str, had_backend: str, there: t.Mapping[int, Tables]) -> bool:
        """Whether a backend is not known to hold anything of ours, so that what bears our names may be another's."""
        if self.before.empty or name == had_backend:
            return self.before.empty
        return name == backend or (name != NFTABLES and not any(map(has_our_rules, there.values())))

    def _spelled(
        self, name: str, there: t.Mapping[int, Tables], known: t.Sequence[t.Mapping[int, Tables]]
    ) -> dict[int, Tables]:
        """What is there, so that it can be written again should a later step fail."""
        all_known = [*known, *(rendered(name, topology) for topology in self.given[:-1])]
        return {
            version: BACKENDS[name].spelled(tables, [each[version] for each in all_known])
            for version, tables in there.items()
        }

    def _first(self, name: str, backend: str) -> Topology:
        """What a backend is brought to first. One that only lets packets pass guards nothing."""
        return self._until_then if name in (backend, NFTABLES) else self.after

    def last_rules(self, backend: str) -> t.Iterator[Change]:
        """What was guarded until now is gone, and so its rules go. To be asked for after :meth:`rules`."""
        if self._until_then is self.after:
            return
        for name in self._holders(backend):
            there = self._there(name)
            closing, _words = wanted_tables(name, backend, self._first(name, backend), there)
            wanted, _words = wanted_tables(name, backend, self.after, there)
            if not all(BACKENDS[name].same(closing[version], wanted[version]) for version in there):
                yield ChangeRules(("rules", "bridgeport"), name, closing, wanted)

    def _check_bridges(self) -> None:
        apart = sorted(name for name, network in self.after.networks.items() if not network.icc)
        missing, remedy = bridge_words(self.seen.tables)
        if apart and missing:
            raise StateError(
                "Cannot keep the endpoints of network %s apart: nftables alone can look at frames on a bridge, and %s. "
                "%s; or set icc to true." % (apart[0], missing, remedy)
            )

    def _stale(self, subject: tuple[str, str], had_backend: str) -> t.Iterator[Change]:
        """The flows that would go on as before. Tables of nftables are also the measure for the other backends."""
        old, new = dict(rendered(NFTABLES, Topology())), rendered(NFTABLES, self.after)
        there = self.seen.tables.get(had_backend, {})
        if had_backend in ("", NFTABLES):
            old.update(self.seen.tables.get(NFTABLES, {}))
        elif there and all(
            same_table("nat", there[version], tables) for version, tables in rendered(had_backend, self.before).items()
        ):
            old = rendered(NFTABLES, self.before)
        # An interrupted run may have changed the rules and then forgotten no flow.
        olds = [old, *(rendered(NFTABLES, topology) for topology in self.given[:-1])]
        for stale in (redirected, shut_out):
            found = (flow for old in olds for version in (4, 6) for flow in stale(old[version], new[version]))
            flows = tuple(dict.fromkeys(found))
            if flows:
                yield ForgetFlows(subject, flows, stale.__name__)
        rules = [rules_of(topology) for topology in (*self.given, self.after)]
        flows = tuple(dict.fromkeys(f for old in rules for n in (4, 6) for f in unrouted(old[n], rules[-1][n])))
        if flows:
            yield ForgetFlows(subject, flows, "unrouted")

    def _astray(self, backend: str, had_backend: str) -> t.Iterator[OwnFlows]:
        """What began without rules that are wanted: they are new, or were missing for a while."""
        for version in (4, 6):
            new = rules_of(self.after)[version]
            # Of what the kernel does already, an interrupted run may not have forgotten what began before.
            done = self._parts(backend, self.after, version)[1]
            for topology in self.given[:-1] if done else self.given:
                yield from uncovered(rules_of(topology)[version], new)
            if had_backend:
                guard, post = self._parts(had_backend, self.before, version)
                if not (post or done):
                    yield from uncovered(FamilyRules(version), new)
                if not guard:
                    yield from slipped_in(rules_of(self.before)[version], new)

    def _parts(self, backend: str, topology: Topology, version: int) -> tuple[bool, bool]:
        there = self.seen.tables.get(backend, {}).get(version)
        return parts_held(backend, there, rendered(backend, topology)[version])

    def former_addresses(self) -> t.Iterator[Change]:
        """What must not reach the next owner of an address. To come behind all that takes an address away."""
        flows = tuple(dict.fromkeys(flow for topology in self.given for flow in former(topology, self.after)))
        if flows:
            yield ForgetFlows(("rules", "bridgeport"), flows)

    def firewalld(self) -> t.Iterator[Change]:
        """What a firewalld that runs is told; what it was told stays until the networks go, for it may run again."""
        there = self.seen.firewalld
        wanted = firewalld_files(self.after) if self.seen.foreign.firewalld or there else {}
        if there == wanted:
            return
        for path, text in there.items():
            if not is_written_by_us(text):
                if not wanted:
                    return
                raise StateError(
                    "Cannot have firewalld forward the networks' packets: the file %s exists already and is not ours. "
                    "It was left alone; remove or rename that zone or policy." % path
                )
        bridges = tuple(name for name in sorted(self.after.networks) if not self.after.networks[name].sealed)
        yield ChangeFirewalld(("rules", "firewalld"), there, wanted, bridges)

    def proxies(self) -> t.Iterator[Change]:
        wanted = proxies_of(self.after)
        if wanted != self.seen.proxies:
            yield ChangeProxies(("proxies", "bridgeport"), self.seen.proxies, wanted)

    def reservations(self) -> t.Iterator[Change]:
        if self.seen.reserved is not None:
            wanted = reserved_of(self.after)
            if wanted != self.seen.reserved:
                yield ChangeReservations(("reservations", "bridgeport"), self.seen.reserved, wanted)


def _closing(before: Topology, after: Topology, going: t.Collection[tuple[str, str]]) -> Topology:
    """What the rules carry until the end: what is wanted, and the guard of what goes for as long as it is there.

    Nothing of it is published any more. Without the guard, an endpoint that is about to go would be open to all.
    """
    if not going:
        return after
    taken = {endpoint.host_interface for endpoint in after.endpoints.values()}
    subnets = [subnet for network in after.networks.values() for subnet in network.subnets]
    networks = {
        # A subnet that another network takes over is guarded by that one.
        name: replace(network, subnets=tuple(subnet for subnet in network.subnets if not _overlaps(subnet, subnets)))
        for name, network in before.networks.items()
        if ("networks", name) in going
    }
    networks.update(after.networks)
    endpoints = {
        name: endpoint
        for name, endpoint in before.endpoints.items()
        if ("endpoints", name) in going and endpoint.host_interface not in taken and endpoint.network in networks
    }
    return after.with_(networks=networks, endpoints={**endpoints, **after.endpoints})


def _overlaps(subnet: Subnet, others: t.Iterable[Subnet]) -> bool:
    return any(subnet.version == other.version and subnet.overlaps(other) for other in others)
