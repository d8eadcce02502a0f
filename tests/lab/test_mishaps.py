# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a sceptic found: other people's things of our names, other people's locks, and states between two runs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from support import Modules

NETWORK: dict[str, Any] = {"name": "docker0", "subnets": ["172.17.0.0/16"]}
RECORD = "/var/lib/bridgeport"


@pytest.fixture
def modules(fresh: Callable[[str], Modules]) -> Modules:
    """A host with nothing on it."""
    return fresh("pypi")


def test_an_alternative_name_of_another_interface(modules: Modules) -> None:
    """The kernel refuses the bridge; undoing must not take the other interface for it."""
    host = modules.host
    host.run(["ip", "link", "add", "wg7", "type", "bridge"])
    host.run(["ip", "link", "property", "add", "dev", "wg7", "altname", "docker0"])
    before = host.snapshot()
    result = modules.run("bridge_network", **NETWORK)
    assert result["failed"] is True
    assert "File exists" in result["msg"]
    assert host.snapshot() == before


def test_a_recorded_bridge_that_something_else_made_anew(modules: Modules) -> None:
    host = modules.host
    modules.ok("bridge_network", **NETWORK)
    host.run(["ip", "link", "del", "docker0"])
    host.run(["ip", "link", "add", "docker0", "type", "bridge"])
    message = modules.refused("bridge_network", **NETWORK)
    assert "not ours" in message
    # A look at the host tells of that one, and shows the others.
    modules.ok("bridge_network", name="other", subnets=["10.5.0.0/24"])
    modules.ok("veth_endpoint", name="web", network="other")
    host.run(["ip", "link", "del", "bp-web"])
    found = modules.ok("topology_info")
    assert [network["name"] for network in found["networks"]] == ["docker0", "other"]
    assert found["drift"] == [message, "Reconnect endpoint web to network other: its veth pair is missing."]
    # Removing ours leaves theirs.
    modules.ok("bridge_network", name="docker0", state="absent")
    assert "docker0" in host.run(["ip", "-br", "link"]).stdout


def test_a_killed_run_is_known_by_its_mac_address(modules: Modules) -> None:
    """Between the creation of a bridge and its alias, the derived address says whose it is."""
    modules.ok("bridge_network", **NETWORK)
    modules.host.run(["ip", "link", "set", "docker0", "alias", ""])
    done = modules.ok("bridge_network", **NETWORK)
    assert done["actions"] == ["Set alias of interface docker0 from nothing to bridgeport.net network docker0."]


def test_nobody_else_can_hold_the_lock(modules: Modules) -> None:
    modules.ok("bridge_network", **NETWORK)
    command = ["setpriv", "--reuid=65534", "--clear-groups", "flock", "--nonblock", RECORD, "true"]
    assert modules.host.run(command, check=False).returncode != 0
    assert modules.host.run(["stat", "-c", "%a", RECORD]).stdout == "700\n"


def test_a_network_gets_ipv6_under_its_endpoints(modules: Modules) -> None:
    modules.ok("bridge_network", **NETWORK)
    modules.ok("veth_endpoint", network="docker0", name="web")
    modules.ok("bridge_network", name="docker0", subnets=["172.17.0.0/16", "fd00:17::/64"])
    done = modules.ok("veth_endpoint", name="web")
    assert done["endpoints"][0]["addresses"] == ["172.17.0.2", "fd00:17::2"]
    assert modules.ok("veth_endpoint", name="web")["changed"] is False
    assert "fd00:17::2" in modules.host.run(["ip", "-6", "addr", "show", "dev", "eth0"], netns="web").stdout


def test_what_a_lost_record_knew_is_told_until_it_is_taken_over(modules: Modules) -> None:
    host = modules.host
    modules.ok("bridge_network", **NETWORK)
    modules.ok("veth_endpoint", network="docker0", name="web")
    host.run(["rm", f"{RECORD}/topology.json"])
    told = [warning["event"]["msg"] for warning in modules.ok("topology_info")["warnings"]]
    assert [words.partition(", and the record")[0] for words in told] == [
        "Interface docker0 is marked as ours ('bridgeport.net network docker0')",
        "Interface bp-web is marked as ours ('bridgeport.net endpoint web')",
    ]
    modules.ok("bridge_network", **NETWORK)
    modules.ok("veth_endpoint", network="docker0", name="web")
    assert "warnings" not in modules.ok("topology_info")


def test_a_failed_run_leaves_what_a_killed_run_began(modules: Modules) -> None:
    host = modules.host
    modules.ok("bridge_network", **NETWORK)
    before = host.read(f"{RECORD}/topology.json")
    modules.ok("veth_endpoint", network="docker0", name="web")
    # As after a SIGKILL between the last step and the rename.
    host.run(["mv", f"{RECORD}/topology.json", f"{RECORD}/pending.json"])
    host.write(f"{RECORD}/topology.json", before)
    bad: dict[str, Any] = {"network": "docker0", "name": "bad", "sysctls": {"net.core.no_such_setting": "1"}}
    assert modules.run("veth_endpoint", **bad)["failed"] is True
    info = modules.ok("topology_info")
    assert info["interrupted"] is True
    assert [endpoint["name"] for endpoint in info["endpoints"]] == ["web"]
    modules.ok("masquerade", network="docker0")
    info = modules.ok("topology_info")
    assert info["interrupted"] is False
    assert [endpoint["name"] for endpoint in info["endpoints"]] == ["web"]


def test_assuming_adds_nothing_to_what_a_request_does(modules: Modules) -> None:
    """Check mode from task to task: each tells of its own changes, and of no more."""
    modules.ok("bridge_network", **NETWORK)
    modules.ok("masquerade", network="docker0")
    first = modules.ok("bridge_network", check=True, name="back", subnets=["10.8.0.0/24"], mode="internal")
    second = modules.ok("masquerade", check=True, network="docker0", assume=first["topology"])
    assert second["changed"] is False
    assert second["actions"] == []
    third = modules.ok("veth_endpoint", check=True, network="back", name="db", assume=second["topology"])
    modules.ok("bridge_network", name="back", subnets=["10.8.0.0/24"], mode="internal")
    done = modules.ok("veth_endpoint", network="back", name="db")
    assert third["actions"] == done["actions"]


def test_an_address_that_an_operator_gave_the_bridge(modules: Modules) -> None:
    modules.ok("bridge_network", **NETWORK)
    modules.host.run(["ip", "addr", "add", "172.17.0.99/16", "dev", "docker0"])
    modules.ok("bridge_network", name="docker0", gateways=["172.17.0.254"])
    addresses = modules.host.run(["ip", "-br", "-4", "addr", "show", "docker0"]).stdout.split()
    assert {"172.17.0.99/16", "172.17.0.254/16"} <= set(addresses)
    assert "172.17.0.1/16" not in addresses


def test_files_that_an_operator_wrote(modules: Modules) -> None:
    host = modules.host
    modules.ok("bridge_network", **NETWORK)
    host.run(["mkdir", "-p", "/etc/netns/web"])
    host.write("/etc/netns/web/hosts", "192.0.2.9 theirs\n")
    assert "/etc/netns/web/hosts exists already and is not ours" in modules.refused(
        "veth_endpoint", network="docker0", name="web"
    )
    host.run(["rm", "/etc/netns/web/hosts"])
    modules.ok("veth_endpoint", network="docker0", name="web")
    host.write("/etc/netns/web/resolv.conf", "nameserver 192.0.2.9\n")
    assert modules.ok("veth_endpoint", name="web")["changed"] is False
    modules.ok("veth_endpoint", name="web", state="absent")
    assert host.read("/etc/netns/web/resolv.conf") == "nameserver 192.0.2.9\n"


def test_nameservers_that_are_needed_no_more(modules: Modules) -> None:
    host = modules.host
    modules.ok("bridge_network", **NETWORK)
    modules.ok("veth_endpoint", network="docker0", name="web", nameservers=["192.0.2.1"])
    modules.ok("veth_endpoint", name="web", nameservers=[])
    assert host.run(["ls", "/etc/netns/web"]).stdout.split() == ["hosts"]


def test_a_table_that_was_switched_off(modules: Modules) -> None:
    host = modules.host
    modules.ok("bridge_network", **NETWORK)
    host.run(["nft", "add table ip bridgeport { flags dormant; }"])
    result = modules.run("bridge_network", **NETWORK)
    if result.get("failed"):
        # nft 1.0.6 may print what is no JSON for a table with flags; then it is said, and not taken for clean.
        assert "table ip bridgeport" in result["msg"]
    else:
        assert result["changed"] is True
        assert "dormant" not in host.run(["nft", "list", "table", "ip", "bridgeport"]).stdout


@pytest.mark.parametrize(
    ("sysctls", "key", "value"),
    [
        ({"net.ipv6.conf.eth0.accept_ra": 1}, "net/ipv6/conf/eth0/accept_ra", "1"),
        ({"net.core.somaxconn": "0x100"}, "net/core/somaxconn", "256"),
        ({"net.ipv4.ip_local_port_range": "40000  50000"}, "net/ipv4/ip_local_port_range", "40000\t50000"),
    ],
)
def test_settings_settle(modules: Modules, sysctls: dict[str, Any], key: str, value: str) -> None:
    modules.ok("bridge_network", name="docker0", subnets=["172.17.0.0/16", "fd00:17::/64"])
    modules.ok("veth_endpoint", network="docker0", name="web", sysctls=sysctls)
    assert modules.host.read(f"/proc/sys/{key}", netns="web").strip() == value
    assert modules.ok("veth_endpoint", name="web", sysctls=sysctls)["changed"] is False


def test_an_mtu_with_which_a_link_has_no_settings_of_ipv6(modules: Modules) -> None:
    """Below 1,280 the kernel has none; when the MTU grows again it has those of a new link."""
    narrow: dict[str, Any] = {"name": "narrow", "subnets": ["10.0.0.0/24"], "mtu": 1200}
    modules.ok("bridge_network", **narrow)
    modules.ok("veth_endpoint", network="narrow", name="web")
    for mtu in (1500, 1200, 1500):
        modules.ok("bridge_network", name="narrow", mtu=mtu)
        for again in (modules.ok("bridge_network", name="narrow", mtu=mtu), modules.ok("veth_endpoint", name="web")):
            assert again["changed"] is False, again["actions"]
        assert modules.ok("topology_info")["drift"] == []
    for interface, netns in (("narrow", None), ("eth0", "web")):
        assert modules.host.read(f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6", netns=netns) == "1\n"
    typo = {"net.ipv6.conf.eth0.no_such_setting": "1"}
    assert "no_such_setting" in modules.run("veth_endpoint", network="narrow", name="bad", sysctls=typo)["msg"]


def test_a_default_route_by_an_interface_with_a_small_mtu(modules: Modules) -> None:
    modules.host.run(["ip", "link", "set", "eth0", "mtu", "1240"])
    modules.host.run(["ip", "route", "add", "default", "via", "192.168.52.1"])
    assert modules.ok("bridge_network", **NETWORK)["networks"][0]["mtu"] == 1240
    modules.ok("veth_endpoint", network="docker0", name="web")


def test_routes_with_a_gateway_of_another_form(modules: Modules) -> None:
    """By several gateways, or an IPv4 route by one of IPv6: nothing behind a gateway is on the link."""
    routes = modules.host
    hops = ["nexthop", "via", "192.168.52.1", "nexthop", "via", "192.168.52.2"]
    routes.run(["ip", "link", "set", "eth0", "mtu", "1400"])
    routes.run(["ip", "route", "add", "default", *hops])
    routes.run(["ip", "route", "add", "10.0.0.0/8", *hops])
    routes.run(["ip", "route", "add", "172.30.0.0/16", "via", "inet6", "fd52::1", "dev", "eth0"])
    networks = [{"name": f"n{n}", "subnets": [subnet]} for n, subnet in enumerate(("10.20.0.0/24", "172.30.1.0/24"))]
    assert [network["mtu"] for network in modules.ok("bridge_network", networks=networks)["networks"]] == [1400, 1400]
    way = modules.ok("topology_info", explain=[{"source": "host", "destination": "10.99.0.1:80"}])["explanations"]
    assert "via 192.168.52." in str(way)
    way = modules.ok("topology_info", explain=[{"source": "host", "destination": "172.30.9.1:80"}])["explanations"]
    assert "via fd52::1" in str(way)
    # Several interfaces are a link each.
    routes.run(["ip", "route", "add", "10.8.0.0/16", "nexthop", "dev", "eth0", "nexthop", "dev", "lo"])
    assert "10.8.0.0/16" in modules.refused("bridge_network", name="n3", subnets=["10.8.1.0/24"])


def test_a_setting_that_is_no_plain_text(modules: Modules) -> None:
    modules.ok("bridge_network", **NETWORK)
    message = modules.refused("veth_endpoint", network="docker0", name="web", sysctls={"net.core.somaxconn": "größe"})
    assert "one line of plain text" in message


def test_a_record_nested_without_end(modules: Modules) -> None:
    modules.ok("bridge_network", **NETWORK)
    modules.host.write(f"{RECORD}/topology.json", "[" * 100000)
    assert "Cannot read the record" in modules.refused("bridge_network", **NETWORK)


def test_two_modules_one_after_the_other_wait_for_the_lock(modules: Modules) -> None:
    """A lock that root holds is waited for."""
    modules.ok("bridge_network", **NETWORK)
    holder = modules.host.start(["flock", RECORD, "sh", "-c", "echo ready; sleep 2"], ready="ready")
    process = subprocess.Popen(
        modules.host.argv(modules.command("masquerade")), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    output, _errors = process.communicate(modules.arguments(False, network="docker0"), timeout=60)
    assert json.loads(output)["changed"] is True
    assert not holder.running()
