# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``loopback: proxy`` on a machine that boots: who gets through, as whom, and what systemd is left with."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from hostlab import Host, Lab, echo_command
from hostlab.machine import Machine
from support import CLIENT, Interpreter, Modules, boot_for_modules, transition

GATEWAY4, GATEWAY6, ONLY4, ONLY6 = "172.17.0.1", "fd00:17::1", "172.19.0.1", "fd00:18::1"
PROXYD = "/usr/lib/systemd/systemd-socket-proxyd"
FILES = "/var/lib/bridgeport/proxy"
UNITS = "/etc/systemd/system"


@pytest.fixture(scope="module")
def python(pythons: dict[str, Interpreter]) -> Interpreter:
    """The machine's Python."""
    return pythons["debian"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, python: Interpreter) -> Iterator[Lab]:
    """A client, and a machine with systemd, which sees the checkout and Ansible."""
    with Lab(tmp_path_factory.mktemp("proxy") / "lab") as made:
        made.add_host("client", CLIENT)
        boot_for_modules(made, python)
        yield made


@pytest.fixture(scope="module")
def machine(lab: Lab, python: Interpreter) -> Iterator[Machine]:
    """The machine, with networks and endpoints: web has addresses of both versions, four and six of one."""
    machine = lab.hosts["host"]
    assert isinstance(machine, Machine)
    modules = Modules(machine, python)
    modules.ok("boot_engine", command="/usr/local/sbin/bridgeport")
    modules.ok(
        "bridge_network",
        networks=[
            {"name": "docker0", "subnets": ["172.17.0.0/16", "fd00:17::/64"]},
            {"name": "br4", "subnets": ["172.19.0.0/16"]},
            {"name": "br6", "subnets": ["fd00:18::/64"]},
        ],
    )
    modules.ok(
        "veth_endpoint",
        endpoints=[
            {"name": "web", "network": "docker0", "addresses": ["172.17.0.2", "fd00:17::2"]},
            {"name": "four", "network": "br4", "addresses": ["172.19.0.4"]},
            {"name": "six", "network": "br6", "addresses": ["fd00:18::6"]},
        ],
    )
    for name, address in (("web", "[::]"), ("web", "0.0.0.0"), ("four", "0.0.0.0"), ("six", "[::]")):
        serve(machine, name, [f"{address}:5000"], netns=name)
    yield machine


@pytest.fixture
def modules(machine: Machine, python: Interpreter) -> Iterator[Modules]:
    """The modules on the machine; what a test publishes is gone after it."""
    made = Modules(machine, python)
    yield made
    names = ("web", "four", "six")
    made.ok("port_publish", publishes=[{"endpoint": name} for name in names], state="absent")
    assert listening(machine) == set()
    assert proxies(machine) == ""


def serve(host: Host, name: str, forms: list[str], netns: str | None = None) -> None:
    """Start an echo server for tcp on the machine."""
    host.start(echo_command(name, forms, python=host.python), netns=netns, ready="ready")


def proxies(host: Host) -> str:
    """All units of proxies that systemd has in memory, and all of their files."""
    units = host.run(["systemctl", "list-units", "--all", "--plain", "--no-legend", "bridgeport-proxy*"]).stdout
    return units + host.run(["sh", "-c", f"ls {FILES} {UNITS}/bridgeport-proxy* 2>/dev/null || true"]).stdout


def listening(host: Host) -> set[str]:
    """The loopback addresses and ports on which systemd listens for proxies."""
    lines = [line.split() for line in host.run(["ss", "-Hltn"]).stdout.splitlines()]
    return {line[3].replace("%lo", "") for line in lines if "%lo" in line[3] and not line[3].endswith(":53")}


def processes(host: Host) -> list[list[str]]:
    """User, pid and network namespace of each running proxy."""
    command = f"for p in $(pgrep -f ^{PROXYD}); do echo $(stat -c %u /proc/$p) $p $(readlink /proc/$p/ns/net); done"
    return [line.split() for line in host.run(["sh", "-c", command]).stdout.splitlines()]


def status(host: Host) -> dict[str, Any]:
    """What ``bridgeport status`` tells."""
    found: dict[str, Any] = json.loads(host.run(["bridgeport", "status", "--json"], check=False).stdout)
    return found


def test_check_and_run_for_create_change_and_remove(modules: Modules) -> None:
    def created(host: Host) -> None:
        assert listening(host) == {"127.0.0.1:80", "[::1]:80", "127.0.0.1:8443"}
        assert host.read(f"{FILES}/80") == "TARGET=172.17.0.2:5000\n"
        assert host.read("/proc/sys/net/ipv4/conf/docker0/route_localnet").strip() == "0"
        assert host.probe("tcp", "::1", 80).source == GATEWAY4

    def changed(host: Host) -> None:
        assert listening(host) == {"127.0.0.2:80"}
        assert host.probe("tcp", "127.0.0.2", 80).source == ONLY4
        # Now it is the rules that serve 127.0.0.1.
        assert host.probe("tcp", "127.0.0.1", 8443).source == GATEWAY4

    def moved(host: Host) -> None:
        assert listening(host) == {"[::1]:80"}
        assert host.probe("tcp", "::1", 80).name == "six"

    def removed(host: Host) -> None:
        assert proxies(host) == ""
        assert host.probe("tcp", "::1", 80).error == "refused"

    first = {"endpoint": "web", "ports": ["80:5000", "127.0.0.1:8443:5000"], "loopback": "proxy"}
    transition(modules, "port_publish", first, created)
    second = [
        {"endpoint": "web", "ports": ["127.0.0.1:8443:5000"]},
        {"endpoint": "four", "ports": ["127.0.0.2:80:5000"], "loopback": "proxy"},
    ]
    transition(modules, "port_publish", {"publishes": second, "prune": True}, changed)
    third = [{"endpoint": "four"}, {"endpoint": "six", "ports": ["[::1]:80:5000"], "loopback": "proxy"}]
    transition(modules, "port_publish", {"publishes": third, "prune": True}, moved)
    transition(modules, "port_publish", {"endpoint": "six", "state": "absent"}, removed)


PUBLISHES = [
    {"endpoint": "web", "loopback": "proxy", "ports": ["80:5000", "127.0.0.1:8081:5000", "127.0.0.2:8082:5000"]},
    {"endpoint": "web", "loopback": "proxy", "ports": ["192.168.52.203:8083:5000", "[::1]:8084:5000"]},
    {"endpoint": "four", "loopback": "proxy", "ports": ["8085:5000", "[::1]:8086:5000"]},
    {"endpoint": "six", "loopback": "proxy", "ports": ["8087:5000", "127.0.0.1:8088:5000"]},
    {"endpoint": "web", "ports": ["8089:5000"]},
]
# Who asks, at which address and port, and whom the endpoint sees; None where nobody answers.
WHO_GETS_THROUGH = [
    # Every host address.
    ("client", "192.168.52.203", 80, "192.168.52.202"),
    ("client", "fd52::203", 80, "fd52::202"),
    ("machine", "192.168.52.203", 80, GATEWAY4),
    ("machine", "127.0.0.1", 80, GATEWAY4),
    ("machine", "::1", 80, GATEWAY4),
    ("machine", "127.0.0.2", 80, None),
    # One loopback address.
    ("machine", "127.0.0.1", 8081, GATEWAY4),
    ("machine", "::1", 8081, None),
    ("machine", "192.168.52.203", 8081, None),
    ("client", "192.168.52.203", 8081, None),
    ("machine", "127.0.0.2", 8082, GATEWAY4),
    ("machine", "::1", 8084, GATEWAY6),
    ("client", "fd52::203", 8084, None),
    # One address that is none of loopback: there is nothing to serve on loopback.
    ("client", "192.168.52.203", 8083, "192.168.52.202"),
    ("machine", "127.0.0.1", 8083, None),
    # IPv6 to an endpoint that has none, and the other way round.
    ("machine", "127.0.0.1", 8085, ONLY4),
    ("machine", "::1", 8085, ONLY4),
    ("client", "192.168.52.203", 8085, "192.168.52.202"),
    ("client", "fd52::203", 8085, None),
    ("machine", "::1", 8086, ONLY4),
    ("machine", "127.0.0.1", 8087, ONLY6),
    ("machine", "::1", 8087, ONLY6),
    ("machine", "127.0.0.1", 8088, ONLY6),
    # A neighbour that routes the host's loopback addresses to it.
    ("client", "127.0.0.1", 80, None),
    ("client", "127.0.0.1", 8081, None),
    ("client", "127.0.0.2", 8082, None),
    ("client", "127.0.0.1", 8089, None),
    # The rules still serve what was not asked of a proxy.
    ("machine", "127.0.0.1", 8089, GATEWAY4),
]


def test_who_gets_through_and_as_whom(modules: Modules, machine: Machine, lab: Lab) -> None:
    client = lab.hosts["client"]
    modules.ok("port_publish", publishes=PUBLISHES)
    client.run(["ip", "addr", "del", "127.0.0.1/8", "dev", "lo"], check=False)
    client.run(["ip", "route", "flush", "table", "local", "127.0.0.0/8"], check=False)
    client.write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1")
    for address in ("127.0.0.1", "127.0.0.2"):
        client.run(["ip", "route", "replace", f"{address}/32", "via", "192.168.52.203"])
    wrong = []
    places = {"client": client, "machine": machine}
    for name, address, port, source in WHO_GETS_THROUGH:
        probe = places[name].probe("tcp", address, port)
        if probe.source != source:
            wrong.append(f"{name} -> {address}:{port}: wanted {source}, got {probe}")
    assert not wrong, "\n".join(wrong)
    shown = json.loads(machine.run(["bridgeport", "ports", "--json"]).stdout)["four"]
    assert shown == [
        "5000/tcp -> 0.0.0.0:8085",
        "5000/tcp -> 127.0.0.1:8085, by proxy",
        "5000/tcp -> [::1]:8085, by proxy",
        "5000/tcp -> [::1]:8086, by proxy",
    ]


def test_a_martian_does_not_reach_the_socket_without_the_guard_either(
    modules: Modules, machine: Machine, lab: Lab
) -> None:
    """The sockets are bound to the loopback interface: two doors, and each of them shut."""
    client = lab.hosts["client"]
    modules.ok("port_publish", endpoint="web", ports=["127.0.0.2:8082:5000"], loopback="proxy")
    client.run(["ip", "addr", "del", "127.0.0.1/8", "dev", "lo"], check=False)
    client.run(["ip", "route", "flush", "table", "local", "127.0.0.0/8"], check=False)
    client.write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1")
    client.run(["ip", "route", "replace", "127.0.0.2/32", "via", "192.168.52.203"])
    machine.write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1")
    machine.run(["nft", "flush", "ruleset"])
    serve(machine, "other", ["127.0.0.2:8083"])
    try:
        assert client.probe("tcp", "127.0.0.2", 8083).ok
        assert client.probe("tcp", "127.0.0.2", 8082).error == "refused"
    finally:
        machine.write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "0")
        machine.run(["bridgeport", "apply"])


def test_a_process_without_rights_and_only_while_it_is_needed(modules: Modules, machine: Machine) -> None:
    modules.ok("port_publish", endpoint="web", ports=["80:5000"], loopback="proxy")
    assert processes(machine) == []
    assert machine.probe("tcp", "127.0.0.1", 80).ok and machine.probe("tcp", "::1", 80).ok
    ((user, pid, namespace),) = processes(machine)
    assert user != "0"
    assert namespace == machine.run(["readlink", "/proc/1/ns/net"]).stdout.strip()
    facts = machine.read(f"/proc/{pid}/status").split("\n")
    assert {line.split(":\t")[1] for line in facts if line.startswith(("CapPrm", "CapEff", "CapBnd"))} == {"0" * 16}
    assert "NoNewPrivs:\t1" in facts and "Seccomp:\t2" in facts
    # Gone again when it has nothing to do; sooner here than the minute that it has by default.
    drop_in = f"{UNITS}/bridgeport-proxy@.service.d"
    lines = f"[Service]\nExecStart=\nExecStart={PROXYD} --exit-idle-time=1s $TARGET\n"
    machine.run(["mkdir", drop_in])
    machine.write(f"{drop_in}/idle.conf", lines)
    machine.run(["systemctl", "daemon-reload"])
    machine.run(["systemctl", "stop", "bridgeport-proxy@80.service"])
    try:
        for _again in range(2):
            assert machine.probe("tcp", "127.0.0.1", 80).ok
            assert len(processes(machine)) == 1
            time.sleep(2.5)
            assert processes(machine) == []
    finally:
        machine.run(["rm", "-r", drop_in])
        machine.run(["systemctl", "daemon-reload"])
    assert status(machine)["drift"] == []


HOLD = """
import socket, sys
link = socket.create_connection(("127.0.0.1", 80))
print("open", flush=True)
sys.stdin.readline()
link.sendall(b"?\\n")
print("answer" if link.recv(100) else "cut", flush=True)
"""


def test_open_connections_survive_what_changes_elsewhere(modules: Modules, machine: Machine) -> None:
    modules.ok("port_publish", endpoint="web", ports=["80:5000", "81:5000"], loopback="proxy")
    machine.run(["mkfifo", "/run/go"])
    held = machine.start(["sh", "-c", f"exec python3 -c '{HOLD}' <> /run/go"], ready="open")
    assert machine.probe("tcp", "127.0.0.1", 80).ok
    ((_user, pid, _namespace),) = processes(machine)
    modules.ok("port_publish", endpoint="four", ports=[f"{port}:5000" for port in range(90, 99)], loopback="proxy")
    modules.ok("port_publish", endpoint="web", ports=["81:5000"], state="absent")
    modules.ok("veth_endpoint", network="br4", name="four", addresses=["172.19.0.44"])
    assert machine.probe("tcp", "127.0.0.1", 95).name == "four"
    modules.ok("veth_endpoint", network="br4", name="four", addresses=["172.19.0.4"])
    machine.run(["bridgeport", "apply"])
    assert [pid] == [process[1] for process in processes(machine) if process[1] == pid]
    machine.run(["sh", "-c", "echo go > /run/go; rm /run/go"])
    held.wait_for("answer", 5)


def test_a_proxy_that_runs_follows_its_endpoint(modules: Modules, machine: Machine) -> None:
    modules.ok("port_publish", endpoint="four", ports=["80:5000"], loopback="proxy")
    assert machine.probe("tcp", "::1", 80).name == "four"
    done = modules.ok("veth_endpoint", network="br4", name="four", addresses=["172.19.0.44"])
    assert "Set where bridgeport-proxy@80.service leads to." in done["actions"]
    try:
        assert machine.probe("tcp", "::1", 80).name == "four"
        # The same port for another endpoint, in one run: our own socket is not in its way.
        entries = [{"endpoint": "four"}, {"endpoint": "web", "ports": ["80:5000"], "loopback": "proxy"}]
        done = modules.ok("port_publish", publishes=entries, prune=True)
        assert not any("Start" in sentence or "Stop" in sentence for sentence in done["actions"])
        assert machine.probe("tcp", "::1", 80).name == "web"
    finally:
        modules.ok("veth_endpoint", network="br4", name="four", addresses=["172.19.0.4"])


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        ("systemctl stop bridgeport-proxy@80.socket", "Start bridgeport-proxy@80.socket."),
        (f"echo TARGET=192.0.2.1:1 > {FILES}/80", "Set where bridgeport-proxy@80.service leads to."),
        (f"rm {FILES}/80", "Set where bridgeport-proxy@80.service leads to."),
        (f"echo >> {UNITS}/bridgeport-proxy@.socket", f"Write the unit files {UNITS}/bridgeport-proxy@.socket."),
        (
            f"echo TARGET=172.17.0.2:1 > {FILES}/99; systemctl start bridgeport-proxy@99.socket",
            "Stop bridgeport-proxy@99.socket.",
        ),
    ],
    ids=["stopped", "led elsewhere", "file gone", "unit edited", "left over"],
)
def test_drift_is_named_and_repaired(modules: Modules, machine: Machine, harm: str, sentence: str) -> None:
    modules.ok("port_publish", endpoint="web", ports=["80:5000"], loopback="proxy")
    before = machine.snapshot()
    machine.run(["sh", "-c", harm])
    drift = status(machine)["drift"]
    assert sentence in drift
    assert machine.run(["bridgeport", "apply"]).stdout.splitlines() == drift
    assert machine.snapshot() == before
    assert status(machine)["drift"] == []
    assert machine.probe("tcp", "::1", 80).ok


def test_a_failed_start_is_undone(modules: Modules, machine: Machine) -> None:
    modules.ok("port_publish", endpoint="four", ports=["90:5000"], loopback="proxy")
    drop_in = f"{UNITS}/bridgeport-proxy@91.socket.d"
    machine.run(["mkdir", drop_in])
    machine.write(f"{drop_in}/fail.conf", "[Socket]\nExecStartPre=/bin/false\n")
    machine.run(["systemctl", "daemon-reload"])
    before = machine.snapshot()
    try:
        failed = modules.run("port_publish", endpoint="web", ports=["91-92:5000-5001"], loopback="proxy")
        assert failed["failed"] is True
        assert failed["msg"].startswith("Cannot start bridgeport-proxy@91.socket and 1 more: systemctl said: Job ")
        assert failed["msg"].endswith("What this run had changed until then was undone.")
        assert machine.snapshot() == before
        assert machine.probe("tcp", "127.0.0.1", 90).ok
    finally:
        machine.run(["rm", "-r", drop_in])
        machine.run(["systemctl", "daemon-reload"])
        machine.run(["systemctl", "reset-failed"])


def test_a_busy_port_keeps_nothing_else_from_coming_back(modules: Modules, machine: Machine) -> None:
    """At boot, somebody else may have been faster: nobody asks for anything new, and everybody waits for the rest."""
    modules.ok("veth_endpoint", network="br4", name="spare")
    entries = [{"endpoint": "web", "ports": ["127.0.0.1:8080:5000"]}, {"endpoint": "four", "ports": ["8081:5000"]}]
    modules.ok("port_publish", publishes=[{**entry, "loopback": "proxy"} for entry in entries])
    before = machine.snapshot()
    unit = "bridgeport-proxy4@127.0.0.1:8080.socket"
    machine.run(["systemctl", "stop", unit, "bridgeport-proxy@8081.socket"])
    other = machine.start(echo_command("other", ["127.0.0.1:8080"], python=machine.python), ready="ready")
    try:
        machine.run(["sh", "-ec", "ip netns del spare; ip link del docker0; nft flush ruleset"])
        lost = machine.snapshot()
        # An operator who asks for something gets all of it or nothing.
        failed = modules.run("veth_endpoint", network="br4", endpoints=[{"name": "spare"}, {"name": "more"}])
        assert failed["msg"].startswith(f"Cannot start {unit} and 1 more: systemctl said: ")
        assert failed["msg"].endswith("What this run had changed until then was undone.")
        assert machine.snapshot() == lost

        done = machine.run(["bridgeport", "apply"])
        assert done.returncode == 0
        (warning,) = [line for line in done.stderr.splitlines() if "warning" in line]
        assert warning.startswith(f"bridgeport: warning: Cannot start {unit} and 1 more: systemctl said: "), warning
        assert warning.endswith("All else was done; 'bridgeport apply' tries this again."), warning
        assert status(machine)["drift"] == [f"Start {unit}."] and not status(machine)["interrupted"]
        assert machine.probe("tcp", "127.0.0.1", 8081).name == "four"
        assert machine.probe("tcp", "127.0.0.1", 8080).name == "other"
    finally:
        other.stop()
        machine.run(["bridgeport", "apply"])
    assert machine.snapshot() == before
    assert status(machine)["drift"] == []
    assert machine.probe("tcp", "127.0.0.1", 8080).name == "web"
    modules.ok("veth_endpoint", name="spare", state="absent")


def test_what_no_proxy_can_serve_is_refused(modules: Modules, machine: Machine) -> None:
    message = modules.refused("port_publish", endpoint="web", ports=["53:53/udp"], loopback="proxy")
    assert "53:53/udp for endpoint web" in message and "carries tcp only" in message and "'nat'" in message
    message = modules.refused("port_publish", endpoint="four", ports=["[::]:80:80"], loopback="proxy")
    assert "no IPv6 address" in message
    serve(machine, "own", ["[::1]:85"])
    message = modules.refused("port_publish", endpoint="four", ports=["85:80"], loopback="proxy")
    assert "host port [::1]:85/tcp is held by process" in message
    machine.run(["mv", PROXYD, PROXYD + ".away"])
    try:
        message = modules.refused("port_publish", endpoint="web", ports=["80:80"], loopback="proxy")
        assert f"{PROXYD} of systemd is not installed" in message
    finally:
        machine.run(["mv", PROXYD + ".away", PROXYD])


def test_hundreds_of_ports_take_seconds(modules: Modules, machine: Machine) -> None:
    took = {}
    for count in (1, 200):
        ports = [f"{20000 + number}:5000" for number in range(count)]
        for step, options in (
            ("publish", {"ports": ports}),
            ("again", {"ports": ports}),
            ("remove", {"state": "absent"}),
        ):
            start = time.monotonic()
            modules.ok("port_publish", endpoint="web", loopback="proxy", **options)
            took[count, step] = time.monotonic() - start
            if step == "publish":
                assert machine.probe("tcp", "::1", 20000 + count - 1).ok
        print(
            f"{count} proxies: "
            + ", ".join(f"{key[1]} {value:.2f} s" for key, value in took.items() if key[0] == count)
        )
    assert took[200, "publish"] < 30 and took[200, "remove"] < 30
    assert took[200, "again"] < 3
