# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The roles on a machine that boots: Debian's own services in endpoints, restarts, reboots, other firewalls' reloads."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostlab import Host, Lab
from hostlab.image import image
from hostlab.machine import Machine, boot
from support import CLIENT, HOST, ROOT, playbook, recap

VARIABLES = """
bridge_networks: [{name: docker0, subnets: [172.17.0.0/16]}]
service_endpoints:
  - {name: web, network: docker0, aliases: [www], unit: nginx.service}
  - {name: cache, network: docker0, unit: redis-server.service}
publish_ports:
  - {endpoint: web, ports: ["80", "80:80"]}
"""


@pytest.fixture(scope="session")
def root() -> Path:
    """The machines' file system."""
    return image(ROOT / ".cache" / "images")


@pytest.fixture
def lab(tmp_path: Path, root: Path) -> Iterator[Lab]:
    """A client, and a machine that has just been installed."""
    with Lab(tmp_path / "lab") as made:
        made.add_host("client", CLIENT)
        boot(made, "host", HOST, root)
        yield made


@pytest.fixture
def host(lab: Lab) -> Machine:
    """The machine."""
    machine = lab.hosts["host"]
    assert isinstance(machine, Machine)
    return machine


@pytest.fixture
def variables(tmp_path: Path) -> str:
    """The operator's variables, as an argument of ansible-playbook."""
    path = tmp_path / "variables.yml"
    path.write_text(VARIABLES, encoding="utf-8")
    return f"@{path}"


def run(lab: Lab, *arguments: str) -> dict[str, int]:
    """Run a playbook that must succeed; returns the recap."""
    done = playbook(lab, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return recap(done.stdout)


def welcome(client: Host) -> str:
    """What the client gets from port 80 of the host."""
    return client.run(["curl", "-s", "--max-time", "3", "http://192.168.52.203/"], check=False).stdout


def main_pid(host: Host, unit: str) -> str:
    """The main process of a unit; 0 if it does not run."""
    return host.run(["systemctl", "show", "--property=MainPID", "--value", unit]).stdout.strip()


def ports(host: Host) -> list[str]:
    """The published ports of the endpoint web."""
    return list(json.loads(host.run(["bridgeport", "ports", "--json"]).stdout)["web"])


def wait_for(client: Host, text: str) -> None:
    """Wait until the client gets an answer with this text from port 80."""
    for _attempt in range(50):
        if text in welcome(client):
            return
        time.sleep(0.1)
    assert text in welcome(client)


def test_services_in_endpoints(lab: Lab, host: Machine, variables: str) -> None:
    client = lab.hosts["client"]
    predicted = run(lab, "-e", variables, "--check", "bridgeport.net.site")
    assert predicted["failed"] == 0
    run(lab, "-e", variables, "bridgeport.net.site")
    wait_for(client, "Welcome to nginx!")
    assert run(lab, "-e", variables, "bridgeport.net.site")["changed"] == 0

    # The services are where they belong, find each other by name, and are not on the host.
    assert "172.17.0.2" in host.run(["ip", "-br", "addr"], netns="web").stdout
    inside = ["nsenter", "-t", main_pid(host, "nginx"), "-n", "-m", "--"]
    assert "172.17.0.3" in host.run([*inside, "getent", "hosts", "cache"]).stdout
    assert "172.17.0.2" in host.run([*inside, "getent", "hosts", "www"]).stdout
    assert ":80 " not in host.run(["ss", "-Hltn"]).stdout

    # Publishing another port does not touch them.
    pid = main_pid(host, "nginx")
    extra = json.dumps({"publish_ports": [{"endpoint": "web", "ports": ["80", "80:80", "8080:80"]}]})
    assert run(lab, "-e", variables, "-e", extra, "bridgeport.net.site")["changed"] == 1
    assert main_pid(host, "nginx") == pid
    assert "Welcome" in client.run(["curl", "-s", "http://192.168.52.203:8080/"]).stdout

    # Restarted and killed, they come back into the same namespace.
    host.run(["systemctl", "restart", "nginx"])
    wait_for(client, "Welcome to nginx!")
    host.run(["kill", "-9", main_pid(host, "redis-server")])
    for _attempt in range(50):
        again = main_pid(host, "redis-server")
        if again != "0":
            break
        time.sleep(0.1)
    assert (
        host.run(["readlink", f"/proc/{again}/ns/net"]).stdout
        == host.run(["stat", "-L", "-c", "net:[%i]", "/run/netns/cache"]).stdout
    )


def test_a_service_moves_off_the_host_with_its_port(lab: Lab, host: Machine, variables: str) -> None:
    """It holds the very port that is to be published, until it has moved: one play does both."""
    client = lab.hosts["client"]
    host.run(["systemctl", "start", "nginx"])
    assert "Welcome" in welcome(client)
    run(lab, "-e", variables, "bridgeport.net.site")
    wait_for(client, "Welcome to nginx!")
    assert ":80 " not in host.run(["ss", "-Hltn"]).stdout
    assert run(lab, "-e", variables, "bridgeport.net.site")["changed"] == 0


def test_reboot_without_ansible(lab: Lab, host: Machine, variables: str) -> None:
    client = lab.hosts["client"]
    run(lab, "-e", variables, "bridgeport.net.site")
    host.run(["systemctl", "enable", "nginx", "redis-server"])
    before = ports(host)
    host.reboot()
    wait_for(client, "Welcome to nginx!")
    assert ports(host) == before
    assert host.run(["bridgeport", "status"]).stdout.endswith("The host holds what was asked for.\n")
    assert "172.17.0.2" in host.run(["ip", "-br", "addr"], netns="web").stdout
    assert run(lab, "-e", variables, "bridgeport.net.site")["changed"] == 0


def test_rules_come_back_after_the_hosts_firewall(lab: Lab, host: Machine, variables: str) -> None:
    """/etc/nftables.conf of Debian begins with flush ruleset."""
    client = lab.hosts["client"]
    host.run(["systemctl", "enable", "--now", "nftables"])
    run(lab, "-e", variables, "bridgeport.net.site")
    pid = main_pid(host, "nginx")
    for verb in ("restart", "reload", "restart"):
        host.run(["nft", "flush", "ruleset"])
        assert "Welcome" not in welcome(client)
        host.run(["systemctl", verb, "nftables"])
        wait_for(client, "Welcome to nginx!")
        assert host.run(["bridgeport", "status"]).returncode == 0
    assert main_pid(host, "nginx") == pid


def test_boot_with_a_corrupt_record(lab: Lab, host: Machine, variables: str) -> None:
    run(lab, "-e", variables, "bridgeport.net.site")
    host.run(["systemctl", "enable", "nginx", "redis-server"])
    host.write("/var/lib/bridgeport/topology.json", "{")
    host.reboot()
    assert host.run(["systemctl", "is-system-running"], check=False).stdout.strip() == "degraded"
    assert host.run(["systemctl", "is-active", "nginx"], check=False).stdout.strip() != "active"
    assert "Dependency failed" in host.run(["journalctl", "-b", "-u", "nginx"]).stdout
    status = host.run(["bridgeport", "status"], check=False)
    assert status.returncode == 2
    assert "Cannot read the record /var/lib/bridgeport/topology.json" in status.stderr
    # The remedy that it names: the playbook, from an empty record.
    host.run(["rm", "/var/lib/bridgeport/topology.json"])
    run(lab, "-e", variables, "bridgeport.net.site")
    host.run(["systemctl", "start", "bridgeport", "nginx"])
    wait_for(lab.hosts["client"], "Welcome to nginx!")


def test_removing_an_endpoint_stops_what_lives_in_it(lab: Lab, host: Machine, variables: str) -> None:
    run(lab, "-e", variables, "bridgeport.net.site")
    assert main_pid(host, "redis-server") != "0"
    fewer = json.dumps({"service_endpoints": [{"name": "web", "network": "docker0", "unit": "nginx.service"}]})
    run(lab, "-e", variables, "-e", fewer, "-e", '{"service_prune": true}', "bridgeport.net.site")
    assert main_pid(host, "redis-server") == "0"
    assert main_pid(host, "nginx") != "0"
    assert host.run(["ls", "/run/netns"]).stdout.split() == ["web"]
    run(lab, "bridgeport.net.teardown")
    assert main_pid(host, "nginx") == "0"
    assert host.run(["ls", "/run/netns"]).stdout == ""


@pytest.mark.parametrize(
    ("prepare", "unit", "words"),
    [
        ("true", "no-such.service", ["no-such.service", "systemd knows no such unit"]),
        ("true", "nginx", ["unit nginx inside", "not the name of a service"]),
        ("systemctl set-property --runtime nginx.service CPUWeight=100", "nginx.service", []),
        (
            "mkdir -p /etc/systemd/system/nginx.service.d && printf '[Service]\\nPrivateNetwork=yes\\n' "
            "> /etc/systemd/system/nginx.service.d/own.conf && systemctl daemon-reload",
            "nginx.service",
            ["nginx.service", "PrivateNetwork"],
        ),
        (
            "mkdir -p /etc/systemd/system/nginx.service.d && printf '[Service]\\nNetworkNamespacePath=/run/netns/x\\n' "
            "> /etc/systemd/system/nginx.service.d/own.conf && systemctl daemon-reload",
            "nginx.service",
            ["nginx.service", "/run/netns/x already"],
        ),
    ],
    ids=["unknown", "no suffix", "fine", "private network", "elsewhere"],
)
def test_units_that_cannot_be_moved(lab: Lab, host: Machine, prepare: str, unit: str, words: list[str]) -> None:
    host.run(["sh", "-c", prepare])
    entry = {"name": "web", "network": "docker0", "unit": unit}
    asked = {"bridge_networks": [{"name": "docker0", "subnets": ["172.17.0.0/16"]}], "service_endpoints": [entry]}
    done = playbook(lab, "-e", json.dumps(asked), "bridgeport.net.site")
    if not words:
        assert done.returncode == 0, done.stdout
        return
    assert done.returncode != 0
    for word in words:
        assert word in " ".join(done.stdout.split()), done.stdout
    assert host.run(["sh", "-c", "ls /run/netns 2>/dev/null || true"]).stdout == ""
