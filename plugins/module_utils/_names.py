# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Names that operators give, and what may stand in them: they reach files, paths and rules as they are."""

from __future__ import annotations

import re
import typing as t

from ._errors import InputError

__all__ = (
    "INTERFACE_NAME_LIMIT",
    "valid_endpoint_name",
    "valid_host_name",
    "valid_interface_name",
    "valid_sysctl",
)

# IFNAMSIZ is 16 with the closing NUL.
INTERFACE_NAME_LIMIT = 15
# A namespace is a file name, a systemd instance name and a word in rule comments.
_ENDPOINT_NAME_LIMIT = 63
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")
_SYSCTL = re.compile(r"net(?:[./][A-Za-z0-9_-]+){2,}\Z")
_HOST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?\Z")


def valid_interface_name(name: str, what: str) -> str:
    """Return ``name`` if Linux and our rules can carry it as an interface name.

    :param what: what the name is for, to begin the error with, for example ``network``.
    :raises InputError: too long, empty, or with characters outside letters, digits, ``_``, ``.`` and ``-``.
    """
    if len(name) > INTERFACE_NAME_LIMIT:
        raise InputError(
            "Cannot use %r as the name of the %s: it has %d characters and an interface name can have at most %d. "
            "Choose a shorter name." % (name, what, len(name), INTERFACE_NAME_LIMIT)
        )
    return _valid_name(name, what)


def valid_endpoint_name(name: str) -> str:
    """Return ``name`` if it can name an endpoint, that is a file in ``/run/netns``.

    :raises InputError: too long, empty, or with characters outside letters, digits, ``_``, ``.`` and ``-``.
    """
    if len(name) > _ENDPOINT_NAME_LIMIT:
        raise InputError(
            "Cannot use %r as the name of the endpoint: it has %d characters and at most %d are allowed. "
            "Choose a shorter name." % (name, len(name), _ENDPOINT_NAME_LIMIT)
        )
    return _valid_name(name, "endpoint")


def _valid_name(name: str, what: str) -> str:
    if not _NAME.match(name) or name in ("all", "default", "lo"):
        raise InputError(
            "Cannot use %r as the name of the %s: a name begins with a letter or digit, goes on with letters, digits, "
            "'_', '.' or '-', and is none of 'all', 'default' and 'lo'. Choose another name." % (name, what)
        )
    return name


def valid_host_name(text: str, what: str) -> str:
    """Return ``text`` if it can stand in a hosts file or a search list.

    :raises InputError: empty, too long, or with other characters.
    """
    if not _HOST_NAME.match(text):
        raise InputError(
            "Cannot use %r as the %s: it is not a host name. Use letters, digits, '.', '-' and '_'." % (text, what)
        )
    return text


def valid_sysctl(key: str, value: t.Any, endpoint: str) -> tuple[str, str]:
    """Return a setting of an endpoint's namespace as key and text.

    :raises InputError: it is none of a network namespace, or the value is no line of text.
    """
    if not _SYSCTL.match(key):
        raise InputError(
            "Cannot set sysctl %r in endpoint %s: only the settings below 'net.' belong to a network namespace. "
            "Set the others on the host." % (key, endpoint)
        )
    if value is None or not str(value).strip():
        raise InputError("Cannot set sysctl %s in endpoint %s: it has no value. Give one." % (key, endpoint))
    if not str(value).isascii() or not str(value).isprintable():
        raise InputError(
            "Cannot set sysctl %s in endpoint %s to %r: a setting is one line of plain text. Give such a value."
            % (key, endpoint, value)
        )
    return key.replace("/", "."), str(int(value) if isinstance(value, bool) else value)
