# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command ``bridgeport``: what was asked for comes back on a host that has nothing but its record."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hostlab import Host, Lab, echo_command
from support import CLIENT, HOST, Modules, choose_backend, interpreters, playbook, recap

COMMAND = "/usr/local/sbin/bridgeport"
RECORD = "/var/lib/bridgeport/topology.json"


def install(modules: Modules) -> None:
    """Give the host a /usr/local/sbin of its own, as /usr is the machine's, and install the command there."""
    modules.host.run(["mount", "-t", "tmpfs", "none", "/usr/local/sbin"])
    modules.ok("boot_engine")


def ask_for(modules: Modules, endpoints: int, backend: str = "nftables") -> None:
    """A topology with choices made for the operator: addresses and a host port."""
    option = choose_backend(modules.host, backend)
    modules.ok("bridge_network", name="docker0", subnets=["172.17.0.0/16", "fd00:17::/64"], **option)
    modules.ok("masquerade", network="docker0")
    names = [f"e{number}" for number in range(endpoints)]
    modules.ok("veth_endpoint", network="docker0", endpoints=[{"name": name} for name in names])
    modules.ok("port_publish", endpoint="e1", ports=["80:5000", "9000"])


def rebooted(modules: Modules, host: Host) -> Modules:
    """A host that has the record of another and nothing else, as after a reboot."""
    again = Modules(host, modules.interpreter)
    install(again)
    host.run(["mkdir", "-p", "/var/lib/bridgeport"])
    host.write(RECORD, modules.host.read(RECORD))
    return again


def comparable(host: Host) -> dict[str, object]:
    """What must be the same after a reboot."""
    state = host.snapshot()
    files = {path: value for path, value in state["files"].items() if "bridgeport" in path or "netns" in path}
    return {**{key: state[key] for key in ("nftables", "iptables", "namespaces")}, "files": files}


@pytest.mark.parametrize(
    ("python", "backend"),
    [("debian", "nftables"), ("pypi", "nftables"), ("debian", "iptables-nft"), ("debian", "iptables-legacy")],
)
def test_apply_restores_addresses_and_ports(tmp_path: Path, python: str, backend: str) -> None:
    with Lab(tmp_path / "lab") as lab:
        client, first = lab.add_host("client", CLIENT), lab.add_host("first", HOST)
        modules = Modules(first, {each.name: each for each in interpreters(tmp_path)}[python])
        install(modules)
        ask_for(modules, 3, backend)
        before = comparable(first)
        first.run(["ip", "link", "set", "eth0", "down"])

        second = lab.add_host("second", HOST)
        choose_backend(second, backend)
        again = rebooted(modules, second)
        status = second.run([COMMAND, "status"], check=False)
        assert status.returncode == 1
        assert "Create bridge docker0 with 172.17.0.1/16" in status.stdout
        done = second.run([COMMAND, "apply"])
        assert "Create endpoint e1 on network docker0 with 172.17.0.3/16" in done.stdout
        assert comparable(second) == before
        assert second.run([COMMAND, "apply"]).stdout == ""
        assert second.run([COMMAND, "status"]).stdout.endswith("The host holds what was asked for.\n")
        assert again.ok("topology_info")["drift"] == []

        way = second.run([COMMAND, "explain", "outside", "192.168.52.203:80"])
        assert (
            "PREROUTING: 192.168.52.203:80 is translated to 172.17.0.3:5000 (publish of e1)" in way.stdout.splitlines()
        )
        closed = second.run([COMMAND, "explain", "outside", "e1:5000", "--json"], check=False)
        assert (closed.returncode, json.loads(closed.stdout)["verdict"]) == (1, "dropped")
        assert second.run([COMMAND, "explain", "nobody", "e1:5000"], check=False).returncode == 2

        port = json.loads(second.run([COMMAND, "ports", "--json"]).stdout)["e1"]
        assert port[:2] == ["5000/tcp -> 0.0.0.0:80", "5000/tcp -> [::]:80"]
        second.start(echo_command("e1", ["0.0.0.0:5000"], []), netns="e1", ready="ready")
        assert client.probe("tcp", "192.168.52.203", 80).source == "192.168.52.202"


def test_two_hundred_endpoints_are_restored_in_time(tmp_path: Path) -> None:
    """Under three seconds of processor time, the kernel's and the start of Python included: others may be at work."""
    with Lab(tmp_path / "lab") as lab:
        modules = Modules(lab.add_host("first", HOST), interpreters(tmp_path)[0])
        ask_for(modules, 200)
        second = lab.add_host("second", ["192.168.52.204/24"])
        rebooted(modules, second)
        start = os.times()
        second.run([COMMAND, "apply"])
        end = os.times()
        took = end.children_user + end.children_system - start.children_user - start.children_system
        assert second.run([COMMAND, "status", "--json"]).returncode == 0
        print(f"200 endpoints restored in {took:.2f} s")
        assert took < 3


def test_status_names_what_is_missing(fresh: Callable[[str], Modules]) -> None:
    modules = fresh("pypi")
    install(modules)
    ask_for(modules, 2)
    modules.host.run(["ip", "netns", "del", "e0"])
    modules.host.run(["nft", "flush", "ruleset"])
    status = modules.host.run([COMMAND, "status", "--json"], check=False)
    assert status.returncode == 1
    drift = json.loads(status.stdout)["drift"]
    assert any("e0" in sentence for sentence in drift)
    assert "Restore the missing table ip bridgeport." in drift
    modules.host.run([COMMAND, "apply"])
    assert modules.host.run([COMMAND, "status"]).returncode == 0


def test_errors_are_sentences_and_leave_with_status_2(fresh: Callable[[str], Modules]) -> None:
    modules = fresh("pypi")
    install(modules)
    modules.host.run(["mkdir", "-p", "/var/lib/bridgeport"])
    modules.host.write(RECORD, "{")
    for verb in ("status", "apply", "ports"):
        done = modules.host.run([COMMAND, verb], check=False)
        assert done.returncode == 2
        assert done.stderr.startswith(f"bridgeport: Cannot read the record {RECORD}: ")
        assert "Traceback" not in done.stderr
    assert modules.host.run([COMMAND, "nonsense"], check=False).returncode == 2


def test_the_module_installs_updates_and_removes(fresh: Callable[[str], Modules]) -> None:
    modules = fresh("debian")
    host = modules.host
    install(modules)
    assert host.run(["stat", "-c", "%a %U", COMMAND]).stdout == "755 root\n"
    assert host.run(["head", "-n1", COMMAND], check=False).stdout.startswith("#!/usr/bin/python3")
    assert modules.ok("boot_engine")["changed"] is False
    host.run(["sh", "-c", f"echo >> {COMMAND}"])
    assert modules.ok("boot_engine", check=True)["changed"] is True
    assert modules.ok("boot_engine")["actions"] == [f"Install the command {COMMAND}."]
    host.run(["chmod", "644", COMMAND])
    assert modules.ok("boot_engine")["changed"] is True
    for check, changed in ((True, True), (False, True), (False, False)):
        assert modules.ok("boot_engine", check=check, state="absent")["changed"] is changed


def test_the_command_outlasts_the_pythons_version(fresh: Callable[[str], Modules]) -> None:
    """Ansible may find the system's Python as python3.11, of which the distribution's next release has nothing."""
    modules = fresh("debian")
    versioned = os.path.realpath(modules.interpreter.path)
    assert versioned != modules.interpreter.path
    modules.interpreter = replace(modules.interpreter, path=versioned)
    install(modules)
    assert modules.host.run(["head", "-n1", COMMAND]).stdout == "#!/usr/bin/python3\n"
    modules.interpreter = replace(modules.interpreter, path="/usr/bin/python3")
    assert modules.ok("boot_engine")["changed"] is False


def test_the_module_brings_the_engine_along(tmp_path: Path) -> None:
    """By way of Ansible itself, which sends along only what a module imports."""
    path = tmp_path / "install.yml"
    path.write_text(
        "- hosts: web\n  gather_facts: false\n  tasks:\n    - bridgeport.net.boot_engine: {command: /run/bridgeport}\n"
    )
    with Lab(tmp_path / "lab") as lab:
        host = lab.add_host("host", HOST)
        for changed in (1, 0):
            done = playbook(lab, str(path), hosts={"web": ["host"]})
            assert done.returncode == 0, done.stdout + done.stderr
            assert recap(done.stdout)["changed"] == changed
        assert "0 networks" in host.run(["/run/bridgeport", "status"]).stdout


def test_a_host_that_forwards_keeps_its_advertised_route(tmp_path: Path) -> None:
    """A real router advertisement: its default route stays, and the next one is still believed."""
    advertise = (
        "import socket, struct; s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)\n"
        "s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)\n"
        "s.sendto(struct.pack('!BBHBBHII', 134, 0, 0, 64, 0, 1800, 0, 0), ('ff02::1', 0, 0, socket.if_nametoindex('eth0')))\n"
    )
    with Lab(tmp_path / "lab") as lab:
        router, host = lab.add_host("router", CLIENT), lab.add_host("host", HOST)
        modules = Modules(host, interpreters(tmp_path)[1])
        host.write("/proc/sys/net/ipv6/conf/eth0/accept_ra", "1")

        def route() -> str:
            for _attempt in range(20):
                router.run(["python3", "-c", advertise])
                found = host.run(["ip", "-6", "route", "show", "default"]).stdout
                if found:
                    return found
                time.sleep(0.1)
            return ""

        assert "proto ra" in route()
        modules.ok("bridge_network", name="docker0", subnets=["172.17.0.0/16", "fd00:17::/64"])
        assert host.read("/proc/sys/net/ipv6/conf/all/forwarding").strip() == "1"
        assert "proto ra" in host.run(["ip", "-6", "route", "show", "default"]).stdout
        host.run(["ip", "-6", "route", "flush", "proto", "ra"])
        assert "proto ra" in route()
