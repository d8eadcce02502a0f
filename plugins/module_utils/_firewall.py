# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Reading and writing the rules, whoever carries them, and the choice of who does."""

from __future__ import annotations

import typing as t

from . import _iptables, _nftables
from ._backends import NFTABLES, Tables
from ._errors import DependencyError, KernelError

__all__ = ("choose_backend", "read_rules", "write_rules")


def choose_backend(asked: str | None, recorded: str | None) -> str:
    """The full name of the backend for a run.

    :param asked: ``nftables`` or ``iptables``; ``auto`` or None keep what is recorded, and take what works otherwise.
    :raises DependencyError: it is not on this host.
    """
    if asked == "iptables":
        return _iptables.require_iptables()
    if asked in (None, "auto") and recorded is not None:
        if recorded == NFTABLES:
            _nftables.require_nftables()
        else:
            _iptables.require_backend(recorded)
        return recorded
    try:
        _nftables.require_nftables()
        return NFTABLES
    except (DependencyError, KernelError) as problem:
        if asked == NFTABLES:
            raise
        missing = str(problem)
    try:
        return _iptables.require_iptables()
    except DependencyError as problem:
        problem.args = ("%s Nor is iptables a way: %s" % (missing, problem),)
        raise


def read_rules() -> dict[str, dict[int, Tables]]:
    """What is ours in each backend that this host has, by its full name.

    :raises KernelError: the kernel refused.
    """
    found: dict[str, dict[int, Tables]] = {}
    if _nftables.has_nftables():
        found[NFTABLES] = dict(_nftables.read_tables())
    for name in _iptables.BACKENDS:
        if _iptables.has_backend(name):
            found[name] = dict(_iptables.read_tables(name))
    return found


def write_rules(backend: str, before: t.Mapping[int, Tables], after: t.Mapping[int, Tables]) -> None:
    """Turn what a backend holds from ``before`` into ``after``: all of it or nothing.

    :raises KernelError: the kernel refused; nothing was changed.
    """
    if backend == NFTABLES:
        _nftables.apply_tables(before, after)
        return
    _iptables.apply_tables(backend, before, after)
    if backend == _iptables.NFT and _nftables.has_nftables():
        # iptables makes its tables when it needs them, and has no way to delete them.
        _nftables.delete_bare_tables(_iptables.abandoned_tables(before, after))
