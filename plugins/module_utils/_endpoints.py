# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Endpoints in bulk: namespaces and veth pairs, made and removed by phase instead of one after the other.

A phase sends the requests of many endpoints in one batch. The host's ends come up last: a veth that is created while
earlier ones are already up costs twice as much, and each port that comes up floods what is there.
"""

from __future__ import annotations

import errno
import os
import random
import socket
import typing as t

from . import _netns as netns
from ._changes import AddEndpoint, DeleteEndpoint
from ._links import index_of, indexes, open_file_limit, queue_address, queue_route
from ._neighbours import bridges_in_use, introduce
from ._netlink import Batch, Socket
from ._state import TO_ALL_GROUPS, EndpointState, is_ours
from ._sysctl import write_optional

__all__ = ("add_endpoints", "delete_endpoints", "undo_add_endpoints")

# The namespaces that this process made, by name. One of a wanted name that came meanwhile is somebody else's.
_MADE: set[str] = set()
# Above every group number that an administrator is likely to use.
_GROUP_RANGE = (1 << 20, 1 << 30)


class _Site:
    """One endpoint under construction: the open namespace and a netlink socket in it."""

    def __init__(self, change: AddEndpoint) -> None:
        self.change = change
        self.state = change.state
        self.attempt = "create endpoint %s" % change.state.name
        self.socket: Socket | None = None
        self.namespace = -1

    def open(self) -> None:
        """Create or enter the namespace and take hold of it."""
        if self.change.broken_file:
            netns.forget_broken(self.state.name)
        if self.change.into_existing:
            netns.inside(self.state.name, self._hold)
        else:
            netns.create(self.state.name, self._hold)
            _MADE.add(self.state.name)

    def configure(self, batch: Batch) -> None:
        """Send a batch inside the namespace."""
        if self.socket is not None:
            batch.send(self.socket)

    def _hold(self) -> None:
        self.namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.socket = Socket()

    def close(self) -> None:
        """Let go of the namespace."""
        if self.socket is not None:
            self.socket.close()
        if self.namespace >= 0:
            os.close(self.namespace)
            self.namespace = -1


def add_endpoints(changes: t.Sequence[AddEndpoint]) -> None:
    """Create the endpoints.

    :raises KernelError: the kernel refused; what was made until then is left for :func:`undo_add_endpoints`.
    """
    netns.prepare_directory()
    # Nobody on a bridge without ports can remember anything, and there is no other that a thousand could flood.
    bridges = bridges_in_use()
    _delete_links([change.state for change in changes if change.stale_link])
    # Two open files each: the namespace and the socket in it.
    size = max(min(256, open_file_limit() // 2), 1)
    for start in range(0, len(changes), size):
        _add_some(changes[start : start + size])
    introduce([change.state for change in changes], bridges)


def _add_some(changes: t.Sequence[AddEndpoint]) -> None:
    sites = [_Site(change) for change in changes]
    try:
        for site in sites:
            site.open()
        with Socket() as host:
            _add_pairs(host, sites)
            for site in sites:
                _furnish(site)
            _bring_up(host, sites)
    finally:
        for site in sites:
            site.close()


def _add_pairs(host: Socket, sites: t.Sequence[_Site]) -> None:
    batch = Batch()
    # Listed once: a look-up for each endpoint would list every interface that the ones before it have added.
    bridges = indexes()
    for site in sites:
        state = site.state
        peer: dict[str, t.Any] = {
            "ifname": state.interface,
            "net_ns_fd": site.namespace,
            "mtu": state.mtu,
            "address": state.mac,
        }
        batch.add(
            site.attempt,
            "link",
            "add",
            ifname=state.host_interface,
            kind="veth",
            address=state.host_mac,
            mtu=state.mtu,
            master=bridges.get(state.bridge) or index_of(state.bridge, site.attempt),
            peer=peer,
        )
    batch.send(host)


def _furnish(site: _Site) -> None:
    """Settings, addresses and routes inside the namespace."""
    state = site.state

    def settings() -> int:
        index = socket.if_nametoindex(state.interface)
        for key, value in state.sysctls:
            write_optional(key, value)
        return index

    index = netns.inside(state.name, settings)
    batch = Batch()
    batch.add(site.attempt, "link", "set", index=1, state="up")
    batch.add(site.attempt, "link", "set", index=index, state="up")
    for address in state.addresses:
        queue_address(batch, site.attempt, index, address)
    for route in state.routes:
        queue_route(batch, site.attempt, index, route)
    site.configure(batch)


def _bring_up(host: Socket, sites: t.Sequence[_Site]) -> None:
    ends = indexes()
    batch = Batch()
    for site in sites:
        for key, value in site.state.host_sysctls:
            write_optional(key, value)
        index = ends.get(site.state.host_interface) or index_of(site.state.host_interface, site.attempt)
        # Two requests instead of one for each setting. Before a link is up, the kernel gives it its alias.
        batch.add(site.attempt, "brport", "set", index=index, mode=1, group_fwd_mask=TO_ALL_GROUPS)
        batch.add(site.attempt, "link", "set", index=index, ifalias=site.state.alias, state="up")
    batch.send(host)


def delete_endpoints(changes: t.Sequence[DeleteEndpoint]) -> None:
    """Delete the veth pairs, then the names of the namespaces. What is gone already is no error.

    :raises KernelError: the kernel refused.
    """
    _delete_links([change.state for change in changes if change.with_link])
    for change in changes:
        netns.delete(change.state.name)
        _MADE.discard(change.state.name)


def undo_add_endpoints(changes: t.Sequence[AddEndpoint]) -> None:
    """Remove what :func:`add_endpoints` made, wherever it stopped. A namespace that it did not make stays.

    :raises KernelError: the kernel refused.
    """
    _delete_links([change.state for change in changes])
    for change in changes:
        if change.state.name in _MADE:
            netns.delete(change.state.name)
            _MADE.discard(change.state.name)


def _delete_links(states: t.Sequence[EndpointState]) -> None:
    """Delete the host's ends that are there and ours; another's of that name stays."""
    if not states:
        return
    with Socket() as host:
        links = host.links()
    found = ((links.get(state.host_interface), state) for state in states)
    there = [(link.name, link.index) for link, state in found if link is not None and is_ours(link, state)]
    if not there:
        return
    batch = Batch()
    with Socket() as host:
        if len(there) == 1:
            name, index = there[0]
            batch.add("delete interface %s" % name, "link", "del", index=index, tolerate=(errno.ENODEV,))
        else:
            # One request for a whole group: each link deleted by itself waits 17 ms for the kernel's readers.
            group = random.randint(*_GROUP_RANGE)
            for name, index in there:
                batch.add(
                    "delete interface %s" % name, "link", "set", index=index, group=group, tolerate=(errno.ENODEV,)
                )
            batch.add("delete %d interfaces" % len(there), "link", "del", group=group, tolerate=(errno.ENODEV,))
        batch.send(host)
