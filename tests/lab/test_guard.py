# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an endpoint can tell its neighbours and the host: frames made by hand, and what they are believed to say."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hostlab import Host, Lab, echo_command
from support import CLIENT, HOST, Modules, interpreters

FRAMES = Path(__file__).with_name("frames.py")
MAC = {"web": "02:42:00:00:00:02", "evil": "02:42:00:00:00:03", "loose": "02:42:00:00:00:04"}
ADDRESSES = {"web": ["172.17.0.2", "fd00:17::2"], "evil": ["172.17.0.3", "fd00:17::3"]}
ADDRESSES["loose"] = ["172.17.0.4", "fd00:17::4"]
BRIDGE = "02:42:00:00:00:01"
NETWORK: dict[str, Any] = {"name": "docker0", "subnets": ["172.17.0.0/16", "fd00:17::/64"], "mac": BRIDGE}
STRANGER = "02:42:00:00:00:99"
# LLDP's group: a bridge hands frames to it to the port's own stack and forwards none, unless it is told to.
LINK_LOCAL = "01:80:c2:00:00:0e"

# A frame as frames.py takes it: kind, source MAC, source address, destination MAC, and what it says.
Frame = dict[str, Any]
FORGED: dict[str, Frame] = {
    "IPv4 address of a neighbour": {"kind": "udp", "source": "172.17.0.2"},
    "IPv4 address of the outside": {"kind": "udp", "source": "192.0.2.9"},
    "IPv6 address of a neighbour": {"kind": "udp", "source": "fd00:17::2"},
    "link-local address of a neighbour": {"kind": "udp", "source": "fe80::42:ff:fe00:2"},
    "MAC of a neighbour": {"kind": "udp", "source": "172.17.0.3", "mac": MAC["web"]},
    "MAC of nobody": {"kind": "udp", "source": "172.17.0.3", "mac": STRANGER},
    "IPv6 and the MAC of nobody": {"kind": "udp", "source": "fd00:17::3", "mac": STRANGER},
    "ARP for the gateway": {"kind": "arp", "source": "172.17.0.1"},
    "ARP with the MAC of nobody": {"kind": "arp", "source": "172.17.0.3", "says_mac": STRANGER},
    "ARP probe from the MAC of nobody": {"kind": "arp", "source": "0.0.0.0", "mac": STRANGER, "says_mac": STRANGER},
    "ARP probe in a frame of nobody's": {"kind": "arp", "source": "0.0.0.0", "mac": STRANGER, "says_mac": MAC["evil"]},
    "duplicate address detection from the MAC of nobody": {
        "kind": "ns",
        "source": "::",
        "target": "fd00:17::3",
        "mac": STRANGER,
    },
    "duplicate address detection of a neighbour's": {"kind": "ns", "source": "::", "target": "fe80::42:ff:fe00:2"},
    "IPv6 from nowhere": {"kind": "udp", "source": "::"},
    "neighbour advertisement for the gateway": {"kind": "na", "source": "fd00:17::3", "target": "fd00:17::1"},
    "neighbour solicitation from the gateway": {"kind": "ns", "source": "fd00:17::1", "target": "fd00:17::2"},
    "router advertisement": {"kind": "ra", "source": "fe80::42:ff:fe00:3"},
    "router advertisement behind an extension header": {"kind": "ra", "source": "fe80::42:ff:fe00:3", "options": True},
    "redirect": {"kind": "redirect", "source": "fe80::42:ff:fe00:3"},
    "another protocol": {"kind": "other"},
    "a frame with a VLAN tag": {"kind": "udp", "source": "172.17.0.2", "tag": True},
}
OWN: dict[str, Frame] = {
    "IPv4": {"kind": "udp", "source": "172.17.0.3"},
    "IPv6": {"kind": "udp", "source": "fd00:17::3"},
    "IPv6 link-local": {"kind": "udp", "source": "fe80::42:ff:fe00:3"},
    "ARP": {"kind": "arp", "source": "172.17.0.3"},
    "ARP probe": {"kind": "arp", "source": "0.0.0.0"},
    "neighbour advertisement": {"kind": "na", "source": "fd00:17::3", "target": "fd00:17::3"},
    "link-local neighbour advertisement": {
        "kind": "na",
        "source": "fe80::42:ff:fe00:3",
        "target": "fe80::42:ff:fe00:3",
    },
    "neighbour solicitation": {"kind": "ns", "source": "fd00:17::3", "target": "fd00:17::2"},
    "duplicate address detection": {"kind": "ns", "source": "::", "target": "fd00:17::3"},
}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Modules, Host]]:
    """A network with a victim, an endpoint that is guarded, and one that is not."""
    scratch = tmp_path_factory.mktemp("guard")
    with Lab(scratch / "lab") as lab:
        client, host = lab.add_host("client", CLIENT), lab.add_host("host", HOST)
        modules = Modules(host, interpreters(scratch)[1])
        modules.ok("bridge_network", **NETWORK)
        modules.ok("masquerade", network="docker0")
        modules.ok(
            "veth_endpoint",
            network="docker0",
            endpoints=[
                {"name": name, "mac": MAC[name], "addresses": ADDRESSES[name], **({"guard": False} if last else {})}
                for name, last in (("web", False), ("evil", False), ("loose", True))
            ],
        )
        yield modules, client


def arrived(host: Host, sender: str, frames: list[Frame]) -> list[bool]:
    """Send frames from an endpoint to all, and say which of them came to the host's bridge and to the neighbour web."""
    marked = [{"mac": MAC[sender], **frame, "mark": number} for number, frame in enumerate(frames)]
    listeners = [
        host.start([sys.executable, str(FRAMES), "listen", interface], netns=netns, ready="ready")
        for interface, netns in (("docker0", None), ("eth0", "web"))
    ]
    host.run([sys.executable, str(FRAMES), "send", "eth0"], netns=sender, input=json.dumps(marked))
    # The last one of each sender is its own, and comes behind all others.
    for listener in listeners:
        listener.wait_for("end", 10)
    heard = [set(listener.output().split()) for listener in listeners]
    assert heard[0] == heard[1], "the host and the neighbour heard different frames"
    return [str(number) in heard[0] for number in range(len(frames))]


@pytest.mark.parametrize("br_netfilter", ["0", "1"])
def test_forged_frames_reach_nobody(network: tuple[Modules, Host], br_netfilter: str) -> None:
    host = network[0].host
    for family in ("iptables", "ip6tables"):
        host.write(f"/proc/sys/net/bridge/bridge-nf-call-{family}", br_netfilter)
    assert dict(zip(FORGED, arrived(host, "evil", list(FORGED.values())))) == dict.fromkeys(FORGED, False)
    assert dict(zip(OWN, arrived(host, "evil", list(OWN.values())))) == dict.fromkeys(OWN, True)


def test_without_the_guard_they_do(network: tuple[Modules, Host]) -> None:
    """The frames are good ones: from an endpoint that is not guarded they arrive."""
    host = network[0].host
    for family in ("iptables", "ip6tables"):
        host.write(f"/proc/sys/net/bridge/bridge-nf-call-{family}", "0")
    assert dict(zip(FORGED, arrived(host, "loose", list(FORGED.values())))) == dict.fromkeys(FORGED, True)


def learned(host: Host, netns: str | None) -> tuple[list[str], set[str]]:
    """The IPv6 routes and the global addresses of the host or a namespace: what an advertisement would add to."""
    listed = [info for link in host.addresses_of(netns) for info in link["addr_info"] if info["scope"] == "global"]
    routes = host.run(["ip", "-6", "route"], netns=netns).stdout.splitlines()
    return [route for route in routes if "fe80::" not in route.split()[0]], {info["local"] for info in listed}


@pytest.mark.parametrize("to", ["33:33:00:00:00:01", LINK_LOCAL])
@pytest.mark.parametrize("sender", ["evil", "loose"])
def test_nobody_believes_a_router_advertisement(network: tuple[Modules, Host], sender: str, to: str) -> None:
    """With the guard it does not arrive; without, host and neighbours are told not to listen."""
    host = network[0].host
    advertisement = {**FORGED["router advertisement"], "to": to}
    places = (None, "web")
    before = [learned(host, place) for place in places]
    assert arrived(host, sender, [advertisement]) == [sender == "loose"]
    host.run(["sh", "-c", "sleep 0.3"])
    assert [learned(host, place) for place in places] == before
    if sender == "loose":
        # One that is told to listen does believe it, so the advertisement is a good one.
        host.write("/proc/sys/net/ipv6/conf/eth0/accept_ra", "2", netns="web")
        host.write("/proc/sys/net/ipv6/conf/eth0/autoconf", "1", netns="web")
        assert arrived(host, sender, [advertisement]) == [True]
        host.run(["sh", "-c", "sleep 0.3"])
        routes, addresses = learned(host, "web")
        assert [route for route in routes if route.startswith("2001:db8:bad::/64")], routes
        assert [address for address in addresses if address.startswith("2001:db8:bad:")], addresses
        network[0].ok("veth_endpoint", name="web")
        host.run(["ip", "-6", "addr", "flush", "dev", "eth0", "to", "2001:db8:bad::/64"], netns="web")
        for routes_of_it in (["proto", "ra"], ["root", "2001:db8:bad::/64"]):
            host.run(["ip", "-6", "route", "flush", *routes_of_it], netns="web", check=False)


@pytest.mark.parametrize(("sender", "believed"), [("evil", False), ("loose", True)])
def test_the_host_hears_no_forged_datagram(network: tuple[Modules, Host], sender: str, believed: bool) -> None:
    """Whatever it is sent to, the link-local group included."""
    host = network[0].host
    host.write("/proc/sys/net/ipv4/conf/all/rp_filter", "0")
    forged = [frame for frame in FORGED.values() if frame["kind"] == "udp" and not frame.get("tag")]
    frames = [{"mac": MAC[sender], **frame, "to": LINK_LOCAL, "mark": n} for n, frame in enumerate(forged)]
    process = host.start([sys.executable, str(FRAMES), "receive"], ready="ready")
    host.run([sys.executable, str(FRAMES), "send", "eth0"], netns=sender, input=json.dumps(frames))
    process.wait_for("end", 10)
    heard = set(process.output().split()) - {"ready", "end"}
    # Without the guard the frames come by way of the bridge, like any other to a group.
    assert heard == ({str(number) for number in range(len(forged))} if believed else set())


def test_a_mac_address_is_not_stolen(network: tuple[Modules, Host]) -> None:
    """The bridge goes on to send to the one whose MAC address another uses, be it in a frame to the link-local group."""
    host = network[0].host

    def port_of_web() -> list[str]:
        listed = host.run(["bridge", "fdb", "show", "br", "docker0"]).stdout.splitlines()
        return [line.split()[2] for line in listed if line.startswith(MAC["web"])]

    assert arrived(host, "web", [OWN["IPv4"] | {"source": "172.17.0.2"}]) == [True]
    assert port_of_web() == ["bp-web"]
    for to in ("ff:ff:ff:ff:ff:ff", LINK_LOCAL):
        assert arrived(host, "evil", [{"kind": "other", "mac": MAC["web"], "to": to}]) == [False]
        assert port_of_web() == ["bp-web"], to
    # Without the guard it is, until its owner next says something, as in answer to the host that looks for neighbours.
    theft = [{"kind": "other", "mac": MAC["web"], "to": LINK_LOCAL}]
    assert any(arrived(host, "loose", theft) == [True] and port_of_web() == ["bp-loose"] for _attempt in range(10))
    assert arrived(host, "web", [OWN["IPv4"] | {"source": "172.17.0.2"}]) == [True]


def test_the_hosts_ends_speak_no_ip(fresh: Callable[[str], Modules]) -> None:
    """A host that was set up without it is brought to it as it stands, and so is a port that somebody changed."""
    modules = fresh("debian")
    host = modules.host
    modules.ok("bridge_network", **NETWORK)
    modules.ok("veth_endpoint", network="docker0", name="web")
    key, mask = "/proc/sys/net/ipv6/conf/bp-web/disable_ipv6", "/sys/class/net/docker0/brif/bp-web/group_fwd_mask"
    assert (host.read(key).strip(), host.read(mask).strip()) == ("1", "0xfffd")
    namespace = host.run(["stat", "-c", "%i", "/run/netns/web"]).stdout
    host.write(key, "0")
    host.write(mask, "0")
    wanted = [
        "Set sysctl net.ipv6.conf.bp-web.disable_ipv6 from 0 to 1.",
        "Set group_fwd_mask of interface bp-web from 0 to 65533.",
    ]
    assert modules.ok("topology_info")["drift"] == wanted
    assert modules.ok("veth_endpoint", name="web")["actions"] == wanted
    assert modules.ok("veth_endpoint", name="web")["changed"] is False
    assert host.run(["stat", "-c", "%i", "/run/netns/web"]).stdout == namespace
    # A port that joins a bridge anew begins without.
    host.run(["ip", "link", "del", "docker0"])
    assert wanted[1] in modules.ok("bridge_network", name="docker0")["actions"]
    assert (host.read(key).strip(), host.read(mask).strip()) == ("1", "0xfffd")
    assert modules.ok("topology_info")["drift"] == []


CLAIMS: dict[str, Frame] = {
    "ARP": {"kind": "arp", "source": "172.17.0.2"},
    "a neighbour advertisement": {"kind": "na", "source": "fd00:17::3", "target": "fd00:17::2"},
    "one in fragments": {"kind": "na", "source": "fd00:17::3", "target": "fd00:17::2", "fragments": True},
}


@pytest.mark.parametrize("name", CLAIMS)
def test_an_address_is_not_stolen(network: tuple[Modules, Host], name: str) -> None:
    """The host goes on to reach the one whose address another claims."""
    modules, _client = network
    host = modules.host
    # So that fragments are put together on the bridge, of which the kernel then does not know any more that they were.
    host.write("/proc/sys/net/bridge/bridge-nf-call-ip6tables", "1")
    claim = CLAIMS[name]
    address = claim["target" if "target" in claim else "source"]
    server = host.start(echo_command("web", ["0.0.0.0:5000", "[::]:5000"], []), netns="web", ready="ready")
    assert host.probe("tcp", address, 5000).name == "web"
    for sender, stolen in (("evil", False), ("loose", True)):
        frame = {"mac": MAC[sender], "says_mac": MAC[sender], **claim, "mark": 0}
        host.run([sys.executable, str(FRAMES), "send", "eth0"], netns=sender, input=json.dumps([frame]))
        host.run(["sh", "-c", "sleep 0.3"])
        known = host.run(["ip", "neigh", "show", address, "dev", "docker0"]).stdout
        assert (MAC[sender] in known) == stolen, known
    host.run(["ip", "neigh", "del", address, "dev", "docker0"])
    assert host.probe("tcp", address, 5000).name == "web"
    server.stop()


def test_guarded_endpoints_talk(network: tuple[Modules, Host]) -> None:
    """Neighbours find each other and the gateway anew, in both IP versions, and reach the outside."""
    modules, client = network
    host = modules.host
    forms = ["0.0.0.0:7000", "[::]:7000"]
    client.start(echo_command("client", forms, forms), ready="ready")
    host.start(echo_command("evil", forms, forms), netns="evil", ready="ready")
    for place in (None, "web", "evil"):
        host.run(["ip", "neigh", "flush", "all"], netns=place)
    for proto in ("tcp", "udp"):
        for address in ("172.17.0.3", "fd00:17::3", "192.168.52.202", "fd52::202"):
            assert host.probe(proto, address, 7000, netns="web").ok, (proto, address)


def test_guard_is_a_plan_like_any_other(fresh: Callable[[str], Modules]) -> None:
    modules = fresh("debian")
    host = modules.host

    def listed() -> str:
        return host.run(["nft", "list", "ruleset", "bridge"]).stdout

    modules.ok("bridge_network", **NETWORK)
    modules.ok("veth_endpoint", network="docker0", name="web", guard=False)
    assert listed() == ""
    for value in (True, False, True):
        options: dict[str, Any] = {"name": "web", "guard": value}
        predicted = modules.ok("veth_endpoint", check=True, **options)
        assert ('"bp-web"' in listed()) != value
        done = modules.ok("veth_endpoint", **options)
        assert predicted["actions"] == done["actions"] == [f"Change endpoint web: guard from {not value} to {value}."]
        assert done["diff"]["after"] == {"endpoints": {"web": {"guard": value}}}
        assert done["endpoints"][0]["guard"] == value
        assert ('"bp-web"' in listed()) == value
        assert modules.ok("veth_endpoint", **options)["changed"] is False
        # An option that is not given stays as it is.
        assert modules.ok("veth_endpoint", name="web")["endpoints"][0]["guard"] == value
    whole = listed()
    host.run(["nft", "delete", "element", "bridge", "bridgeport", "guarded_ports", '{ "bp-web" }'])
    assert modules.ok("topology_info")["drift"] == [
        "Restore 1 element of guarded_ports in table bridge bridgeport, missing or changed."
    ]
    host.run(["nft", "flush", "ruleset"])
    assert "Restore the missing table bridge bridgeport." in modules.ok("veth_endpoint", name="web")["actions"]
    assert listed() == whole
    modules.ok("veth_endpoint", name="web", state="absent")
    assert listed() == ""


@pytest.mark.parametrize("br_netfilter", ["0", "1"])
def test_neighbours_that_are_kept_apart_stay_apart(fresh: Callable[[str], Modules], br_netfilter: str) -> None:
    """One that knows the other's MAC address does not reach it on the link, nor by way of the gateway; unless icc."""
    modules = fresh("pypi")
    host = modules.host
    for family in ("iptables", "ip6tables"):
        host.write(f"/proc/sys/net/bridge/bridge-nf-call-{family}", br_netfilter)
    modules.ok("bridge_network", **NETWORK, icc=False)
    endpoints = [{"name": name, "mac": MAC[name], "addresses": ADDRESSES[name]} for name in ("web", "evil")]
    modules.ok("veth_endpoint", network="docker0", endpoints=endpoints)
    everywhere = ["0.0.0.0:80", "[::]:80"]
    host.start(echo_command("web", everywhere, everywhere), netns="web", ready="ready")
    for target, gateway in zip(ADDRESSES["web"], ("172.17.0.1", "fd00:17::1")):
        ip = ["ip", "-6" if ":" in target else "-4"]
        for way in (
            ["neigh", "replace", target, "lladdr", MAC["web"], "nud", "permanent", "dev", "eth0"],
            ["route", "replace", target, "via", gateway],
        ):
            host.run([*ip, *way], netns="evil")
            for proto in ("tcp", "udp"):
                assert not host.probe(proto, target, 80, "evil", timeout=0.4), way
        host.run([*ip, "route", "del", target], netns="evil")
    # It was the network that kept them apart.
    modules.ok("bridge_network", name="docker0", icc=True)
    assert all(host.probe("tcp", target, 80, "evil") for target in ADDRESSES["web"])
