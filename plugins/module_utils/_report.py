# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""What a run tells the operator: the sentences and the diff, drawn from the two topologies and the plan."""

from __future__ import annotations

import typing as t
from itertools import groupby
from operator import itemgetter

from ._changes import Change
from ._codec import describe_endpoint, describe_masquerade, describe_network, describe_publish
from ._hostports import Binding, Holder, versions_of
from ._model import Publish
from ._reservations import is_reserved
from ._state import ENDPOINT_ALIAS, NETWORK_ALIAS, Link, endpoint_state
from ._topology import Topology

__all__ = ("actions_of", "diff_of", "port_table", "strangers", "unrecorded", "warnings_of")

Json = t.Dict[str, t.Any]

_DESCRIBE: dict[str, t.Callable[[t.Any], Json]] = {
    "networks": describe_network,
    "endpoints": describe_endpoint,
    "publishes": describe_publish,
    "masquerades": describe_masquerade,
}

# The fields of a publish beyond its key, in their order.
_CHANGEABLE = ("host_port", "loopback", "sources")


def port_table(topology: Topology, reserved: t.Collection[str] = ()) -> dict[str, list[str]]:
    """The published ports of each endpoint, in the manner of ``docker port``.

    :param reserved: the host ports that are kept from other processes.
    """
    table: dict[str, list[str]] = {name: [] for name in sorted(topology.endpoints)}
    for publish in sorted(topology.publishes.values()):
        inner = "%d/%s" % (publish.endpoint_port, publish.protocol)
        bindings = topology.bindings(publish)
        proxied = topology.proxied(publish)
        only = " from %s" % ", ".join(publish.sources) if publish.sources else ""
        for binding in (*(binding for binding in bindings if binding not in proxied), *proxied):
            words = "%s -> %s" % (inner, str(binding).partition("/")[0])
            if binding in proxied:
                words += ", by proxy"
            else:
                words += only + (", reserved" if is_reserved(str(binding), reserved) else "")
            table[publish.endpoint].append(words)
        if not bindings:
            endpoint = topology.endpoints[publish.endpoint]
            addresses = (endpoint.address(version) for version in versions_of(publish, endpoint))
            table[publish.endpoint] += ["%s on %s, by route%s" % (inner, address, only) for address in addresses]
    return {name: lines for name, lines in table.items() if lines}


def strangers(topology: Topology, holders: t.Iterable[Holder]) -> list[str]:
    """Processes of the host that have a published port all the same, a sentence each."""
    book = topology.port_book()
    found = []
    for holder in holders:
        binding = Binding(holder.version, holder.protocol, holder.address, holder.port)
        owner = book.owner(binding)
        if owner is not None:
            found.append(
                "Host port %s, which endpoint %s has published, is held by %s as well."
                % (binding, owner.endpoint, holder.process)
            )
    return found


def unrecorded(topology: Topology, links: t.Iterable[Link]) -> list[str]:
    """Interfaces that bear our mark and that nothing of a topology has, a sentence each: the record was lost."""
    known = {NETWORK_ALIAS + name for name in topology.networks} | {
        ENDPOINT_ALIAS + name for name in topology.endpoints
    }
    return [
        "Interface %s is marked as ours ('%s'), and the record does not know it: it was lost, and no rule guards the "
        "interface. Name that in your playbook, which then takes it over, or remove it by 'ip link delete %s'."
        % (link.name, link.alias, link.name)
        for link in links
        if link.alias.startswith((NETWORK_ALIAS, ENDPOINT_ALIAS)) and link.alias not in known
    ]


def warnings_of(topology: Topology, networks: t.Iterable[str], interfaces: t.Container[str]) -> list[str]:
    """Sentences on what was accepted although it does nothing yet.

    :param networks: those that a request names.
    :param interfaces: the names of the host's interfaces.
    """
    return [
        "Network %s trusts the interface %s, which is not there. Nothing comes from it until it is." % (name, interface)
        for name in sorted(networks)
        if name in topology.networks
        for interface in topology.networks[name].trusted_interfaces
        if interface not in interfaces
    ]


def actions_of(before: Topology, after: Topology, changes: t.Sequence[Change]) -> list[str]:
    """One sentence for each change, those of the topology itself included."""
    # In a routed network several publishes can open one and the same port.
    sentences = list(dict.fromkeys(_publish_sentences(before, after)))
    sentences += _masquerade_sentences(before, after)
    mentioned = {change.subject for change in changes}
    sentences += _silent_sentences(before, after, mentioned)
    for change in changes:
        sentences += change.sentences
    return sentences


def _silent_sentences(before: Topology, after: Topology, mentioned: set[tuple[str, str]]) -> t.Iterator[str]:
    """What changes in the topology without a step on any link."""
    for subject, was, will in sorted(_changed_objects(before, after, ("networks", "endpoints")), key=itemgetter(0)):
        kind = "network" if subject[0] == "networks" else "endpoint"
        if was and will:
            words = ["%s from %s to %s" % (key, was[key], will[key]) for key in will if was[key] != will[key]]
            yield "Change %s %s: %s." % (kind, subject[1], "; ".join(words))
            left = _left_sysctls(after, subject[1], was, will) if kind == "endpoint" else ""
            if left:
                yield "Leave %s of endpoint %s as they are until its namespace is made anew." % (left, subject[1])
        elif subject not in mentioned:
            yield "%s %s %s." % ("Forget" if was else "Adopt", kind, subject[1])


def _left_sysctls(after: Topology, endpoint: str, was: Json, will: Json) -> str:
    """The sysctls of an endpoint that nobody asks for any more. What they were before is not known."""
    wanted = dict(endpoint_state(after, after.endpoints[endpoint]).sysctls)
    left = sorted(key for key in was["sysctls"] if key not in will["sysctls"] and key not in wanted)
    return "the sysctls %s" % ", ".join(left) if left else ""


def _publish_sentences(before: Topology, after: Topology) -> t.Iterator[str]:
    gone = [publish for key, publish in before.publishes.items() if key not in after.publishes]
    new = [publish for key, publish in after.publishes.items() if key not in before.publishes]
    for verb, publishes in (("Unpublish", gone), ("Publish", new)):
        for run in _runs(publishes):
            only = " for %s only" % _words_of(run[0].sources) if run[0].sources and verb == "Publish" else ""
            yield "%s %s%s." % (verb, _run_words(run), only)
    changed: dict[str, list[Publish]] = {}
    for key, publish in after.publishes.items():
        was = before.publishes.get(key)
        if was is not None and was != publish:
            words = [
                "%s from %s to %s" % (name, _words_of(old), _words_of(new))
                for name, old, new in zip(_CHANGEABLE, was[6:], publish[6:])
                if old != new
            ]
            changed.setdefault("; ".join(words), []).append(publish)
    for what, publishes in changed.items():
        for run in _runs(publishes):
            yield "Change %s: %s." % (_run_words(run), what)


def _words_of(value: t.Any) -> str:
    if not isinstance(value, tuple):
        return str(value)
    more = " and %d more" % (len(value) - 5) if len(value) > 5 else ""
    return ", ".join(value[:5]) + more or "everybody"


def _runs(publishes: t.Iterable[Publish]) -> t.Iterator[list[Publish]]:
    """Publishes side by side, as a range was written."""

    def shape(pair: tuple[int, Publish]) -> tuple[t.Any, ...]:
        number, publish = pair
        return (
            publish.endpoint,
            publish.protocol,
            publish.host_address,
            publish.host_port and publish.host_port - publish.endpoint_port,
            (publish.host_port or publish.endpoint_port) - number,
            publish.sources,
        )

    ordered = sorted(publishes, key=lambda p: (p.endpoint, p.protocol, p.host_address, p.host_port, p.endpoint_port))
    for _shape, run in groupby(enumerate(ordered), shape):
        yield [publish for _number, publish in run]


def _run_words(run: list[Publish]) -> str:
    first, last = run[0], run[-1]
    address = first.host_address or "*"
    address = "[%s]" % address if ":" in address else address
    host, inner = str(first.host_port), str(first.endpoint_port)
    if len(run) > 1:
        host, inner = "%s-%d" % (host, last.host_port), "%s-%d" % (inner, last.endpoint_port)
    if not first.host_port:
        return "port %s/%s of endpoint %s by route" % (inner, first.protocol, first.endpoint)
    return "%s:%s/%s to port %s of endpoint %s" % (address, host, first.protocol, inner, first.endpoint)


def _masquerade_sentences(before: Topology, after: Topology) -> t.Iterator[str]:
    for name in sorted(before.masquerades.keys() | after.masquerades.keys()):
        was, will = before.masquerades.get(name), after.masquerades.get(name)
        if was == will:
            continue
        if will is None:
            yield "Stop masquerading %s." % name
        else:
            verb = "Masquerade" if was is None else "Change the masquerade of"
            yield "%s %s%s." % (verb, name, " as %s" % will.to_source if will.to_source else "")


def diff_of(before: Topology, after: Topology, changes: t.Sequence[Change]) -> dict[str, Json]:
    """The objects that change, before and after, each with the properties that change and no others."""
    old: Json = {}
    new: Json = {}
    for subject, was, will in _changed_objects(before, after):
        keys = [key for key in {**was, **will} if was.get(key) != will.get(key) or key not in was or key not in will]
        _put(old, subject, {key: was[key] for key in keys if key in was})
        _put(new, subject, {key: will[key] for key in keys if key in will})
    for change in changes:
        was, will = change.difference()
        _put(old, change.subject, was)
        _put(new, change.subject, will)
    return {"before": old, "after": new}


def _put(side: Json, subject: tuple[str, str], properties: Json) -> None:
    if properties:
        side.setdefault(subject[0], {}).setdefault(subject[1], {}).update(properties)


def _changed_objects(
    before: Topology, after: Topology, kinds: t.Iterable[str] = tuple(_DESCRIBE)
) -> t.Iterator[tuple[tuple[str, str], Json, Json]]:
    """The objects of these kinds that differ, each as it was and will be; {} where it is not there."""
    for kind in kinds:
        old, new = getattr(before, kind), getattr(after, kind)
        for key in () if old is new else [*old, *(key for key in new if key not in old)]:
            if old.get(key) == new.get(key):
                continue
            was, will = (_DESCRIBE[kind](item) if item is not None else {} for item in (old.get(key), new.get(key)))
            if was != will:
                yield (kind, _name_of(new.get(key) or old[key])), was, will


def _name_of(item: t.Any) -> str:
    return "%s %s" % (item.endpoint, item.spec) if isinstance(item, Publish) else str(item.name)
