# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""UDP flows as values: which of them a change of the rules makes stale. Pure."""

from __future__ import annotations

import typing as t

__all__ = ("Flow",)


class Flow(t.NamedTuple):
    """The flows to one host port. ``address`` is "" for those to any address of the host."""

    version: int
    address: str
    port: int
