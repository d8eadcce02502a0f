# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""What is to change of one interface: its properties, its settings, its addresses. Pure."""

from __future__ import annotations

import typing as t

from ._changes import Change, SetLink, SetSysctl
from ._model import LEAST_MTU
from ._state import InterfaceAddress, Link, ipv6_settings, same_setting

__all__ = ("link_changes", "moved_addresses", "setting_changes", "sysctl_changes")


def link_changes(
    subject: tuple[str, str], endpoint: str, link: Link, settings: t.Mapping[str, t.Any]
) -> t.Iterator[SetLink]:
    """The properties of an interface that are not as wanted."""
    for name, value in settings.items():
        current = getattr(link, name)
        if current != value:
            yield SetLink(subject, endpoint, link.name, name, current, value)


def setting_changes(
    subject: tuple[str, str],
    endpoint: str,
    link: Link,
    mtu: int,
    wanted: t.Sequence[tuple[str, str]],
    there: t.Mapping[str, str | None],
) -> t.Iterator[Change]:
    """The MTU and the settings. With an MTU too small for IPv6 a link has none of it, and with another new ones."""
    own = ipv6_settings(link.name)
    if mtu < LEAST_MTU[6]:
        for key, _value in wanted:
            if key.startswith(own) and there.get(key) is not None:
                yield SetSysctl(subject, endpoint, key, there[key], None)
        wanted = [(key, value) for key, value in wanted if not key.startswith(own)]
    yield from link_changes(subject, endpoint, link, {"mtu": mtu})
    if link.mtu < LEAST_MTU[6]:
        for key, value in wanted:
            if key.startswith(own) and there.get(key) is None:
                yield SetSysctl(subject, endpoint, key, None, value)
    yield from sysctl_changes(subject, endpoint, wanted, there)


def sysctl_changes(
    subject: tuple[str, str], endpoint: str, wanted: t.Iterable[tuple[str, str]], there: t.Mapping[str, str | None]
) -> t.Iterator[SetSysctl]:
    """The kernel settings of one interface, or of a namespace, that are not as wanted."""
    for key, value in wanted:
        current = there.get(key)
        if current is None and key.startswith("net.ipv6."):
            # A kernel booted without IPv6 has nothing to switch off.
            continue
        if not same_setting(current, value):
            yield SetSysctl(subject, endpoint, key, current, value)


def moved_addresses(
    had: t.Iterable[InterfaceAddress], wanted: t.Sequence[InterfaceAddress], there: t.Collection[InterfaceAddress]
) -> tuple[list[InterfaceAddress], list[InterfaceAddress]]:
    """Which addresses to remove from an interface, and which ones to add then.

    The kernel may take away the later IPv4 addresses of a subnet together with the first one. So all of that subnet go,
    the last first, and whoever undoes this adds them in the order that they had.

    :param had: what it was given, in that order.
    """
    listed = [address for address in dict.fromkeys([*had, *wanted]) if address in there]
    subnets = {address.network for address in listed if address.version == 4 and address not in wanted}
    gone = [address for address in reversed(listed) if address not in wanted or address.network in subnets]
    return gone, [address for address in wanted if address not in there or address in gone]
