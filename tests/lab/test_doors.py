# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Doors that stay shut, each tried as hard as a neighbour, an endpoint or a machine in transit can try."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hostlab import Host, Lab, echo_command
from support import BACKENDS, CLIENT, HOST, Modules, choose_backend, interpreters

LAN = {4: "192.168.52.203", 6: "fd52::203"}
OUTSIDE = {4: "192.168.52.202", 6: "fd52::202"}
SERVER = {4: "192.168.52.205", 6: "fd52::205"}
WEB = {4: "172.17.0.2", 6: "fd00:17::2"}
GATEWAY = {4: "172.17.0.1", 6: "fd00:17::1"}
FAR = {4: "172.18.0.2", 6: "fd00:18::2"}
FAR_GATEWAY = {4: "172.18.0.1", 6: "fd00:18::1"}
PORTS = ["80:5000", "80:5000/udp", "127.0.0.1:8081:5000", "127.0.0.1:8081:5000/udp"]


@pytest.fixture(scope="module", params=BACKENDS)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Host, Host, Modules]]:
    """A client and a server on the LAN that route by way of the host, and two networks with icc on the host."""
    scratch = tmp_path_factory.mktemp("doors")
    with Lab(scratch / "lab") as lab:
        client, host = lab.add_host("client", CLIENT), lab.add_host("host", HOST)
        server = lab.add_host("server", ["192.168.52.205/24", "fd52::205/64"])
        modules = Modules(host, interpreters(scratch)[1])
        modules.ok(
            "bridge_network",
            **choose_backend(host, request.param),
            networks=[
                {"name": "docker0", "subnets": ["172.17.0.0/16", "fd00:17::/64"]},
                {"name": "far", "subnets": ["172.18.0.0/16", "fd00:18::/64"]},
            ],
        )
        modules.ok("masquerade", masquerades=[{"network": "docker0"}, {"network": "far"}])
        modules.ok(
            "veth_endpoint", endpoints=[{"name": "web", "network": "docker0"}, {"name": "app", "network": "far"}]
        )
        modules.ok("port_publish", endpoint="web", ports=PORTS)
        for machine, netns, ports in ((host, "web", "5000"), (host, "app", "5000"), (server, None, "80-81")):
            forms = [f"{address}:{ports}" for address in ("0.0.0.0", "[::]")]
            machine.start(echo_command(netns or "server", forms, forms), netns=netns, ready="ready")
        yield client, host, modules


def add_route(machine: Host, destination: str, via: str, netns: str | None = None) -> None:
    machine.run(["ip", "-6" if ":" in via else "-4", "route", "replace", destination, "via", via], netns=netns)


@pytest.mark.parametrize("version", [4, 6])
def test_a_port_on_loopback_is_not_reached_by_a_forged_destination(
    place: tuple[Host, Host, Modules], version: int
) -> None:
    """A neighbour sends frames for 127.0.0.1 and ::1 to the host: its own addresses of that name are out of the way."""
    client, host, _modules = place
    loopback = {4: "127.0.0.1", 6: "::1"}[version]
    client.run(["ip", "addr", "del", f"{loopback}/{8 if version == 4 else 128}", "dev", "lo"])
    if version == 4:
        client.run(["ip", "route", "flush", "table", "local", "127.0.0.0/8"], check=False)
        client.write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1")
    add_route(client, f"{loopback}/{32 if version == 4 else 128}", LAN[version])
    capture = host.start(["tcpdump", "-l", "-n", "-i", "eth0", f"dst host {loopback}"], ready="listening on")
    for proto, port in (("tcp", 8081), ("udp", 8081), ("tcp", 80), ("udp", 80)):
        assert not client.probe(proto, loopback, port, timeout=0.6), (proto, port)
    if version == 4:
        capture.wait_for("127.0.0.1.8081", 5)
        assert host.probe("tcp", loopback, 8081).name == "web"
    capture.stop()
    for proto in ("tcp", "udp"):
        assert not client.probe(proto, LAN[version], 8081, timeout=0.6)


@pytest.mark.parametrize("version", [4, 6])
def test_transit_to_another_machine_is_not_hijacked(place: tuple[Host, Host, Modules], version: int) -> None:
    """The client routes to the server by way of the host, which forwards; port 80 is published on the host."""
    client, host, _modules = place
    prefix = 32 if version == 4 else 128
    add_route(client, f"{SERVER[version]}/{prefix}", LAN[version])
    host.write("/proc/sys/net/ipv4/conf/eth0/send_redirects", "0")
    host.write("/proc/sys/net/ipv4/conf/all/send_redirects", "0")
    for proto in ("tcp", "udp"):
        for port in (80, 81):
            probe = client.probe(proto, SERVER[version], port)
            assert (probe.name, probe.source) == ("server", OUTSIDE[version]), (proto, port, probe)
        assert client.probe(proto, LAN[version], 80).name == "web"


@pytest.mark.parametrize("br_netfilter", ["0", "1"])
@pytest.mark.parametrize("version", [4, 6])
def test_networks_are_apart_but_for_published_ports(
    place: tuple[Host, Host, Modules], version: int, br_netfilter: str
) -> None:
    """Both have icc. Neither the default route, nor one of the endpoint's own, nor the other's gateway leads across."""
    _client, host, _modules = place
    for family in ("iptables", "ip6tables"):
        host.write(f"/proc/sys/net/bridge/bridge-nf-call-{family}", br_netfilter)
    prefix = 32 if version == 4 else 128
    for way in ("default", "own"):
        if way == "own":
            add_route(host, f"{WEB[version]}/{prefix}", FAR_GATEWAY[version], "app")
            add_route(host, f"{FAR[version]}/{prefix}", GATEWAY[version], "web")
        for proto in ("tcp", "udp"):
            assert not host.probe(proto, WEB[version], 5000, "app", timeout=0.6), (way, proto)
            assert not host.probe(proto, FAR[version], 5000, "web", timeout=0.6), (way, proto)
            for address in (LAN, GATEWAY, FAR_GATEWAY):
                probe = host.probe(proto, address[version], 80, "app")
                assert (probe.name, probe.source) == ("web", GATEWAY[version]), (way, proto, address[version])


@pytest.mark.parametrize("place", ["nftables"], indirect=True)
@pytest.mark.parametrize("version", [4, 6])
def test_a_neighbour_with_a_route_stays_outside(place: tuple[Host, Host, Modules], version: int) -> None:
    """What looks like an answer, from the port of a service, is no way in either."""
    client, host, modules = place
    add_route(client, f"{WEB[version]}/{32 if version == 4 else 128}", LAN[version])
    for proto in ("tcp", "udp"):
        assert not client.probe(proto, WEB[version], 5000, timeout=0.6)
        assert not client.probe(proto, WEB[version], 5000, timeout=0.6, source_port=80)
    # It is the rules that keep it out.
    saved = {family: host.run(["nft", "-s", "list", "table", family, "bridgeport"]).stdout for family in ("ip", "ip6")}
    for family in saved:
        host.run(["nft", "flush", "chain", family, "bridgeport", "guard"])
        host.run(["nft", "flush", "chain", family, "bridgeport", "forward"])
    assert client.probe("tcp", WEB[version], 5000).name == "web"
    modules.ok("port_publish", endpoint="web", ports=PORTS)
    assert {f: host.run(["nft", "-s", "list", "table", f, "bridgeport"]).stdout for f in saved} == saved
    assert not client.probe("tcp", WEB[version], 5000, timeout=0.6)
