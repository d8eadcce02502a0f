# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""The iptables shape of the rules: Docker's classic picture under our own names. Pure.

* ``nat``: PREROUTING and OUTPUT lead to ``BRIDGEPORT``, which holds the publishes; POSTROUTING to ``BRIDGEPORT-POST``.
* ``filter``: FORWARD leads to the administrator's ``BRIDGEPORT-USER``, and to ``BRIDGEPORT`` and there to one chain for
  each network, ``BRIDGEPORT/NAME``, all of which only drop: what they let pass goes on through the rules of others, and
  behind those to ``BRIDGEPORT-ACCEPT``. So nothing that others drop, as Docker and libvirt do to keep their networks
  apart, is open for our sake. Where FORWARD leads to Docker's DOCKER-USER, that leads to the first two in its place,
  since Docker puts its accepts in front of FORWARD at each of its starts.
* ``mangle``: PREROUTING leads to the guard. It is there and not in ``raw``, as Docker has it, because only behind
  connection tracking is it known which packets are answers.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ._ipt_sources import ANSWERING, LIMITED, limits_before, limits_behind, subnet_match
from ._ipt_table import ACCEPT_CHAIN, CHAIN, COMMENT, USER_CHAIN, Place, Rule, Tables
from ._ipt_tree import Spot, plant
from ._model import parse_address
from ._ruleset import FamilyRules, NetworkRules, SourceRule, Translation

__all__ = ("fit_tables", "render_accepts", "render_tables")

_POST = CHAIN + "-POST"
_LOOPBACK = {4: "127.0.0.0/8", 6: "::1/128"}
_MULTICAST = {4: "224.0.0.0/4", 6: "ff00::/8"}
_PING = {4: "icmp", 6: "ipv6-icmp"}
_HOST = "host"
_ANSWERS = "-m conntrack --ctstate RELATED,ESTABLISHED"

Chains = t.Dict[Place, t.List[Rule]]


def render_tables(rules: FamilyRules) -> Tables:
    """The chains that carry the rules of one IP version."""
    chains: Chains = {}
    hooks: Chains = {}
    if rules.networks:
        chains.update(_guard(rules))
        chains.update(_filter(rules))
        chains.update(_publish(rules))
        hooks["mangle", "PREROUTING"] = [_rule("", _HOST, CHAIN)]
        chains["filter", ACCEPT_CHAIN] = list(_accepts(rules, False))
        hooks["filter", "FORWARD"] = [_rule("", _HOST, chain) for chain in (USER_CHAIN, CHAIN, ACCEPT_CHAIN)]
        local = "-m addrtype --dst-type LOCAL"
        # The kernel cannot translate the loopback address of IPv6.
        output = "! -d %s %s" % (_LOOPBACK[6], local) if rules.version == 6 else local
        hooks["nat", "PREROUTING"] = [_rule(local, _HOST, CHAIN)]
        hooks["nat", "OUTPUT"] = [_rule(output, _HOST, CHAIN)]
    if rules.networks or rules.sources:
        chains["nat", _POST] = [*_returns(rules), *_sources(rules)]
        hooks["nat", "POSTROUTING"] = [_rule("", _HOST, _POST)]
    return Tables(
        rules.version,
        {place: tuple(lines) for place, lines in chains.items()},
        {place: tuple(lines) for place, lines in hooks.items()},
    )


def fit_tables(rules: FamilyRules, tables: Tables, there: Tables) -> Tables:
    """Fit the chains that carry the rules in with what others have.

    :param there: what is there now, of ours and of others.
    """
    chains, hooks = dict(tables.chains), dict(tables.hooks)
    administrators = ("filter", USER_CHAIN)
    if administrators in chains:
        chains[administrators] = there.chains.get(administrators, ())
    if rules.networks:
        chains["filter", ACCEPT_CHAIN] = tuple(_accepts(rules, there.docker_apart))
    if rules.networks and there.asks_docker:
        *first, last = hooks["filter", "FORWARD"]
        hooks.update({("filter", "DOCKER-USER"): tuple(first), ("filter", "FORWARD"): (last,)})
    return replace(there, chains=chains, hooks=hooks, misplaced=frozenset())


def render_accepts(rules: FamilyRules, there: Tables) -> Tables:
    """What lets the networks' packets pass a FORWARD that drops what it does not know, where another backend decides.

    :param there: what is there now, of ours and of others. Where nothing is dropped, nothing is wanted; but what is
        there already stays, since a firewall that is being restarted drops nothing for a moment.
    """
    wanted = replace(there, chains={}, hooks={}, misplaced=frozenset())
    place = ("filter", ACCEPT_CHAIN)
    standing = bool(there.hooks) and there.chains.keys() == {place}
    if not rules.networks or not (there.closed or standing):
        return wanted
    lead = {("filter", "FORWARD"): (_rule("", _HOST, ACCEPT_CHAIN),)}
    return replace(wanted, chains={place: tuple(_accepts(rules, there.docker_apart))}, hooks=lead)


def _accepts(rules: FamilyRules, docker_apart: bool) -> t.Iterator[Rule]:
    """The least that the networks need; what of it may come in is decided before."""
    for network in rules.networks:
        if network.sealed:
            # Even its own frames come by here, where bridges are filtered as routers are.
            yield _rule(f"-i {network.bridge} -o {network.bridge}", network.bridge, "ACCEPT")
            continue
        if docker_apart:
            # Docker closes the unpublished ports of its containers by the policy alone: so that they stay closed, what
            # leaves by a bridge of Docker's, which this chain of Docker's knows and drops, goes no further.
            yield _rule("-i %s" % network.bridge, network.bridge, "DOCKER-ISOLATION-STAGE-2")
        yield _rule("-i %s" % network.bridge, network.bridge, "ACCEPT")
        if not network.guarded:
            yield _rule("-o %s" % network.bridge, network.bridge, "ACCEPT")
            continue
        states = "-m conntrack --ctstate RELATED,ESTABLISHED,DNAT"
        yield _rule("-o %s %s" % (network.bridge, states), network.bridge, "ACCEPT")
        for interface in network.trusted:
            yield _rule("-i %s -o %s" % (interface, network.bridge), network.bridge, "ACCEPT")


def _rule(match: str, owner: str, target: str) -> Rule:
    return tuple(("%s -m comment --comment %s%s -j %s" % (match, COMMENT, owner, target)).split())


def _network_chain(network: NetworkRules) -> str:
    # No interface name has a slash in it, so it is never the name of another chain.
    return "%s/%s" % (CHAIN, network.bridge)


def _guard(rules: FamilyRules) -> Chains:
    lines = []
    if rules.version == 4:
        lines += [_rule("%s %s ! -i lo" % (end, _LOOPBACK[4]), _HOST, "DROP") for end in ("-d", "-s")]
    lines += _origins(rules)
    lines.append(_rule(_ANSWERS, _HOST, "RETURN"))
    local = "-m addrtype --dst-type LOCAL"
    limits = limits_before(rules)
    if limits:
        lines.append(_rule(local, _HOST, LIMITED))
    lines.append(_rule(local, _HOST, "RETURN"))
    for network in rules.networks:
        if network.guarded:
            for subnet in network.subnets:
                for interface in network.trusted:
                    lines.append(_rule("-d %s -i %s" % (subnet, interface), network.bridge, "RETURN"))
                lines.append(_rule("-d %s ! -i %s" % (subnet, network.bridge), network.bridge, "DROP"))
    return {("mangle", CHAIN): lines, **limits}


def _origins(rules: FamilyRules) -> t.Iterator[Rule]:
    """Whoever has an address of a network comes from its bridge. A list of sources may name it."""
    # A rule matches one interface only; and what the host itself sends is not guarded against.
    yield _rule("-i lo", _HOST, "RETURN")
    for network in rules.networks:
        if not network.addressed:
            # The kernel would answer at any address of its own, and take the way out that it has for the answer.
            yield _rule("-i %s -m addrtype --dst-type LOCAL" % network.bridge, network.bridge, "DROP")
        for subnet in network.subnets if network.addressed else ():
            yield _rule("-s %s ! -i %s" % (subnet, network.bridge), network.bridge, "DROP")


def _filter(rules: FamilyRules) -> Chains:
    first: list[Rule] = []
    chains: Chains = {("filter", USER_CHAIN): [], ("filter", CHAIN): first}
    for network in rules.networks:
        if network.sealed:
            first.append(_rule(f"-i {network.bridge} ! -o {network.bridge}", network.bridge, "DROP"))
    limits = limits_behind(rules)
    chains.update(limits)
    for network in rules.networks:
        if limits and not network.sealed:
            # Before answers: the connections of a source that was taken from a list end, and do not begin anew.
            inward, outward = (form % (network.bridge, network.bridge) for form in ("! -i %s -o %s", "-i %s ! -o %s"))
            first.append(_rule(inward, network.bridge, LIMITED))
            first.append(_rule(outward + " -m conntrack --ctstate NEW", network.bridge, ANSWERING))
    for network in rules.networks:
        first.append(_rule("-o %s" % network.bridge, network.bridge, _network_chain(network)))
        chains.update(_inbound(rules, network))
    return chains


def _inbound(rules: FamilyRules, network: NetworkRules) -> Chains:
    """What may come in to a bridge from the forward path: what returns from there."""
    lines = [_rule(_ANSWERS, network.bridge, "RETURN")]
    if network.sealed:
        # Before answers: what flowed when the network was not yet sealed ends.
        lines.insert(0, _rule("! -i %s" % network.bridge, network.bridge, "DROP"))
    drop = _rule("", network.bridge, "DROP")
    below: dict[str, list[Rule]] = {}
    if network.icc:
        lines.append(_rule("-i %s" % network.bridge, network.bridge, "RETURN"))
    elif not network.sealed:
        # Neighbours reach published ports by way of the host's address, and nothing by any other.
        lines.append(_rule("-i %s -m conntrack --ctstate DNAT" % network.bridge, network.bridge, "RETURN"))
        lines.append(_rule("-i %s" % network.bridge, network.bridge, "DROP"))
    if not network.sealed:
        if network.pings:
            lines.append(_rule("-p %s" % _PING[rules.version], network.bridge, "RETURN"))
        ports, below = plant(list(_open_ports(rules, network)), rules.version, network.bridge, last=drop)
        lines += ports
    lines.append(drop)
    return {("filter", _network_chain(network)): lines, **{("filter", name): rest for name, rest in below.items()}}


def _open_ports(rules: FamilyRules, network: NetworkRules) -> t.Iterator[Spot]:
    length = 32 if rules.version == 4 else 128
    for port in rules.open_ports:
        address = parse_address(port.address, "address of an endpoint")
        if any(address in subnet for subnet in network.subnets):
            match = f"-d {address}/{length} -p {port.protocol} -m {port.protocol} --dport {port.port}"
            yield Spot(int(address), port.protocol, port.port, _rule(match, network.bridge, "RETURN"))


def _publish(rules: FamilyRules) -> Chains:
    # One host address goes before every host address.
    ordered = sorted(rules.translations, key=lambda item: not item.host_address)
    spots = [Spot(0, item.protocol, item.host_port, _translation(rules, item)) for item in ordered]
    lines, below = plant(spots, 0, _HOST)
    if rules.version == 6:
        # A link-local client cannot be answered from elsewhere.
        lines.insert(0, _rule("-s fe80::/10", _HOST, "RETURN"))
    return {("nat", CHAIN): lines, **{("nat", name): rest for name, rest in below.items()}}


def _translation(rules: FamilyRules, item: Translation) -> Rule:
    match = f"-p {item.protocol} -m {item.protocol} --dport {item.host_port}"
    target = "DNAT --to-destination "
    if rules.version == 6:
        target += "[%s]:%d" % (item.to_address, item.to_port)
        if item.host_address:
            match = "-d %s/128 %s" % (item.host_address, match)
        return _rule(match, item.owner, target)
    target += "%s:%d" % (item.to_address, item.to_port)
    if item.host_address:
        match = "-d %s/32 %s" % (item.host_address, match)
    elif (item.protocol, item.host_port) in rules.silent_loopback:
        match = "! -d %s %s" % (_LOOPBACK[4], match)
    return _rule(match, item.owner, target)


def _returns(rules: FamilyRules) -> t.Iterator[Rule]:
    """A translated connection whose answer would otherwise not pass this host again must seem to come from it."""
    translated = "-m conntrack --ctstate DNAT"
    for network in rules.networks:
        for subnet in network.subnets:
            yield _rule("-s %s -o %s %s" % (subnet, network.bridge, translated), network.bridge, "MASQUERADE")
        yield _rule(
            "-o %s -m addrtype --src-type LOCAL %s" % (network.bridge, translated), network.bridge, "MASQUERADE"
        )


def _sources(rules: FamilyRules) -> t.Iterator[Rule]:
    if rules.sources:
        yield _rule("-o lo", _HOST, "RETURN")
    for rule in rules.sources:
        match = " ".join([*subnet_match("-s", rule.subnet), "! -d", _MULTICAST[rules.version]])
        if rule.except_out:
            match += " ! -o %s" % rule.except_out
        yield _rule(match, rule.owner, _source_target(rule))


def _source_target(rule: SourceRule) -> str:
    return "MASQUERADE" if rule.to_source is None else "SNAT --to-source %s" % rule.to_source
