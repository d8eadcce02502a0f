# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bad input and bad states: one full sentence that names the value, nothing changed, never a traceback.

``Modules.refused`` asserts the form of the message and that the host is the same before and after.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hostlab import Host, echo_command
from support import RUNNER, Interpreter, Modules

CASES: list[tuple[str, dict[str, Any], list[str]]] = [
    # Names
    ("bridge_network", {"name": "a-name-of-16-chr"}, ["'a-name-of-16-chr'", "16 characters", "at most 15"]),
    ("bridge_network", {"name": "br/0"}, ["'br/0'"]),
    ("bridge_network", {"name": ".."}, ["'..'"]),
    ("bridge_network", {"name": "br 0; reboot"}, ["'br 0; reboot'"]),
    ("veth_endpoint", {"network": "docker0", "name": "x" * 64}, ["64 characters", "at most 63"]),
    ("veth_endpoint", {"network": "docker0", "name": "../etc"}, ["'../etc'"]),
    ("veth_endpoint", {"network": "docker0", "name": "v", "interface": "much-too-long-name"}, ["'much-too-long-name'"]),
    # Subnets and gateways
    ("bridge_network", {"name": "n", "subnets": ["10.1.2.3/24"]}, ["'10.1.2.3/24'", "host bits", "10.1.2.0/24"]),
    ("bridge_network", {"name": "n", "subnets": ["fd00::1/64"]}, ["'fd00::1/64'", "host bits", "fd00::/64"]),
    ("bridge_network", {"name": "n", "subnets": ["999.1.1.0/24"]}, ["'999.1.1.0/24'"]),
    ("bridge_network", {"name": "n", "subnets": ["10.0.0.0"]}, ["'10.0.0.0'", "prefix length"]),
    ("bridge_network", {"name": "n", "subnets": ["172.17.128.0/24"]}, ["172.17.128.0/24", "172.17.0.0/16", "docker0"]),
    ("bridge_network", {"name": "n", "subnets": ["192.168.52.0/25"]}, ["192.168.52.0/25", "192.168.52.0/24", "eth0"]),
    ("bridge_network", {"name": "n", "subnets": ["fd52::/48"]}, ["fd52::/48", "fd52::/64", "eth0"]),
    (
        "bridge_network",
        {"name": "n", "subnets": ["10.0.0.0/24"], "gateways": ["10.0.1.1"]},
        ["10.0.1.1", "10.0.0.0/24"],
    ),
    (
        "bridge_network",
        {"name": "n", "subnets": ["10.0.0.0/24"], "gateways": ["10.0.0.255"]},
        ["10.0.0.255", "broadcast"],
    ),
    ("bridge_network", {"name": "n", "subnets": ["10.0.0.0/24"], "mtu": 10}, ["MTU 10"]),
    ("bridge_network", {"name": "n", "subnets": ["10.0.0.0/24"], "mac": "01:00:5e:00:00:01"}, ["01:00:5e:00:00:01"]),
    (
        "bridge_network",
        {"name": "docker0", "subnets": ["10.7.0.0/24"]},
        ["docker0", "10.7.0.0/24", "peer", "172.17.0.3"],
    ),
    ("bridge_network", {"name": "docker0", "state": "absent"}, ["docker0", "web"]),
    # Addresses
    (
        "veth_endpoint",
        {"network": "docker0", "name": "v", "addresses": ["10.9.9.9"]},
        ["10.9.9.9", "172.17.0.0/16", "outside"],
    ),
    ("veth_endpoint", {"network": "docker0", "name": "v", "addresses": ["172.17.0.2"]}, ["172.17.0.2", "web", "v"]),
    (
        "veth_endpoint",
        {"network": "docker0", "name": "v", "addresses": ["172.17.0.0"]},
        ["172.17.0.0", "network address"],
    ),
    (
        "veth_endpoint",
        {"network": "docker0", "name": "v", "addresses": ["172.17.255.255"]},
        ["172.17.255.255", "broadcast"],
    ),
    ("veth_endpoint", {"network": "docker0", "name": "v", "addresses": ["172.17.0.1"]}, ["172.17.0.1", "gateway"]),
    (
        "veth_endpoint",
        {"network": "docker0", "name": "v", "addresses": ["web"]},
        ["'web'", "not an IPv4 or IPv6 address"],
    ),
    ("veth_endpoint", {"network": "nowhere", "name": "v"}, ["nowhere", "does not exist", "docker0"]),
    (
        "veth_endpoint",
        {"network": "docker0", "name": "v", "sysctls": {"kernel.hostname": "x"}},
        ["kernel.hostname", "'net.'"],
    ),
    ("veth_endpoint", {"network": "docker0", "name": "v", "sysctls": {"net.../../x": "1"}}, ["net.../../x"]),
    ("veth_endpoint", {"network": "docker0", "name": "v", "expose": ["0"]}, ["port 0"]),
    # Ports
    ("port_publish", {"endpoint": "web", "ports": ["0:80"]}, ["'0:80'", "port 0"]),
    ("port_publish", {"endpoint": "web", "ports": ["80:65536"]}, ["'80:65536'", "65536"]),
    ("port_publish", {"endpoint": "web", "ports": ["90-80:90-80"]}, ["'90-80:90-80'", "backwards"]),
    (
        "port_publish",
        {"endpoint": "web", "ports": ["80-82:80-83"]},
        ["'80-82:80-83'", "3 host ports", "4 endpoint ports"],
    ),
    ("port_publish", {"endpoint": "web", "ports": ["80:80/icmp"]}, ["'80:80/icmp'", "'icmp'", "tcp, udp or sctp"]),
    ("port_publish", {"endpoint": "web", "ports": ["abcd:80:80"]}, ["'abcd:80:80'", "'abcd'"]),
    ("port_publish", {"endpoint": "web", "ports": ["fd52::203:80:80"]}, ["brackets"]),
    ("port_publish", {"endpoint": "web", "ports": ["80:5001"]}, ["80:5001", "80:5000", "web"]),
    ("port_publish", {"endpoint": "peer", "ports": ["80:1"]}, ["peer", "web", "0.0.0.0:80/tcp"]),
    ("port_publish", {"endpoint": "peer", "ports": ["192.168.52.203:80:1"]}, ["peer", "web", "192.168.52.203:80/tcp"]),
    ("port_publish", {"endpoint": "peer", "ports": ["8443:1"]}, ["peer", "web", "127.0.0.1:8443"]),
    ("port_publish", {"endpoint": "nobody", "ports": ["81:1"]}, ["nobody", "does not exist"]),
    ("port_publish", {"endpoint": "web", "ports": ["[fd52::203]:81:1"]}, ["[fd52::203]:81:1", "no IPv6 address"]),
    ("port_publish", {"endpoint": "web", "ports": ["81:1"], "loopback": "proxy"}, ["web", "systemd", "'nat'"]),
    ("port_publish", {"endpoint": "web", "ports": ["81:1/udp"], "loopback": "proxy"}, ["81:1/udp", "web", "tcp only"]),
    # Modes
    (
        "bridge_network",
        {"name": "n", "subnets": ["10.0.0.0/24"], "mode": "isolated", "trusted_interfaces": ["eth0"]},
        ["network n isolated", "eth0", "trusted_interfaces"],
    ),
    # Sources
    (
        "port_publish",
        {"endpoint": "web", "ports": ["81:1"], "sources": ["192.0.2.9/24"]},
        ["'192.0.2.9/24'", "host bits", "192.0.2.0/24"],
    ),
    ("port_publish", {"endpoint": "web", "ports": ["81:1"], "sources": ["the office"]}, ["'the office'", "web"]),
    ("port_publish", {"endpoint": "web", "ports": ["81:1"], "sources": []}, ["web", "empty list"]),
    (
        "port_publish",
        {"endpoint": "web", "ports": ["81:1"], "sources": ["192.0.2.0/24", "2001:db8::/32"]},
        ["81:1/tcp", "2001:db8::/32", "IPv4 only"],
    ),
    (
        "port_publish",
        {
            "publishes": [
                {"endpoint": "web", "ports": ["81:1"], "sources": ["192.0.2.1"]},
                {"endpoint": "web", "ports": ["81:1"]},
            ]
        },
        ["81:1/tcp", "listed twice"],
    ),
    # Masquerade
    ("masquerade", {"network": "nowhere"}, ["nowhere", "does not exist"]),
    ("masquerade", {"source": "10.0.0.1/8"}, ["10.0.0.1/8", "host bits"]),
    ("masquerade", {"network": "docker0", "to_source": "fd52::203"}, ["fd52::203", "docker0", "IPv6"]),
]


@pytest.fixture(scope="module", autouse=True)
def topology(modules: Modules) -> Iterator[None]:
    """An IPv4 network with two endpoints and two publishes."""
    modules.ok("bridge_network", name="docker0", subnets=["172.17.0.0/16"])
    modules.ok("veth_endpoint", network="docker0", endpoints=[{"name": "web"}, {"name": "peer"}])
    modules.ok("port_publish", endpoint="web", ports=["80:5000", "127.0.0.1:8443:443"])
    yield


@pytest.mark.parametrize(("module", "options", "words"), CASES, ids=lambda value: str(value)[:60])
def test_bad_input(modules: Modules, module: str, options: dict[str, Any], words: list[str]) -> None:
    message = modules.refused(module, **options)
    for word in words:
        assert word in message, f"{word!r} is missing in: {message}"


@pytest.mark.parametrize(("listen", "publish"), [("0.0.0.0", "9100:1"), ("127.0.0.1", "9100:1"), ("[::]", "9100:1")])
def test_a_port_that_a_process_holds(modules: Modules, host: Host, listen: str, publish: str) -> None:
    if listen == "[::]":
        # The echo server's IPv6 sockets take IPv6 only; this one takes IPv4 too, as many servers' do.
        script = (
            "import socket, time; s = socket.create_server(('::', 9100), family=socket.AF_INET6, dualstack_ipv6=True); "
            "print('ready', flush=True); time.sleep(60)"
        )
        server = ["python3", "-c", script]
    else:
        server = echo_command("x", [f"{listen}:9100"], [])
    process = host.start(server, ready="ready")
    message = modules.refused("port_publish", endpoint="web", ports=[publish])
    process.stop()
    assert "process python" in message and "pid" in message and "9100/tcp" in message
    modules.ok("port_publish", endpoint="web", ports=[publish])
    modules.ok("port_publish", endpoint="web", ports=[publish], state="absent")


def test_a_free_choice_goes_round_a_port_that_is_held(modules: Modules, host: Host) -> None:
    host.write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40003")
    host.write("/proc/sys/net/ipv4/ip_local_reserved_ports", "40001")
    process = host.start(echo_command("x", ["0.0.0.0:40000"], []), ready="ready")
    chosen = modules.ok("port_publish", endpoint="peer", ports=["9000"])["ports"]
    process.stop()
    assert [port["host_port"] for port in chosen] == [40002]
    # Kept, although a lower one is free now.
    assert modules.ok("port_publish", endpoint="peer", ports=["9000"])["changed"] is False
    modules.ok("port_publish", endpoint="peer", state="absent")


def test_an_interface_that_is_not_ours(modules: Modules, host: Host) -> None:
    host.run(["ip", "link", "add", "docker9", "type", "bridge"])
    message = modules.refused("bridge_network", name="docker9", subnets=["10.9.0.0/24"])
    assert "docker9" in message and "not ours" in message
    host.run(["ip", "link", "add", "bp-mine", "type", "veth", "peer", "name", "mine"])
    message = modules.refused("veth_endpoint", network="docker0", name="mine")
    assert "bp-mine" in message and "not ours" in message
    host.run(["ip", "link", "del", "docker9"])
    host.run(["ip", "link", "del", "bp-mine"])


def test_a_namespace_that_is_not_ours(modules: Modules, host: Host) -> None:
    host.run(["ip", "netns", "add", "theirs"])
    message = modules.refused("veth_endpoint", network="docker0", name="theirs")
    assert "/run/netns/theirs" in message and "not ours" in message
    assert modules.ok("veth_endpoint", name="theirs", state="absent")["changed"] is False
    assert "theirs" in host.run(["ip", "netns", "list"]).stdout
    host.run(["ip", "netns", "del", "theirs"])


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"format": 9}', '{"format":1,"backend":"nftables","topology":{"networks":[{}]}}', "\x00"]
)
def test_a_corrupt_record(fresh: Callable[[str], Modules], text: str) -> None:
    modules = fresh("pypi")
    modules.ok("bridge_network", name="docker0", subnets=["172.17.0.0/16"])
    modules.host.write("/var/lib/bridgeport/topology.json", text)
    message = modules.refused("bridge_network", name="docker0", mtu=1400)
    assert "/var/lib/bridgeport/topology.json" in message and "left as it is" in message
    assert modules.host.read("/var/lib/bridgeport/topology.json") == text
    # The remedy that the message names.
    modules.host.run(["rm", "/var/lib/bridgeport/topology.json"])
    again = modules.ok("bridge_network", name="docker0", subnets=["172.17.0.0/16"])
    assert "Adopt network docker0." in again["actions"] and not any("Create" in action for action in again["actions"])


def without(modules: Modules, wrapper: list[str], environment: str, **options: str) -> str:
    """Run bridge_network in an environment that lacks something; returns the message."""
    command = [*wrapper, "env", environment, modules.interpreter.path, str(RUNNER), "bridge_network"]
    done = modules.host.run(command, check=False, input=modules.arguments(False, name="docker0", mtu=1400, **options))
    result = json.loads(done.stdout)
    assert result["failed"] is True and "Traceback" not in result["msg"]
    return str(result["msg"])


def test_without_root(modules: Modules) -> None:
    debian = Modules(modules.host, Interpreter("debian", "/usr/bin/python3", ""))
    # This Python's own packages may lie where only root can read, so the check of the user runs by itself.
    source = Path(__file__).resolve().parents[2] / "plugins" / "module_utils"
    script = "from module_utils._engine import require_host; require_host()"
    done = debian.host.run(
        ["sh", "-c", f"cp -r {source} /run/module_utils; chmod -R a+rX /run/module_utils; cd /run; "
         f"setpriv --reuid 65534 --clear-groups /usr/bin/python3 -c '{script}' 2>&1; rm -r /run/module_utils"], check=False
    )  # fmt: skip
    assert "Cannot change the network of this host: this process runs as user id 65534 and needs root." in done.stdout


def test_without_pyroute2(modules: Modules, pythons: dict[str, Interpreter], tmp_path: Path) -> None:
    """On Debian's Python, which is the last one that a module would look for the library in."""
    broken = tmp_path / "pyroute2"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise AttributeError('half an installation')\n")
    debian = Modules(modules.host, pythons["debian"])
    message = without(debian, [], f"PYTHONPATH={tmp_path}:{debian.interpreter.python_path}")
    assert "pyroute2 (>= 0.6.13) could not be imported" in message and "half an installation" in message
    assert "/usr/bin/python3" in message and "python3-pyroute2" in message


def test_with_an_old_pyroute2(modules: Modules, tmp_path: Path) -> None:
    old = tmp_path / "pyroute2"
    old.mkdir()
    (old / "__init__.py").write_text("__version__ = '0.5.14'\nclass IPBatch: pass\n")
    (tmp_path / "pyroute2-0.5.14.dist-info").mkdir()
    (tmp_path / "pyroute2-0.5.14.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: pyroute2\nVersion: 0.5.14\n"
    )
    message = without(modules, [], f"PYTHONPATH={tmp_path}:{modules.interpreter.python_path}")
    assert f"pyroute2 0.5.14 at {old} is too old" in message and "0.6.13" in message


def test_without_nftables(modules: Modules) -> None:
    hide = 'for file in /usr/lib/*/libnftables.so.1; do mount --bind /dev/null $file; done; exec "$@"'
    hidden = ["unshare", "--mount", "sh", "-c", hide, "-"]
    message = without(modules, hidden, f"PYTHONPATH={modules.interpreter.python_path}", backend="nftables")
    assert "libnftables.so.1" in message
    assert "Install the package nftables, version 1.0 or newer." in message
