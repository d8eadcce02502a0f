# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Reading what ``nft -j`` lists into a table. Pure."""

from __future__ import annotations

import json
import typing as t

from ._errors import KernelError
from ._nft_table import FAMILY, TABLE, Chain, Element, Key, Table, set_flags, target_text

__all__ = ("parse_table",)

_PROTOCOLS = {"6": "tcp", "17": "udp", "132": "sctp"}


def _spelled_target(value: t.Any) -> t.Any:
    try:
        return target_text(int(str(value), 0))
    except ValueError:
        return value


# Parts of a key that not every host and version of nft prints alike: one without /etc/protocols lists numbers.
_SPELLINGS: tuple[tuple[str, t.Callable[[t.Any], t.Any]], ...] = (
    ("inet_proto", lambda value: _PROTOCOLS.get(str(value), value)),
    ("integer", _spelled_target),
)


def parse_table(version: int, listing: t.Iterable[t.Mapping[str, t.Any]]) -> Table:
    """Read the objects of ``nft -j list table`` (its ``nftables`` array) into a :class:`Table`.

    :raises KernelError: they cannot be understood.
    """
    try:
        return _parse(version, listing)
    except (AttributeError, KeyError, IndexError, StopIteration, TypeError, ValueError) as problem:
        raise KernelError(
            "Cannot read the table %s %s: nftables listed what cannot be understood (%s: %s). Look at 'nft list table "
            "%s %s'." % (FAMILY[version], TABLE, type(problem).__name__, problem, FAMILY[version], TABLE)
        ) from None


def _parse(version: int, listing: t.Iterable[t.Mapping[str, t.Any]]) -> Table:
    exists = flagged = False
    sets: dict[str, str] = {}
    elements: dict[str, dict[Key, Element]] = {}
    heads: dict[str, tuple[str, str, int] | None] = {}
    rules: dict[str, list[tuple[str, str]]] = {}
    for item in listing:
        kind, body = next(iter(item.items()))
        if kind == "table":
            exists, flagged = True, bool(body.get("flags"))
        elif kind in ("set", "map"):
            name = _text(body["name"])
            sets[name] = _listed_type(body)
            kinds = sets[name].partition(" : ")[0].split(" . ")
            listed = (_listed_element(item, kinds) for item in body.get("elem", ()))
            elements[name] = {element.key: element for element in listed}
        elif kind == "chain":
            heads[_text(body["name"])] = _listed_hook(body)
        elif kind == "rule":
            rules.setdefault(_text(body["chain"]), []).append(("", _text(body.get("comment", ""))))
    chains = {name: Chain(name, hook, tuple(rules.get(name, ()))) for name, hook in heads.items()}
    return Table(version, exists, sets, elements, chains, flagged)


def _text(value: t.Any) -> str:
    if not isinstance(value, str):
        raise TypeError("%r is no text" % (value,))
    return value


def _listed_hook(body: t.Mapping[str, t.Any]) -> tuple[str, str, int] | None:
    if "hook" not in body:
        return None
    # Ours have the policy accept. Another one shows as another kind of chain, and so replaces the table.
    policy = body.get("policy", "accept")
    kind = body["type"] if policy == "accept" else "%s, policy %s" % (body["type"], policy)
    return kind, body["hook"], body["prio"]


def _listed_type(body: t.Mapping[str, t.Any]) -> str:
    kind = body["type"]
    if isinstance(kind, dict):
        # Since nftables 1.1, a set that was declared by what is compared with it is listed so.
        kind = [_type_of(part) for part in kind.get("typeof", {}).get("concat", ())]
    text = kind if isinstance(kind, str) else " . ".join(kind)
    flags = body.get("flags", [])
    if (flags if isinstance(flags, str) else " ".join(flags)) != set_flags(body["name"]):
        # Ours has others. So it shows as one of another type, and replaces the table.
        text += ", other flags"
    if "map" not in body:
        return text
    data = body["map"]
    return "%s : %s" % (text, data if isinstance(data, str) else " . ".join(data))


def _type_of(expression: t.Mapping[str, t.Any]) -> str:
    """The type of an expression of ours, in its name; "unknown" for any other."""
    payload = expression.get("payload", {})
    if expression.get("meta", {}).get("key") == "iifname":
        return "ifname"
    if (payload.get("protocol"), payload.get("field")) == ("ether", "saddr"):
        return "ether_addr"
    return "integer" if "base" in payload else "unknown"


def _listed_element(item: t.Any, kinds: t.Sequence[str]) -> Element:
    """Read one element, whose key has parts of these kinds."""
    data: t.Any = ()
    if isinstance(item, list):
        item, data = item
    comment = ""
    if isinstance(item, dict) and "elem" in item:
        comment = item["elem"].get("comment", "")
        item = item["elem"]["val"]
    key = _listed_value(item)
    for kind, spell in _SPELLINGS:
        at = kinds.index(kind) if kind in kinds else len(key)
        # What stands for all that is not listed has one part.
        if at < len(key):
            key = (*key[:at], spell(key[at]), *key[at + 1 :])
    return Element(key, _listed_value(data) if data != () else (), comment)


def _listed_value(value: t.Any) -> Key:
    if isinstance(value, dict):
        if "concat" in value:
            parts = value["concat"]
            return tuple(map(_word, parts)) if any(isinstance(part, dict) for part in parts) else tuple(parts)
        for verdict in ("jump", "goto"):
            if verdict in value:
                return (verdict, value[verdict]["target"])
    return (_word(value),)


def _word(value: t.Any) -> t.Any:
    """One part of a key, as nft reads it again. What nothing of ours looks like is just some text."""
    if not isinstance(value, dict):
        return value
    if "prefix" in value:
        return "%s/%s" % (value["prefix"]["addr"], value["prefix"]["len"])
    if "range" in value:
        return "%s-%s" % tuple(value["range"])
    return json.dumps(value, sort_keys=True)
