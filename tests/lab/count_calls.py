# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs one module as run_module.py does, and counts how often it speaks to the kernel: one line of JSON on stderr.

Usage: count_calls.py MODULE < arguments
"""

from __future__ import annotations

import collections
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from ansible_collections.bridgeport.net.plugins.module_utils import _netlink, _nftables

import run_module

CALLS: collections.Counter[str] = collections.Counter()


def count(place: Any, name: str, word: Callable[..., str]) -> None:
    """Have each call of a function counted, under the word for its arguments."""
    real = getattr(place, name)

    def counted(*args: Any, **options: Any) -> Any:
        CALLS[word(*args)] += 1
        return real(*args, **options)

    setattr(place, name, counted)


def main() -> None:
    """Run the module and count."""
    count(_netlink.Socket, "__init__", lambda *_args: "socket")
    count(_netlink.Socket, "transact", lambda *_args: "batch")
    count(_netlink.Socket, "_dump_once", lambda *_args: "dump")
    count(_nftables, "_run", lambda commands, *_args: "nft " + " ".join(commands.split()[:2]))
    count(os, "posix_spawn", lambda *_args: "program")
    try:
        run_module.load(sys.argv[1], json.load(sys.stdin))()
    finally:
        sys.stderr.write(json.dumps(CALLS) + "\n")


if __name__ == "__main__":
    main()
