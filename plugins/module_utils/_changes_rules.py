# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""The changes of a plan that are of the host as a whole: firewall rules, proxies, reserved ports. Pure."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ._backends import Tables
from ._changes import Change, Diff
from ._flows import Flow, OwnFlows
from ._proxy_units import UNIT_FILES, Proxies, service_of

__all__ = ("ChangeFirewalld", "ChangeProxies", "ChangeReservations", "ChangeRules", "ForgetFlows")


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


_FORGOTTEN = {
    "redirected": "Forget the UDP flows to host %s, which would go on as before.",
    "unrouted": "Forget the UDP flows by route to %s, which would go on as before.",
    "shut_out": "Forget the connections to %s from sources that may no longer connect.",
}


@dataclass(frozen=True)
class ForgetFlows(Change):
    """Forget flows that would go on as before, as :mod:`_flows` tells them.

    ``why`` is the name of the function there that tells them. What is not of ports goes without saying: it belongs to
    the change of addresses or rules that the plan has too.
    """

    flows: tuple[Flow | OwnFlows, ...]
    why: str = ""

    @property
    def sentence(self) -> str:
        return " ".join(self.sentences)

    @property
    def sentences(self) -> tuple[str, ...]:
        ports = sorted({flow.port for flow in self.flows if isinstance(flow, Flow)})
        words = "port%s %s" % ("s" * (len(ports) > 1), _some(ports))
        return (_FORGOTTEN[self.why] % words,) if self.why in _FORGOTTEN else ()


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
