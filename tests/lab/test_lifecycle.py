# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What survives what: drift is named and mended, failed runs are undone, killed runs completed, two runs take turns."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from hostlab import Host, echo_command
from support import Modules

MARK = "# Written by bridgeport.net.\n"
NETWORK: dict[str, Any] = {"name": "docker0", "subnets": ["172.17.0.0/16", "fd00:17::/64"]}


@pytest.fixture
def standing(fresh: Callable[[str], Modules]) -> Modules:
    """A host with a network, two endpoints, a publish, and a server in one of them."""
    modules = fresh("pypi")
    modules.ok("bridge_network", **NETWORK)
    modules.ok("masquerade", network="docker0")
    modules.ok("veth_endpoint", network="docker0", endpoints=[{"name": "web"}, {"name": "peer"}])
    modules.ok("port_publish", endpoint="web", ports=["80:5000"])
    modules.host.start(echo_command("web", ["0.0.0.0:5000"], []), netns="web", ready="ready")
    return modules


def reached(host: Host) -> bool:
    """Whether the host reaches the published port."""
    return host.probe("tcp", "192.168.52.203", 80).ok


DRIFTS: list[tuple[str, str, list[str], tuple[str, dict[str, Any]]]] = [
    (
        "port's element",
        "nft delete element ip bridgeport published { tcp . 80 }",
        ["published"],
        ("port_publish", {"endpoint": "web", "ports": ["80:5000"]}),
    ),
    (
        "foreign element",
        "nft add element ip bridgeport published { tcp . 99 : 172.17.0.3 . 1 }",
        ["1 element ", "not ours"],
        ("masquerade", {"network": "docker0"}),
    ),
    (
        "foreign rule",
        "nft add rule ip bridgeport forward drop",
        ["chain forward"],
        ("masquerade", {"network": "docker0"}),
    ),
    (
        "whole ruleset",
        "nft flush ruleset",
        ["table ip bridgeport", "table ip6 bridgeport"],
        ("masquerade", {"network": "docker0"}),
    ),
    ("bridge", "ip link del docker0", ["Create bridge docker0"], ("bridge_network", NETWORK)),
    ("bridge down", "ip link set docker0 down", ["up of interface docker0"], ("bridge_network", NETWORK)),
    ("gateway", "ip addr flush dev docker0 scope global", ["172.17.0.1/16"], ("bridge_network", NETWORK)),
    ("host end", "ip link del bp-web", ["Reconnect endpoint web"], ("veth_endpoint", {"name": "web"})),
    (
        "port of the bridge",
        "ip link set bp-web nomaster",
        ["master of interface bp-web"],
        ("veth_endpoint", {"name": "web"}),
    ),
    ("route inside", "ip -n web route del default", ["0.0.0.0/0 via 172.17.0.1"], ("veth_endpoint", {"name": "web"})),
    (
        "address inside",
        "ip -n web addr del 172.17.0.2/16 dev eth0",
        ["172.17.0.2/16"],
        ("veth_endpoint", {"name": "web"}),
    ),
    (
        "interface down inside",
        "ip -n web link set eth0 down",
        ["up of interface eth0 in endpoint web"],
        ("veth_endpoint", {"name": "web"}),
    ),
    ("mtu inside", "ip -n web link set eth0 mtu 1300", ["mtu of interface eth0"], ("veth_endpoint", {"name": "web"})),
    ("forwarding", "echo 0 >/proc/sys/net/ipv4/ip_forward", ["net.ipv4.ip_forward"], ("bridge_network", NETWORK)),
    ("hosts file", "echo >/var/lib/bridgeport/hosts/docker0", ["hosts/docker0"], ("bridge_network", NETWORK)),
]


@pytest.mark.parametrize(("what", "command", "words", "mend"), DRIFTS, ids=[drift[0] for drift in DRIFTS])
def test_drift_is_named_and_mended(
    standing: Modules, what: str, command: str, words: list[str], mend: tuple[str, dict[str, Any]]
) -> None:
    host = standing.host
    assert reached(host)
    standing_still = host.snapshot()
    host.run(["sh", "-c", command])
    drift = " ".join(standing.ok("topology_info")["drift"])
    for word in words:
        assert word in drift, drift
    module, options = mend
    done = standing.ok(module, **options)
    assert done["changed"] is True
    if what == "bridge":
        # The services' namespaces were not touched: their server still answers.
        standing.ok("veth_endpoint", network="docker0", endpoints=[{"name": "web"}, {"name": "peer"}])
    assert standing.ok("topology_info")["drift"] == []
    wait_until_like(host, standing_still)
    assert reached(host)


def wait_until_like(host: Host, wanted: dict[str, Any]) -> None:
    """Wait until the host is as wanted: the kernel gives link-local addresses a moment after a link comes up."""
    for _attempt in range(20):
        if host.snapshot() == wanted:
            return
        time.sleep(0.1)
    assert host.snapshot() == wanted


def test_a_deleted_namespace_is_made_anew(standing: Modules) -> None:
    host = standing.host
    host.run(["ip", "netns", "del", "peer"])
    host.run(["sh", "-c", "for i in $(seq 50); do ip link show bp-peer >/dev/null 2>&1 || break; sleep 0.1; done"])
    assert any("Create endpoint peer" in sentence for sentence in standing.ok("topology_info")["drift"])
    standing.ok("veth_endpoint", name="peer")
    assert standing.ok("topology_info")["drift"] == []
    # One that a process still runs in keeps its veth pair, which must make room for the new one.
    host.run(["ip", "netns", "del", "web"])
    standing.ok("veth_endpoint", name="web")
    assert standing.ok("topology_info")["drift"] == []
    assert not reached(host)
    host.start(echo_command("again", ["0.0.0.0:5000"], []), netns="web", ready="ready")
    assert host.probe("tcp", "192.168.52.203", 80).name == "again"


def test_a_broken_namespace_file_is_replaced(standing: Modules) -> None:
    standing.host.run(["ip", "netns", "del", "peer"])
    standing.host.write("/run/netns/peer", "")
    standing.ok("veth_endpoint", name="peer")
    assert standing.ok("topology_info")["drift"] == []


BAD = {"name": "bad", "sysctls": {"net.core.no_such_setting": "1"}}
FAILURES: list[tuple[str, dict[str, Any], str]] = [
    # The kernel refuses in the middle of a batch of new endpoints.
    ("veth_endpoint", {"network": "docker0", "endpoints": [{"name": "new"}, BAD]}, "net.core.no_such_setting"),
    # It refuses a change of an endpoint that stands, after others were made.
    (
        "veth_endpoint",
        {"endpoints": [{"name": "peer", "addresses": ["172.17.0.77"], "sysctls": {"net.ipv4.ip_forward": "abc"}}]},
        "net.ipv4.ip_forward",
    ),
    # It refuses when ports were closed already, whose endpoints were to go.
    ("veth_endpoint", {"network": "docker0", "endpoints": [BAD], "prune": True}, "net.core.no_such_setting"),
]


@pytest.mark.parametrize(
    ("module", "options", "word"), FAILURES, ids=["new endpoints", "a standing endpoint", "closed ports"]
)
def test_a_failed_run_is_undone(standing: Modules, module: str, options: dict[str, Any], word: str) -> None:
    host = standing.host
    before = host.snapshot()
    result = standing.run(module, **options)
    assert result["failed"] is True
    assert word in result["msg"] and "was undone" in result["msg"], result["msg"]
    assert host.snapshot() == before
    assert standing.ok("topology_info")["interrupted"] is False
    assert reached(host)


def test_a_table_that_another_program_owns(standing: Modules) -> None:
    """The kernel lets nobody else change it: refused before anything is."""
    host = standing.host
    standing.ok("port_publish", endpoint="web", state="absent")
    standing.ok("veth_endpoint", network="docker0", endpoints=[], prune=True)
    standing.ok("bridge_network", networks=[], prune=True)
    owner = "(echo 'add table ip6 bridgeport { flags owner; }'; sleep 60) | nft -i & sleep 0.3; echo ready; wait"
    process = host.start(["sh", "-c", owner], ready="ready")
    links, files = host.links(), host.run(["find", "/var/lib/bridgeport"]).stdout
    result = standing.run("bridge_network", **NETWORK)
    assert result["failed"] is True
    assert "table ip6 bridgeport" in result["msg"]
    assert host.run(["nft", "list", "tables"]).stdout.split() == ["table", "ip6", "bridgeport"]
    assert host.links() == links and host.run(["find", "/var/lib/bridgeport"]).stdout == files
    process.stop()


def test_a_full_disk_at_the_record(standing: Modules) -> None:
    host = standing.host
    host.run(["sh", "-c", "cp -a /var/lib/bridgeport /run/saved; mount -t tmpfs -o size=16k none /var/lib/bridgeport"])
    host.run(
        [
            "sh",
            "-c",
            "cp -a /run/saved/. /var/lib/bridgeport/; head -c 99999 /dev/zero > /var/lib/bridgeport/filler || true",
        ],
        check=False,
    )
    before = host.snapshot()
    message = standing.run("port_publish", endpoint="web", ports=["1000-1200:1000-1200"])["msg"]
    assert "No space left on device" in message and "Nothing was changed" in message
    assert host.snapshot() == before
    host.run(["umount", "/var/lib/bridgeport"])


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.03, 0.06, 0.1, 0.15, 0.2])
def test_a_killed_run_is_completed_by_the_next(standing: Modules, delay: float) -> None:
    """Killed with SIGKILL `delay` seconds after it began to change the host."""
    host = standing.host
    names = [f"e{number}" for number in range(60)]
    options = {"network": "docker0", "endpoints": [{"name": name} for name in names]}
    pending = "/var/lib/bridgeport/pending.json"
    # The shell is the run's parent inside the host, so that what is killed is the module itself.
    script = (
        f"while ! [ -e {pending} ]; do sleep 0.002; done; sleep {delay}; kill -9 $(cat /run/pid) 2>/dev/null; exit 0"
    )
    runner = standing.command("veth_endpoint")
    process = subprocess.Popen(
        host.argv(["sh", "-c", 'echo $$ > /run/pid; exec "$@"', "-", *runner]),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(standing.arguments(False, **options))
    process.stdin.close()
    host.run(["sh", "-c", f"timeout 20 sh -c '{script}'"], timeout=30)
    process.wait(timeout=30)
    host.run(["rm", "/run/pid"])
    # Another task comes next: it ends what was begun, and does its own.
    standing.ok("port_publish", endpoint="web", ports=["81:5000"])
    info = standing.ok("topology_info")
    assert info["drift"] == [] and info["interrupted"] is False
    assert {endpoint["name"] for endpoint in info["endpoints"]} == {"web", "peer", *names}
    assert reached(host)
    standing.ok("veth_endpoint", network="docker0", endpoints=[{"name": "web"}, {"name": "peer"}], prune=True)
    assert standing.ok("topology_info")["drift"] == []


def test_runs_at_once_take_turns(standing: Modules) -> None:
    host = standing.host
    processes = []
    for number in range(6):
        command = host.argv(standing.command("veth_endpoint"))
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None
        process.stdin.write(standing.arguments(False, network="docker0", name=f"at-once-{number}"))
        process.stdin.close()
        processes.append(process)
    for process in processes:
        assert process.stdout is not None
        result = json.loads(process.stdout.read())
        process.stdout.close()
        assert process.wait(timeout=60) == 0 and result["changed"] is True, result
    info = standing.ok("topology_info")
    assert info["drift"] == []
    addresses = [tuple(endpoint["addresses"]) for endpoint in info["endpoints"]]
    assert len(addresses) == 8 and len(set(addresses)) == 8


def test_publishing_does_not_disturb_what_stands(standing: Modules) -> None:
    """A connection through one port lives on while other ports come and go."""
    host = standing.host
    script = (
        "import socket, sys; s = socket.create_connection(('192.168.52.203', 80)); f = s.makefile('rw')\n"
        "for line in sys.stdin: f.write('?\\n'); f.flush(); print(f.readline().split()[0], flush=True)"
    )
    process = subprocess.Popen(
        host.argv(["python3", "-c", script]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdin is not None and process.stdout is not None
    for ports in (["80:5000"], ["80:5000", "81-90:81-90"], ["80:5000", "7000:7000"]):
        standing.ok("port_publish", endpoint="web", ports=ports, prune=True)
        process.stdin.write("?\n")
        assert process.stdout.readline().strip() == "web"
    process.stdin.close()
    process.stdout.close()
    assert process.wait(timeout=10) == 0


def test_ten_thousand_ports_in_one_transaction(standing: Modules) -> None:
    """No process for each port: what strace sees run is the same for one port and for a thousand."""

    def executed(ports: list[str]) -> list[str]:
        command = [
            "strace",
            "-f",
            "-qq",
            "-e",
            "trace=execve",
            "-e",
            "signal=none",
            "-o",
            "/run/trace",
            *standing.command("port_publish"),
        ]
        done = standing.host.run(command, input=standing.arguments(False, endpoint="peer", ports=ports), timeout=120)
        assert json.loads(done.stdout)["changed"] is True
        lines = standing.host.run(["cat", "/run/trace"]).stdout.splitlines()
        return [line.split('"')[1] for line in lines if " = 0" in line]

    one = executed(["19999:1"])
    thousand = executed(["20000-20999:20000-20999"])
    assert thousand == one
    # The module itself, the reading of its locale at most, and no nft, ip or iptables.
    assert not [path for path in thousand if path.rsplit("/", 1)[-1] in ("nft", "ip", "iptables", "conntrack", "sh")]
    start = time.monotonic()
    assert standing.ok("port_publish", endpoint="peer", ports=["21000-30999:1000-10999"])["changed"] is True
    assert time.monotonic() - start < 10
    assert standing.ok("topology_info")["drift"] == []


def test_a_small_host_without_the_names_of_protocols(fresh: Callable[[str], Modules]) -> None:
    """/etc/protocols comes with a package of its own; without it nftables speaks in numbers."""
    modules = fresh("pypi")
    modules.host.run(["rm", "-f", "/etc/protocols", "/etc/services"])
    modules.ok(
        "bridge_network",
        networks=[NETWORK, {"name": "far", "subnets": ["10.3.0.0/24", "fd00:3::/64"], "mode": "routed"}],
    )
    modules.ok("veth_endpoint", endpoints=[{"name": "web", "network": "docker0"}, {"name": "app", "network": "far"}])
    ports = ["80:5000", "80:5000/udp", "192.168.52.203:81:5000"]
    publishes = [{"endpoint": "web", "ports": ports}, {"endpoint": "app", "ports": ["8080", "53/udp"]}]
    assert modules.ok("port_publish", publishes=publishes)["changed"] is True
    assert modules.ok("port_publish", publishes=publishes)["changed"] is False
    assert modules.ok("topology_info")["drift"] == []


def test_endpoints_get_nameservers_that_they_can_reach(fresh: Callable[[str], Modules]) -> None:
    """The host's own nameserver at a loopback address is another one inside a namespace."""
    modules = fresh("pypi")
    host = modules.host
    host.run(["mkdir", "-p", "/run/systemd/resolve"])
    host.write("/run/systemd/resolve/resolv.conf", "nameserver 192.0.2.53\nnameserver 2001:db8::53\n")
    # /etc/resolv.conf may be a link out of the host's own /etc.
    host.run(["rm", "-f", "/etc/resolv.conf"])
    host.write("/etc/resolv.conf", "nameserver 127.0.0.53\n")
    modules.ok("bridge_network", **NETWORK)
    modules.ok(
        "veth_endpoint", network="docker0", endpoints=[{"name": "web"}, {"name": "own", "nameservers": ["192.0.2.1"]}]
    )
    assert host.read("/etc/netns/web/resolv.conf") == MARK + "nameserver 192.0.2.53\nnameserver 2001:db8::53\n"
    assert host.read("/etc/netns/own/resolv.conf") == MARK + "nameserver 192.0.2.1\n"
    assert "192.0.2.53" in host.run(["ip", "netns", "exec", "web", "cat", "/etc/resolv.conf"]).stdout
    # The host is told another one: that is drift of the endpoint's file.
    host.write("/run/systemd/resolve/resolv.conf", "nameserver 192.0.2.54\n")
    assert modules.ok("topology_info")["drift"] == ["Change file /etc/netns/web/resolv.conf."]
    modules.ok("veth_endpoint", name="web")
    assert host.read("/etc/netns/web/resolv.conf") == MARK + "nameserver 192.0.2.54\n"
    # A nameserver that everybody reaches needs no file.
    host.write("/etc/resolv.conf", "nameserver 192.0.2.53\n")
    modules.ok("veth_endpoint", network="docker0", endpoints=[{"name": "late"}])
    assert host.run(["ls", "/etc/netns/late"]).stdout.split() == ["hosts"]


@pytest.mark.parametrize(
    "unknown",
    [
        "rm /run/systemd/resolve/resolv.conf",
        "echo '# No DNS servers known.' > /run/systemd/resolve/resolv.conf",
        "rm /etc/resolv.conf /run/systemd/resolve/resolv.conf",
        "rm /run/systemd/resolve/resolv.conf; ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf",
    ],
    ids=["no file", "no servers", "nothing", "dangling link"],
)
def test_nameservers_stay_while_the_host_does_not_know_its_own(fresh: Callable[[str], Modules], unknown: str) -> None:
    """At boot, endpoints and the services in them are there before systemd-resolved knows whom to ask."""
    modules = fresh("pypi")
    host = modules.host
    host.run(["mount", "-t", "tmpfs", "none", "/usr/local/sbin"])
    modules.ok("boot_engine")
    host.run(["mkdir", "-p", "/run/systemd/resolve"])
    host.write("/run/systemd/resolve/resolv.conf", "nameserver 192.0.2.53\n")
    host.run(["rm", "-f", "/etc/resolv.conf"])
    host.write("/etc/resolv.conf", "nameserver 127.0.0.53\n")
    modules.ok("bridge_network", **NETWORK)
    modules.ok("veth_endpoint", network="docker0", endpoints=[{"name": "web"}, {"name": "app", "search": ["lan"]}])
    written = {"web": MARK + "nameserver 192.0.2.53\n", "app": MARK + "nameserver 192.0.2.53\nsearch lan\n"}

    def told() -> dict[str, str]:
        return {name: host.read(f"/etc/netns/{name}/resolv.conf") for name in written}

    assert told() == written
    host.run(["sh", "-ec", unknown])
    assert host.run(["bridgeport", "status", "--json"]).returncode == 0
    assert modules.ok("veth_endpoint", check=True, name="web")["changed"] is False
    assert modules.ok("veth_endpoint", name="app")["changed"] is False
    host.run(["sh", "-c", "ip netns del web; ip netns del app; ip link del docker0; nft flush ruleset"])
    assert "resolv.conf" not in host.run(["bridgeport", "apply"]).stdout
    assert told() == written
    assert host.run(["bridgeport", "apply"]).stdout == ""

    host.run(["rm", "-f", "/etc/resolv.conf"])
    host.write("/etc/resolv.conf", "nameserver 127.0.0.53\n")
    host.write("/run/systemd/resolve/resolv.conf", "nameserver 192.0.2.54\n")
    drift = ["Change file /etc/netns/app/resolv.conf.", "Change file /etc/netns/web/resolv.conf."]
    assert modules.ok("topology_info")["drift"] == drift
    host.run(["bridgeport", "apply"])
    assert told() == {name: text.replace(".53", ".54") for name, text in written.items()}
