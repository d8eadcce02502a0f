# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds from the moment that an endpoint is joined: who is told of it, and what it can do at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from hostlab import Host, Lab, echo_command
from support import CLIENT, HOST, Modules

NETWORK: dict[str, Any] = {"name": "docker0", "subnets": ["172.17.0.0/16", "fd00:17::/64"]}
WEB = {4: "172.17.0.2", 6: "fd00:17::2"}
FORMS = ["0.0.0.0:5000", "[::]:5000"]


def seen_by(host: Host, place: str | None, address: str) -> str:
    """The MAC address that the host or a namespace remembers for an address."""
    entries = json.loads(host.run(["ip", "-j", "neigh", "show", address], netns=place).stdout or "[]")
    return str(entries[0].get("lladdr", "")) if entries else ""


@pytest.mark.parametrize("python", ["debian", "pypi"])
def test_a_used_address_is_reached_at_its_new_place(fresh: Callable[[str], Modules], python: str) -> None:
    """Host and neighbours remember another MAC address for it, and would hold on to that for many seconds."""
    modules = fresh(python)
    host = modules.host
    modules.ok("bridge_network", **NETWORK)
    modules.ok("veth_endpoint", network="docker0", endpoints=[{"name": "old"}, {"name": "peer"}])
    host.start(echo_command("old", FORMS, []), netns="old", ready="ready")
    places = (None, "peer")
    for place in places:
        for address in WEB.values():
            assert host.probe("tcp", address, 5000, place).name == "old"
    before = seen_by(host, "peer", WEB[4])
    modules.ok("veth_endpoint", name="old", state="absent")
    modules.ok("veth_endpoint", network="docker0", name="new", addresses=list(WEB.values()))
    host.start(echo_command("new", FORMS, []), netns="new", ready="ready")
    for place in places:
        for address in WEB.values():
            assert host.probe("tcp", address, 5000, place, timeout=0.9).name == "new", (place, address)
    assert seen_by(host, "peer", WEB[4]) != before


def test_another_mac_or_address_of_an_endpoint_is_told(fresh: Callable[[str], Modules]) -> None:
    modules = fresh("pypi")
    host = modules.host
    modules.ok("bridge_network", **NETWORK)
    modules.ok("veth_endpoint", network="docker0", endpoints=[{"name": "web"}, {"name": "peer"}])
    host.start(echo_command("web", FORMS, []), netns="web", ready="ready")
    for place in (None, "peer"):
        for address in WEB.values():
            assert host.probe("tcp", address, 5000, place)
    done = modules.ok("veth_endpoint", name="web", mac="02:42:00:00:00:77")
    assert done["actions"][-1] == (
        "Tell the neighbours of endpoint web that 02:42:00:00:00:77 has 172.17.0.2, fd00:17::2."
    )
    for place in (None, "peer"):
        for address in WEB.values():
            assert host.probe("tcp", address, 5000, place, timeout=0.9), (place, address)
            assert seen_by(host, place, address) == "02:42:00:00:00:77"
    assert modules.ok("veth_endpoint", name="web")["changed"] is False


def test_addresses_are_usable_at_once(fresh: Callable[[str], Modules]) -> None:
    """A service that binds to its IPv6 address, or is reached there, right after the run that created it."""
    modules = fresh("pypi")
    host = modules.host
    modules.ok("bridge_network", **NETWORK)
    modules.ok("veth_endpoint", network="docker0", name="web")
    flags = [
        (info["local"], info.get("tentative", False))
        for place in ("web", None)
        for link in host.addresses_of(place)
        if link["ifname"] in ("eth0", "docker0")
        for info in link["addr_info"]
        if info["scope"] == "global" and info["local"].startswith("fd00:")
    ]
    assert flags == [("fd00:17::2", False), ("fd00:17::1", False)]
    host.start(echo_command("web", ["[fd00:17::2]:5000"], []), netns="web", ready="ready")
    assert host.probe("tcp", "fd00:17::2", 5000)


def test_the_bridge_keeps_its_mac_address(fresh: Callable[[str], Modules]) -> None:
    """Also when a port with a lower one joins, which a bridge would otherwise take for its own."""
    modules = fresh("pypi")
    host = modules.host

    def mac() -> str:
        return str(next(link["address"] for link in host.links() if link["ifname"] == "docker0"))

    modules.ok("bridge_network", **NETWORK)
    first = mac()
    modules.ok("veth_endpoint", network="docker0", name="web")
    host.run(["ip", "link", "set", "bp-web", "address", "00:00:00:00:00:01"])
    assert mac() == first
    modules.ok("veth_endpoint", name="web", state="absent")
    assert mac() == first
    modules.ok("bridge_network", name="docker0", state="absent")
    modules.ok("bridge_network", **NETWORK)
    assert mac() == first


def test_mtu_is_that_of_the_way_out(tmp_path_factory: pytest.TempPathFactory, pythons: dict[str, Any]) -> None:
    with Lab(tmp_path_factory.mktemp("mtu") / "lab") as lab:
        lab.add_host("client", CLIENT)
        host = lab.add_host("host", HOST)
        modules = Modules(host, pythons["pypi"])
        # Without a default route there is nothing to infer it from.
        host.run(["ip", "link", "set", "eth0", "mtu", "1400"])
        assert modules.ok("bridge_network", name="plain", subnets=["10.8.0.0/24"])["networks"][0]["mtu"] == 1500
        host.run(["ip", "link", "add", "vpn", "mtu", "1300", "type", "bridge"])
        host.run(["ip", "link", "set", "vpn", "up"])
        host.run(["ip", "route", "add", "default", "dev", "vpn", "metric", "500"])
        host.run(["ip", "route", "add", "default", "via", "192.168.52.202", "metric", "100"])
        assert modules.ok("bridge_network", name="docker0", subnets=["172.17.0.0/16"])["networks"][0]["mtu"] == 1400
        modules.ok("veth_endpoint", network="docker0", name="web")
        mtus = {
            link["ifname"]: link["mtu"] for place in (None, "web") for link in host.links(place) if link["mtu"] != 65536
        }
        assert {mtus["docker0"], mtus["bp-web"]} == {1400}
        assert [link["mtu"] for link in host.links("web") if link["ifname"] == "eth0"] == [1400]
        # With its last port a bridge would take the kernel's own MTU again.
        modules.ok("veth_endpoint", name="web", state="absent")
        assert [link["mtu"] for link in host.links() if link["ifname"] == "docker0"] == [1400]
        # It was inferred once; what the host does later is for the operator to follow.
        host.run(["ip", "link", "set", "eth0", "mtu", "1450"])
        assert modules.ok("bridge_network", name="docker0")["changed"] is False
