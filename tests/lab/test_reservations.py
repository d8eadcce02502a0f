# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Published ports are kept from the host's processes, by systemd alone: what is refused, what is not, what it costs."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

import pytest

from hostlab import Host, Lab, echo_command
from support import CLIENT, ROOT, Interpreter, Modules, boot_for_modules, transition

COMMAND = "/usr/local/sbin/bridgeport"
UNIT = "bridgeport-ports.service"
LAN = "192.168.52.203"
# Tries to take ports as a server would, each given as PROTOCOL ADDRESS PORT [OPTION]; prints a word for each.
TAKE = """
import json, socket, sys
for protocol, address, port, *options in json.load(sys.stdin):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    taken = socket.socket(family, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
    if protocol == "tcp":
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if "reuseport" in options:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, "dual" not in options)
    try:
        taken.bind((address, port))
        if protocol == "tcp":
            taken.listen()
        print("free")
    except OSError as problem:
        print("taken" if problem.errno == 98 else problem)
    taken.close()
"""

# What root's process without capabilities hears that sends a file to another.
SEND = """
import ctypes, resource, socket
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
assert ctypes.CDLL(None).capset(header, none) == 0
one, other = socket.socketpair()
try:
    socket.send_fds(one, [b"file"], [0])
    print("sent")
except OSError as problem:
    print(problem)
"""


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory, pythons: dict[str, Interpreter]) -> Iterator[Modules]:
    """The modules on a machine with systemd, the command, the unit, and two endpoints."""
    python = pythons["debian"]
    with Lab(tmp_path_factory.mktemp("reservations") / "lab") as lab:
        lab.add_host("client", CLIENT)
        machine = boot_for_modules(lab, python)
        made = Modules(machine, python)
        template = (ROOT / "roles/host/templates/bridgeport-ports.service.j2").read_text(encoding="utf-8")
        machine.write("/etc/systemd/system/bridgeport-ports.service", template.replace("{{ host_command }}", COMMAND))
        machine.run(["systemctl", "daemon-reload"])
        made.ok("boot_engine", command=COMMAND)
        made.ok("bridge_network", name="docker0", subnets=["172.17.0.0/16", "fd00:17::/64"])
        made.ok("veth_endpoint", network="docker0", endpoints=[{"name": "web"}, {"name": "db"}])
        command = echo_command("web", ["0.0.0.0:5000", "[::]:5000"], [], python=machine.python)
        machine.start(command, netns="web", ready="ready")
        yield made


@pytest.fixture(autouse=True)
def unpublish(modules: Modules) -> Iterator[None]:
    """What a test publishes is gone after it, and systemd holds nothing."""
    yield
    modules.ok("port_publish", publishes=[{"endpoint": "web"}, {"endpoint": "db"}], state="absent")
    assert held(modules.host) == 0
    assert modules.host.run(["sh", "-c", "ls /run/bridgeport 2>/dev/null || true"]).stdout == ""


def take(host: Host, *attempts: tuple[object, ...]) -> list[str]:
    """What a server gets that wants these ports of the host: free or taken."""
    return host.run(["python3", "-c", TAKE], input=json.dumps(attempts)).stdout.split("\n")[:-1]


def held(host: Host) -> int:
    """How many sockets are in flight in what systemd has stored, as the kernel counts them."""
    text = host.run(["sh", "-c", "cat /proc/1/fdinfo/* 2>/dev/null || true"]).stdout
    return sum(map(int, re.findall(r"^scm_fds:\s*(\d+)", text, re.MULTILINE)))


def inode(host: Host, port: int) -> list[str]:
    """The sockets that keep an udp port."""
    lines = host.run(["ss", "-Hlune", f"sport = :{port}"]).stdout
    return sorted(re.findall(r"ino:(\d+)", lines))


def test_check_and_run_for_create_change_and_remove(modules: Modules) -> None:
    def created(host: Host) -> None:
        assert held(host) == 3
        wanted = [("tcp", "0.0.0.0", 80), ("tcp", "::", 80), ("udp", "0.0.0.0", 153), ("udp", "::", 153)]
        assert take(host, *wanted, ("tcp", LAN, 81), ("udp", "0.0.0.0", 80)) == [*["taken"] * 5, "free"]

    def changed(host: Host) -> None:
        assert take(host, ("tcp", "::", 80), ("tcp", "0.0.0.0", 82), ("udp", "0.0.0.0", 153)) == [
            "free",
            "taken",
            "free",
        ]
        assert host.probe("tcp", LAN, 82).ok

    def removed(host: Host) -> None:
        assert take(host, ("tcp", "::", 82)) == ["free"]
        assert host.run(["systemctl", "is-active", UNIT], check=False).stdout == "inactive\n"

    ports = ["80:5000", "153:53/udp", f"{LAN}:81:81"]
    transition(modules, "port_publish", {"endpoint": "web", "ports": ports}, created)
    transition(modules, "port_publish", {"endpoint": "web", "ports": ["82:5000"], "prune": True}, changed)
    transition(modules, "port_publish", {"endpoint": "web", "state": "absent"}, removed)


def test_who_gets_a_published_port(modules: Modules) -> None:
    host = modules.host
    modules.ok("port_publish", endpoint="web", ports=["80:5000", f"{LAN}:81:5000", "203.0.113.9:82:5000"])
    modules.ok("port_publish", endpoint="web", ports=["83:5000"], loopback="proxy")
    cases = {
        ("tcp", "0.0.0.0", 80): "taken",
        ("tcp", "127.0.0.1", 80): "taken",
        ("tcp", LAN, 80): "taken",
        ("tcp", "::", 80, "dual"): "taken",
        ("tcp", "fd52::203", 80): "taken",
        ("tcp", "0.0.0.0", 80, "reuseport"): "taken",
        ("tcp", LAN, 81): "taken",
        ("tcp", "0.0.0.0", 81): "taken",
        # Another host address is another port.
        ("tcp", "127.0.0.1", 81): "free",
        ("tcp", "::", 81): "free",
        # An address that the host does not have yet.
        ("tcp", "0.0.0.0", 82): "taken",
        ("tcp", "0.0.0.0", 83): "taken",
        ("tcp", "127.0.0.1", 83): "taken",
        ("tcp", "::1", 83): "taken",
    }
    assert dict(zip(cases, take(host, *cases))) == cases
    assert [host.probe("tcp", address, 83).name for address in ("127.0.0.1", "::1", LAN)] == ["web"] * 3
    # No process is left, and the command says who has the ports.
    assert host.run(["pgrep", "-f", COMMAND], check=False).stdout == ""
    shown = host.run(["bridgeport", "ports"]).stdout.splitlines()
    assert "web: 5000/tcp -> 0.0.0.0:80, reserved" in shown and "web: 5000/tcp -> [::1]:83, by proxy" in shown
    assert not any("as well" in line for line in shown)


def test_without_rules_nobody_waits_for_an_answer(modules: Modules) -> None:
    """The sockets swallow nothing: a client hears at once that nobody is there."""
    host = modules.host
    modules.ok("port_publish", endpoint="web", ports=["80:5000", "80:5000/udp"])
    host.run(["nft", "flush", "ruleset"])
    for protocol in ("tcp", "udp"):
        assert host.probe(protocol, "127.0.0.1", 80).error == "refused"
        assert host.probe(protocol, "::1", 80).error == "refused"
    host.run(["bridgeport", "apply"])
    assert host.probe("tcp", LAN, 80).ok


def test_other_ports_are_held_without_a_gap(modules: Modules) -> None:
    host = modules.host
    modules.ok("port_publish", endpoint="web", ports=["153:53/udp", "154:54/udp"])
    before = inode(host, 153)
    assert len(before) == 1
    modules.ok("port_publish", endpoint="web", ports=["155:55/udp"])
    modules.ok("port_publish", endpoint="web", ports=["154:54/udp"], state="absent")
    # Our own socket is not in the way of the port's next owner.
    modules.ok("port_publish", publishes=[{"endpoint": "web"}, {"endpoint": "db", "ports": ["153:1/udp"]}], prune=True)
    host.run(["systemctl", "daemon-reload"])
    host.run(["systemctl", "daemon-reexec"])
    assert inode(host, 153) == before
    assert take(host, ("udp", "0.0.0.0", 153), ("udp", "0.0.0.0", 154), ("udp", "0.0.0.0", 155)) == [
        "taken",
        "free",
        "free",
    ]
    assert host.run(["bridgeport", "status"]).returncode == 0


def test_a_port_that_is_published_on_less_than_before(modules: Modules) -> None:
    """What is released is free before the next is bound."""
    host = modules.host
    modules.ok("port_publish", endpoint="web", ports=["80:5000"])
    for _again in range(3):
        modules.ok("port_publish", endpoint="web", ports=["0.0.0.0:80:5000"], prune=True)
        assert take(host, ("tcp", "0.0.0.0", 80), ("tcp", "::", 80)) == ["taken", "free"]
        modules.ok("port_publish", endpoint="web", ports=["80:5000"], prune=True)
        assert take(host, ("tcp", "0.0.0.0", 80), ("tcp", "::", 80)) == ["taken", "taken"]


@pytest.mark.parametrize("harm", ["stop", "restart", "kill"])
def test_what_happens_to_the_unit_is_repaired(modules: Modules, harm: str) -> None:
    host = modules.host
    modules.ok("port_publish", endpoint="web", ports=["80:5000"])
    host.run(["systemctl", harm, UNIT], check=False)
    if harm == "stop":
        assert take(host, ("tcp", "0.0.0.0", 80)) == ["free"]
        status = host.run(["bridgeport", "status"], check=False)
        assert status.returncode == 1
        assert "Reserve host port *:80/tcp." in status.stdout
        host.run(["bridgeport", "apply"])
    assert take(host, ("tcp", "0.0.0.0", 80)) == ["taken"]
    assert host.run(["bridgeport", "status"]).returncode == 0


def test_a_unit_that_fails_keeps_nothing_else_from_coming_back(modules: Modules) -> None:
    host = modules.host
    modules.ok("port_publish", endpoint="web", ports=["80:5000"])
    before = host.snapshot()
    drop_in = f"/etc/systemd/system/{UNIT}.d"
    host.run(["mkdir", drop_in])
    host.write(f"{drop_in}/fail.conf", "[Service]\nExecStartPre=/bin/false\n")
    host.run(["systemctl", "daemon-reload"])
    host.run(["systemctl", "stop", UNIT])
    host.run(["nft", "flush", "ruleset"])
    try:
        # An operator who asks for something gets all of it or nothing.
        failed = modules.run("port_publish", endpoint="web", ports=["81:5000"])
        assert failed["msg"].startswith(f"Cannot restart {UNIT}: systemctl said: "), failed
        assert "bridgeport" not in host.run(["nft", "list", "tables"]).stdout
        done = host.run(["bridgeport", "apply"])
        assert f"bridgeport: warning: Cannot restart {UNIT}: systemctl said: " in done.stderr
        assert host.probe("tcp", LAN, 80).name == "web"
        status = host.run(["bridgeport", "status"], check=False)
        assert status.returncode == 1
        assert "Reserve host port *:80/tcp." in status.stdout
    finally:
        host.run(["rm", "-r", drop_in])
        host.run(["systemctl", "daemon-reload"])
        host.run(["bridgeport", "apply"])
    assert host.snapshot() == before
    assert take(host, ("tcp", "0.0.0.0", 80)) == ["taken"]


def test_a_port_in_use_is_published_all_the_same(modules: Modules) -> None:
    """A connection from that port, or one that has ended, forbids no publish; then it is not reserved, or it is."""
    host = modules.host
    script = "import socket, time; s = socket.socket(); s.bind(('', 90)); print('bound', flush=True); time.sleep(600)"
    other = host.start(["python3", "-c", script], ready="bound")
    first = modules.ok("port_publish", endpoint="web", ports=["90:5000", "91:5000"])
    assert any("*:90/tcp" in sentence for sentence in first["actions"])
    assert modules.ok("port_publish", endpoint="web", ports=["90:5000", "91:5000"])["changed"] is False
    assert host.run(["bridgeport", "status"]).returncode == 0
    shown = host.run(["bridgeport", "ports"]).stdout.splitlines()
    assert "web: 5000/tcp -> 0.0.0.0:90" in shown and "web: 5000/tcp -> 0.0.0.0:91, reserved" in shown
    # The next change tries again.
    other.stop()
    modules.ok("port_publish", endpoint="web", ports=["92:5000"])
    assert "web: 5000/tcp -> 0.0.0.0:90, reserved" in host.run(["bridgeport", "ports"]).stdout.splitlines()


def test_a_stranger_is_named(modules: Modules) -> None:
    host = modules.host
    modules.ok("port_publish", endpoint="web", ports=["80:5000"])
    host.run(["systemctl", "stop", UNIT])
    server = host.start(echo_command("own", ["0.0.0.0:80"], [], python=host.python), ready="ready")
    shown = host.run(["bridgeport", "ports"]).stdout
    assert "Host port 0.0.0.0:80/tcp, which endpoint web has published, is held by process python3 (pid " in shown
    server.stop()
    host.run(["bridgeport", "apply"])


def test_what_it_costs(modules: Modules) -> None:
    """However many the ports are, systemd gets two files, once, and compares nothing."""
    host = modules.host
    files = len(host.run(["ls", "/proc/1/fd"]).stdout.split())
    for count in (1, 1000, 10000):
        ports = [f"20000-{19999 + count}:1-{count}"]
        took = []
        for _run in range(2):
            start, used = time.monotonic(), used_by_systemd(host)
            modules.ok("port_publish", endpoint="web", ports=ports)
            took.append(time.monotonic() - start)
            assert used_by_systemd(host) - used < 1
        print(f"{count} ports: {took[0]:.2f} s, again {took[1]:.2f} s")
        assert held(host) == count
        assert host.run(["systemctl", "show", "--property=NFileDescriptorStore", "--value", UNIT]).stdout == "2\n"
        assert len(host.run(["ls", "/proc/1/fd"]).stdout.split()) <= files + 2
    assert host.run(["python3", "-c", SEND]).stdout == "sent\n"
    assert take(host, ("tcp", "0.0.0.0", 20000), ("tcp", "::", 29999), ("udp", "::", 29999)) == [
        "taken",
        "taken",
        "free",
    ]


def used_by_systemd(host: Host) -> float:
    """The processor time of process 1 in seconds."""
    fields = host.run(["cat", "/proc/1/stat"]).stdout.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
