# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Beside other firewalls: what is put into theirs for our packets, that it is said, and that it goes again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hostlab import Host, Lab, echo_command
from support import CLIENT, HOST, Interpreter, Modules, boot_for_modules

NETWORK: dict[str, Any] = {"name": "docker0", "subnets": ["172.17.0.0/16", "fd00:17::/64"]}
KINDS = ["nft", "legacy"]
OURS = "bridgeport:docker0"


@pytest.fixture
def pair(tmp_path: Any, pythons: dict[str, Interpreter]) -> Any:
    """The outside client and the modules of a fresh host."""
    with Lab(tmp_path / "lab") as lab:
        client, host = lab.add_host("client", CLIENT), lab.add_host("host", HOST)
        client.start(echo_command("client", ["0.0.0.0:7000"], []), ready="ready")
        yield client, Modules(host, pythons["pypi"])


def set_up(modules: Modules) -> list[str]:
    """The walk-through; returns what the runs said."""
    said = modules.ok("bridge_network", **NETWORK)["actions"]
    said += modules.ok("masquerade", network="docker0")["actions"]
    said += modules.ok("veth_endpoint", network="docker0", name="web")["actions"]
    said += modules.ok("port_publish", endpoint="web", ports=["80:5000"])["actions"]
    served = echo_command("web", ["0.0.0.0:5000"], [], python=modules.host.python)
    modules.host.start(served, netns="web", ready="ready")
    assert isinstance(said, list)
    return said


def tear_down(modules: Modules) -> None:
    """Remove all of it."""
    modules.ok("masquerade", network="docker0", state="absent")
    modules.ok("veth_endpoint", name="web", state="absent")
    modules.ok("bridge_network", name="docker0", state="absent")


def works(client: Host, host: Host) -> bool:
    """Whether the published port and the way out both do, and nothing more."""
    inward = client.probe("tcp", "192.168.52.203", 80)
    outward = host.probe("tcp", "192.168.52.202", 7000, netns="web")
    client.run(["ip", "route", "replace", "172.17.0.0/16", "via", "192.168.52.203"])
    direct = client.probe("tcp", "172.17.0.2", 5000, timeout=0.3)
    return inward.source == "192.168.52.202" and outward.source == "192.168.52.203" and not direct.ok


def rules(host: Host, kind: str) -> list[str]:
    """The rules of a kind of iptables for IPv4, without counters."""
    lines = host.run([f"iptables-{kind}-save"]).stdout.splitlines()
    return [line.split(" [")[0] if line.startswith(":") else line for line in lines if not line.startswith("#")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_forward_policy_of_drop(pair: tuple[Host, Modules], kind: str) -> None:
    client, modules = pair
    host = modules.host
    host.run([f"iptables-{kind}", "-P", "FORWARD", "DROP"])
    host.run([f"iptables-{kind}", "-A", "FORWARD", "-s", "192.0.2.0/24", "-j", "ACCEPT"])
    theirs = rules(host, kind)
    said = set_up(modules)
    assert said.count(
        f"Accept the packets of docker0 in the chain FORWARD of iptables-{kind} (IPv4), where FORWARD drops what is not "
        "accepted: its policy is DROP."
    ) == 1 and "IPv6" not in str(said)  # fmt: skip
    assert works(client, host)
    assert [line for line in rules(host, kind) if "BRIDGEPORT" not in line] == theirs
    assert [line for line in rules(host, kind) if "BRIDGEPORT" in line] == [
        ":BRIDGEPORT-ACCEPT -",
        '-A FORWARD -m comment --comment "bridgeport:host" -j BRIDGEPORT-ACCEPT',
        f'-A BRIDGEPORT-ACCEPT -i docker0 -m comment --comment "{OURS}" -j ACCEPT',
        f'-A BRIDGEPORT-ACCEPT -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -m comment --comment "{OURS}" -j ACCEPT',
    ]
    assert modules.ok("topology_info")["drift"] == []
    # Lost, and put back.
    host.run([f"iptables-{kind}", "-F", "FORWARD"])
    assert not works(client, host)
    assert "FORWARD drops" in str(modules.ok("topology_info")["drift"])
    modules.ok("bridge_network", **NETWORK)
    assert works(client, host)
    # A firewall that is stopped may be started again.
    host.run([f"iptables-{kind}", "-P", "FORWARD", "ACCEPT"])
    assert modules.ok("bridge_network", **NETWORK)["changed"] is False
    host.run([f"iptables-{kind}", "-P", "FORWARD", "DROP"])
    assert works(client, host)
    tear_down(modules)
    assert rules(host, kind) == [line for line in theirs if "192.0.2.0" not in line]


def test_a_rule_that_rejects_the_rest(pair: tuple[Host, Modules]) -> None:
    client, modules = pair
    modules.host.run(["iptables", "-N", "REST"])
    modules.host.run(["iptables", "-A", "REST", "-j", "REJECT", "--reject-with", "icmp-host-prohibited"])
    modules.host.run(["iptables", "-A", "FORWARD", "-j", "REST"])
    assert "a rule of it ends in REJECT" in str(set_up(modules))
    assert works(client, modules.host)


def test_what_an_administrator_drops_stays_dropped(pair: tuple[Host, Modules]) -> None:
    """What others say of a packet comes before our accepts, whoever decides over ours."""
    client, modules = pair
    modules.host.run(
        ["iptables", "-A", "FORWARD", "-d", "192.168.52.202", "-p", "tcp", "--dport", "7000", "-j", "DROP"]
    )
    modules.host.run(["iptables", "-P", "FORWARD", "DROP"])
    set_up(modules)
    for backend in ("nftables", "iptables"):
        modules.ok("bridge_network", backend=backend, **NETWORK)
        assert client.probe("tcp", "192.168.52.203", 80)
        assert not modules.host.probe("tcp", "192.168.52.202", 7000, netns="web", timeout=0.3)
        # It is his rule that does it.
        modules.host.run(["iptables", "-I", "FORWARD", "-p", "tcp", "--dport", "7000", "-j", "ACCEPT"])
        assert works(client, modules.host)
        modules.host.run(["iptables", "-D", "FORWARD", "-p", "tcp", "--dport", "7000", "-j", "ACCEPT"])


def test_a_firewall_that_comes_later(pair: tuple[Host, Modules]) -> None:
    """It drops the rest in front of our accepts, until the next run."""
    client, modules = pair
    set_up(modules)
    for backend in ("nftables", "iptables"):
        modules.ok("bridge_network", backend=backend, **NETWORK)
        modules.host.run(["iptables", "-I", "FORWARD", "-j", "DROP"])
        assert not works(client, modules.host)
        (drift,) = modules.ok("topology_info")["drift"]
        assert "FORWARD" in drift
        assert modules.ok("bridge_network", **NETWORK)["actions"] == [drift]
        assert works(client, modules.host) and modules.ok("topology_info")["drift"] == []
        modules.host.run(["iptables", "-D", "FORWARD", "-j", "DROP"])


def test_somebody_elses_chain_is_left_alone(fresh: Callable[[str], Modules]) -> None:
    modules = fresh("pypi")
    modules.host.run(["iptables", "-N", "BRIDGEPORT"])
    modules.host.run(["iptables", "-A", "BRIDGEPORT", "-s", "192.0.2.1", "-j", "DROP"])
    modules.ok("bridge_network", **NETWORK)
    assert "-A BRIDGEPORT -s 192.0.2.1/32 -j DROP" in rules(modules.host, "nft")


def ufw(host: Host, *words: str) -> str:
    """Run ufw."""
    # Its question, whether the connection of an administrator may be cut, is answered beforehand.
    return host.run(["ufw", *(["--force"] if words[0] == "enable" else []), *words]).stdout


@pytest.mark.parametrize("backend", ["nftables", "iptables"])
def test_ufw(pair: tuple[Host, Modules], backend: str) -> None:
    client, modules = pair
    host = modules.host
    ufw(host, "allow", "22/tcp")
    ufw(host, "enable")
    before = rules(host, "nft")
    said = [*modules.ok("bridge_network", backend=backend, **NETWORK)["actions"], *set_up(modules)]
    if backend == "nftables":
        assert (
            "in the chain FORWARD of iptables-nft (IPv4), where FORWARD drops what is not accepted: its policy is DROP"
            in str(said)
        )
    assert works(client, host)
    host.start(echo_command("own", ["0.0.0.0:22", "0.0.0.0:23"], []), ready="ready")

    def guards() -> tuple[bool, bool]:
        return client.probe("tcp", "192.168.52.203", 22).ok, client.probe("tcp", "192.168.52.203", 23, timeout=0.3).ok

    assert guards() == (True, False)
    for command in (("reload",), ("disable",), ("enable",)):
        ufw(host, *command)
        assert modules.ok("topology_info")["drift"] == [], command
        assert works(client, host), command
    assert guards() == (True, False)
    tear_down(modules)
    assert [line for line in rules(host, "nft") if "BRIDGEPORT" in line] == []
    assert sorted(rules(host, "nft")) == sorted(before)


def warnings(modules: Modules) -> list[str]:
    """What a run warns of."""
    return [warning["event"]["msg"] for warning in modules.ok("bridge_network", **NETWORK)["warnings"]]


@pytest.fixture
def booted_pair(tmp_path: Path, pythons: dict[str, Interpreter]) -> Iterator[tuple[Host, Modules]]:
    """The outside client and the modules of a machine with systemd."""
    python = pythons["debian"]
    with Lab(tmp_path / "lab") as lab:
        client = lab.add_host("client", CLIENT)
        machine = boot_for_modules(lab, python)
        client.start(echo_command("client", ["0.0.0.0:7000"], []), ready="ready")
        yield client, Modules(machine, python)


def test_firewalld(booted_pair: tuple[Host, Modules]) -> None:
    """It rejects what its zones do not forward, and is told by files of its own."""
    client, modules = booted_pair
    host = modules.host
    host.run(["systemctl", "start", "firewalld"])
    files = ["sh", "-c", "find /etc/firewalld -type f | sort"]
    before = host.run(files).stdout
    sentence = (
        "Have firewalld forward the packets of docker0: zone bridgeport, policies bridgeport-in and bridgeport-out."
    )
    assert set_up(modules).count(sentence) == 1
    assert works(client, host)
    host.run(["firewall-cmd", "--reload"])
    assert works(client, host) and modules.ok("topology_info")["drift"] == []
    # It is the zone that does it, and a lost one is put back.
    host.run(["sh", "-c", "rm /etc/firewalld/*/bridgeport*.xml; firewall-cmd --reload"])
    assert not works(client, host) and modules.ok("topology_info")["drift"] == [sentence]
    assert modules.ok("bridge_network", **NETWORK)["actions"] == [sentence]
    assert works(client, host)
    # Nothing else of the host is open to the endpoint for that.
    host.start(echo_command("own", ["0.0.0.0:23"], [], python=host.python), ready="ready")
    assert not host.probe("tcp", "172.17.0.1", 23, netns="web", timeout=0.3).ok
    tear_down(modules)
    assert host.run(files).stdout == before


def test_a_table_that_somebody_wrote_by_hand(pair: tuple[Host, Modules]) -> None:
    """Nothing is put into it; a warning says what would have to be."""
    client, modules = pair
    host = modules.host
    chain = "add chain inet mine forward { type filter hook forward priority 0; policy drop; }"
    host.run(["nft", f"add table inet mine; {chain}"])
    set_up(modules)
    assert not works(client, host)
    (warning,) = warnings(modules)
    assert "The chain forward of table inet mine drops what it does not accept" in warning
    for rule in warning.split("'")[1::2]:
        host.run(["nft", f"add rule inet mine forward {rule}"])
    assert works(client, host)


def test_a_split_host_is_named(pair: tuple[Host, Modules]) -> None:
    _client, modules = pair
    for kind in KINDS:
        modules.host.run([f"iptables-{kind}", "-A", "INPUT", "-s", "192.0.2.1", "-j", "DROP"])
    (warning,) = warnings(modules)
    assert "both in iptables on nf_tables and in legacy iptables" in warning
