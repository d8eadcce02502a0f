# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``loopback: proxy``: which sockets, where they lead to, and what the rules are left with."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.bridgeport.net.plugins.module_utils._changes_rules import (
    ChangeProxies,
    ChangeRules,
)
from ansible_collections.bridgeport.net.plugins.module_utils._errors import DependencyError, InputError
from ansible_collections.bridgeport.net.plugins.module_utils._facts import StaticFacts
from ansible_collections.bridgeport.net.plugins.module_utils._hostports import Holder, HostPorts
from ansible_collections.bridgeport.net.plugins.module_utils._plan import Scope, make_plan
from ansible_collections.bridgeport.net.plugins.module_utils._proxy_units import (
    PROXY_DIRECTORY,
    UNIT_FILES,
    Proxies,
    proxies_of,
    served_by,
)
from ansible_collections.bridgeport.net.plugins.module_utils._report import actions_of, port_table
from ansible_collections.bridgeport.net.plugins.module_utils._ruleset import rules_of
from ansible_collections.bridgeport.net.plugins.module_utils._state import bridge_state
from ansible_collections.bridgeport.net.plugins.module_utils._topology import Topology
from ansible_collections.bridgeport.net.plugins.module_utils._want_rules import want_publishes
from samples import BOTH, DUAL, FACTS, LAN, WEB, decided, observed, refused

SIX = {"name": "six", "network": "six0"}
HOST = decided([LAN, DUAL, {"name": "six0", "subnets": ["fd00:6::/64"]}], [WEB, BOTH, SIX])
NOTHING = Scope(frozenset(), frozenset())


def publish(endpoint: str, *ports: str, topology: Topology = HOST, facts: StaticFacts = FACTS) -> Topology:
    return want_publishes(topology, [{"endpoint": endpoint, "ports": list(ports), "loopback": "proxy"}], facts)


@pytest.mark.parametrize(
    ("endpoint", "port", "socket", "instance", "target"),
    [
        ("both", "8080:80", "bridgeport-proxy@8080.socket", "8080", "10.0.1.2:80"),
        ("web", "8080:80", "bridgeport-proxy@8080.socket", "8080", "10.0.0.2:80"),
        ("six", "8080:80", "bridgeport-proxy@8080.socket", "8080", "fd00:6::2:80"),
        ("both", "0.0.0.0:8080:80", "bridgeport-proxy4@127.0.0.1:8080.socket", "127.0.0.1:8080", "10.0.1.2:80"),
        ("both", "127.0.0.1:8080:80", "bridgeport-proxy4@127.0.0.1:8080.socket", "127.0.0.1:8080", "10.0.1.2:80"),
        ("six", "127.9.9.9:8080:80", "bridgeport-proxy4@127.9.9.9:8080.socket", "127.9.9.9:8080", "fd00:6::2:80"),
        ("both", "[::]:8080:80", "bridgeport-proxy6@8080.socket", "::1:8080", "fd00:1::2:80"),
        ("both", "[::1]:8080:80", "bridgeport-proxy6@8080.socket", "::1:8080", "fd00:1::2:80"),
        ("web", "[::1]:8080:80", "bridgeport-proxy6@8080.socket", "::1:8080", "10.0.0.2:80"),
    ],
)
def test_loopback_addresses_decide_the_socket(
    endpoint: str, port: str, socket: str, instance: str, target: str
) -> None:
    after = publish(endpoint, port)
    assert proxies_of(after) == Proxies(
        {**UNIT_FILES, f"{PROXY_DIRECTORY}/{instance}": f"TARGET={target}\n"}, frozenset({socket})
    )
    (there,) = after.publishes.values()
    assert served_by(instance) == tuple((b.address, b.port) for b in after.proxied(there))


@pytest.mark.parametrize("name", ["", "notes", "1.2.3.4:", "80.new"])
def test_file_of_another_name_serves_nothing(name: str) -> None:
    assert served_by(name) == ()


@pytest.mark.parametrize("port", ["192.0.2.1:8080:80", "[2001:db8::1]:8080:80"])
def test_address_that_is_none_of_loopback_needs_no_proxy(port: str) -> None:
    after = publish("both", port)
    assert proxies_of(after) == Proxies()
    assert [len(rules.translations) for rules in rules_of(after).values()] in ([1, 0], [0, 1])


def test_routed_network_needs_no_proxy() -> None:
    after = publish("web", "8080:80", topology=decided([{**LAN, "mode": "routed"}], [WEB]))
    assert proxies_of(after) == Proxies()


def test_rules_leave_loopback_to_the_proxy() -> None:
    rules = rules_of(publish("both", "8080:80", "127.0.0.1:81:80", "[::1]:82:80"))
    for version in (4, 6):
        assert [(item.host_address, item.host_port) for item in rules[version].translations] == [("", 8080)]
        assert rules[version].silent_loopback == {("tcp", 8080)}
        assert len(rules[version].open_ports) == 1
    only = publish("web", "127.0.0.1:81:80")
    assert rules_of(only)[4].open_ports == frozenset(), "only the host itself may come in"
    sysctls = dict(bridge_state(only, only.networks["lan0"]).sysctls)
    assert sysctls["net.ipv4.conf.lan0.route_localnet"] == "0"


def test_the_other_loopback_address_is_taken_too() -> None:
    """An endpoint without IPv6 has ::1 all the same."""
    first = publish("web", "8080:80")
    assert [str(binding) for each in first.publishes.values() for binding in first.bindings(each)] == [
        "0.0.0.0:8080/tcp",
        "[::1]:8080/tcp",
    ]
    refused(lambda: publish("six", "[::1]:8080:80", topology=first), "[::1]:8080/tcp collides with 8080:80/tcp")
    held = StaticFacts(ports=HostPorts(holders=(Holder(6, "tcp", "::1", 8080, "nginx"),)))
    with pytest.raises(Exception, match="is held by nginx"):
        publish("web", "8080:80", facts=held)


def test_free_port_is_free_on_loopback_too() -> None:
    held = StaticFacts(ports=HostPorts(holders=(Holder(6, "tcp", "::1", 49153, "nginx"),)))
    (there,) = publish("web", "80", facts=held).publishes.values()
    assert there.host_port == 49154


def test_what_no_proxy_serves_is_refused() -> None:
    refused(lambda: publish("web", "53:53/udp"), "53:53/udp for endpoint web", "tcp only")
    refused(lambda: publish("web", "53:53/sctp"), "53:53/sctp for endpoint web", "tcp only")
    refused(lambda: publish("web", "[::]:80:80"), "no IPv6 address")
    without = StaticFacts(proxy_problem="systemd does not run here")
    refused(lambda: publish("web", "80:80", facts=without), "80:80/tcp", "does not run here", kind=DependencyError)
    nat = [{"endpoint": "both", "ports": ["[::1]:80:80"]}]
    refused(lambda: want_publishes(HOST, nat, FACTS), "::1", "'proxy'", kind=InputError)
    assert want_publishes(HOST, [{"endpoint": "web", "ports": ["80:80"]}], without) != HOST


def changes(before: Topology, after: Topology, there: Proxies) -> list[str]:
    """The actions between two topologies on a host that holds the first of them, but for its proxies."""
    plan = make_plan(before, after, replace(observed(before), proxies=there), NOTHING, "nftables", "nftables")
    assert [type(change) for change in plan if not isinstance(change, ChangeRules)] in ([], [ChangeProxies])
    return [sentence for sentence in actions_of(before, after, plan) if "proxy" in sentence]


def test_plan_touches_only_what_differs() -> None:
    before, after = publish("web", "80:80", "81:80"), publish("web", "81:80", "82:80")
    held = proxies_of(before)
    assert changes(before, before, held) == []
    assert changes(before, after, held) == [
        "Stop bridgeport-proxy@80.socket.",
        "Set where bridgeport-proxy@82.service leads to.",
        "Start bridgeport-proxy@82.socket.",
    ]
    assert changes(before, HOST, held)[0] == "Stop bridgeport-proxy@80.socket, bridgeport-proxy@81.socket."
    assert changes(before, HOST, held)[1].startswith("Remove the unit files /etc/systemd/system/bridgeport-proxy4@")
    assert changes(before, before, replace(held, listening=frozenset())) == [
        "Start bridgeport-proxy@80.socket, bridgeport-proxy@81.socket."
    ]


def test_two_hundred_are_told_in_few_words() -> None:
    sentences = changes(HOST, publish("web", "1000-1199:1000-1199"), Proxies())
    assert len(sentences) == 3
    assert sentences[-1].endswith("bridgeport-proxy@1004.socket and 195 more.")


def test_port_table_tells_what_a_proxy_serves() -> None:
    assert port_table(publish("web", "8080:80", "[::1]:81:80"))["web"] == [
        "80/tcp -> 0.0.0.0:8080",
        "80/tcp -> 127.0.0.1:8080, by proxy",
        "80/tcp -> [::1]:8080, by proxy",
        "80/tcp -> [::1]:81, by proxy",
    ]
