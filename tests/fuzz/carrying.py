# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a plan makes of a host that is a value, each change being one that this host allows."""

from __future__ import annotations

import typing as t

from ansible_collections.bridgeport.net.plugins.module_utils import _carried
from ansible_collections.bridgeport.net.plugins.module_utils import _changes as changes
from ansible_collections.bridgeport.net.plugins.module_utils._state import Observed


def without(there: t.Mapping[t.Any, t.Any], gone: t.Any) -> dict[t.Any, t.Any]:
    return {key: value for key, value in there.items() if key != gone}


def carried_out(plan: t.Iterable[changes.Change], seen: Observed) -> Observed:
    """What is there when every change was carried out."""
    for change in plan:
        if type(change) in _CHECKS:
            _CHECKS[type(change)](t.cast(t.Any, change), seen)
        seen = _carried.carried_out([change], seen)
    return seen


def _set_link(change: changes.SetLink, _seen: Observed) -> None:
    assert change.field in ("mac", "mtu", "up", "alias", "master", "hairpin", "isolated", "group_fwd_mask")


def _add_bridge(change: changes.AddBridge, seen: Observed) -> None:
    assert change.state.name not in seen.links


def _add_endpoint(change: changes.AddEndpoint, seen: Observed) -> None:
    state = change.state
    assert change.stale_link == (state.host_interface in seen.links)
    assert change.into_existing == (state.name in seen.namespaces and not seen.namespaces[state.name].broken)
    assert change.broken_file == (state.name in seen.namespaces and seen.namespaces[state.name].broken)


def _delete_bridge(change: changes.DeleteBridge, seen: Observed) -> None:
    assert seen.links[change.state.name].kind == "bridge"


def _delete_endpoint(change: changes.DeleteEndpoint, seen: Observed) -> None:
    assert not change.with_link or seen.links[change.state.host_interface].kind == "veth"


def _file(change: changes.WriteFile, seen: Observed) -> None:
    assert seen.files.get(change.path) == change.old


_CHECKS: dict[type[changes.Change], t.Callable[[t.Any, Observed], None]] = {
    changes.SetLink: _set_link,
    changes.AddBridge: _add_bridge,
    changes.AddEndpoint: _add_endpoint,
    changes.DeleteBridge: _delete_bridge,
    changes.DeleteEndpoint: _delete_endpoint,
    changes.WriteFile: _file,
}
