# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Flows that the kernel knows already do not go on past rules that have changed, whoever carries the rules."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from hostlab import Host, Lab, echo_command
from support import BACKENDS, CLIENT, HOST, Modules, choose_backend, interpreters

# Sends its words from a port, ten times a second.
SENDER = """
import socket, sys, time
family = socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM)
s.bind(("", int(sys.argv[1])))
for _ in range(600):
    try:
        s.sendto(sys.argv[4].encode(), (sys.argv[2], int(sys.argv[3])))
    except OSError:
        pass
    time.sleep(0.1)
"""
# Prints who sends what.
LISTENER = """
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.bind(("::", int(sys.argv[1])))
s.settimeout(120)
print("ready", flush=True)
while True:
    data, address = s.recvfrom(2000)
    print(data.decode(), address[0].replace("::ffff:", ""), flush=True)
"""
# Connects, and goes away without a word to the other side, as one that loses its power.
VANISHER = """
import socket, sys
s = socket.socket()
s.bind(("", int(sys.argv[1])))
s.connect((sys.argv[2], int(sys.argv[3])))
s.sendall(b"?\\n")
s.recv(100)
s.setsockopt(socket.IPPROTO_TCP, 19, 1)  # TCP_REPAIR: closes without a packet
"""
# Says one word.
ONCE = """
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.bind(("", int(sys.argv[1])))
s.sendto(b"once", (sys.argv[2], int(sys.argv[3])))
"""
# Goes on answering whoever speaks first to an address of its own.
STREAMER = """
import socket, sys, time
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
_, address = s.recvfrom(100)
for _ in range(600):
    s.sendto(b"on", address)
    time.sleep(0.1)
"""
# Speaks once, and prints who answers what.
CALLER = """
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(60)
s.sendto(b"hello", (sys.argv[1], int(sys.argv[2])))
while True:
    data, address = s.recvfrom(100)
    print(data.decode(), address[0], flush=True)
"""
# Says one word from an address.
FORGER = """
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 0))
s.sendto(b"forged", (sys.argv[2], int(sys.argv[3])))
"""
# What keeps connection tracking on, both versions.
KEEPER = "".join(
    f"table {family} another {{ chain p {{ type filter hook prerouting priority 0; ct state new accept; }}; }}\n"
    for family in ("ip", "ip6")
)


@pytest.fixture(params=BACKENDS)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Host, Modules]]:
    """A client whose packets to the endpoints' addresses go by way of the host, and the host with two networks."""
    scratch = tmp_path_factory.mktemp("flows")
    with Lab(scratch / "lab") as lab:
        client, host = lab.add_host("client", CLIENT), lab.add_host("host", HOST)
        modules = Modules(host, interpreters(scratch)[1])
        modules.ok(
            "bridge_network",
            **choose_backend(host, request.param),
            networks=[
                {"name": "docker0", "subnets": ["172.17.0.0/16", "fd00:17::/64"], "trusted_interfaces": ["eth0"]},
                {"name": "flat", "subnets": ["172.19.0.0/16", "fd00:19::/64"], "mode": "routed"},
            ],
        )
        make(modules, "docker0", "web", 17)
        make(modules, "flat", "way", 19)
        client.run(["ip", "route", "add", "172.16.0.0/12", "via", "192.168.52.203"])
        client.run(["ip", "route", "add", "fd00::/16", "via", "fd52::203"])
        yield client, modules


def make(modules: Modules, network: str, name: str, number: int) -> None:
    """Make an endpoint with services that answer with its name."""
    addresses = [f"172.{number}.0.2", f"fd00:{number}::2"]
    modules.ok("veth_endpoint", network=network, name=name, addresses=addresses)
    forms = [f"{address}:{port}" for address in ("0.0.0.0", "[::]") for port in (53, 5000)]
    modules.host.start(echo_command(name, forms, forms), netns=name, ready="ready")


def sender(host: Host, netns: str, port: int, address: str, word: str) -> None:
    host.start([sys.executable, "-c", SENDER, str(port), address, "7001", word], netns=netns)


def heard(listener: Any) -> set[str]:
    """What comes to a listener from now on, within a second."""
    time.sleep(0.3)
    had = len(listener.output().splitlines())
    time.sleep(1)
    return set(listener.output().splitlines()[had:])


def test_the_next_owner_of_an_address_inherits_nothing(place: tuple[Host, Modules]) -> None:
    """A connection whose client has lost its power lives on for days in the eyes of the kernel."""
    client, modules = place
    modules.ok("port_publish", endpoint="web", ports=["80:5000", "81:5000/udp"])
    for port in (40001, 40002):
        client.run([sys.executable, "-c", VANISHER, str(port), "192.168.52.203", "80"])
    # The endpoint that stays is another's neighbour; its flows are left alone.
    modules.ok("port_publish", endpoint="way", ports=["5000"])
    client.run([sys.executable, "-c", VANISHER, "40003", "172.19.0.2", "5000"])
    modules.ok("veth_endpoint", name="web", state="absent")
    known = modules.host.read("/proc/net/nf_conntrack")
    assert "172.17.0.2" not in known
    assert "172.19.0.2" in known
    make(modules, "docker0", "next", 17)
    assert not client.probe("tcp", "192.168.52.203", 80, source_port=40001, timeout=1)


def test_an_address_that_an_endpoint_gives_up(place: tuple[Host, Modules]) -> None:
    client, modules = place
    modules.ok("port_publish", endpoint="web", ports=["80:5000"])
    client.run([sys.executable, "-c", VANISHER, "40001", "192.168.52.203", "80"])
    modules.ok("veth_endpoint", name="web", addresses=["172.17.0.9", "fd00:17::9"])
    make(modules, "docker0", "next", 17)
    assert client.probe("tcp", "192.168.52.203", 80, source_port=40001).name == "web"


def by_route(client: Host, port: int) -> list[str | None]:
    """Who answers at each endpoint's own address."""
    addresses = ("172.17.0.2", "172.19.0.2", "fd00:17::2", "fd00:19::2")
    return [client.probe("udp", each, 53, timeout=0.4, source_port=port).name for each in addresses]


def test_unpublished_by_route(place: tuple[Host, Modules]) -> None:
    client, modules = place
    modules.ok("port_publish", publishes=[{"endpoint": name, "ports": ["53:53/udp"]} for name in ("web", "way")])
    assert by_route(client, 40053) == ["web", "way"] * 2
    gone = modules.ok("port_publish", publishes=[{"endpoint": name} for name in ("web", "way")], state="absent")
    assert "Forget the UDP flows by route to port 53, which would go on as before." in gone["actions"]
    assert by_route(client, 40053) == [None] * 4


def test_an_interface_that_is_trusted_no_longer(place: tuple[Host, Modules]) -> None:
    client, modules = place
    modules.ok("port_publish", endpoint="web", ports=["53:53/udp"])
    assert by_route(client, 40053) == ["web", None] * 2
    modules.ok("bridge_network", name="docker0", trusted_interfaces=[])
    assert by_route(client, 40053) == [None] * 4


def test_a_network_that_is_sealed_is_sealed_to_what_flows(place: tuple[Host, Modules]) -> None:
    """Its endpoint began the flow, and the other side goes on to send."""
    client, modules = place
    host = modules.host
    modules.ok("masquerade", network="docker0")
    listener = host.start([sys.executable, "-c", LISTENER, "7000"], netns="web", ready="ready")
    host.run([sys.executable, "-c", ONCE, "7000", "192.168.52.202", "7001"], netns="web")
    client.start([sys.executable, "-c", SENDER, "7001", "192.168.52.203", "7000", "in"])
    assert heard(listener) == {"in 192.168.52.202"}
    modules.ok("masquerade", network="docker0", state="absent")
    modules.ok("bridge_network", name="docker0", mode="internal", trusted_interfaces=[])
    assert heard(listener) == set()
    assert host.probe("tcp", "172.17.0.2", 5000).name == "web"
    assert host.probe("udp", "172.17.0.1", 9, netns="web", timeout=0.3).error == "refused"


def test_a_source_that_is_not_what_it_says(place: tuple[Host, Modules]) -> None:
    """A list that names a network's subnet lets in its endpoints and nobody who claims to be one."""
    client, modules = place
    host = modules.host
    sources = ["172.17.0.0/16", "fd00:17::/64", "172.19.0.0/16", "fd00:19::/64"]
    modules.ok("port_publish", endpoint="web", ports=["80:53/udp"], sources=sources)
    for name in ("all", "eth0"):
        host.write(f"/proc/sys/net/ipv4/conf/{name}/rp_filter", "0")
    # Each address is the client's own for once, and what it gets no answer for arrives all the same, or not.
    forged = {"172.17.0.9": 4, "172.19.0.9": 4, "fd00:17::9": 6, "fd00:19::9": 6}
    listener = host.start([sys.executable, "-c", LISTENER, "7000"], netns="web", ready="ready")
    modules.ok("port_publish", endpoint="web", ports=["80:7000/udp"], prune=True, sources=sources)
    targets = {4: "192.168.52.203", 6: "fd52::203"}
    for address, version in forged.items():
        client.run(["ip", "addr", "add", f"{address}/{32 if version == 4 else 128}", "dev", "lo", "nodad"])
        client.run([sys.executable, "-c", FORGER, address, targets[version], "80"])
    time.sleep(0.5)
    assert listener.output().split() == ["ready"]
    # Those that are meant, by every way; and the host, which a list does not limit.
    for netns in ("way", "web", None):
        for target in (*targets.values(), "172.17.0.1", *([] if netns else ["127.0.0.1"])):
            host.run([sys.executable, "-c", ONCE, "0", target, "80"], netns=netns)
    time.sleep(0.5)
    came = [line.split()[1] for line in listener.output().splitlines() if " " in line]
    assert len(came) == 10, came
    assert {"172.19.0.2", "fd00:19::2"} <= set(came)


def test_a_loopback_address_does_not_come_from_an_endpoint(place: tuple[Host, Modules]) -> None:
    """The kernel would take it, since published ports are led to endpoints from 127.0.0.1 too."""
    _client, modules = place
    host = modules.host
    modules.ok("veth_endpoint", name="web", guard=False)
    modules.ok("port_publish", endpoint="web", ports=["80:5000"])
    host.write("/proc/sys/net/ipv4/conf/all/route_localnet", "1", netns="web")
    for path in ("all", "docker0"):
        host.write(f"/proc/sys/net/ipv4/conf/{path}/rp_filter", "0")
    listener = host.start([sys.executable, "-c", LISTENER, "9999"], ready="ready")
    for address in ("127.0.0.9", "172.17.0.2"):
        host.run([sys.executable, "-c", FORGER, address, "172.17.0.1", "9999"], netns="web")
    time.sleep(0.5)
    assert listener.output().splitlines() == ["ready", "forged 172.17.0.2"]


def test_an_isolated_endpoint_does_not_reach_the_host(place: tuple[Host, Modules]) -> None:
    """Which has no address there, and yet answers for all that it has, where nothing asks for the way back."""
    _client, modules = place
    host = modules.host
    modules.ok("bridge_network", name="apart", subnets=["172.20.0.0/24"], mode="isolated")
    modules.ok("veth_endpoint", network="apart", name="one")
    for path in ("all", "apart"):
        host.write(f"/proc/sys/net/ipv4/conf/{path}/rp_filter", "0")
    host.run(["ip", "route", "add", "default", "dev", "eth0"], netns="one")
    listener = host.start([sys.executable, "-c", LISTENER, "9999"], ready="ready")
    for netns in ("one", "web"):
        host.run([sys.executable, "-c", ONCE, "0", "192.168.52.203", "9999"], netns=netns)
    time.sleep(0.5)
    assert listener.output().splitlines() == ["ready", "once 172.17.0.2"]


def test_a_flow_from_before_its_masquerade(place: tuple[Host, Modules]) -> None:
    """It never pauses, and gets the masquerade that is new, the next one, and the one that was lost and came back."""
    client, modules = place
    host = modules.host
    host.run(["ip", "addr", "add", "192.168.52.213/24", "dev", "eth0"])
    # So that the kernel keeps track of connections even where no rule of ours is left.
    host.run(["nft", "-f", "-"], input=KEEPER)
    listener = client.start([sys.executable, "-c", LISTENER, "7001"], ready="ready")
    sender(host, "web", 7002, "192.168.52.202", "one")
    assert heard(listener) == {"one 172.17.0.2"}
    modules.ok("masquerade", network="docker0")
    assert heard(listener) == {"one 192.168.52.203"}
    modules.ok("masquerade", network="docker0", to_source="192.168.52.213")
    assert heard(listener) == {"one 192.168.52.213"}
    lose_rules(host)
    sender(host, "web", 7003, "192.168.52.202", "two")
    assert "two 172.17.0.2" in heard(listener)
    modules.ok("masquerade", network="docker0", to_source="192.168.52.213")
    assert heard(listener) == {"one 192.168.52.213", "two 192.168.52.213"}


def test_a_flow_that_slipped_in(place: tuple[Host, Modules]) -> None:
    """While the rules were gone, somebody reached a port that is not published."""
    client, modules = place
    host = modules.host
    host.run(["nft", "-f", "-"], input=KEEPER)
    modules.ok("bridge_network", name="docker0", trusted_interfaces=[])
    # Only what is answered is a connection in the eyes of the guard.
    answering = LISTENER.replace("    print(", "    s.sendto(data, address)\n    print(")
    listener = host.start([sys.executable, "-c", answering, "7000"], netns="web", ready="ready")
    lose_rules(host)
    for address in ("172.17.0.2", "fd00:17::2"):
        client.start([sys.executable, "-c", SENDER, "7005", address, "7000", "in"])
    assert {line.split()[0] for line in heard(listener)} == {"in"}
    modules.ok("bridge_network", name="docker0")
    assert heard(listener) == set()


def test_what_may_come_in_goes_on_when_its_guard_comes_back(place: tuple[Host, Modules]) -> None:
    """From an interface that is trusted, and to the host at its gateway address: the next word is the other side's."""
    client, modules = place
    host = modules.host
    host.run(["nft", "-f", "-"], input=KEEPER)
    modules.ok("port_publish", endpoint="web", ports=["7001:7000/udp"])
    modules.ok("masquerade", network="docker0")
    callers = {}
    for address, netns in (("172.17.0.2", "web"), ("fd00:17::2", "web"), ("172.17.0.1", None)):
        host.start([sys.executable, "-c", STREAMER, address, "7000"], netns=netns, ready="ready")
        callers[address] = client.start([sys.executable, "-c", CALLER, address, "7000"])
    assert [heard(caller) for caller in callers.values()] == [{f"on {address}"} for address in callers]
    lose_rules(host)
    modules.ok("masquerade", network="docker0")
    assert [heard(caller) for caller in callers.values()] == [{f"on {address}"} for address in callers]


def lose_rules(host: Host) -> None:
    """Take all rules away, as a restart of another firewall does; the kernel goes on to know its connections."""
    host.run(["nft", "-f", "-"], input=f"flush ruleset\n{KEEPER}")
    for program in ("iptables-legacy", "ip6tables-legacy"):
        for table in ("nat", "mangle", "filter"):
            for verb in ("-F", "-X"):
                host.run([program, "-t", table, verb], check=False)
