# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Our tables in nf_tables, by way of the ``nft`` program: one listing and one transaction for a whole run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import typing as t

from ._errors import DependencyError, KernelError
from ._nft_table import FAMILY, TABLE, Table, parse_table, transaction

__all__ = ("apply_tables", "read_tables", "require_nft")

_MINIMUM = (1, 0)
_SEARCH = ("/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin", "/bin")
_TIMEOUT = 120
_ENVIRONMENT = {"LC_ALL": "C", "PATH": ":".join(_SEARCH)}


def require_nft() -> str:
    """The path of ``nft``.

    :raises DependencyError: it is missing or older than 1.0.
    """
    path = next((p for p in (os.path.join(folder, "nft") for folder in _SEARCH) if os.access(p, os.X_OK)), None)
    if path is None:
        raise DependencyError(
            "Cannot write firewall rules: the program nft was not found in %s. Install the package nftables (1.0 or newer)."
            % ", ".join(_SEARCH)
        )
    return path


def _check_version(nft: str, version: str) -> None:
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers and numbers < _MINIMUM:
        raise DependencyError(
            "Cannot write firewall rules: %s is version %s and this collection needs %d.%d. Install a newer nftables."
            % (nft, version, *_MINIMUM)
        )


def read_tables() -> dict[int, Table]:
    """What our table of each IP version holds now. A table that does not exist is an empty one.

    :raises DependencyError: ``nft`` is missing or too old.
    :raises KernelError: the kernel refused.
    """
    nft = require_nft()
    # Listing the names first: a listing of a table that is not there cannot be told from a failure by its exit status.
    names = json.loads(_run([nft, "-j", "list", "tables"], "list the nftables tables"))["nftables"]
    there = {(item["table"]["family"], item["table"]["name"]) for item in names if "table" in item}
    for item in names:
        if "metainfo" in item:
            _check_version(nft, item["metainfo"]["version"])
    tables = {}
    for version, family in FAMILY.items():
        if (family, TABLE) not in there:
            tables[version] = Table(version)
            continue
        listing = json.loads(_run([nft, "-j", "list", "table", family, TABLE], "list the table %s %s" % (family, TABLE)))
        tables[version] = parse_table(version, listing["nftables"])
    return tables


def apply_tables(before: t.Mapping[int, Table], after: t.Mapping[int, Table]) -> None:
    """Turn the tables from ``before`` into ``after`` in one transaction of the kernel: all of it or nothing.

    :raises KernelError: ``nft`` or the kernel refused; nothing was changed. Carries nft's own words.
    """
    text = "".join(transaction(before[version], after[version]) for version in sorted(after))
    if text:
        _run([require_nft(), "-f", "-"], "write the firewall rules of the tables ip and ip6 %s" % TABLE, text)


def _run(command: t.Sequence[str], attempt: str, text: str | None = None) -> str:
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=_TIMEOUT, check=False, env=_ENVIRONMENT
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise KernelError("Cannot %s: %s could not be run to its end: %s." % (attempt, command[0], problem)) from None
    if done.returncode:
        words = " ".join(done.stderr.split())[:500] or "nothing"
        raise KernelError("Cannot %s: nft ended with status %d and said: %s" % (attempt, done.returncode, words))
    return done.stdout
