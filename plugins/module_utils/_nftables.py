# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Our tables in nf_tables, by way of libnftables, the library that is the whole of the ``nft`` program.

One listing and one transaction for a whole run, and no process for either. The library is loaded by ctypes, for the
engine also runs at boot, where nothing but Python and pyroute2 is asked for.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import json
import re
import socket
import typing as t

from ._errors import DependencyError, KernelError, system_words
from ._foreign import ForeignChains, parse_chains
from ._nft_listing import parse_table
from ._nft_table import FAMILY, LINK, TABLE, Table, transaction

__all__ = (
    "apply_tables",
    "delete_bare_tables",
    "has_nftables",
    "read_foreign_chains",
    "read_tables",
    "require_nftables",
)

_LIBRARY = "libnftables.so.1"
_MINIMUM = (1, 0)
# NFT_CTX_OUTPUT_JSON and NFT_CTX_OUTPUT_HANDLE of libnftables.h are 1 << 4 and 1 << 3; handles are not asked for.
_NETLINK_NETFILTER = 12
_OUTPUT_JSON = 1 << 4


@functools.cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError as problem:
        raise DependencyError(
            "Cannot write firewall rules: the library %s of nftables could not be loaded (%s). "
            "Install the package nftables, version %d.%d or newer." % (_LIBRARY, problem, *_MINIMUM)
        ) from None
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error", "nft_ctx_free"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
        getattr(library, name).restype = ctypes.c_char_p
    library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
    library.nft_ctx_set_dry_run.argtypes = [ctypes.c_void_p, ctypes.c_bool]
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return library


def require_nftables() -> None:
    """Make sure that nftables is there.

    :raises DependencyError: its library is missing or too old.
    """
    # Any listing begins with the version. That of chains alone does not make the library read every set of the host.
    text = _run("list chains", "ask nftables for its version", _OUTPUT_JSON)
    found = re.search(r'"version": *"(\d+)\.(\d+)', text)
    if found and (int(found.group(1)), int(found.group(2))) < _MINIMUM:
        raise DependencyError(
            "Cannot write firewall rules: nftables is version %s.%s and this collection needs %d.%d. "
            "Install a newer nftables." % (found.group(1), found.group(2), *_MINIMUM)
        )


def has_nftables() -> bool:
    """Whether nftables works on this host."""
    try:
        require_nftables()
    except (DependencyError, KernelError):
        return False
    return True


def _run(commands: str, attempt: str, output_as: int = 0, try_only: bool = False) -> str:
    """Give commands to libnftables: all of them are one transaction.

    :param output_as: output flags of libnftables.
    :param try_only: have the kernel check them and change nothing.
    :raises KernelError: it refused, and nothing was changed; carries its own words.
    """
    library = _library()
    # Where there is no socket to be had, libnftables would end this process.
    try:
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER).close()
    except OSError as problem:
        if problem.errno != errno.EPROTONOSUPPORT:
            raise
        words = "Cannot %s: this kernel has no nf_tables: it said: %s." % (attempt, system_words(problem))
        raise KernelError(words, problem.errno) from None
    # A context holds a netlink socket of the namespace in which it was made, so it does not outlive the call.
    context = library.nft_ctx_new(0)
    try:
        library.nft_ctx_buffer_output(context)
        library.nft_ctx_buffer_error(context)
        library.nft_ctx_output_set_flags(context, output_as)
        library.nft_ctx_set_dry_run(context, try_only)
        refused = library.nft_run_cmd_from_buffer(context, commands.encode())
        output = library.nft_ctx_get_output_buffer(context) or b""
        words = (library.nft_ctx_get_error_buffer(context) or b"").decode(errors="replace")
    finally:
        library.nft_ctx_free(context)
    if refused:
        said = " ".join(words.split())[:500] or "nothing"
        raise KernelError("Cannot %s: nftables said: %s." % (attempt, said.rstrip(".")))
    return t.cast(bytes, output).decode()


def read_tables() -> dict[int, Table]:
    """What our table of each IP version, and of the bridges, holds now. A table that does not exist is an empty one.

    That of the bridges is left out where the kernel has no nf_tables for them.

    :raises KernelError: the kernel refused.
    """
    # The names as text: nft 1.0.6 prints broken JSON for a table that bears a flag, whosever it is. And from the
    # chains, for nft reads every set of the host before it lists the tables.
    listed = [line.split() for line in _list_chains().splitlines()]
    there = {(words[1], words[2]) for words in listed if len(words) > 2 and words[0] == "table"}
    tables = {}
    for version, family in FAMILY.items():
        name = "table %s %s" % (family, TABLE)
        if (family, TABLE) in there:
            tables[version] = parse_table(version, _objects(name))
        elif version != LINK or _knows_bridges():
            tables[version] = Table(version)
    return tables


def _knows_bridges() -> bool:
    place = "%s %s" % (FAMILY[LINK], TABLE)
    hook = "{ type filter hook prerouting priority 0; }"
    try:
        _run("add table %s\nadd chain %s try %s\n" % (place, place, hook), "try the " + place, try_only=True)
    except KernelError:
        return False
    return True


def delete_bare_tables(names: t.Iterable[str]) -> None:
    """Delete those of the named tables, such as ``ip nat``, that hold nothing but empty chains which let all pass.

    One that is not there, or that cannot be deleted, is left as it is.
    """
    for name in names:
        with contextlib.suppress(KernelError):
            kinds = [next(iter(item.items())) for item in _objects("table " + name)]
            if all(kind in ("metainfo", "table") or (kind == "chain" and _bare(body)) for kind, body in kinds):
                # The kernel refuses to delete a chain that has got a rule in the meantime.
                lines = ["delete chain %s %s" % (name, body["name"]) for kind, body in kinds if kind == "chain"]
                _run("".join(line + "\n" for line in (*lines, "delete table " + name)), "delete the table " + name)


def _bare(chain: t.Mapping[str, t.Any]) -> bool:
    return "hook" in chain and chain.get("policy", "accept") == "accept"


def read_foreign_chains() -> ForeignChains:
    """What others do to forwarded packets; nothing where there is no nftables.

    :raises KernelError: the kernel refused.
    """
    if not has_nftables():
        return ForeignChains()
    return parse_chains(_list_chains())


def _list_chains() -> str:
    """Every table of the host, those without chains too, with its chains but not their rules, as text."""
    return _run("list chains", "list the nftables chains")


def _objects(table: str) -> list[dict[str, t.Any]]:
    attempt = "list the " + table
    text = _run("list " + table, attempt, _OUTPUT_JSON)
    try:
        return t.cast("list[dict[str, t.Any]]", json.loads(text)["nftables"])
    except (ValueError, KeyError):
        raise KernelError(
            "Cannot %s: nftables described it in a way that cannot be read, as it does where another program has taken "
            "the table as its own. Look at 'nft list %s'." % (attempt, table)
        ) from None


def apply_tables(before: t.Mapping[int, Table], after: t.Mapping[int, Table]) -> None:
    """Turn the tables from ``before`` into ``after`` in one transaction of the kernel: all of it or nothing.

    :raises KernelError: the kernel refused; nothing was changed.
    """
    text = "".join(transaction(before[version], after[version]) for version in after)
    if text:
        _run(text, "write the firewall rules of the tables %s" % _named(after))


def _named(tables: t.Mapping[int, Table]) -> str:
    named = ["%s %s" % (FAMILY[version], TABLE) for version in tables]
    return "%s and %s" % (", ".join(named[:-1]), named[-1])
