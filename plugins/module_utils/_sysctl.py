# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Kernel settings below /proc/sys, in the network namespace that the thread is in."""

from __future__ import annotations

import os

from ._errors import KernelError, kernel_words
from ._state import same_setting

__all__ = ("read_sysctl", "write_optional", "write_sysctl")


def _path(key: str) -> str:
    return "/proc/sys/" + _split(key)


def _split(key: str) -> str:
    """Turn net.ipv4.conf.NAME.forwarding into a path; the interface's name may itself hold dots."""
    parts = key.split(".")
    if len(parts) > 5 and parts[2] in ("conf", "neigh"):
        parts = [*parts[:3], ".".join(parts[3:-1]), parts[-1]]
    return "/".join(parts)


def read_sysctl(key: str) -> str | None:
    """The value of a setting such as ``net.ipv4.ip_forward``; None if this kernel or namespace does not have it."""
    try:
        with open(_path(key), encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None


def write_sysctl(key: str, value: str) -> None:
    """Write a setting, unless it has that value already: /proc/sys may be read-only and right.

    :raises KernelError: the setting does not exist or the kernel refused the value.
    """
    current = read_sysctl(key)
    if same_setting(current, value):
        return
    try:
        with open(_path(key), "w", encoding="ascii") as file:
            file.write(value)
    except OSError as problem:
        code = problem.errno or 0
        raise KernelError(
            "Cannot set sysctl %s to %s (%s): the kernel said: %s." % (key, value, _path(key), kernel_words(code)), code
        ) from None


def write_optional(key: str, value: str) -> None:
    """Write a setting; one of IPv6 where there are none, in the kernel or for an interface of a small MTU, is no error.

    :raises KernelError: there are some and this one does not exist, or the kernel refused the value.
    """
    if key.startswith("net.ipv6.") and not os.path.isdir(os.path.dirname(_path(key))):
        return
    write_sysctl(key, value)
