# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""The steps that a plan is made of. Each says what it does in one sentence, and knows enough to be undone."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ._state import BridgeState, EndpointState, FileState, InterfaceAddress, RouteState

__all__ = (
    "AddAddress",
    "AddBridge",
    "AddEndpoint",
    "AddRoute",
    "Change",
    "DeleteBridge",
    "DeleteEndpoint",
    "Diff",
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
    """Set one kernel setting; ``old`` is None if it could not be read, ``new`` if the next step takes it away."""

    key: str
    old: str | None
    new: str | None

    @property
    def sentence(self) -> str:
        if self.new is None:
            return "Give up sysctl %s%s, which an interface of so small an MTU has not." % (
                self.key,
                self.place,
            )
        return "Set sysctl %s%s from %s to %s." % (self.key, self.place, self.old, self.new)

    def difference(self) -> tuple[Diff, Diff]:
        return {self.key: self.old}, {self.key: self.new}


@dataclass(frozen=True)
class SetLink(_Within):
    """Set one property of an interface: mac, mtu, up, alias, master, hairpin, isolated or group_fwd_mask."""

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
