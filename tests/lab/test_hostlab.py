# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests of the lab itself. They need root and touch nothing outside their own namespaces and directory."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostlab import Host, Lab, LabError, echo_command
from hostlab.capture import capture, packets
from hostlab.process import ProcessId

HERE = Path(__file__).resolve().parent
CLIENT, SERVER = "192.168.52.203", "192.168.52.10"
CLIENT6, SERVER6 = "fd52::203", "fd52::10"
# The namespaces that each host has of its own.
KINDS = ("net", "mnt", "pid")
# An owner for the tests that end it: makes a lab, prints what must be gone later, and waits.
OWNER = """
import json, signal, sys, time
# Whoever starts the tests in the background has this one ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
from hostlab import Lab
with Lab(Path(sys.argv[1])) as lab:
    host = lab.add_host("one", ["192.168.52.1/24"])
    host.run(["ip", "netns", "add", "web"])
    host.start(["sleep", "1000"], netns="web")
    host.start(["setsid", "sleep", "1000"])
    print(host.pid, flush=True)
    if sys.argv[2] == "busy":
        for number in range(1000):
            lab.add_host(f"more{number}", [])
    time.sleep(60)
"""


def outside() -> dict[str, str]:
    """Return what the machine itself shows of links, namespaces and mounts."""
    commands = ("ip -br link", "ip netns list", "cat /proc/self/mountinfo")
    return {command: subprocess.check_output(command.split(), text=True) for command in commands}


def namespace_of(pid: int, kind: str) -> str:
    """Return the identity of a namespace of a process, "" when it cannot be read."""
    try:
        return os.readlink(f"/proc/{pid}/ns/{kind}")
    except OSError:
        return ""


def remains(namespaces: set[str], directory: Path) -> list[str]:
    """Return every process that is in one of these namespaces or has the directory in its command line or mounts."""
    found = []
    for entry in (entry for entry in os.listdir("/proc") if entry.isdigit() and int(entry) != os.getpid()):
        try:
            command = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            mounts = Path(f"/proc/{entry}/mountinfo").read_text()
        except (OSError, ValueError):
            continue
        inside = {namespace_of(int(entry), kind) for kind in KINDS} & namespaces
        if inside or str(directory) in command or str(directory) in mounts:
            found.append(f"{entry} {command}")
    return found


@contextlib.contextmanager
def namespaces_of(*pids: int) -> Iterator[set[str]]:
    """Give the identities of processes' own namespaces, which mean no others while the block lasts.

    The kernel gives the number of a namespace that is gone to the next that is made, maybe by a test beside this one;
    one that is open is not gone.
    """
    with contextlib.ExitStack() as stack:
        paths = [f"/proc/{pid}/ns/{kind}" for pid in pids for kind in KINDS]
        files = [stack.enter_context(open(path, "rb")) for path in paths]
        yield {os.readlink(f"/proc/self/fd/{file.fileno()}") for file in files}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Host, Host]]:
    """Two hosts, the second with echo servers on port 5000 and a range."""
    with Lab(tmp_path_factory.mktemp("pair") / "lab") as lab:
        client = lab.add_host("client", [f"{CLIENT}/24", f"{CLIENT6}/64"])
        server = lab.add_host("server", [f"{SERVER}/24", "192.168.52.11/24", f"{SERVER6}/64", "fd52::11/64"])
        forms = ["0.0.0.0:5000", "[::]:5000", "0.0.0.0:6000-6499"]
        server.start(echo_command("echo", tcp=forms, udp=forms), ready="ready")
        yield client, server


@pytest.mark.parametrize("proto", ["tcp", "udp"])
@pytest.mark.parametrize(
    ("address", "source"),
    [(SERVER, CLIENT), ("192.168.52.11", CLIENT), (SERVER6, CLIENT6), ("fd52::11", CLIENT6)],
)
def test_hosts_reach_each_other(pair: tuple[Host, Host], proto: str, address: str, source: str) -> None:
    """A probe is answered, from the address asked, by a server that sees the client's own address."""
    answer = pair[0].probe(proto, address, 5000)
    assert (answer.ok, answer.name, answer.source) == (True, "echo", source)


def test_probe_says_why_there_is_no_answer(pair: tuple[Host, Host]) -> None:
    """A closed port refuses, an absent host times out, a network without a route is unreachable."""
    targets = [(p, a, 5999) for p in ("tcp", "udp") for a in (SERVER, SERVER6, "192.168.52.99", "10.99.0.1")]
    errors = [answer.error for answer in pair[0].probe_many(targets, timeout=0.4)]
    assert errors == ["refused", "refused", "timeout", "unreachable"] * 2


def test_ping(pair: tuple[Host, Host]) -> None:
    """An echo request is answered by a host that is there, and by no other."""
    targets = [("icmp", address, 0) for address in (SERVER, SERVER6, "192.168.52.99", "10.99.0.1")]
    answers = pair[0].probe_many(targets, timeout=0.4)
    assert [answer.error for answer in answers] == [None, None, "timeout", "unreachable"]
    assert [answer.ok for answer in answers] == [True, True, False, False]


def test_probe_source_port(pair: tuple[Host, Host]) -> None:
    """A chosen source port is what the server sees."""
    assert pair[0].probe("udp", SERVER6, 5000, source_port=34567).port == 34567


def test_probe_many(pair: tuple[Host, Host]) -> None:
    """A thousand probes come back in order, from one process."""
    targets = [(proto, SERVER, port) for proto in ("tcp", "udp") for port in range(6000, 6500)]
    answers = pair[0].probe_many(targets, timeout=5.0)
    assert len(answers) == 1000
    assert all(answers)


def test_probe_inside_an_endpoint_namespace(pair: tuple[Host, Host]) -> None:
    """netns= runs the probe, and reads sysctls, in a namespace of that host only."""
    client, server = pair
    client.run(["ip", "netns", "add", "inner"])
    client.run(["ip", "link", "set", "lo", "up"], netns="inner")
    client.start(echo_command("inner", tcp=["127.0.0.1:80"]), netns="inner", ready="ready")
    assert client.probe("tcp", "127.0.0.1", 80, netns="inner").name == "inner"
    assert client.probe("tcp", "127.0.0.1", 80).error == "refused"
    client.write("/proc/sys/net/ipv4/ip_forward", "1", netns="inner")
    assert client.read("/proc/sys/net/ipv4/ip_forward", netns="inner").strip() == "1"
    assert client.read("/proc/sys/net/ipv4/ip_forward").strip() == "0"
    assert [link["ifname"] for link in client.links("inner")] == ["lo"]
    with pytest.raises(LabError, match="status"):
        server.run(["true"], netns="inner")


def test_nothing_is_visible_outside(tmp_path: Path) -> None:
    """Links, named namespaces and mounts of a running lab do not show on the machine."""
    before = outside()
    with Lab(tmp_path / "lab") as lab:
        host = lab.add_host("one", ["192.168.52.1/24"])
        host.run(["ip", "netns", "add", "web"])
        host.run(["ip", "link", "add", "docker0", "type", "bridge"])
        assert outside() == before
    assert outside() == before


def test_writes_stay_inside(tmp_path: Path) -> None:
    """A host's /run, /etc, /var/lib and name are its own; the working directory and the rest are shared."""
    paths = [f"{root}/bridgeport-lab-{os.getpid()}" for root in ("/run", "/etc", "/var/lib")]
    with Lab(tmp_path / "lab") as lab:
        one, two = lab.add_host("one", []), lab.add_host("two", [])
        for path in paths:
            one.write(path, "text")
            assert one.read(path) == "text"
            assert not Path(path).exists()
            with pytest.raises(LabError, match="No such file"):
                two.read(path)
        assert one.run(["hostname"]).stdout == "one\n"
        assert one.run(["pwd"]).stdout.strip() == os.getcwd()
        assert one.run(["stat", "-c", "%a", "/etc", "/run"]).stdout.split() == ["755", "755"]
        one.run(["ip", "link", "add", "docker0", "type", "bridge"])
        assert one.run(["ls", "/sys/class/net/docker0/bridge/stp_state"])


def test_run_reports_failures(pair: tuple[Host, Host]) -> None:
    """A failed or endless command raises with its command, status and words; input and env arrive."""
    client = pair[0]
    with pytest.raises(LabError, match=r"'sh'.*status 3 on host client(.|\n)*out(.|\n)*err"):
        client.run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert client.run(["false"], check=False).returncode == 1
    with pytest.raises(LabError, match=r"longer than 0\.2 seconds"):
        client.run(["sh", "-c", "sleep 987 & sleep 987"], timeout=0.2)
    assert "sleep 987" not in client.run(["ps", "ax"]).stdout
    assert client.run(["sh", "-c", "cat; echo $WORD"], input="a ", env={"WORD": "b"}).stdout == "a b\n"


def test_background_processes(pair: tuple[Host, Host], tmp_path: Path) -> None:
    """start() waits for the text, stop() lets the command end by itself, and an early end is an error."""
    script = "trap 'echo bye; exit 7' TERM; echo here; while :; do sleep 0.05; done"
    process = pair[0].start(["sh", "-c", script], ready="here", log=tmp_path / "log")
    assert process.running()
    assert process.stop() == 7
    assert process.output().startswith("here\n")
    assert process.output().endswith("bye\n")
    with pytest.raises(LabError, match="ended with status 4"):
        pair[0].start(["sh", "-c", "exit 4"], ready="here")
    with pytest.raises(LabError, match="did not print"):
        pair[0].start(["sleep", "60"], ready="here", timeout=0.2)


def test_stop_leaves_nothing(tmp_path: Path) -> None:
    """After stop() there is no process, mount or directory; stop() may be called again."""
    lab = Lab(tmp_path / "lab")
    hosts = [lab.add_host(name, []) for name in ("one", "two")]
    for host in hosts:
        host.run(["ip", "netns", "add", "web"])
        host.start(["sleep", "1000"], netns="web")
        # A daemon in a process group of its own.
        host.run(["sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 &"])
    with namespaces_of(*(host.pid for host in hosts)) as spaces:
        assert len(remains(spaces, lab.directory)) >= 8
        assert lab.alive()
        lab.stop()
        assert remains(spaces, lab.directory) == []
    assert not lab.directory.exists()
    assert not lab.alive()
    lab.stop()


@pytest.mark.parametrize("work", ["idle", "busy"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_lab_ends_with_its_owner(tmp_path: Path, number: signal.Signals, work: str) -> None:
    """Whatever signal ends the owner, at rest or while it adds hosts: all is gone within two seconds."""
    directory = tmp_path / "lab"
    command = [sys.executable, "-c", OWNER, str(directory), work]
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    with contextlib.ExitStack() as stack:
        owner = stack.enter_context(
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment, cwd="/"
            )
        )
        assert owner.stdout is not None
        spaces = stack.enter_context(namespaces_of(int(owner.stdout.readline())))
        time.sleep(0.15 if work == "busy" else 0)
        owner.send_signal(number)
        deadline = time.monotonic() + 2.0
        owner.wait(2.0)
        while (remains(spaces, directory) or directory.exists()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert remains(spaces, directory) == []
        assert not directory.exists()


def test_failed_host_leaves_the_lab_usable(tmp_path: Path) -> None:
    """A host that cannot be made is gone, says why, and its name is free again."""
    with Lab(tmp_path / "lab") as lab:
        with pytest.raises(LabError, match="any valid prefix is expected"):
            lab.add_host("one", ["nonsense/24"])
        assert lab.hosts == {}
        assert [line for line in remains(set(), lab.directory) if "holder.py host" in line] == []
        assert lab.add_host("one", ["192.168.52.1/24"]).alive()
        with pytest.raises(LabError, match="is taken"):
            lab.add_host("one", [])


def test_directory_in_use_is_refused(tmp_path: Path) -> None:
    """A directory with files in it is neither used nor removed."""
    (tmp_path / "file").touch()
    with pytest.raises(LabError, match="there are files in it"):
        Lab(tmp_path).start()
    assert (tmp_path / "file").exists()
    with pytest.raises(LabError, match="hosts have their own"):
        Lab(Path("/run/lab")).start()


def test_persistent_lab(tmp_path: Path) -> None:
    """A persistent lab outlives its maker, and another process can use, extend and stop it."""
    script = (
        "import sys; from pathlib import Path; from hostlab import Lab; "
        f"Lab(Path(sys.argv[1]), persistent=True).add_host('one', ['{SERVER}/24'])"
    )
    directory = tmp_path / "lab"
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    subprocess.run([sys.executable, "-c", script, str(directory)], check=True, env=environment, timeout=20)
    lab = Lab.load(directory)
    assert lab.alive()
    two = lab.add_host("two", [f"{CLIENT}/24"])
    lab.hosts["one"].start(echo_command("one", tcp=["0.0.0.0:80"]), ready="ready")
    assert two.probe("tcp", SERVER, 80).source == CLIENT
    again = Lab.load(directory)
    assert sorted(again.hosts) == ["one", "two"]
    assert again.hosts["two"].addresses == [f"{CLIENT}/24"]
    with namespaces_of(lab.hosts["one"].pid) as spaces:
        again.stop()
        assert not lab.alive()
        lab.stop()
        assert remains(spaces, directory) == []
    assert not directory.exists()
    with pytest.raises(LabError, match="Was it made"):
        Lab.load(directory)


def test_a_recycled_pid_is_not_killed() -> None:
    """A process with the pid, but not the start time, that was noted is left alone."""
    with subprocess.Popen(["sleep", "60"]) as other:
        known = ProcessId.of(other.pid)
        ProcessId(known.pid, known.start - 1).kill()
        assert known.alive()
        known.kill()
        assert other.wait(2) == -signal.SIGKILL


def test_snapshot_is_stable_and_notices(tmp_path: Path) -> None:
    """Snapshots of an idle host are equal, one after a change is not, one after its undoing is again."""
    rules = "add table inet t; add chain inet t c { type filter hook input priority 0; }; add rule inet t c counter"
    setting = "/proc/sys/net/ipv4/conf/eth0/route_localnet"
    changes = [
        ("links", "ip link add br0 type bridge", "ip link del br0"),
        ("namespaces", "ip netns add web", "ip netns del web"),
        ("addresses", "ip addr add 10.9.9.9/32 dev eth0", "ip addr del 10.9.9.9/32 dev eth0"),
        ("routes", "ip route add 10.8.0.0/16 via 192.168.52.9", "ip route del 10.8.0.0/16"),
        ("files", "echo x > /etc/systemd/lab.conf", "rm /etc/systemd/lab.conf"),
        ("files", "echo x > /run/lab.pid", "rm /run/lab.pid"),
        ("nftables", f"nft '{rules}'", "nft delete table inet t"),
        ("sysctls", f"echo 1 > {setting}", f"echo 0 > {setting}"),
    ]
    with Lab(tmp_path / "lab") as lab:
        host = lab.add_host("one", ["192.168.52.1/24", "fd52::1/64"])
        before = host.snapshot()
        assert host.snapshot() == before
        for key, change, undo in changes:
            host.run(["sh", "-c", change])
            changed = host.snapshot()
            assert changed[key] != before[key], change
            # A packet, for the rule's counter.
            host.probe("udp", "127.0.0.1", 9)
            assert host.snapshot() == changed, change
            host.run(["sh", "-c", undo])
            assert host.snapshot() == before, undo


@pytest.mark.parametrize("pipelining", ["true", "false"])
def test_ansible_connection(tmp_path: Path, pipelining: str) -> None:
    """Commands, modules, file transfers and become work through the connection plugin."""
    with Lab(tmp_path / "lab") as lab:
        host = lab.add_host("managed", [])
        inventory, playbook, fetched = tmp_path / "inventory.yml", tmp_path / "play.yml", tmp_path / "fetched"
        variables = {"ansible_python_interpreter": sys.executable}
        lab.write_inventory(inventory, {"bridgeport_hosts": ["managed"]}, variables)
        tasks = [
            {"ansible.builtin.copy": {"dest": "/etc/lab.txt", "content": "text"}},
            {"ansible.builtin.slurp": {"src": "/etc/lab.txt"}, "register": "slurped"},
            {"ansible.builtin.assert": {"that": "slurped.content | b64decode == 'text'"}},
            {"ansible.builtin.fetch": {"src": "/etc/lab.txt", "dest": str(fetched), "flat": True}},
            {"ansible.builtin.command": "hostname", "become": True, "become_method": "su", "register": "name"},
            {"ansible.builtin.assert": {"that": "name.stdout == 'managed'"}},
        ]
        playbook.write_text(json.dumps([{"hosts": "bridgeport_hosts", "gather_facts": False, "tasks": tasks}]))
        environment = {
            **os.environ,
            "ANSIBLE_CONNECTION_PLUGINS": str(HERE / "connection_plugins"),
            "ANSIBLE_HOME": str(tmp_path / "ansible"),
            "ANSIBLE_PIPELINING": pipelining,
        }
        tools = Path(sys.executable).parent
        for command in (
            [str(tools / "ansible"), "all", "-i", str(inventory), "-m", "ansible.builtin.command", "-a", "hostname"],
            [str(tools / "ansible-playbook"), "-i", str(inventory), str(playbook)],
        ):
            result = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=60)
            assert result.returncode == 0, result.stdout + result.stderr
            assert "managed" in result.stdout
        assert host.read("/etc/lab.txt") == fetched.read_text() == "text"
        assert not Path("/etc/lab.txt").exists()


def test_capture(pair: tuple[Host, Host], tmp_path: Path) -> None:
    """A recorded exchange is decoded: addresses, ports, flags and payload length of each packet."""
    client, server = pair
    with capture(server, "eth0", tmp_path / "a.pcap", "port 5000") as path:
        port = client.probe("tcp", SERVER, 5000).port
        client.probe("udp", SERVER6, 5000)
    found = packets(path)
    first = found[0]
    assert (first.source, first.source_port, first.destination, first.destination_port) == (CLIENT, port, SERVER, 5000)
    assert (first.proto, first.flags, first.length, first.source_mac) == ("tcp", "S", 0, client.mac)
    assert any(p.flags == "PA" and p.source == CLIENT and p.length == 2 for p in found)
    datagrams = [(p.source, p.destination, p.length) for p in found if p.proto == "udp"]
    assert datagrams[0] == (CLIENT6, SERVER6, 1)
    assert datagrams[1][:2] == (SERVER6, CLIENT6)
    assert abs(first.time - time.time()) < 60
