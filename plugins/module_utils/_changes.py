# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""The steps that a plan is made of. Each says what it does in one sentence, and knows enough to be undone."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ._backends import Tables
from ._flows import Flow
from ._proxy_units import UNIT_FILES, Proxies, service_of
from ._state import BridgeState, EndpointState, FileState, InterfaceAddress, RouteState

__all__ = (
    "AddAddress",
    "AddBridge",
    "AddEndpoint",
    "AddRoute",
    "Change",
    "ChangeFirewalld",
    "ChangeProxies",
    "ChangeReservations",
    "ChangeRules",
    "DeleteBridge",
    "DeleteEndpoint",
    "ForgetFlows",
    "RemoveAddress",
    "RemoveRoute",
    "SetLink",
    "SetSysctl",
    "TellNeighbours",
    "WriteFile",
)

Diff = t.Dict[str, t.Any]


@dataclass(frozen=True)
class Change:
    """One step. ``subject`` is the (kind, name) of the object that it belongs to in the diff."""

    subject: tuple[str, str]

    @property
    def sentence(self) -> str:
        """What the step does, for the result's ``actions``."""
        raise AssertionError("every change has a sentence of its own")

    @property
    def sentences(self) -> tuple[str, ...]:
        """What it does, where that takes several sentences, or none because the topology's own changes say it."""
        return (self.sentence,)

    def difference(self) -> tuple[Diff, Diff]:
        """The object's properties before and after."""
        return {}, {}


@dataclass(frozen=True)
class _Within(Change):
    """A step inside an endpoint's namespace, or on the host itself where ``endpoint`` is empty."""

    endpoint: str

    @property
    def place(self) -> str:
        """Where it happens, to end a sentence with."""
        return " in endpoint %s" % self.endpoint if self.endpoint else ""


@dataclass(frozen=True)
class SetSysctl(_Within):
    """Set one kernel setting; ``old`` is None if it could not be read."""

    key: str
    old: str | None
    new: str

    @property
    def sentence(self) -> str:
        return "Set sysctl %s%s from %s to %s." % (self.key, self.place, self.old, self.new)

    def difference(self) -> tuple[Diff, Diff]:
        return {self.key: self.old}, {self.key: self.new}


@dataclass(frozen=True)
class SetLink(_Within):
    """Set one property of an interface: mac, mtu, up, alias, master, hairpin or isolated."""

    interface: str
    field: str
    old: t.Any
    new: t.Any

    @property
    def sentence(self) -> str:
        old = "nothing" if self.old in (None, "") else self.old
        return "Set %s of interface %s%s from %s to %s." % (self.field, self.interface, self.place, old, self.new)

    def difference(self) -> tuple[Diff, Diff]:
        name = "%s.%s" % (self.interface, self.field)
        return {name: self.old}, {name: self.new}


@dataclass(frozen=True)
class _OfAddress(_Within):
    interface: str
    address: InterfaceAddress


@dataclass(frozen=True)
class AddAddress(_OfAddress):
    """Give an interface an address."""

    @property
    def sentence(self) -> str:
        return "Add address %s to interface %s%s." % (self.address, self.interface, self.place)

    def difference(self) -> tuple[Diff, Diff]:
        return {}, {"%s.address %s" % (self.interface, self.address): "present"}


@dataclass(frozen=True)
class RemoveAddress(_OfAddress):
    """Take an address of ours from an interface."""

    @property
    def sentence(self) -> str:
        return "Remove address %s from interface %s%s." % (self.address, self.interface, self.place)

    def difference(self) -> tuple[Diff, Diff]:
        return {"%s.address %s" % (self.interface, self.address): "present"}, {}


@dataclass(frozen=True)
class _OfRoute(_Within):
    interface: str
    route: RouteState

    def _words(self) -> str:
        way = "on the link" if self.route.via is None else "via %s" % self.route.via
        return "route to %s %s%s" % (self.route.destination, way, self.place)


@dataclass(frozen=True)
class AddRoute(_OfRoute):
    """Add a route inside an endpoint."""

    @property
    def sentence(self) -> str:
        return "Add %s." % self._words()

    def difference(self) -> tuple[Diff, Diff]:
        return {}, {self._words(): "present"}


@dataclass(frozen=True)
class RemoveRoute(_OfRoute):
    """Remove a route of ours inside an endpoint."""

    @property
    def sentence(self) -> str:
        return "Remove %s." % self._words()

    def difference(self) -> tuple[Diff, Diff]:
        return {self._words(): "present"}, {}


@dataclass(frozen=True)
class AddBridge(Change):
    """Create a bridge, address it and bring it up."""

    state: BridgeState

    @property
    def sentence(self) -> str:
        addresses = ", ".join(map(str, self.state.addresses)) or "no address"
        return "Create bridge %s with %s, MTU %d." % (self.state.name, addresses, self.state.mtu)

    def difference(self) -> tuple[Diff, Diff]:
        return {"bridge": "absent"}, {"bridge": "present"}


@dataclass(frozen=True)
class DeleteBridge(Change):
    """Delete a bridge of ours."""

    state: BridgeState

    @property
    def sentence(self) -> str:
        return "Delete bridge %s." % self.state.name

    def difference(self) -> tuple[Diff, Diff]:
        return {"bridge": "present"}, {"bridge": "absent"}


@dataclass(frozen=True)
class AddEndpoint(Change):
    """Create a namespace and its veth pair, or only what is missing of them.

    ``into_existing``: the namespace is there. ``broken_file``: its file is there but leads to no namespace.
    ``stale_link``: a host end of ours is there whose other end is not where it belongs; it is deleted first.
    """

    state: EndpointState
    into_existing: bool = False
    broken_file: bool = False
    stale_link: bool = False

    @property
    def sentence(self) -> str:
        state = self.state
        if self.into_existing:
            return "Reconnect endpoint %s to network %s: its veth pair is missing." % (state.name, state.bridge)
        addresses = ", ".join(map(str, state.addresses))
        return "Create endpoint %s on network %s with %s." % (state.name, state.bridge, addresses)

    def difference(self) -> tuple[Diff, Diff]:
        what = "veth pair" if self.into_existing else "namespace"
        return {what: "absent"}, {what: "present"}


@dataclass(frozen=True)
class TellNeighbours(Change):
    """Tell those on the bridge who has an endpoint's addresses. Nothing that could be read back."""

    state: EndpointState

    @property
    def sentence(self) -> str:
        addresses = ", ".join(str(address.ip) for address in self.state.addresses)
        return "Tell the neighbours of endpoint %s that %s has %s." % (self.state.name, self.state.mac, addresses)


@dataclass(frozen=True)
class DeleteEndpoint(Change):
    """Delete an endpoint's veth pair and the name of its namespace, whichever are there.

    ``with_link``: the host's end is there and ours. One that is not is left alone.
    """

    state: EndpointState
    with_link: bool = True

    @property
    def sentence(self) -> str:
        return "Delete endpoint %s of network %s." % (self.state.name, self.state.bridge)

    def difference(self) -> tuple[Diff, Diff]:
        return {"namespace": "present"}, {"namespace": "absent"}


@dataclass(frozen=True)
class WriteFile(Change):
    """Write, replace or (``new`` None) remove one small file of ours."""

    path: str
    old: FileState | None
    new: FileState | None

    @property
    def sentence(self) -> str:
        return "%s file %s." % ("Remove" if self.new is None else "Change" if self.old else "Write", self.path)

    def difference(self) -> tuple[Diff, Diff]:
        before = {} if self.old is None else {self.path: self.old.text}
        return before, {} if self.new is None else {self.path: self.new.text}


@dataclass(frozen=True)
class ChangeRules(Change):
    """Bring what a backend holds from ``before`` to ``after``: all of it or nothing.

    ``drifted`` are sentences about what somebody else changed; what the topology itself changes is said elsewhere.
    ``replaces`` is the backend that carried the rules until now, "" where it is this one or none.
    """

    backend: str
    before: t.Mapping[int, Tables]
    after: t.Mapping[int, Tables]
    drifted: tuple[str, ...] = field(default=())
    replaces: str = ""

    @property
    def sentence(self) -> str:
        return " ".join(self.sentences)

    @property
    def sentences(self) -> tuple[str, ...]:
        """One for each thing that this step does beyond what the topology asks for."""
        moved = "Move the firewall rules from %s to %s." % (self.replaces, self.backend)
        return (moved, *self.drifted) if self.replaces else self.drifted

    def difference(self) -> tuple[Diff, Diff]:
        old: Diff = dict.fromkeys(self.drifted, "drifted")
        new: Diff = dict.fromkeys(self.drifted, "restored")
        if self.replaces:
            old["backend"], new["backend"] = self.replaces, self.backend
        return old, new


@dataclass(frozen=True)
class ChangeFirewalld(Change):
    """Change the files of firewalld's configuration that are ours, and have it read them. They map paths to text."""

    before: t.Mapping[str, str]
    after: t.Mapping[str, str]
    bridges: tuple[str, ...]

    @property
    def sentence(self) -> str:
        if not self.after:
            return "Remove the zone bridgeport and its policies from firewalld."
        return (
            "Have firewalld forward the packets of %s: zone bridgeport, policies bridgeport-in and bridgeport-out."
            % (" and ".join(self.bridges))
        )

    def difference(self) -> tuple[Diff, Diff]:
        changed = [path for path in {**self.before, **self.after} if self.before.get(path) != self.after.get(path)]
        return (
            {path: self.before[path] for path in changed if path in self.before},
            {path: self.after[path] for path in changed if path in self.after},
        )


@dataclass(frozen=True)
class ForgetFlows(Change):
    """Forget the UDP flows of host ports that lead elsewhere from now on, or those of sources shut out of a port."""

    flows: tuple[Flow, ...]

    @property
    def sentence(self) -> str:
        ports = sorted({flow.port for flow in self.flows})
        words = "port%s %s" % ("s" * (len(ports) > 1), _some(ports))
        if self.flows[0].allowed is None:
            return "Forget the UDP flows to host %s, which would go on as before." % words
        return "Forget the connections to %s from sources that may no longer connect." % words


@dataclass(frozen=True)
class ChangeProxies(Change):
    """Bring the proxies of loopback addresses from ``before`` to ``after``."""

    before: Proxies
    after: Proxies

    @property
    def sentence(self) -> str:
        return " ".join(self.sentences)

    @property
    def sentences(self) -> tuple[str, ...]:
        old, new = self.before, self.after
        changed = [path for path in {**old.files, **new.files} if old.files.get(path) != new.files.get(path)]
        lead = [service_of(path) for path in changed if path in new.files and path not in UNIT_FILES]
        verb = "Write" if new.files else "Remove"
        parts = (
            ("Stop %s.", old.listening - new.listening),
            (verb + " the unit files %s.", UNIT_FILES.keys() & set(changed)),
            ("Set where %s leads to.", lead),
            ("Start %s.", new.listening - old.listening),
        )
        return tuple(text % _some(sorted(names)) for text, names in parts if names)

    def difference(self) -> tuple[Diff, Diff]:
        before, after = _proxy_diff(self.before), _proxy_diff(self.after)
        keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
        return {k: before[k] for k in keys if k in before}, {k: after[k] for k in keys if k in after}


@dataclass(frozen=True)
class ChangeReservations(Change):
    """Keep other host ports than before from the host's processes."""

    before: frozenset[str]
    after: frozenset[str]

    @property
    def sentence(self) -> str:
        return " ".join(self.sentences)

    @property
    def sentences(self) -> tuple[str, ...]:
        parts = (("Release", self.before - self.after), ("Reserve", self.after - self.before))
        return tuple("%s host port%s %s." % (v, "s" * (len(n) > 1), _some(sorted(n))) for v, n in parts if n)

    def difference(self) -> tuple[Diff, Diff]:
        gone, new = sorted(self.before - self.after), sorted(self.after - self.before)
        return dict.fromkeys(gone, "reserved"), dict.fromkeys(new, "reserved")


def _proxy_diff(proxies: Proxies) -> Diff:
    return {**proxies.files, **dict.fromkeys(proxies.listening, "listening")}


def _some(things: t.Sequence[t.Any]) -> str:
    """The first few by name, the others by number."""
    more = " and %d more" % (len(things) - 5) if len(things) > 5 else ""
    return ", ".join(map(str, things[:5])) + more
