# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Our chains in iptables: reading those of both its variants, and writing those of the variant on nf_tables.

The two variants are two places in the kernel. Which one the host's ``iptables`` speaks to is the host's choice, and the
rules go there; the other may hold rules as well, from before that choice was changed.
"""

from __future__ import annotations

import re
import typing as t

from . import _iptables_legacy as legacy
from ._errors import BridgeportError, DependencyError, KernelError
from ._ipt_listing import parse_save
from ._ipt_table import PROGRAM, Tables, restore_text, steps
from ._process import Finished, find_program, run_program

__all__ = (
    "BACKENDS",
    "NFT",
    "abandoned_tables",
    "apply_tables",
    "has_backend",
    "read_tables",
    "require_backend",
    "require_iptables",
)

NFT, _LEGACY = "iptables-nft", "iptables-legacy"
BACKENDS = (NFT, _LEGACY)
_INSTALL = "Install the package iptables, or nftables for the other backend."
_FAMILY = {4: "ip", 6: "ip6"}
_NAMES_FILE = {4: "/proc/net/ip_tables_names", 6: "/proc/net/ip6_tables_names"}
_VERSION = re.compile(r"v(\d+)\.(\d+)\S*(?: \((\S+)\))?")


def _spoken() -> str | None:
    """The backend that the host's own ``iptables`` speaks to; None if there is no such program."""
    program = find_program(PROGRAM[4])
    if program is None:
        return None
    found = _VERSION.search(run_program([program, "--version"]).output)
    # Those before 1.8 knew of one kind only.
    return NFT if found and found.group(3) == "nf_tables" else _LEGACY


def _program(backend: str, version: int, what: str) -> str | None:
    """The path of a backend's ``save`` or ``restore``."""
    variant = backend.partition("-")[2]
    path = find_program("%s-%s-%s" % (PROGRAM[version], variant, what))
    if path is None and _spoken() == backend:
        path = find_program("%s-%s" % (PROGRAM[version], what))
    return path


def has_backend(backend: str) -> bool:
    """Whether this host has the programs of a backend."""
    return _program(backend, 4, "save") is not None


def require_iptables() -> str:
    """The backend that the host's ``iptables`` speaks to.

    :raises DependencyError: there is none, or it cannot be used.
    """
    backend = _spoken()
    if backend is None:
        raise DependencyError("Cannot write firewall rules by iptables: this host has no such program. " + _INSTALL)
    require_backend(backend)
    return backend


def require_backend(backend: str) -> None:
    """Make sure that a backend can be used.

    :raises DependencyError: its programs or its library are missing.
    """
    if not has_backend(backend):
        raise DependencyError(
            "Cannot write firewall rules by %s: this host has no program %s-save. %s" % (backend, backend, _INSTALL)
        )
    if backend == _LEGACY:
        legacy.require_library()


def read_tables(backend: str) -> dict[int, Tables]:
    """What is ours in a backend now. A table that does not exist is not made by looking.

    :raises KernelError: the program failed.
    """
    return {version: parse_save(version, _saved(backend, version)) for version in PROGRAM}


def _saved(backend: str, version: int) -> str:
    program = _program(backend, version, "save")
    if program is None or (backend == _LEGACY and not _legacy_tables(version)):
        return ""
    done = run_program([program])
    if done.status:
        raise _refusal("read the rules", program, done)
    return done.output


def _legacy_tables(version: int) -> list[str]:
    try:
        with open(_NAMES_FILE[version], encoding="ascii") as file:
            return file.read().split()
    except OSError:
        return []


def _refusal(attempt: str, program: str, done: Finished) -> KernelError:
    return KernelError("Cannot %s: %s said: %s." % (attempt, program, done.words))


def apply_tables(backend: str, before: t.Mapping[int, Tables], after: t.Mapping[int, Tables]) -> None:
    """Turn what is ours in a backend from ``before`` into ``after``: all of it or nothing.

    :raises KernelError: the kernel refused; nothing was changed.
    """
    begun = []
    try:
        for version in sorted(after):
            begun.append(version)
            _write(backend, before[version], after[version])
    except BaseException:
        # A table is a transaction, several are not: what is done of them is taken back.
        _put_back(backend, {version: before[version] for version in begun})
        raise


def abandoned_tables(before: t.Mapping[int, Tables], after: t.Mapping[int, Tables]) -> list[str]:
    """The tables that held something of ours and do no more, as nftables names them."""
    names = []
    for version in sorted(after):
        old, new = (
            {table for table, _chain in (*state.chains, *state.hooks)} for state in (before[version], after[version])
        )
        names += ["%s %s" % (_FAMILY[version], table) for table in sorted(old - new)]
    return names


def _write(backend: str, before: Tables, after: Tables) -> None:
    wanted = steps(before, after)
    if not wanted:
        return
    if backend == _LEGACY:
        legacy.apply_steps(after.version, wanted)
        return
    program = _program(backend, after.version, "restore")
    if program is None:
        raise KernelError(
            "Cannot write the firewall rules of IPv%d: this host has no program %s-restore."
            % (after.version, PROGRAM[after.version])
        )
    done = run_program([program, "--noflush", "--wait"], restore_text(wanted))
    if done.status:
        raise _refusal("write the firewall rules of IPv%d" % after.version, program, done)


def _put_back(backend: str, before: t.Mapping[int, Tables]) -> None:
    for version, tables in before.items():
        try:
            _write(backend, parse_save(version, _saved(backend, version)), tables)
        except BridgeportError:
            # The failure that led here is the one to report; the next run mends what is left.
            continue
