# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Bridges, veth pairs, addresses and routes: the link changes of a plan, carried out by batched netlink."""

from __future__ import annotations

import errno
import os
import socket
import typing as t

from . import _netns as netns
from ._changes import AddAddress, AddRoute, RemoveAddress, RemoveRoute, SetLink
from ._errors import DependencyError, KernelError
from ._netlink import Batch, Socket
from ._state import BridgeState, InterfaceAddress, RouteState, is_ours
from ._sysctl import write_optional

__all__ = (
    "add_address",
    "add_bridge",
    "add_route",
    "delete_bridge",
    "indexes",
    "remove_address",
    "remove_route",
    "require_open_files",
    "restore_bridge",
    "set_link",
)

_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
# The address is usable at once: a service that binds to it at start must not find it tentative.
_IFA_F_NODAD = 2
# Three times what a run was seen to have open at once, apart from the endpoints under construction.
_RESERVE = 32

Work = t.Callable[[Batch, int], None]


def indexes() -> dict[str, int]:
    """The indexes of all interfaces in the namespace that the thread is in, by name: one listing.

    Not ``if_nametoindex``, which takes an alternative name of another interface, too.
    """
    return {name: index for index, name in socket.if_nameindex()}


def index_of(interface: str, attempt: str) -> int:
    """The index of an interface in the namespace that the thread is in.

    :raises KernelError: there is none of that name.
    """
    index = indexes().get(interface)
    if index is None:
        raise KernelError(
            "Cannot %s: there is no interface %s. It went away during this run; run again." % (attempt, interface),
            errno.ENODEV,
        )
    return index


def add_bridge(state: BridgeState) -> None:
    """Create a bridge with its settings, and bring it up as the last step.

    :raises KernelError: the kernel refused.
    """
    attempt = "create bridge %s" % state.name
    with Socket() as sock:
        batch = Batch()
        batch.add(
            attempt,
            "link",
            "add",
            ifname=state.name,
            kind="bridge",
            br_forward_delay=0,
            address=state.mac,
        )
        batch.send(sock)
        index = index_of(state.name, attempt)
        # An MTU that is given at creation is not kept: with its last port the bridge would lose it.
        batch.add(attempt, "link", "set", index=index, ifalias=state.alias, mtu=state.mtu)
        batch.send(sock)
        for key, value in state.sysctls:
            write_optional(key, value)
        for address in state.addresses:
            queue_address(batch, attempt, index, address)
        batch.add(attempt, "link", "set", index=index, state="up")
        batch.send(sock)


def delete_bridge(state: BridgeState) -> None:
    """Delete a bridge of ours; one that is gone already, or another's of that name, is no error and stays.

    :raises KernelError: the kernel refused.
    """
    with Socket() as sock:
        link = sock.links().get(state.name)
        if link is None or not is_ours(link, state):
            return
        batch = Batch()
        batch.add("delete bridge %s" % state.name, "link", "del", index=link.index, tolerate=(errno.ENODEV,))
        batch.send(sock)


def restore_bridge(state: BridgeState) -> None:
    """Create a bridge again that was deleted; one that was not is no error.

    :raises KernelError: the kernel refused.
    """
    if state.name not in indexes():
        add_bridge(state)


def queue_address(batch: Batch, attempt: str, index: int, address: InterfaceAddress) -> None:
    """Collect the request that adds an address; one that is there already is no error."""
    options: dict[str, t.Any] = {"flags": _IFA_F_NODAD} if address.version == 6 else {}
    batch.add(
        "%s: add address %s" % (attempt, address),
        "addr",
        "add",
        index=index,
        address=str(address.ip),
        prefixlen=address.network.prefixlen,
        family=_FAMILY[address.version],
        tolerate=(errno.EEXIST,),
        **options,
    )


def queue_route(batch: Batch, attempt: str, index: int, route: RouteState) -> None:
    """Collect the request that adds a route or replaces the one to the same destination."""
    options: dict[str, t.Any] = {} if route.via is None else {"gateway": str(route.via)}
    batch.add(
        "%s: add the route to %s" % (attempt, route.destination),
        "route",
        "replace",
        dst=_destination(route),
        oif=index,
        family=_FAMILY[route.destination.version],
        **options,
    )


def _destination(route: RouteState) -> str:
    return "default" if route.destination.prefixlen == 0 else str(route.destination)


def _inside(endpoint: str, interface: str, attempt: str, work: Work) -> None:
    """Send what ``work`` collects for one interface, in the endpoint's namespace or on the host where it is ""."""

    def run() -> None:
        with Socket() as sock:
            batch = Batch()
            work(batch, index_of(interface, attempt))
            batch.send(sock)

    if endpoint:
        netns.inside(endpoint, run)
    else:
        run()


def add_address(change: AddAddress | RemoveAddress) -> None:
    """Add the change's address.

    :raises KernelError: the kernel refused.
    """
    attempt = "set up interface %s%s" % (change.interface, change.place)
    _inside(
        change.endpoint,
        change.interface,
        attempt,
        lambda batch, index: queue_address(batch, attempt, index, change.address),
    )


def remove_address(change: AddAddress | RemoveAddress) -> None:
    """Remove the change's address; one that is gone already is no error.

    :raises KernelError: the kernel refused.
    """
    attempt = "remove address %s from interface %s%s" % (change.address, change.interface, change.place)

    def work(batch: Batch, index: int) -> None:
        batch.add(
            attempt,
            "addr",
            "del",
            index=index,
            address=str(change.address.ip),
            prefixlen=change.address.network.prefixlen,
            family=_FAMILY[change.address.version],
            tolerate=(errno.EADDRNOTAVAIL,),
        )

    _inside(change.endpoint, change.interface, attempt, work)


def add_route(change: AddRoute | RemoveRoute) -> None:
    """Add the change's route, in place of any other to the same destination.

    :raises KernelError: the kernel refused.
    """
    attempt = "set up interface %s%s" % (change.interface, change.place)
    _inside(
        change.endpoint,
        change.interface,
        attempt,
        lambda batch, index: queue_route(batch, attempt, index, change.route),
    )


def remove_route(change: AddRoute | RemoveRoute) -> None:
    """Remove the change's route; one that is gone already is no error.

    :raises KernelError: the kernel refused.
    """
    attempt = "remove the route to %s%s" % (change.route.destination, change.place)

    def work(batch: Batch, index: int) -> None:
        via = {} if change.route.via is None else {"gateway": str(change.route.via)}
        batch.add(
            attempt,
            "route",
            "del",
            dst=_destination(change.route),
            oif=index,
            family=_FAMILY[change.route.destination.version],
            tolerate=(errno.ESRCH,),
            **via,
        )

    _inside(change.endpoint, change.interface, attempt, work)


def set_link(change: SetLink, value: t.Any) -> None:
    """Set the change's property of its interface to ``value``, new or old.

    :raises KernelError: the kernel refused.
    """
    attempt = "set %s of interface %s%s to %s" % (change.field, change.interface, change.place, value)

    def work(batch: Batch, index: int) -> None:
        queue_setting(batch, attempt, index, change.field, value)

    _inside(change.endpoint, change.interface, attempt, work)


def queue_setting(batch: Batch, attempt: str, index: int, field: str, value: t.Any) -> None:
    """Collect the request that sets one property of an interface."""
    if field == "hairpin":
        batch.add(attempt, "brport", "set", index=index, mode=int(value))
    elif field in ("isolated", "group_fwd_mask"):
        port: dict[str, t.Any] = {field: int(value)}
        batch.add(attempt, "brport", "set", index=index, **port)
    elif field == "master":
        master = value if isinstance(value, int) else index_of(value, attempt) if value else 0
        batch.add(attempt, "link", "set", index=index, master=master)
    elif field == "up":
        batch.add(attempt, "link", "set", index=index, state="up" if value else "down")
    else:
        option = {"mac": "address", "mtu": "mtu", "alias": "ifalias"}[field]
        batch.add(attempt, "link", "set", index=index, **{option: value})


def open_file_limit() -> int:
    """How many more files this process may open, with a reserve for everything else."""
    return max(_open_files()[1] - _RESERVE, 2)


def require_open_files() -> None:
    """Make sure that this process may open as many files as a run and its undoing take.

    :raises DependencyError: it may not; names the limit.
    """
    limit, more = _open_files()
    if more < _RESERVE:
        raise DependencyError(
            "Cannot work on this host: this process may have %d files open, which is %d more than it has, and a run "
            "and its undoing take up to %d more. Nothing was changed. Raise the limit of open files, by 'ulimit -n' "
            "or by LimitNOFILE= of the systemd unit that this runs in." % (limit, max(more, 0), _RESERVE)
        )


def _open_files() -> tuple[int, int]:
    """How many files this process may have open, and how many more than now that is."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        return hard, hard - len(os.listdir("/proc/self/fd"))
    except OSError as problem:
        if problem.errno != errno.EMFILE:
            raise
        return hard, 0
