# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The backend iptables in both its variants: what stands in the kernel, and what of others stays as it is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from hostlab import Host
from support import Modules, choose_backend

NETWORK: dict[str, Any] = {"name": "docker0", "subnets": ["172.17.0.0/16", "fd00:17::/64"]}
VARIANTS = ["iptables-nft", "iptables-legacy"]
PYTHONS = ["debian", "pypi"]
# Rules of an administrator, some of them of the kinds that a careless reader loses.
THEIRS = """\
*filter
:FORWARD ACCEPT [0:0]
:THEIRS - [0:0]
-A FORWARD -i wg0 -m comment --comment "it's \\"theirs\\"" -j THEIRS
-A FORWARD -p tcp -m tcp --dport 80 -j ACCEPT
-A THEIRS -s 192.0.2.0/24 -m limit --limit 3/min -j LOG --log-prefix "a b "
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
-A PREROUTING -p tcp -m tcp --dport 8000 -j DNAT --to-destination 192.0.2.1:80
-A POSTROUTING -s 10.99.0.0/16 -o eth0 -j MASQUERADE
COMMIT
"""


def saved(host: Host, family: str = "iptables") -> dict[str, list[str]]:
    """The rules that the host's own iptables shows, by table, without counters."""
    tables: dict[str, list[str]] = {}
    for line in host.run([f"{family}-save"]).stdout.splitlines():
        if line.startswith("*"):
            table = tables.setdefault(line[1:], [])
        elif not line.startswith(("#", "COMMIT")):
            table.append(line.split(" [")[0] if line.startswith(":") else line)
    return tables


def foreign(host: Host) -> dict[str, list[str]]:
    """Of these, those that are not ours."""
    return {table: [line for line in lines if "BRIDGEPORT" not in line] for table, lines in saved(host).items()}


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    """Which iptables the host has."""
    return str(request.param)


@pytest.fixture
def modules(fresh: Callable[[str], Modules], variant: str) -> Modules:
    """A fresh host with that iptables, which is where its rules go."""
    made = fresh("pypi")
    choose_backend(made.host, variant)
    return made


def publish(modules: Modules, **options: Any) -> dict[str, Any]:
    """The walk-through of the articles."""
    modules.ok("bridge_network", backend="iptables", **NETWORK)
    modules.ok("masquerade", network="docker0")
    modules.ok("veth_endpoint", network="docker0", name="web")
    return modules.ok("port_publish", endpoint="web", ports=["80:5000"], **options)


def test_it_reads_as_the_books_print_it(modules: Modules) -> None:
    publish(modules)
    assert modules.host.run(["iptables", "-t", "nat", "-S"]).stdout.splitlines() == [
        "-P PREROUTING ACCEPT",
        "-P INPUT ACCEPT",
        "-P OUTPUT ACCEPT",
        "-P POSTROUTING ACCEPT",
        "-N BRIDGEPORT",
        "-N BRIDGEPORT-POST",
        "-A PREROUTING -m addrtype --dst-type LOCAL -m comment --comment \"bridgeport:host\" -j BRIDGEPORT",
        "-A OUTPUT -m addrtype --dst-type LOCAL -m comment --comment \"bridgeport:host\" -j BRIDGEPORT",
        "-A POSTROUTING -m comment --comment \"bridgeport:host\" -j BRIDGEPORT-POST",
        "-A BRIDGEPORT -p tcp -m tcp --dport 80 -m comment --comment \"bridgeport:web\" -j DNAT --to-destination 172.17.0.2:5000",
        "-A BRIDGEPORT-POST -s 172.17.0.0/16 -o docker0 -m conntrack --ctstate DNAT -m comment --comment \"bridgeport:docker0\" -j MASQUERADE",
        "-A BRIDGEPORT-POST -o docker0 -m addrtype --src-type LOCAL -m conntrack --ctstate DNAT -m comment --comment \"bridgeport:docker0\" -j MASQUERADE",
        "-A BRIDGEPORT-POST -o lo -m comment --comment \"bridgeport:host\" -j RETURN",
        "-A BRIDGEPORT-POST -s 172.17.0.0/16 ! -d 224.0.0.0/4 ! -o docker0 -m comment --comment \"bridgeport:docker0\" -j MASQUERADE",
    ]  # fmt: skip
    assert "BRIDGEPORT/docker0 -d 172.17.0.2/32 -p tcp -m tcp --dport 5000" in "\n".join(saved(modules.host)["filter"])
    # Frames on a bridge are beyond iptables.
    ours = [line for line in modules.host.run(["nft", "list", "tables"]).stdout.splitlines() if "bridgeport" in line]
    assert ours == ["table bridge bridgeport"]


def test_only_the_tables_that_it_needs(modules: Modules, variant: str) -> None:
    publish(modules)
    if variant == "iptables-legacy":
        assert sorted(modules.host.read("/proc/net/ip_tables_names").split()) == ["filter", "mangle", "nat"]
    else:
        assert modules.host.run(["nft", "list", "tables"]).stdout.count("table ip") == 6


@pytest.mark.parametrize("python", PYTHONS)
def test_check_run_check_run(fresh: Callable[[str], Modules], variant: str, python: str) -> None:
    modules = fresh(python)
    host = modules.host
    choose_backend(host, variant)
    runs: list[tuple[str, dict[str, Any]]] = [
        ("bridge_network", {"backend": "iptables", **NETWORK}),
        ("masquerade", {"network": "docker0"}),
        ("veth_endpoint", {"network": "docker0", "name": "web"}),
        ("port_publish", {"endpoint": "web", "ports": ["80:5000", "127.0.0.1:81:81", "53:53/udp"]}),
        ("port_publish", {"endpoint": "web", "ports": ["80:5000", "82:82"], "prune": True}),
        ("bridge_network", {"name": "docker0", "icc": False}),
        ("masquerade", {"network": "docker0", "to_source": "192.168.52.203"}),
        ("port_publish", {"endpoint": "web", "state": "absent"}),
        ("veth_endpoint", {"name": "web", "state": "absent"}),
        ("masquerade", {"network": "docker0", "state": "absent"}),
        ("bridge_network", {"name": "docker0", "state": "absent"}),
    ]
    for module, options in runs:
        start = host.snapshot()
        predicted = modules.ok(module, check=True, **options)
        assert predicted["changed"] is True
        assert host.snapshot() == start, "check mode changed the host"
        done = modules.ok(module, **options)
        assert done["actions"] == predicted["actions"] and done["diff"] == predicted["diff"]
        reached = host.snapshot()
        assert reached != start
        for check in (True, False):
            again = modules.ok(module, check=check, **options)
            assert again["changed"] is False and again["actions"] == []
        assert host.snapshot() == reached
    assert "BRIDGEPORT" not in str(saved(host)) + str(saved(host, "ip6tables"))
    assert host.run(["nft", "list", "tables"]).stdout == ""


def test_what_others_have_stays_as_it_is(modules: Modules) -> None:
    host = modules.host
    host.run(["iptables-restore"], input=THEIRS)
    theirs = foreign(host)
    publish(modules)
    assert {table: lines for table, lines in foreign(host).items() if table in theirs} == theirs
    host.run(["iptables", "-A", "BRIDGEPORT-USER", "-s", "203.0.113.0/24", "-j", "DROP"])
    host.run(["iptables", "-I", "FORWARD", "-s", "203.0.113.1", "-j", "DROP"])
    theirs, user = foreign(host), host.run(["iptables", "-S", "BRIDGEPORT-USER"]).stdout
    assert modules.ok("topology_info")["drift"] == []
    modules.ok("port_publish", endpoint="web", ports=["81:5000"])
    modules.ok("bridge_network", name="docker0", icc=False)
    assert foreign(host) == theirs and host.run(["iptables", "-S", "BRIDGEPORT-USER"]).stdout == user
    modules.ok("port_publish", endpoint="web", state="absent")
    modules.ok("veth_endpoint", name="web", state="absent")
    modules.ok("masquerade", network="docker0", state="absent")
    modules.ok("bridge_network", name="docker0", state="absent")
    # What somebody put into the chain of his own is kept with the chain; nothing leads to it.
    assert foreign(host) == {table: lines for table, lines in theirs.items() if table in foreign(host)}
    ours = [line for lines in saved(host).values() for line in lines if "BRIDGEPORT" in line]
    assert ours == [":BRIDGEPORT-USER -", "-A BRIDGEPORT-USER -s 203.0.113.0/24 -j DROP"]


DRIFTS: list[tuple[str, list[str], str]] = [
    (
        "changed",
        ["-t", "nat", "-R", "BRIDGEPORT", "1", "-p", "tcp", "--dport", "80", "-m", "comment", "--comment", "bridgeport:web",
         "-j", "DNAT", "--to-destination", "172.17.0.3:5000"],
        "Restore the changed rules of chain BRIDGEPORT in table nat of iptables.",
    ),
    (
        "added",
        ["-I", "BRIDGEPORT/docker0", "-j", "ACCEPT"],
        "Restore the changed rules of chain BRIDGEPORT/docker0 in table filter of iptables.",
    ),
    (
        "flushed",
        ["-F", "BRIDGEPORT"],
        "Restore the changed rules of chain BRIDGEPORT in table filter of iptables.",
    ),
    ("cut off", ["-D", "FORWARD", "2"], "Restore the way from chain FORWARD to ours in table filter of iptables."),
    (
        "twice",
        ["-A", "FORWARD", "-j", "BRIDGEPORT"],
        "Restore the way from chain FORWARD to ours in table filter of iptables.",
    ),
    ("a chain", ["-N", "BRIDGEPORT-MORE"], "Remove the chain BRIDGEPORT-MORE in table filter of iptables, which nothing asks for."),
]  # fmt: skip


@pytest.mark.parametrize(("command", "sentence"), [drift[1:] for drift in DRIFTS], ids=[drift[0] for drift in DRIFTS])
def test_drift_is_named_and_mended(modules: Modules, command: list[str], sentence: str) -> None:
    publish(modules)
    good = saved(modules.host)
    modules.host.run(["iptables", *command])
    assert modules.ok("topology_info")["drift"] == [sentence]
    assert modules.ok("port_publish", endpoint="web", ports=["80:5000"])["actions"] == [sentence]
    assert saved(modules.host) == good


def test_everything_flushed(modules: Modules) -> None:
    publish(modules)
    good = saved(modules.host)
    for table in ("nat", "filter", "mangle"):
        modules.host.run(["iptables", "-t", table, "-F"])
        modules.host.run(["iptables", "-t", table, "-X"])
    modules.ok("port_publish", endpoint="web", ports=["80:5000"])
    assert {table: sorted(lines) for table, lines in saved(modules.host).items()} == {
        table: sorted(lines) for table, lines in good.items()
    }


def test_a_chain_of_our_name_that_somebody_else_made(modules: Modules, variant: str) -> None:
    modules.host.run(["iptables", "-N", "BRIDGEPORT"])
    modules.host.run(["iptables", "-A", "BRIDGEPORT", "-s", "192.0.2.1", "-j", "DROP"])
    message = modules.refused("bridge_network", backend="iptables", **NETWORK)
    assert message == (
        f"Cannot write the firewall rules by {variant}: the chain BRIDGEPORT in table filter of iptables holds the rule "
        "'-s 192.0.2.1/32 -j DROP' and was not made by this collection. It was left alone; remove it or rename it."
    )


def test_a_lost_record_adopts_the_rules(modules: Modules) -> None:
    publish(modules)
    good = saved(modules.host)
    modules.host.run(["rm", "/var/lib/bridgeport/topology.json"])
    publish(modules)
    assert saved(modules.host) == good
    assert modules.ok("topology_info")["drift"] == []


def test_a_failed_run_is_undone(modules: Modules) -> None:
    modules.ok("bridge_network", backend="iptables", **NETWORK)
    before = modules.host.snapshot()
    bad: dict[str, Any] = {"network": "docker0", "name": "bad", "sysctls": {"net.core.no_such_setting": "1"}}
    assert modules.run("veth_endpoint", **bad)["failed"] is True
    assert modules.host.snapshot() == before


def test_ipv6_fails_behind_ipv4(fresh: Callable[[str], Modules]) -> None:
    """Several transactions, and yet all of them or none."""
    modules = fresh("pypi")
    host = modules.host
    modules.ok("bridge_network", backend="iptables", **NETWORK)
    before = host.snapshot()
    host.run(["mount", "-t", "tmpfs", "tmpfs", "/usr/local/sbin"])
    host.write("/usr/local/sbin/ip6tables-nft-restore", "#!/bin/sh\necho full of eels >&2\nexit 4\n")
    host.run(["chmod", "755", "/usr/local/sbin/ip6tables-nft-restore"])
    search = f"PATH=/usr/local/sbin:{os.environ['PATH']}"
    result = host.run(
        ["env", search, *modules.command("bridge_network")],
        check=False,
        input=modules.arguments(False, name="docker0", icc=False),
    )
    message = json.loads(result.stdout)["msg"]
    assert "/usr/local/sbin/ip6tables-nft-restore said: full of eels." in message
    assert message.endswith("What this run had changed until then was undone.")
    assert host.snapshot() == before


def test_two_hundred_runs_beside_other_commands(modules: Modules) -> None:
    """Nothing is lost on either side, and nobody fails."""
    host = modules.host
    publish(modules)
    script = """
    set -e
    iptables -w -N THEIRS
    for n in $(seq 1 400); do
        iptables -w -A THEIRS -s 10.9.$((n / 250)).$((n % 250)) -j ACCEPT
        iptables -w -t nat -I POSTROUTING -s 10.8.0.0/16 -j MASQUERADE
        iptables -w -t nat -D POSTROUTING -s 10.8.0.0/16 -j MASQUERADE
    done
    echo all done
    """
    loop = host.start(["sh", "-c", script])
    engine = """
import sys
from ansible_collections.bridgeport.net.plugins.module_utils._engine import Engine, Touched
from ansible_collections.bridgeport.net.plugins.module_utils._want_rules import want_publishes, without_publishes
for number in range(200):
    ports = [{"endpoint": "web", "ports": ["8080:5000"], "loopback": "nat"}]
    def decide(topology, facts):
        return without_publishes(topology, ports) if number % 2 else want_publishes(topology, ports, facts)
    outcome = Engine().run(decide, Touched(endpoints=["web"]), False)
    assert outcome.changed, number
print("all done")
"""
    done = host.run(
        ["env", f"PYTHONPATH={modules.interpreter.python_path}", modules.interpreter.path, "-c", engine], timeout=300
    )
    assert done.stdout == "all done\n"
    loop.wait_for("all done", 300)
    theirs = [line for line in saved(host)["filter"] if line.startswith("-A THEIRS")]
    assert theirs == [f"-A THEIRS -s 10.9.{n // 250}.{n % 250}/32 -j ACCEPT" for n in range(1, 401)]
    assert "10.8.0.0" not in "\n".join(saved(host)["nat"])
    assert modules.ok("topology_info")["drift"] == []
    assert json.loads(host.read("/var/lib/bridgeport/topology.json"))["backend"] in VARIANTS
