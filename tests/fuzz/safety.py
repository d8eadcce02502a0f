# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is written for a topology, read anew by the grammar of those who read it: no word of it is more than a word."""

from __future__ import annotations

import re
from ipaddress import ip_address
from xml.etree import ElementTree

from ansible_collections.bridgeport.net.plugins.module_utils._backends import rendered
from ansible_collections.bridgeport.net.plugins.module_utils._foreign import firewalld_files
from ansible_collections.bridgeport.net.plugins.module_utils._ipt_table import Tables, restore_text, steps
from ansible_collections.bridgeport.net.plugins.module_utils._nft_table import Table, transaction
from ansible_collections.bridgeport.net.plugins.module_utils._proxy_units import UNIT_FILES, proxies_of
from ansible_collections.bridgeport.net.plugins.module_utils._state import files_of
from ansible_collections.bridgeport.net.plugins.module_utils._topology import Topology
from nft_interpreter import Kernel

_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
# What may stand in a string of nft, and around strings. A line of ours ends with the line, and never by a semicolon.
_NFT_STRING = re.compile(r'"[A-Za-z0-9][A-Za-z0-9_.:,#/ -]*"')
_NFT_LINE = re.compile(
    r"(?:add|delete|flush) (?:table|chain|set|map|rule|element) (?:ip|ip6|bridge) bridgeport[A-Za-z0-9_.:,@!=<>&{}/ -]*\Z"
)
_NFT_DEFINITIONS = re.compile(
    r"\{ (?:type|typeof) [a-z0-9_.:@, ]+;(?: flags interval;)? \}\Z|\{ type \w+ hook \w+ priority -?\d+; policy accept; \}\Z"
)
_IPT_LINE = re.compile(
    r"(?:\*(?:mangle|filter|nat)|COMMIT|:BRIDGEPORT[A-Za-z0-9_./-]* - \[0:0\]|-[AIDFX] [A-Z]+[A-Za-z0-9_./-]*(?: [A-Za-z0-9_.:,/!\[\]-]+)*)\Z"
)
_PROXY = re.compile(r"TARGET=[0-9a-f.:]+:\d+\n\Z")


def check_texts(topology: Topology) -> None:
    """Check all that is written for a topology."""
    check_nftables(topology)
    check_iptables(topology)
    check_files(topology)
    check_others(topology)


def check_nftables(topology: Topology) -> None:
    for version, wanted in rendered("nftables", topology).items():
        text = transaction(Table(version), wanted)
        for line in text.splitlines():
            plain = _NFT_DEFINITIONS.sub("", _NFT_STRING.sub("", line))
            assert _NFT_LINE.match(plain), line
        # A stray word would be another rule, set or element there.
        assert Kernel(Table(version)).run(text) == wanted


def check_iptables(topology: Topology) -> None:
    for version, wanted in rendered("iptables-nft", topology).items():
        for line in restore_text(steps(Tables(version), wanted)).splitlines():
            assert _IPT_LINE.match(line), line
            words = line.split()
            assert words.count("-j") <= 1 and words.count("--comment") <= 1, line
        assert all(len(chain) < 29 for _table, chain in wanted.chains)


def check_files(topology: Topology) -> None:
    hosts = {
        name: [(str(a), e.name, *e.aliases) for e in topology.endpoints_of(name) for a in e.addresses]
        for name in topology.networks
    }
    for path, ((kind, name), state) in files_of(topology, topology.networks, topology.endpoints).items():
        folder = "/var/lib/bridgeport/hosts/%s" if kind == "networks" else "/etc/netns/%s/"
        assert path.startswith(folder % name) and ".." not in path.split("/")
        if state.link:
            assert re.fullmatch("/var/lib/bridgeport/hosts/" + _NAME, state.text)
        elif kind == "networks":
            assert [tuple(line.split()) for line in state.text.splitlines()[2:]] == hosts[name]
        else:
            endpoint = topology.endpoints[name]
            said = [line.split() for line in state.text.splitlines()[1:]]
            search = [["search", *endpoint.search]] if endpoint.search else []
            assert said == [*(["nameserver", str(ip_address(text))] for text in endpoint.nameservers), *search]


def check_others(topology: Topology) -> None:
    proxies = proxies_of(topology)
    for path, text in proxies.files.items():
        assert path in UNIT_FILES or (
            re.fullmatch(r"/var/lib/bridgeport/proxy/[0-9a-f.:]+", path) and _PROXY.match(text)
        )
    assert all(re.fullmatch(r"bridgeport-proxy[46]?@[0-9a-f.:]+\.socket", unit) for unit in proxies.listening)
    for path, text in firewalld_files(topology).items():
        root = ElementTree.fromstring(text)
        names = [item.get("name") for item in root.iter("interface")]
        sealed = {name for name in topology.networks if topology.networks[name].sealed}
        assert names == ([] if "policies" in path else sorted(topology.networks.keys() - sealed))


def sections_of(text: str) -> list[tuple[str, str, str]]:
    """A unit's settings as systemd reads them: (section, directive, value)."""
    found, section = [], ""
    for line in text.split("\n"):
        if not line or line[0] in "#;":
            continue
        assert not line.endswith("\\"), line
        if line.startswith("["):
            assert line in ("[Unit]", "[Service]", "[Install]"), line
            section = line
        else:
            directive, equals, value = line.partition("=")
            assert equals and section, line
            found.append((section, directive, value))
    return found
