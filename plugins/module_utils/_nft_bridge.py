# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""The nftables shape of what holds for frames on the bridges: our table of the family ``bridge``. Pure.

Of what endpoints send, two rules let pass all but a few frames, each by one look-up of interface, MAC and IP address in
a hash. They do not need br_netfilter, and stand before what it does.
"""

from __future__ import annotations

import typing as t
from ipaddress import IPv4Address

from ._nft_table import LINK, Chain, Element, Key, Table, chain_of, target_text
from ._ruleset import LinkRules

__all__ = ("render_bridges",)

_TYPES = {
    "guarded_ports": "ifname",
    "own_macs": "ifname . ether_addr",
    "own_ipv4": "ifname . ether_addr . ipv4_addr",
    "own_ipv6": "ifname . ether_addr . ipv6_addr",
    "own_targets": "ifname . ether_addr . integer",
    "apart_ports": "ifname",
    "apart_macs": "ifname . ether_addr",
}
# Before br_netfilter (0).
_PRIORITY = -250
_TO_ONE = "ether daddr & 01:00:00:00:00:00 == 00:00:00:00:00:00"
_TO_MANY = "ether daddr & 01:00:00:00:00:00 != 00:00:00:00:00:00"
_MAC = "iifname . ether saddr"


def render_bridges(rules: LinkRules) -> Table:
    """The table that carries the rules of the link layer."""
    if rules.empty:
        return Table(LINK)
    elements: dict[str, dict[Key, Element]] = {name: {} for name in _TYPES}

    def put(name: str, *key: str) -> None:
        elements[name][key] = Element(key)

    for identity in rules.identities:
        port = (identity.interface, identity.mac)
        put("guarded_ports", identity.interface)
        put("own_macs", *port)
        for address in identity.addresses:
            if isinstance(address, IPv4Address):
                put("own_ipv4", *port, str(address))
            else:
                put("own_ipv6", *port, str(address))
                put("own_targets", *port, target_text(int(address)))
    for interface, mac in rules.apart:
        put("apart_ports", interface)
        put("apart_macs", interface, mac)
    return Table(LINK, True, _TYPES, elements, {chain.name: chain for chain in _chains(rules)})


def _chains(rules: LinkRules) -> t.Iterator[Chain]:
    prerouting: list[tuple[str, str]] = []
    if rules.apart:
        prerouting.append(
            ("iifname @apart_ports %s iifname . ether daddr != @apart_macs drop" % _TO_ONE, "apart: to the host only")
        )
        flooded = [("iifname @apart_ports %s drop" % _TO_MANY, "apart: not to neighbours")]
        yield chain_of("forward", ("filter", "forward", _PRIORITY), flooded)
    if rules.identities:
        yield chain_of("own", None, _own())
        prerouting += [
            ("ether type ip %s . ip saddr @own_ipv4 accept" % _MAC, "own IPv4 address"),
            ("ether type ip6 meta l4proto != icmpv6 %s . ip6 saddr @own_ipv6 accept" % _MAC, "own IPv6 address"),
            ("iifname @guarded_ports jump own", "all else that endpoints send"),
        ]
    yield chain_of("prerouting", ("filter", "prerouting", _PRIORITY), prerouting)


def _own() -> t.Iterator[tuple[str, str]]:
    """What an endpoint may send besides IP packets from its own addresses."""
    yield "%s != @own_macs drop" % _MAC, "not its MAC address"
    yield "ether type arp iifname . arp saddr ether != @own_macs drop", "not its MAC address in ARP"
    yield "ether type arp arp saddr ip 0.0.0.0 return", "asks whether an address is free"
    yield "ether type arp %s . arp saddr ip @own_ipv4 return" % _MAC, "own address in ARP"
    yield "icmpv6 type { nd-router-advert, nd-redirect } drop", "endpoints are no routers"
    # What is right passes, not what is not seen to be wrong: of a fragment the target may not be there to be read.
    yield "icmpv6 type nd-neighbor-advert %s . @th,64,128 @own_targets return" % _MAC, "own address in ND"
    yield "icmpv6 type nd-neighbor-advert drop", "not its address in ND"
    free = "icmpv6 type nd-neighbor-solicit ip6 saddr :: %s . @th,64,128 @own_targets return" % _MAC
    yield free, "asks whether its address is free"
    yield "icmpv6 type { mld-listener-report, mld2-listener-report } ip6 saddr :: return", "has no address yet"
    yield "ether type ip6 %s . ip6 saddr @own_ipv6 return" % _MAC, "own address in ICMPv6"
    yield "drop", "not its own"
