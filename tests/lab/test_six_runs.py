# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every writing module through check, run, check again, run again, for create, change and remove.

What is compared is the host: its links, addresses, routes, rules, settings and files, not the module's word.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hostlab import Host
from support import Modules, transition

State = dict[str, Any]
MARK = "# Written by bridgeport.net.\n"
NETWORK: State = {"name": "docker0", "subnets": ["172.17.0.0/16", "fd00:17::/64"], "mtu": 1500}


def link(host: Host, name: str) -> dict[str, Any] | None:
    """One interface of the host, or None."""
    return next((item for item in host.links() if item["ifname"] == name), None)


def addresses(host: Host, name: str, netns: str | None = None) -> set[str]:
    """The global addresses of an interface."""
    for item in host.addresses_of(netns):
        if item["ifname"] == name:
            return {f"{a['local']}/{a['prefixlen']}" for a in item["addr_info"] if a["scope"] == "global"}
    return set()


def namespaces(host: Host) -> set[str]:
    """The named namespaces of the host."""
    return set(host.run(["sh", "-c", "ls /run/netns 2>/dev/null || true"]).stdout.split())


def elements(host: Host, name: str, family: str = "ip") -> str:
    """What nft says of one of our sets or maps; empty without the table."""
    return host.run(["nft", "list", "map", family, "bridgeport", name], check=False).stdout


@pytest.mark.parametrize("python", ["debian", "pypi"])
def test_bridge_network(fresh: Callable[[str], Modules], python: str) -> None:
    modules = fresh(python)

    def created(host: Host) -> None:
        bridge = link(host, "docker0")
        assert bridge is not None and bridge["linkinfo"]["info_kind"] == "bridge" and "UP" in bridge["flags"]
        assert bridge["mtu"] == 1500 and bridge["address"].startswith("02:42:")
        assert addresses(host, "docker0") == {"172.17.0.1/16", "fd00:17::1/64"}
        assert host.read("/proc/sys/net/ipv4/ip_forward").strip() == "1"
        assert host.read("/proc/sys/net/ipv6/conf/all/forwarding").strip() == "1"
        assert "policy accept" in host.run(["nft", "list", "chain", "ip", "bridgeport", "forward"]).stdout

    def changed(host: Host) -> None:
        bridge = link(host, "docker0")
        assert bridge is not None and bridge["mtu"] == 1400
        assert addresses(host, "docker0") == {"172.17.0.254/16", "fd00:17::1/64"}

    def removed(host: Host) -> None:
        assert link(host, "docker0") is None
        assert host.run(["nft", "list", "tables"]).stdout == ""
        assert host.run(["find", "/var/lib/bridgeport", "-type", "f"]).stdout == ""

    transition(modules, "bridge_network", NETWORK, created)
    transition(
        modules, "bridge_network", {"name": "docker0", "mtu": 1400, "gateways": ["172.17.0.254", "fd00:17::1"]}, changed
    )
    transition(modules, "bridge_network", {"name": "docker0", "state": "absent"}, removed)


@pytest.mark.parametrize("python", ["debian", "pypi"])
def test_masquerade(fresh: Callable[[str], Modules], python: str) -> None:
    modules = fresh(python)
    modules.ok("bridge_network", **NETWORK)

    def sources(host: Host) -> list[str]:
        text = host.run(["nft", "list", "chain", "ip", "bridgeport", "postrouting"]).stdout
        return [
            line.split(" comment")[0].strip() for line in text.splitlines() if "ip saddr 172.17.0.0/16 ip daddr" in line
        ]

    rule = 'ip saddr 172.17.0.0/16 ip daddr != 224.0.0.0/4 oifname != { "lo", "docker0" }'

    def created(host: Host) -> None:
        assert sources(host) == [f"{rule} masquerade"]

    def changed(host: Host) -> None:
        assert sources(host) == [f"{rule} snat to 192.168.52.203"]

    def removed(host: Host) -> None:
        assert sources(host) == []

    transition(modules, "masquerade", {"network": "docker0"}, created)
    transition(modules, "masquerade", {"network": "docker0", "to_source": "192.168.52.203"}, changed)
    transition(modules, "masquerade", {"network": "docker0", "state": "absent"}, removed)


@pytest.mark.parametrize("python", ["debian", "pypi"])
def test_veth_endpoint(fresh: Callable[[str], Modules], python: str) -> None:
    modules = fresh(python)
    modules.ok("bridge_network", **NETWORK)

    def created(host: Host) -> None:
        assert namespaces(host) == {"web"}
        assert addresses(host, "eth0", "web") == {"172.17.0.2/16", "fd00:17::2/64"}
        end = link(host, "bp-web")
        assert end is not None and end["master"] == "docker0" and "UP" in end["flags"]
        assert end["linkinfo"]["info_slave_data"]["hairpin"] is True
        assert "default via 172.17.0.1" in host.run(["ip", "route"], netns="web").stdout
        assert "default via fd00:17::1" in host.run(["ip", "-6", "route"], netns="web").stdout
        assert host.read("/proc/sys/net/core/somaxconn", netns="web").strip() == "333"
        assert "172.17.0.2 web" in host.read("/etc/netns/web/hosts")

    def changed(host: Host) -> None:
        assert addresses(host, "eth0", "web") == {"172.17.0.9/16", "fd00:17::2/64"}
        routes = host.run(["ip", "route"], netns="web").stdout
        assert "default via 172.17.0.1" in routes and "10.99.0.0/16 via 172.17.0.77" in routes
        assert host.read("/etc/netns/web/resolv.conf") == MARK + "nameserver 192.0.2.53\nsearch example.org\n"
        assert "172.17.0.9 web www" in host.read("/etc/netns/web/hosts")

    def removed(host: Host) -> None:
        assert namespaces(host) == set()
        assert link(host, "bp-web") is None
        assert host.run(["ls", "/etc/netns"]).stdout == ""

    transition(
        modules, "veth_endpoint", {"network": "docker0", "name": "web", "sysctls": {"net.core.somaxconn": 333}}, created
    )
    change = {
        "name": "web",
        "addresses": ["172.17.0.9"],
        "routes": [{"destination": "10.99.0.0/16", "via": "172.17.0.77"}],
        "nameservers": ["192.0.2.53"],
        "search": ["example.org"],
        "aliases": ["www"],
    }
    transition(modules, "veth_endpoint", change, changed)
    transition(modules, "veth_endpoint", {"name": "web", "state": "absent"}, removed)


@pytest.mark.parametrize("python", ["debian", "pypi"])
def test_port_publish(fresh: Callable[[str], Modules], python: str) -> None:
    modules = fresh(python)
    modules.ok("bridge_network", **NETWORK)
    modules.ok("veth_endpoint", network="docker0", name="web", expose=["5000", "53/udp"])

    def created(host: Host) -> None:
        wanted = 'tcp . 80 comment "web" : 172.17.0.2 . 5000'
        assert wanted in elements(host, "published")
        assert 'tcp . 80 comment "web" : fd00:17::2 . 5000' in elements(host, "published", "ip6")
        assert '127.0.0.1 . tcp . 8443 comment "web" : 172.17.0.2 . 443' in elements(host, "published_at")
        assert host.read("/proc/sys/net/ipv4/conf/docker0/route_localnet").strip() == "1"

    def changed(host: Host) -> None:
        text = elements(host, "published")
        assert 'tcp . 81 comment "web" : 172.17.0.2 . 5000' in text and "tcp . 80 " not in text
        assert "udp . " in text, "the exposed port got no free host port"
        assert "8443" not in elements(host, "published_at")

    def removed(host: Host) -> None:
        for name in ("published", "published_at"):
            assert "elements" not in elements(host, name)
        assert host.read("/proc/sys/net/ipv4/conf/docker0/route_localnet").strip() == "0"

    transition(modules, "port_publish", {"endpoint": "web", "ports": ["80:5000", "127.0.0.1:8443:443/tcp"]}, created)
    transition(
        modules, "port_publish", {"endpoint": "web", "ports": ["81:5000"], "publish_all": True, "prune": True}, changed
    )
    transition(modules, "port_publish", {"endpoint": "web", "state": "absent"}, removed)
