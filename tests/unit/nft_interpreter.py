# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small stand-in for ``nft``: it carries out the lines that a transaction is made of, as strictly as the kernel does,
and lists a table as ``nft -j`` prints it."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.bridgeport.net.plugins.module_utils._nft_table import (
    FAMILY,
    Chain,
    Element,
    Table,
    set_flags,
)

_HOOK = re.compile(r"\{ type (\S+) hook (\S+) priority (-?\d+); policy accept; \}\Z")
_RULE = re.compile(r'(.*) comment "([^"]{1,128})"\Z')
_TYPE = re.compile(r"\{ type ([^;]+);( flags interval;)? \}\Z")
_TYPEOF = {"{ typeof iifname . ether saddr . @th,64,128; }": "ifname . ether_addr . integer"}
_ELEMENT = re.compile(r'(?P<key>.+?)(?: comment "(?P<comment>[^"]+)")?(?: : (?P<data>.+))?\Z')


def _value(text: str) -> tuple[t.Any, ...]:
    if text.startswith("jump "):
        return ("jump", text[len("jump ") :])
    return tuple(int(part) if part.isdigit() else part.strip('"') for part in text.split(" . "))


class Kernel:
    """One table of one IP version."""

    def __init__(self, table: Table) -> None:
        self._hold(table)

    def _hold(self, table: Table) -> None:
        self.version = table.version
        self.exists = table.exists
        self.sets = dict(table.sets)
        self.elements = {name: dict(table.elements.get(name, {})) for name in table.sets}
        self.hooks = {name: chain.hook for name, chain in table.chains.items()}
        self.rules = {name: list(chain.rules) for name, chain in table.chains.items()}

    def run(self, transaction: str) -> Table:
        """Carry out a transaction and say what the table holds then."""
        for line in transaction.splitlines():
            verb, what, family, table, *rest = line.split(" ", 4)
            assert (family, table) == (FAMILY[self.version], "bridgeport"), line
            assert self.exists or (verb, what) == ("add", "table"), line
            getattr(self, "%s_%s" % (verb, what))(*rest)
        chains = {name: Chain(name, hook, tuple(self.rules[name])) for name, hook in self.hooks.items()}
        return Table(self.version, self.exists, self.sets, self.elements, chains)

    def add_table(self) -> None:
        self.exists = True

    def delete_table(self) -> None:
        self._hold(Table(self.version))

    def add_set(self, text: str) -> None:
        name, body = text.split(" ", 1)
        match = _TYPE.match(body)
        assert match or body in _TYPEOF, text
        assert name not in self.sets, text
        self.sets[name] = match[1] if match else _TYPEOF[body]
        self.elements[name] = {}

    add_map = add_set

    def delete_set(self, name: str) -> None:
        assert not any("@" + name in text.split() for rules in self.rules.values() for text, _comment in rules), name
        del self.sets[name], self.elements[name]

    delete_map = delete_set

    def add_chain(self, text: str) -> None:
        name, _space, body = text.partition(" ")
        assert name not in self.hooks, text
        match = _HOOK.match(body) if body else None
        self.hooks[name] = (match[1], match[2], int(match[3])) if match else None
        assert bool(body) == bool(match), text
        self.rules[name] = []

    def flush_chain(self, name: str) -> None:
        self.rules[name].clear()

    def delete_chain(self, name: str) -> None:
        assert not self.rules[name], name
        assert ("jump", name) not in [e.data for elements in self.elements.values() for e in elements.values()], name
        assert not any(text.endswith("jump " + name) for rules in self.rules.values() for text, _comment in rules), name
        del self.hooks[name], self.rules[name]

    def add_rule(self, text: str) -> None:
        name, body = text.split(" ", 1)
        match = _RULE.match(body)
        assert match, text
        for used in re.findall(r"@([a-z]\w*)(?: |$)", match[1]):
            assert used in self.sets, text
        for target in re.findall(r"jump (\S+)", match[1]):
            assert target in self.hooks, text
        self.rules[name].append((match[1], match[2]))

    def _elements(self, text: str) -> tuple[dict[t.Any, Element], list[Element]]:
        name, body = text.split(" ", 1)
        found = []
        for part in body[len("{ ") : -len(" }")].split(", "):
            match = _ELEMENT.match(part)
            assert match, part
            data = _value(match["data"]) if match["data"] else ()
            found.append(Element(_value(match["key"]), data, match["comment"] or ""))
        return self.elements[name], found

    def add_element(self, text: str) -> None:
        there, new = self._elements(text)
        for element in new:
            assert element.key not in there, text
            assert element.data[:1] != ("jump",) or element.data[1] in self.hooks, text
            there[element.key] = element

    def delete_element(self, text: str) -> None:
        there, gone = self._elements(text)
        for element in gone:
            assert (element.data, element.comment) == ((), ""), text
            del there[element.key]


def _json(key: tuple[t.Any, ...], kind: str) -> t.Any:
    if key[0] == "jump":
        return {"jump": {"target": key[1]}}
    if len(key) > 1:
        return {"concat": list(key)}
    if "addr" in kind and "/" in key[0]:
        address, _slash, length = key[0].partition("/")
        return {"prefix": {"addr": address, "len": int(length)}}
    return key[0]


def listing(table: Table) -> list[dict[str, t.Any]]:
    """A table as ``nft -j list table`` prints it (its ``nftables`` array)."""
    at = {"family": FAMILY[table.version], "table": "bridgeport"}
    found: list[dict[str, t.Any]] = [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}}]
    if table.exists:
        found.append({"table": {"family": at["family"], "name": "bridgeport", "handle": 1}})
    for name, kind in table.sets.items():
        key_type, _colon, data_type = kind.partition(" : ")
        types = key_type.split(" . ")
        body: dict[str, t.Any] = {**at, "name": name, "type": types if len(types) > 1 else key_type, "handle": 2}
        if set_flags(name):
            body["flags"] = [set_flags(name)]
        if data_type:
            body["map"] = data_type
        elements = []
        for element in table.elements[name].values():
            item = _json(element.key, kind)
            if element.comment:
                item = {"elem": {"val": item, "comment": element.comment}}
            elements.append([item, _json(element.data, kind)] if element.data else item)
        if elements:
            body["elem"] = elements
        found.append({"map" if data_type else "set": body})
    for chain in table.chains.values():
        body = {**at, "name": chain.name, "handle": 3}
        if chain.hook:
            body.update(zip(("type", "hook", "prio"), chain.hook), policy="accept")
        found.append({"chain": body})
    for chain in table.chains.values():
        for _text, comment in chain.rules:
            found.append(
                {"rule": {**at, "chain": chain.name, "handle": 4, "comment": comment, "expr": [{"accept": None}]}}
            )
    return found
