# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Beside those who have bridges of their own, Docker and libvirt: what they keep closed stays so, and all else works.

What an endpoint of ours may reach of theirs is measured by a stranger: a namespace behind a bridge that no firewall has
ever heard of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from hostlab import Host, Lab, echo_command
from matrix.docker import IPV6, Docker
from matrix.topology import Net, Place, Port
from support import CLIENT, HOST, ROOT, Interpreter, Modules, choose_backend

# Which iptables the host has, and so the others use; and our backend.
KINDS = [("nft", "nftables"), ("legacy", "nftables"), ("nft", "iptables"), ("legacy", "iptables")]
LAN = {4: "192.168.52.203", 6: "fd52::203"}
OUTSIDE = {4: "192.168.52.202", 6: "fd52::202"}
OURS = {
    "web": Net("ours0", 17),
    "open": Net("routed0", 18, {"mode": "routed"}),
    "sealed": Net("sealed0", 19, {"mode": "internal"}),
}
STRANGER = Net("stranger0", 40)
SERVED = (80, 81)
PATIENCE = 1.0
CLOSED = "closed"

Doors = dict[str, tuple[str, int]]
Answers = dict[tuple[str, str], str]


def doors_of(places: dict[str, Net], versions: Sequence[int], **published: int) -> Doors:
    """Names for the services of places by their own addresses, and for host ports."""
    found: Doors = {}
    for version in versions:
        for name, net in places.items():
            found.update({f"{name}{version}:{port}": (net.address(version, 2), port) for port in SERVED})
        found.update({f"{name}{version}:host": (LAN[version], port) for name, port in published.items()})
    return found


class Ground(NamedTuple):
    """The outside client, the managed host with its modules, and the IP versions that the other one uses."""

    client: Host
    modules: Modules
    versions: Sequence[int]

    @property
    def host(self) -> Host:
        """The managed host."""
        return self.modules.host

    def guest(self, name: str, net: Net) -> None:
        """Make a bridge with one namespace behind it, by hand, and its services."""
        script = f"""
        set -e
        ip link add {net.name} type bridge
        ip netns add {name}
        ip link add to-{name} type veth peer name eth0 netns {name}
        ip link set to-{name} master {net.name} up
        ip link set {net.name} up
        ip -n {name} link set eth0 up
        """
        for version in (4, 6):
            length = {4: 16, 6: 64}[version]
            script += f"""
            ip -{version} addr add {net.address(version, 1)}/{length} dev {net.name} {"nodad" if version == 6 else ""}
            ip -{version} -n {name} addr add {net.address(version, 2)}/{length} dev eth0 {"nodad" if version == 6 else ""}
            ip -{version} -n {name} route add default via {net.address(version, 1)}
            """
        self.host.run(["sh", "-c", script])
        self.serve(name, net)

    def serve(self, name: str, net: Net) -> None:
        """Serve both ports in a namespace, and let the client send there."""
        forms = [f"{every}:{port}" for every in ("0.0.0.0", "[::]") for port in SERVED]
        self.host.start(echo_command(name, forms, python=self.host.python), netns=name, ready="ready")
        for version in (4, 6):
            self.client.run(["ip", f"-{version}", "route", "replace", net.subnet(version), "via", LAN[version]])

    def ask(self, who: Sequence[str], doors: Doors) -> Answers:
        """Who gets through which door: the address that the service saw, or CLOSED."""

        def of(asker: str) -> Answers:
            machine = self.client if asker == "client" else self.host
            netns = None if asker in ("client", "host") else asker
            targets = [("tcp", *door) for door in doors.values()]
            probes = machine.probe_many(targets, netns, timeout=PATIENCE)
            return {(asker, name): str(p.source) if p.ok else CLOSED for name, p in zip(doors, probes)}

        with ThreadPoolExecutor(len(who)) as pool:
            return {cell: answer for answers in pool.map(of, who) for cell, answer in answers.items()}

    def set_up(self, backend: str) -> None:
        """Our networks of three modes, an endpoint in each, and what is published of them."""
        networks = [
            {"name": net.name, "subnets": [net.subnet(4), net.subnet(6)], **net.options} for net in OURS.values()
        ]
        endpoints = [
            {"name": name, "network": net.name, "addresses": [net.address(4, 2), net.address(6, 2)]}
            for name, net in OURS.items()
        ]
        self.modules.ok("bridge_network", backend=backend, networks=networks)
        self.modules.ok("masquerade", network="ours0")
        self.modules.ok("veth_endpoint", endpoints=endpoints)
        self.modules.ok(
            "port_publish", publishes=[{"endpoint": "web", "ports": ["8080:80"]}, {"endpoint": "open", "ports": ["80"]}]
        )
        for name, net in OURS.items():
            self.serve(name, net)
        # It has no way out by itself; what stops it is to be the firewall.
        for version in (4, 6):
            gateway = OURS["sealed"].address(version, 1)
            self.host.run(["ip", f"-{version}", "-n", "sealed", "route", "replace", "default", "via", gateway])

    def tear_down(self) -> None:
        """Remove all of it."""
        self.modules.ok("masquerade", network="ours0", state="absent")
        self.modules.ok("veth_endpoint", endpoints=[{"name": name} for name in OURS], state="absent")
        self.modules.ok("bridge_network", networks=[{"name": net.name} for net in OURS.values()], state="absent")

    def rules(self) -> dict[str, list[str]]:
        """The tables of the host's iptables in which others have rules, without ours and without counters."""
        found = {}
        for family in ("iptables", "ip6tables"):
            for table in self.host.run([f"{family}-save"]).stdout.split("\n*")[1:]:
                lines = [line.split(" [")[0] for line in table.splitlines() if not line.startswith("#")]
                lines = [line for line in lines if "BRIDGEPORT" not in line]
                if any(line.startswith("-A") for line in lines):
                    found[f"{family} {lines[0]}"] = lines
        return found

    def check_ours(self, guests: Sequence[str], shut_in: Sequence[str]) -> None:
        """Ours is open to guests of others where it is published, and to those who are shut in not at all."""
        ours = doors_of(OURS, self.versions, web=8080)
        opened = {f"{name}{version}" for version in self.versions for name in ("web", "open")}
        opened = {name + (":host" if name.startswith("web") else ":80") for name in opened}
        answers = self.ask(["client", "stranger", *guests, *shut_in], ours)
        wrong = {
            cell: answer
            for cell, answer in answers.items()
            if (answer == CLOSED) == (cell[0] not in shut_in and cell[1] in opened)
        }
        assert not wrong
        outside = self.ask(["web"], {f"{version}": (OUTSIDE[version], 7000) for version in self.versions})
        assert outside == {("web", f"{version}"): LAN[version] for version in self.versions}

    def check_theirs(self, doors: Doors, alone: Answers) -> None:
        """What is theirs is as it is without us, and as open to our endpoints as to a stranger."""
        assert self.ask(list(dict.fromkeys(cell[0] for cell in alone)), doors) == alone
        answers = self.ask(list(OURS), doors)
        opened = {door for (who, door), answer in alone.items() if who == "stranger" and answer != CLOSED}
        wrong = {
            cell: answer
            for cell, answer in answers.items()
            if (answer == CLOSED) == (cell[0] != "sealed" and cell[1] in opened)
        }
        assert not wrong


@pytest.fixture
def ground(tmp_path: Path, pythons: dict[str, Interpreter]) -> Iterator[Ground]:
    """The two machines."""
    with Lab(tmp_path / "lab") as lab:
        client, host = lab.add_host("client", CLIENT), lab.add_host("host", HOST)
        client.start(echo_command("client", ["0.0.0.0:7000", "[::]:7000"]), ready="ready")
        host.write("/proc/sys/net/ipv6/conf/all/forwarding", "1")
        yield Ground(client, Modules(host, pythons["pypi"]), (4, 6))


CONTAINERS = {"con": Net("dock0", 30), "hid": Net("dockint0", 31, docker=("--internal",))}
LATE = Net("late0", 32)


@pytest.fixture
def docker(ground: Ground) -> Docker:
    """Debian's dockerd, not started yet: a container with a published port and one in an internal network."""
    unpacked = ROOT / ".cache" / "docker"
    assert unpacked.is_dir(), "Run 'make .cache/docker' first."
    places = [Place(name, net.name, 2) for name, net in CONTAINERS.items()]
    made = Docker(ground.host, unpacked, False, list(CONTAINERS.values()), places, [Port("con", 8090, 80)])
    ground.host.group = made.group
    return made


@pytest.mark.parametrize(("kind", "backend"), KINDS)
def test_docker(ground: Ground, docker: Docker, kind: str, backend: str) -> None:
    """Debian's own: it closes unpublished ports by FORWARD's policy, and internal networks by a chain of its own."""
    choose_backend(ground.host, f"iptables-{kind}")
    docker.start(IPV6)
    docker.make()
    for name, net in CONTAINERS.items():
        ground.serve(name, net)
    ground.guest("stranger", STRANGER)
    theirs = doors_of(CONTAINERS, ground.versions, con=8090)
    alone = ground.ask(["client", "host", "stranger", *CONTAINERS], theirs)
    assert alone["stranger", "con4:host"] != CLOSED == alone["stranger", "con4:81"]
    assert alone["stranger", "hid4:80"] == alone["hid", "con4:host"] == CLOSED
    rules = ground.rules()

    ground.set_up(backend)
    ground.check_ours(["con"], ["hid"])
    ground.check_theirs(theirs, alone)
    assert ground.rules() == rules

    # It writes its rules anew, in another order than before.
    docker.restart()
    ground.check_ours(["con"], ["hid"])
    ground.check_theirs(theirs, alone)
    assert ground.modules.ok("topology_info")["drift"] == []
    # And a network of its own, of which no run of ours knows.
    docker.add_network(LATE)
    docker.add_container(Place("late", LATE.name, 2), LATE)
    ground.serve("late", LATE)
    late = ground.ask(["stranger", *OURS], doors_of({"late": LATE}, ground.versions))
    assert set(late.values()) == {CLOSED}, late
    ground.check_ours(["con"], ["hid"])
    # By IPv6, which is an experiment in 20.10, it puts what a new network may send in front of its own DOCKER-USER.
    versions = (4, 6) if backend == "nftables" else (4,)
    ground._replace(versions=versions).check_ours(["late"], [])

    rules = ground.rules()
    ground.tear_down()
    assert ground.rules() == rules
    assert ground.ask(list(dict.fromkeys(cell[0] for cell in alone)), theirs) == alone


class Written(NamedTuple):
    """Rules as their owner's documentation has them, and its guests: ``free`` is let out and ``shut`` is not.

    ``net`` stands for the subnet of ``free``, ``inner`` for that of ``shut``; ``to`` for the address of ``free``.
    """

    free: tuple[str, Net]
    shut: tuple[str, Net]
    published: dict[str, int]
    rules: str


LIBVIRT_9 = Written(
    ("vm", Net("virbr0", 122)),
    ("locked", Net("virbr1", 123)),
    {},
    """\
*filter
:LIBVIRT_FWI - [0:0]
:LIBVIRT_FWO - [0:0]
:LIBVIRT_FWX - [0:0]
-I FORWARD -j LIBVIRT_FWO
-I FORWARD -j LIBVIRT_FWI
-I FORWARD -j LIBVIRT_FWX
-A LIBVIRT_FWI -o virbr1 -j REJECT
-A LIBVIRT_FWI -d {net} -o virbr0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A LIBVIRT_FWI -o virbr0 -j REJECT
-A LIBVIRT_FWO -i virbr1 -j REJECT
-A LIBVIRT_FWO -s {net} -i virbr0 -j ACCEPT
-A LIBVIRT_FWO -i virbr0 -j REJECT
-A LIBVIRT_FWX -i virbr1 -o virbr1 -j ACCEPT
-A LIBVIRT_FWX -i virbr0 -o virbr0 -j ACCEPT
COMMIT
*nat
:LIBVIRT_PRT - [0:0]
-A POSTROUTING -j LIBVIRT_PRT
-A LIBVIRT_PRT -s {net} ! -d {net} -j MASQUERADE
COMMIT
""",
)
DOCKER_29 = Written(
    ("con", CONTAINERS["con"]),
    ("hid", CONTAINERS["hid"]),
    {"con": 8090},
    """\
*filter
:DOCKER - [0:0]
:DOCKER-BRIDGE - [0:0]
:DOCKER-CT - [0:0]
:DOCKER-FORWARD - [0:0]
:DOCKER-INTERNAL - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER -d {to} ! -i dock0 -o dock0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER ! -i dock0 -o dock0 -j DROP
-A DOCKER-BRIDGE -o dock0 -j DOCKER
-A DOCKER-CT -o dock0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -j DOCKER-CT
-A DOCKER-FORWARD -j DOCKER-INTERNAL
-A DOCKER-FORWARD -j DOCKER-BRIDGE
-A DOCKER-FORWARD -i dock0 -j ACCEPT
-A DOCKER-FORWARD -i dockint0 -o dockint0 -j ACCEPT
-A DOCKER-INTERNAL ! -s {inner} -o dockint0 -j DROP
-A DOCKER-INTERNAL ! -d {inner} -i dockint0 -j DROP
COMMIT
*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s {net} ! -o dock0 -j MASQUERADE
-A DOCKER -p tcp -m tcp --dport 8090 -j DNAT --to-destination {to_port}
COMMIT
*raw
-A PREROUTING -d {to} ! -i dock0 -j DROP
COMMIT
""",
)


@pytest.mark.parametrize("written", [LIBVIRT_9, DOCKER_29], ids=["libvirt", "docker"])
@pytest.mark.parametrize(
    ("kind", "backend", "policy"),
    [(*KINDS[0], "DROP"), (*KINDS[1], "DROP"), (*KINDS[2], "ACCEPT"), (*KINDS[3], "DROP")],
)
def test_rules_as_they_are_documented(ground: Ground, written: Written, kind: str, backend: str, policy: str) -> None:
    """Of those who are not here themselves: they close what is theirs by rules of their own."""
    host = ground.host
    choose_backend(host, f"iptables-{kind}")
    host.write("/proc/sys/net/ipv4/ip_forward", "1")
    (free, net), (shut, inner) = written.free, written.shut
    for name, of in ((free, net), (shut, inner), ("stranger", STRANGER)):
        ground.guest(name, of)
    for version, family in ((4, "iptables"), (6, "ip6tables")):
        to = net.address(version, 2)
        words = {"net": net.subnet(version), "inner": inner.subnet(version), "to": to}
        words["to_port"] = f"{to}:80" if version == 4 else f"[{to}]:80"
        host.run([f"{family}-restore", "--noflush"], input=written.rules.format(**words))
        host.run([family, "-P", "FORWARD", policy])
    theirs = doors_of({free: net, shut: inner}, ground.versions, **written.published)
    alone = ground.ask(["client", "stranger", free, shut], theirs)
    opened = {door for (who, door), answer in alone.items() if who == "stranger" and answer != CLOSED}
    assert opened == {door for door in theirs if door.endswith("host")}
    rules = ground.rules()
    ground.set_up(backend)
    ground.check_ours([free], [shut])
    ground.check_theirs(theirs, alone)
    assert ground.rules() == rules
    ground.tear_down()
    assert ground.rules() == rules
