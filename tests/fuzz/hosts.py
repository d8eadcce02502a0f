# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts as values: what they were given, and what somebody has done to them since."""

from __future__ import annotations

import typing as t
from dataclasses import replace
from ipaddress import ip_interface, ip_network
from types import MappingProxyType

from ansible_collections.bridgeport.net.plugins.module_utils._backends import rendered
from ansible_collections.bridgeport.net.plugins.module_utils._facts import StaticFacts, Way
from ansible_collections.bridgeport.net.plugins.module_utils._foreign import FIREWALLD_FILES, ForeignChains
from ansible_collections.bridgeport.net.plugins.module_utils._hostports import Holder, HostPorts
from ansible_collections.bridgeport.net.plugins.module_utils._ipt_listing import parse_save
from ansible_collections.bridgeport.net.plugins.module_utils._ipt_table import Tables
from ansible_collections.bridgeport.net.plugins.module_utils._nft_table import Element, Table, chain_of
from ansible_collections.bridgeport.net.plugins.module_utils._proxy_units import proxies_of
from ansible_collections.bridgeport.net.plugins.module_utils._reservations import reserved_of
from ansible_collections.bridgeport.net.plugins.module_utils._state import (
    FileState,
    Inside,
    Link,
    Observed,
)
from ansible_collections.bridgeport.net.plugins.module_utils._topology import Topology
from carrying import without
from hypothesis import strategies as st
from samples import decided, observed

BACKENDS = ["nftables", "iptables-nft", "iptables-legacy"]
FACTS = StaticFacts(
    on_link=[(ip_network("192.168.52.0/24"), "eth0"), (ip_network("172.17.0.0/16"), "docker9")],
    nameservers=[ip_network("172.18.0.53/32").network_address],
    ports=HostPorts((40000, 40019), frozenset({40001}), (Holder(4, "tcp", "", 81, "process nginx (pid 7)"),)),
    routes={ip_network("0.0.0.0/0"): Way("eth0"), ip_network("192.168.52.203/32"): Way("lo", local=True)},
)
_NETWORKS: list[dict[str, t.Any]] = [
    {"name": "lan0", "subnets": ["10.0.0.0/24"], "trusted_interfaces": ["eth1"]},
    {"name": "dual0", "subnets": ["10.0.1.0/24", "fd00:1::/64"], "icc": False},
    {"name": "routed0", "subnets": ["10.0.2.0/29", "fd00:2::/125"], "mode": "routed"},
    {"name": "inner0", "subnets": ["10.0.3.0/30"], "mode": "internal"},
]
_ENDPOINTS: list[dict[str, t.Any]] = [
    {"name": "web", "network": "lan0", "expose": ["5000"], "nameservers": ["192.0.2.53"], "aliases": ["www"]},
    {"name": "db", "network": "lan0", "guard": False, "routes": [{"destination": "10.99.0.0/16", "via": "10.0.0.1"}]},
    {"name": "both", "network": "dual0", "expose": ["53/udp"], "sysctls": {"net.core.somaxconn": 99}},
    {"name": "r", "network": "routed0"},
]
_PUBLISHES: list[dict[str, t.Any]] = [
    {"endpoint": "web", "ports": ["80:5000", "127.0.0.1:82:5000"], "sources": None},
    {"endpoint": "db", "ports": ["6000-6001:6000-6001/udp"], "sources": ["192.0.2.0/24"]},
    {"endpoint": "both", "ports": ["9000", "[::]:84:84"], "loopback": "none"},
    {"endpoint": "both", "ports": ["85:85"], "loopback": "proxy"},
    {"endpoint": "r", "ports": ["90:90"], "sources": ["2001:db8::/32", "10.0.0.0/8"]},
]
_MASQUERADES: list[dict[str, t.Any]] = [{"network": "lan0"}, {"source": "10.9.0.0/24", "except_out_interface": "br9"}]


def _frozen(topology: Topology) -> Topology:
    """One that cannot be changed in place."""
    parts = ("networks", "endpoints", "publishes", "masquerades")
    return Topology(**{part: MappingProxyType(dict(getattr(topology, part))) for part in parts})


TOPOLOGIES = [
    _frozen(decided(_NETWORKS[:a], _ENDPOINTS[:b], _PUBLISHES[:c], _MASQUERADES[:d], FACTS))
    for a, b, c, d in ((0, 0, 0, 0), (1, 0, 0, 1), (1, 2, 0, 0), (1, 2, 2, 2), (2, 3, 4, 1), (3, 4, 5, 2), (4, 4, 5, 2))
]


class World(t.NamedTuple):
    """A host: what its record holds, what is there, and who carries its rules."""

    topology: Topology
    seen: Observed
    backend: str


def intact(topology: Topology, backend: str) -> Observed:
    """A host of three backends that holds just what it was given."""
    found = observed(topology)
    tables = {name: rendered(name, topology if name == backend else Topology()) for name in BACKENDS}
    if backend != "nftables":
        tables["nftables"] = {**tables["nftables"], 2: rendered("nftables", topology)[2]}
    return replace(found, tables=tables, proxies=proxies_of(topology), reserved=reserved_of(topology))


INTACT = {(number, name): intact(topology, name) for number, topology in enumerate(TOPOLOGIES) for name in BACKENDS}


# What somebody may have done to a host


def _link(name: str, kind: str, alias: str) -> Link:
    return Link(99, name, kind, "06:00:00:00:00:99", 1400, False, alias, 0, False, False)


_NAMES = ["lan0", "dual0", "fresh0", "fresh1", "bp-web", "bp-db", "bp-new", "br-1.x"]
_SPACES = ["web", "db", "both", "new", "drop"]
_ALIASES = [
    "",
    "bridgeport.net network lan0",
    "bridgeport.net endpoint web",
    "uplink",
    "\n",
    "\u2028",
    "é" * 80,
    'a"b',
    "\ud800",
]
links = st.builds(
    _link,
    st.sampled_from(_NAMES),
    st.sampled_from(["bridge", "veth", "dummy", "", "macvlan"]),
    st.sampled_from(_ALIASES),
)
files = st.sampled_from(["", "# Written by bridgeport.net.\n", "nameserver 10.0.0.1\n", "\0\ufffd", "x" * 5000])
FOREIGN_RULES = [
    '-A FORWARD -m comment --comment "-j BRIDGEPORT x" -j ACCEPT',
    '-A INPUT -j LOG --log-prefix "-j BRIDGEPORT "',
    '-A INPUT -j LOG --log-prefix "-g BRIDGEPORT/lan0 x"',
    '-A INPUT -m comment --comment "say \\"-j BRIDGEPORT \\" twice" -j DROP',
    "-A INPUT -m comment --comment bridgeport:lan0 -j ACCEPT",
    '-A INPUT -m comment --comment "a\u2028-A BRIDGEPORT -j ACCEPT" -j DROP',
    '-A INPUT -m comment --comment "a\x0b-A BRIDGEPORT -j ACCEPT" -j DROP',
    '-A INPUT -m comment --comment "a\x85*nat" -j DROP',
    "-A INPUT -j BRIDGEPORTS",
    "-A FORWARD -j DROP",
    "-A FORWARD -g OTHER",
    "-A OTHER -j FORWARD",
    "-A OTHER -j REJECT --reject-with icmp-port-unreachable",
    "-A INPUT -s 192.0.2.1/32 -p tcp -m tcp --dport 22 -j ACCEPT",
]
FOREIGN_CHAINS = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [1:2]\n:OUTPUT ACCEPT [0:0]\n:OTHER - [0:0]\n:DOCKER-USER - [0:0]\n:BRIDGEPORTS - [0:0]\n"


def foreign_tables(version: int, lines: t.Iterable[str]) -> Tables:
    """What iptables holds where only others have written to it."""
    return parse_save(version, FOREIGN_CHAINS + "".join(line + "\n" for line in lines) + "COMMIT\n")


@st.composite
def worlds(draw: st.DrawFn) -> World:
    number = len(TOPOLOGIES) - 1 - draw(st.integers(0, len(TOPOLOGIES) - 1))
    backend = draw(st.sampled_from([BACKENDS[0], *BACKENDS]))
    seen = INTACT[number, backend]
    for damage in draw(st.lists(st.sampled_from(_DAMAGES), max_size=3)):
        seen = damage(draw, seen)
    return World(TOPOLOGIES[number], seen, backend)


def _some(draw: st.DrawFn, there: t.Mapping[t.Any, t.Any]) -> t.Any:
    return draw(st.sampled_from(sorted(there, key=str))) if there else None


def _lose_link(draw: st.DrawFn, seen: Observed) -> Observed:
    return replace(seen, links=without(seen.links, _some(draw, seen.links)))


def _foreign_link(draw: st.DrawFn, seen: Observed) -> Observed:
    link = draw(links)
    return replace(seen, links={**seen.links, link.name: link})


def _changed_link(draw: st.DrawFn, seen: Observed) -> Observed:
    name = _some(draw, seen.links)
    if name is None:
        return seen
    change: dict[str, t.Any] = draw(
        st.sampled_from(
            [
                {"mtu": 1400},
                {"up": False},
                {"mac": "06:00:00:00:00:01"},
                {"alias": ""},
                {"alias": "x\ny"},
                {"master": 0},
                {"hairpin": False},
                {"isolated": True},
                {"group_fwd_mask": 0},
            ]
        )
    )
    return replace(seen, links={**seen.links, name: replace(seen.links[name], **change)})


def _changed_addresses(draw: st.DrawFn, seen: Observed) -> Observed:
    name = draw(st.sampled_from(_NAMES))
    some = st.sampled_from(["10.0.0.1/24", "10.0.0.9/24", "fe80::1/64", "fd00:1::1/64", "192.0.2.1/32"]).map(
        ip_interface
    )
    return replace(seen, addresses={**seen.addresses, name: frozenset(draw(st.lists(some, max_size=2)))})


def _changed_space(draw: st.DrawFn, seen: Observed) -> Observed:
    name = draw(st.sampled_from(_SPACES))
    inside = seen.namespaces.get(name, Inside())
    odd = [
        Inside(),
        Inside(broken=True),
        replace(inside, routes=frozenset()),
        replace(inside, addresses={}),
        replace(inside, sysctls={}),
    ]
    odd += [
        replace(
            inside,
            links={key: replace(link, up=False, mtu=1, mac="06:00:00:00:00:02") for key, link in inside.links.items()},
        )
    ]
    found = draw(st.sampled_from([None, *odd]))
    rest = without(seen.namespaces, name)
    return replace(seen, namespaces=rest if found is None else {**rest, name: found})


def _changed_sysctl(draw: st.DrawFn, seen: Observed) -> Observed:
    key = _some(draw, seen.sysctls)
    return replace(
        seen, sysctls={**seen.sysctls, key: draw(st.sampled_from([None, "0", "1", "2", "", "a b", "9" * 5000]))}
    )


def _changed_file(draw: st.DrawFn, seen: Observed) -> Observed:
    path = draw(
        st.sampled_from(
            [
                "/etc/netns/web/hosts",
                "/etc/netns/new/resolv.conf",
                "/etc/netns/new/hosts",
                "/var/lib/bridgeport/hosts/lan0",
            ]
        )
    )
    there = draw(st.one_of(st.none(), st.builds(FileState, files, st.booleans())))
    rest = without(seen.files, path)
    return replace(seen, files=rest if there is None else {**rest, path: there})


def _foreign_iptables(draw: st.DrawFn, seen: Observed) -> Observed:
    name = draw(st.sampled_from(BACKENDS[1:]))
    lines = draw(st.lists(st.sampled_from(FOREIGN_RULES), max_size=3))
    tables = {}
    for version, there in seen.tables.get(name, {}).items():
        strangers = foreign_tables(version, lines)
        tables[version] = replace(
            strangers, chains={**strangers.chains, **there.chains}, hooks={**strangers.hooks, **there.hooks}
        )
    return replace(seen, tables={**seen.tables, name: tables}) if tables else seen


def _changed_iptables(draw: st.DrawFn, seen: Observed) -> Observed:
    name = draw(st.sampled_from(BACKENDS[1:]))
    rule = draw(st.sampled_from([("-j", "ACCEPT"), ("-m", "comment", "--comment", "bridgeport:x", "-j", "DROP"), ()]))
    place = ("filter", draw(st.sampled_from(["BRIDGEPORT", "BRIDGEPORT/lan0", "BRIDGEPORT-USER", "BRIDGEPORT-old"])))
    tables = {
        version: replace(there, chains={**there.chains, place: (rule,) if rule else ()})
        for version, there in seen.tables.get(name, {}).items()
    }
    return replace(seen, tables={**seen.tables, name: tables}) if tables else seen


def _changed_nftables(draw: st.DrawFn, seen: Observed) -> Observed:
    version = draw(st.sampled_from([2, 4, 6]))
    if "nftables" not in seen.tables:
        return seen
    there: Table = seen.tables["nftables"][version]
    elements = {name: dict(list(held.items())[1:]) for name, held in there.elements.items()}
    keys: list[t.Any] = [("tcp", 9), ("udp", 9), ("*",), (255, 7), ("tcp", "80-90"), ("udp", "80-90")]
    strange = {
        key: Element(key, ("192.0.2.1", 9)) for key in draw(st.lists(st.sampled_from(keys), min_size=1, max_size=3))
    }
    odd = [
        Table(version),
        replace(there, exists=True, flagged=True),
        replace(there, exists=True, elements=elements),
        replace(there, exists=True, sets={**there.sets, "x": "ipv4_addr", "published": "inet_service"}),
        replace(
            there,
            exists=True,
            elements={**there.elements, "published": {**there.elements.get("published", {}), **strange}},
        ),
        replace(
            there,
            exists=True,
            chains={
                **there.chains,
                "x": chain_of("x", None, [("drop", "y")]),
                "forward": chain_of("forward", None, []),
            },
        ),
        replace(there, exists=True, chains={}),
    ]
    tables = {**seen.tables["nftables"], version: draw(st.sampled_from(odd))}
    return replace(seen, tables={**seen.tables, "nftables": tables})


def _less_backends(draw: st.DrawFn, seen: Observed) -> Observed:
    return replace(seen, tables=without(seen.tables, draw(st.sampled_from(BACKENDS))))


def _other_facts(draw: st.DrawFn, seen: Observed) -> Observed:
    odd: list[dict[str, t.Any]] = [
        {"upstream": ("192.0.2.53", "2001:db8::53")},
        {"reserved": None},
        {"reserved": frozenset()},
        {"ra_interfaces": ("default", "eth0")},
        {"foreign": ForeignChains((("ip", "filter", "FORWARD"), ("inet", "x\u2028y", "in")), True)},
        {"firewalld": dict.fromkeys(FIREWALLD_FILES, "<zone/>")},
        {"firewalld": dict.fromkeys(FIREWALLD_FILES, "<!-- Written by bridgeport.net. -->")},
        {"proxies": proxies_of(TOPOLOGIES[4])},
    ]
    return replace(seen, **draw(st.sampled_from(odd)))


_DAMAGES = [
    *(
        _lose_link,
        _foreign_link,
        _foreign_link,
        _changed_link,
        _changed_link,
        _changed_addresses,
        _changed_space,
        _changed_space,
    ),
    *(
        _changed_sysctl,
        _changed_file,
        _foreign_iptables,
        _changed_iptables,
        _changed_nftables,
        _less_backends,
        _other_facts,
    ),
]
