# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Flows as values: which of them a change of the rules makes stale. Pure."""

from __future__ import annotations

import typing as t

from ._model import Subnet, plain_subnet
from ._nft_table import Key, Table

__all__ = ("Flow", "redirected", "shut_out")


class Flow(t.NamedTuple):
    """The flows to one port of the host, or of an endpoint. ``address`` is "" for those to any address of the host.

    ``allowed`` spares those of the host itself and of these subnets; None spares none.
    """

    version: int
    address: str
    port: int
    protocol: str = "udp"
    allowed: tuple[Subnet, ...] | None = None


def redirected(before: Table, after: Table) -> t.Iterator[Flow]:
    """The host's UDP ports that lead elsewhere in one table than in the other, or in only one of them."""
    for name in ("published", "published_at"):
        old, new = before.elements.get(name, {}), after.elements.get(name, {})
        for key in sorted(key for key in old.keys() | new.keys() if _is_port(key)):
            was, will = old.get(key), new.get(key)
            address, protocol, port = key if len(key) == 3 else ("", *key)
            if protocol == "udp" and (was and was.data) != (will and will.data):
                yield Flow(after.version, str(address), int(port))


def shut_out(before: Table, after: Table) -> t.Iterator[Flow]:
    """The ports that were open before and that from now on fewer sources, or others, may connect to."""
    for name, opened in (("limited", "published"), ("limited_at", "published_at"), ("limited_ports", "open_ports")):
        old, new = before.elements.get(name, {}), after.elements.get(name, {})
        there = before.elements.get(opened, {})
        for key in sorted(key for key in new if key in there and old.get(key) != new[key]):
            address, protocol, port = key if len(key) == 3 else ("", *key)
            allowed = after.elements[new[key].data[1]]
            yield Flow(
                after.version, str(address), int(port), str(protocol), tuple(plain_subnet(text) for (text,) in allowed)
            )


def _is_port(key: Key) -> bool:
    """Whether an element is of a port; others may have put in anything that the kernel takes."""
    return len(key) in (2, 3) and isinstance(key[-2], str) and isinstance(key[-1], int)
