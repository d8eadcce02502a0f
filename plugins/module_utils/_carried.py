# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""What a host would hold if a plan were carried out. Pure.

In check mode the tasks of a play build on what those before them would have done.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from . import _changes as changes
from . import _changes_rules as rules
from ._ipt_table import USER_CHAIN, Tables
from ._model import LEAST_MTU
from ._state import TO_ALL_GROUPS, BridgeState, EndpointState, Inside, Link, Observed, RouteState, ipv6_settings

__all__ = ("carried_out",)

_LOOPBACK = Link(1, "lo", "", "00:00:00:00:00:00", 65536, True, "", 0, False, False)


def _without(there: t.Mapping[t.Any, t.Any], gone: t.Any) -> dict[t.Any, t.Any]:
    return {key: value for key, value in there.items() if key != gone}


def carried_out(plan: t.Iterable[changes.Change], seen: Observed) -> Observed:
    """What is there when every change of a plan was carried out."""
    for change in plan:
        seen = _CARRY_OUT[type(change)](t.cast(t.Any, change), seen)
    return seen


def _rules(change: rules.ChangeRules, seen: Observed) -> Observed:
    tables = dict(change.after)
    for version, there in change.before.items():
        if isinstance(there, Tables):
            mine = {
                place: rule
                for place, rule in there.chains.items()
                if place[1] == USER_CHAIN and (rule or place in tables[version].chains)
            }
            tables[version] = replace(tables[version], chains={**tables[version].chains, **mine})
    return replace(seen, tables={**seen.tables, change.backend: tables})


def _inside(seen: Observed, endpoint: str, **parts: t.Any) -> Observed:
    return replace(seen, namespaces={**seen.namespaces, endpoint: replace(seen.namespaces[endpoint], **parts)})


def _place(seen: Observed, endpoint: str) -> t.Any:
    return seen.namespaces[endpoint] if endpoint else seen


def _put(seen: Observed, endpoint: str, **parts: t.Any) -> Observed:
    return _inside(seen, endpoint, **parts) if endpoint else replace(seen, **parts)


def _sysctl(change: changes.SetSysctl, seen: Observed) -> Observed:
    return _put(seen, change.endpoint, sysctls={**_place(seen, change.endpoint).sysctls, change.key: change.new})


def _set_link(change: changes.SetLink, seen: Observed) -> Observed:
    there = _place(seen, change.endpoint).links
    link = there[change.interface]
    value = seen.links[change.new].index if change.field == "master" else change.new
    return _put(seen, change.endpoint, links={**there, link.name: replace(link, **{change.field: value})})


def _address(change: t.Any, seen: Observed) -> Observed:
    there = _place(seen, change.endpoint).addresses
    had: frozenset[t.Any] = there.get(change.interface, frozenset())
    has = had | {change.address} if isinstance(change, changes.AddAddress) else had - {change.address}
    return _put(seen, change.endpoint, addresses={**there, change.interface: has})


def _route(change: t.Any, seen: Observed) -> Observed:
    had = seen.namespaces[change.endpoint].routes
    has = _routed(had, change.route) if isinstance(change, changes.AddRoute) else had - {change.route}
    return _inside(seen, change.endpoint, routes=has)


def _routed(there: frozenset[RouteState], *routes: RouteState) -> frozenset[RouteState]:
    """Routes with some more, each in place of one to the same destination, as the kernel has it."""
    added = {route.destination: route for route in routes}
    return frozenset(route for route in there if route.destination not in added) | frozenset(added.values())


def _add_bridge(change: changes.AddBridge, seen: Observed) -> Observed:
    state: BridgeState = change.state
    link = Link(_index(seen), state.name, "bridge", state.mac, state.mtu, True, state.alias, 0, False, False)
    return replace(
        seen,
        links={**seen.links, state.name: link},
        addresses={**seen.addresses, state.name: frozenset(state.addresses)},
        sysctls={**seen.sysctls, **_settings(state.sysctls, state.name, state.mtu)},
    )


def _settings(sysctls: t.Iterable[tuple[str, str]], interface: str, mtu: int) -> dict[str, str]:
    """The kernel settings that an interface has. One of a small MTU has none of IPv6."""
    return {key: value for key, value in sysctls if mtu >= LEAST_MTU[6] or not key.startswith(ipv6_settings(interface))}


def _add_endpoint(change: changes.AddEndpoint, seen: Observed) -> Observed:
    state: EndpointState = change.state
    master = seen.links[state.bridge].index
    host_end = Link(
        _index(seen),
        state.host_interface,
        "veth",
        state.host_mac,
        state.mtu,
        True,
        state.alias,
        master,
        True,
        False,
        TO_ALL_GROUPS,
    )
    inner = Link(2, state.interface, "veth", state.mac, state.mtu, True, "", 0, False, False)
    before = seen.namespaces[state.name] if change.into_existing else Inside()
    space = Inside(
        links={**before.links, "lo": _LOOPBACK, state.interface: inner},
        addresses={**before.addresses, state.interface: frozenset(state.addresses)},
        routes=_routed(before.routes, *state.routes),
        sysctls={**before.sysctls, **_settings(state.sysctls, state.interface, state.mtu)},
    )
    return replace(
        seen,
        links={**seen.links, state.host_interface: host_end},
        namespaces={**seen.namespaces, state.name: space},
        sysctls={**seen.sysctls, **_settings(state.host_sysctls, state.host_interface, state.mtu)},
    )


def _index(seen: Observed) -> int:
    return 1000 + max((link.index for link in seen.links.values()), default=0)


def _delete_bridge(change: changes.DeleteBridge, seen: Observed) -> Observed:
    return replace(seen, links=_without(seen.links, change.state.name))


def _delete_endpoint(change: changes.DeleteEndpoint, seen: Observed) -> Observed:
    if change.with_link:
        seen = replace(seen, links=_without(seen.links, change.state.host_interface))
    return replace(seen, namespaces=_without(seen.namespaces, change.state.name))


def _file(change: changes.WriteFile, seen: Observed) -> Observed:
    rest = _without(seen.files, change.path)
    return replace(seen, files=rest if change.new is None else {**rest, change.path: change.new})


_CARRY_OUT: dict[type[changes.Change], t.Callable[[t.Any, Observed], Observed]] = {
    rules.ChangeRules: _rules,
    rules.ChangeFirewalld: lambda change, seen: replace(seen, firewalld=change.after),
    rules.ChangeProxies: lambda change, seen: replace(seen, proxies=change.after),
    rules.ChangeReservations: lambda change, seen: replace(seen, reserved=change.after),
    rules.ForgetFlows: lambda _change, seen: seen,
    changes.SetSysctl: _sysctl,
    changes.SetLink: _set_link,
    changes.AddAddress: _address,
    changes.RemoveAddress: _address,
    changes.AddRoute: _route,
    changes.RemoveRoute: _route,
    changes.AddBridge: _add_bridge,
    changes.AddEndpoint: _add_endpoint,
    changes.TellNeighbours: lambda _change, seen: seen,
    changes.DeleteBridge: _delete_bridge,
    changes.DeleteEndpoint: _delete_endpoint,
    changes.WriteFile: _file,
}
