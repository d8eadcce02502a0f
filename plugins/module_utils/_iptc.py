# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""python-iptables with its faults repaired, and one table by way of it. Only for a child process.

Works with 1.0.0 to 1.2.0, and with iptables 1.8.2 to 1.8.11 under it.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import glob
import os
import socket
import sys
import sysconfig
import types
import typing as t

from ._ipt_table import Rule

__all__ = ("IptcTable", "load_library", "try_library")

_EXTENSIONS = ("/usr/lib/*-linux-gnu*/xtables", "/usr/lib64/xtables", "/usr/lib/xtables", "/lib/xtables")
_PROTOCOLS = {"ipv6-icmp": "icmpv6"}
# libxtables has been at 12 since 2015.
_NEWEST_LIBRARY = 19
_CHANGED_MEANWHILE = "temporarily unavailable"

Library = t.Any


def load_library() -> Library:
    """Import python-iptables and repair it.

    :raises Exception: whatever a missing or broken library raises; it is seldom an ImportError.
    """
    # Without these it would ask ldconfig for what is always in the same places.
    for pattern in _EXTENSIONS:
        for path in glob.glob(pattern):
            os.environ.setdefault("XTABLES_LIBDIR", path)
    os.environ.setdefault("IPTABLES_LIBDIR", ":".join(path for path in sys.path if path.endswith("-packages")))
    ctypes.util.find_library = _find_library
    _stand_in_for_distutils()
    import iptc
    from iptc import xtables

    _raise_errors(xtables)
    _walk_options(xtables)
    # To look up the name of a chain it would open, and so make, all tables of the kernel.
    iptc.Rule.tables = property(_own_table)
    iptc.Rule6.tables = property(_own_table)
    return iptc


def _stand_in_for_distutils() -> None:
    """Older versions want one function of a package that Python has no more, or that loads all of setuptools."""
    package, module = types.ModuleType("distutils"), types.ModuleType("distutils.sysconfig")
    vars(module)["get_python_lib"] = lambda: sysconfig.get_path("platlib")
    sys.modules.setdefault("distutils", package)
    sys.modules.setdefault("distutils.sysconfig", module)


def _find_library(name: str) -> str | None:
    """In place of the standard library's search, which runs ldconfig, gcc and ld."""
    for major in range(_NEWEST_LIBRARY, -1, -1):
        path = "lib%s.so.%d" % (name, major)
        try:
            ctypes.CDLL(path)
        except OSError:
            continue
        return path
    return None


def _own_table(rule: t.Any) -> list[t.Any]:
    return [rule.chain.table] if rule.chain is not None else []


def _raise_errors(xtables: t.Any) -> None:
    """An error of libxtables goes through a Python function that is jumped out of; the C function for it is there."""
    thrower = ctypes.cast(xtables._lib_xtwrapper.throw_exception, ctypes.c_void_p).value
    place = ctypes.addressof(xtables._xt_globals) + xtables.xtables_globals.exit_err.offset
    ctypes.c_void_p.from_address(place).value = thrower


def _walk_options(xtables: t.Any) -> None:
    """iptables 1.8.11 made an option's description longer, under the same version of its library.

    Where the second one of a list begins is seen from whether a pointer to its name stands there.
    """

    class Longer(ctypes.Structure):
        _fields_: t.ClassVar[t.Any] = [*xtables.xt_option_entry._fields_, ("base", ctypes.c_uint)]

    short = ctypes.sizeof(xtables.xt_option_entry)
    first = ctypes.cast(xtables.xtables(socket.AF_INET).find_match("udp")[0].x6_options, ctypes.c_void_p).value or 0
    name = ctypes.c_void_p.from_address(first + short).value or 0
    step = short if name > 1 << 16 else ctypes.sizeof(Longer)

    def walk(entries: t.Any) -> t.Iterator[t.Any]:
        address = ctypes.cast(entries, ctypes.c_void_p).value or 0
        while True:
            entry = xtables.xt_option_entry.from_address(address)
            if not entry.name:
                return
            yield entry
            address += step

    def lookup(_self: t.Any, entries: t.Any, wanted: bytes) -> t.Any:
        return next((entry for entry in walk(entries) if entry.name == wanted), None)

    def check(_self: t.Any, what: t.Any, flags: int, entries: t.Any) -> None:
        for entry in walk(entries):
            if entry.flags & xtables.XTOPT_MAND and not flags & (1 << entry.id):
                raise xtables.XTablesError("%s: --%s must be specified" % (what, entry.name))

    xtables.xtables._option_lookup = lookup
    xtables.xtables._options_fcheck = check


def try_library() -> None:
    """Build a rule of every kind that is needed, and enter none of them anywhere.

    :raises Exception: the library cannot.
    """
    library = load_library()
    for rule in (
        "! -d 127.0.0.0/8 -p udp -m udp --dport 53 -m comment --comment a:b -j DNAT --to-destination 10.0.0.1:53",
        "-s 10.0.0.0/8 ! -o eth0 -m addrtype --src-type LOCAL -m conntrack --ctstate DNAT -j MASQUERADE",
        "-p tcp -m tcp --dport 1:2 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-s 10.0.0.0/8 -j SNAT --to-source 192.0.2.1",
    ):
        build_rule(library.Rule(), library, tuple(rule.split()))


def build_rule(rule: t.Any, library: Library, words: Rule) -> bytes:
    """The bytes of a rule that is written as iptables-save prints it.

    :param rule: an empty Rule or Rule6, in a chain where it is to lead to another.
    """
    part: t.Any = None
    for option, negated, values in _options(words):
        mark = "!" if negated else ""
        value = values[0] if values else ""
        if option == "-s":
            rule.src = mark + value
        elif option == "-d":
            rule.dst = mark + value
        elif option == "-i":
            rule.in_interface = mark + value
        elif option == "-o":
            rule.out_interface = mark + value
        elif option == "-p":
            rule.protocol = mark + _PROTOCOLS.get(value, value)
        elif option == "-m":
            part = rule.create_match(value)
        elif option in ("-j", "-g"):
            part = library.Target(rule, value, goto=option == "-g")
            rule.target = part
        elif option.startswith("--") and part is not None:
            part.set_parameter(option[2:], [mark, *values] if len(values) > 1 and mark else mark + value)
        else:
            raise ValueError("the option %s is not understood" % option)
    if rule.target is None:
        raise ValueError("the rule has no target")
    # Some targets are only complete behind their check.
    rule.final_check()
    _compare_whole_names(rule)
    return bytes(rule.rule)


def _compare_whole_names(rule: t.Any) -> None:
    """Of IPv6 rules, the library has the kernel compare one bit of each character of an interface's name."""
    ends = getattr(rule.entry, "ipv6", None)
    for mask in ("iniface_mask", "outiface_mask") if ends is not None else ():
        setattr(ends, mask, bytes(getattr(ends, mask)).replace(b"\1", b"\xff"))


def _options(words: Rule) -> t.Iterator[tuple[str, bool, list[str]]]:
    """The options of a rule, each with whether it is negated, and its values."""
    option, negated = "", False
    values: list[str] = []
    next_negated = False
    for word in words:
        if word == "!":
            next_negated = True
        elif word.startswith("-") and len(word) > 1 and not word[1].isdigit():
            if option:
                yield option, negated, values
            option, negated, values = word, next_negated, []
            next_negated = False
        else:
            values.append(word)
    if option:
        yield option, negated, values


class IptcTable:
    """A copy of one table, to be changed and then committed as a whole."""

    def __init__(self, library: Library, version: int, name: str) -> None:
        kind = library.Table if version == 4 else library.Table6
        self._library = library
        self._table = kind(name, autocommit=False)
        # With autocommit it would write what is in it; the copy may be of an earlier look.
        self._table.autocommit = False
        self._table.refresh()
        self._calls = self._table._iptc
        self._version = version

    def build(self, rule: Rule) -> bytes:
        """The bytes of a rule for this table."""
        library = self._library
        chain = library.Chain(self._table, "PREROUTING" if self._table.name != "filter" else "FORWARD")
        empty = library.Rule(chain=chain) if self._version == 4 else library.Rule6(chain=chain)
        return build_rule(empty, library, rule)

    def make(self, chain: str) -> None:
        """Make a chain, or empty the one that is there."""
        if self._table.is_chain(chain):
            self._table.flush_entries(chain)
        else:
            self._table.create_chain(chain)

    def append(self, chain: str, blob: bytes) -> None:
        """Append a rule to a chain."""
        self._table.append_entry(chain, ctypes.create_string_buffer(blob, len(blob)))

    def insert(self, chain: str, blob: bytes, behind: int) -> None:
        """Insert a rule into a chain, behind so many others."""
        self._table.insert_entry(chain, ctypes.create_string_buffer(blob, len(blob)), behind)

    def delete(self, chain: str, target: str) -> None:
        """Delete the first rule of a chain that leads to ``target``, if there is one."""
        entry = self._calls.iptc_first_rule(chain.encode(), self._table._handle)
        number = 0
        while entry:
            if self._calls.iptc_get_target(entry, self._table._handle) == target.encode():
                if self._calls.iptc_delete_num_entry(chain.encode(), number, self._table._handle) != 1:
                    raise OSError("cannot delete rule %d of chain %s" % (number + 1, chain))
                return
            number += 1
            entry = self._calls.iptc_next_rule(entry, self._table._handle)

    def flush(self, chain: str) -> None:
        """Empty a chain, if it is there."""
        if self._table.is_chain(chain):
            self._table.flush_entries(chain)

    def remove(self, chain: str) -> None:
        """Remove an empty chain, if it is there."""
        if self._table.is_chain(chain):
            self._table.delete_chain(chain)

    def commit(self) -> bool:
        """Hand the copy to the kernel; False if the kernel's table has changed since it was made."""
        try:
            self._table.commit()
        except self._library.IPTCError as problem:
            if _CHANGED_MEANWHILE in str(problem):
                return False
            raise
        return True
