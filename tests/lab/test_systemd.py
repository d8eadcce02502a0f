# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The roles on a machine that boots: Debian's own services in endpoints, restarts, reboots, other firewalls' reloads."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from hostlab import Host, Lab
from hostlab.machine import Machine
from support import machine_of, main_pid, page, playbook, site, wait_for_page

VARIABLES = """
bridge_networks: [{name: docker0, subnets: [172.17.0.0/16]}]
service_endpoints:
  - {name: web, network: docker0, aliases: [www], unit: nginx.service}
  - {name: cache, network: docker0, unit: redis-server.service}
publish_ports:
  - {endpoint: web, ports: ["80", "80:80"]}
"""


@pytest.fixture
def lab(booted: Lab) -> Lab:
    """A client, and a machine that has just been installed."""
    return booted


@pytest.fixture
def host(lab: Lab) -> Machine:
    """The machine."""
    return machine_of(lab)


@pytest.fixture
def variables(tmp_path: Path) -> str:
    """The operator's variables, as an argument of ansible-playbook."""
    path = tmp_path / "variables.yml"
    path.write_text(VARIABLES, encoding="utf-8")
    return f"@{path}"


def ports(host: Host) -> list[str]:
    """The published ports of the endpoint web."""
    return list(json.loads(host.run(["bridgeport", "ports", "--json"]).stdout)["web"])


def test_services_in_endpoints(lab: Lab, host: Machine, variables: str) -> None:
    client = lab.hosts["client"]
    predicted = site(lab, "-e", variables, "--check", "bridgeport.net.site")
    assert predicted["failed"] == 0
    site(lab, "-e", variables, "bridgeport.net.site")
    wait_for_page(client, "Welcome to nginx!")
    assert site(lab, "-e", variables, "bridgeport.net.site")["changed"] == 0

    # The services are where they belong, find each other by name, and are not on the host.
    assert "172.17.0.2" in host.run(["ip", "-br", "addr"], netns="web").stdout
    inside = ["nsenter", "-t", main_pid(host, "nginx"), "-n", "-m", "--"]
    assert "172.17.0.3" in host.run([*inside, "getent", "hosts", "cache"]).stdout
    assert "172.17.0.2" in host.run([*inside, "getent", "hosts", "www"]).stdout
    assert ":80 " not in host.run(["ss", "-Hltn"]).stdout

    # Publishing another port does not touch them.
    pid = main_pid(host, "nginx")
    extra = json.dumps({"publish_ports": [{"endpoint": "web", "ports": ["80", "80:80", "8080:80"]}]})
    assert site(lab, "-e", variables, "-e", extra, "bridgeport.net.site")["changed"] == 1
    assert main_pid(host, "nginx") == pid
    assert "Welcome" in client.run(["curl", "-s", "http://192.168.52.203:8080/"]).stdout

    # Restarted and killed, they come back into the same namespace.
    host.run(["systemctl", "restart", "nginx"])
    wait_for_page(client, "Welcome to nginx!")
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
    assert "172.17.0.2/16" in host.run(["ip", "-4", "-o", "addr"], netns="web").stdout


def test_a_service_moves_off_the_host_with_its_port(lab: Lab, host: Machine, variables: str) -> None:
    """It holds the very port that is to be published, until it has moved: one play does both."""
    client = lab.hosts["client"]
    host.run(["systemctl", "start", "nginx"])
    assert "Welcome" in page(client)
    predicted = playbook(lab, "-e", variables, "--check", "bridgeport.net.site")
    assert predicted.returncode == 0, predicted.stdout + predicted.stderr
    warned = " ".join((predicted.stdout + predicted.stderr).split())
    assert f"Host port 80/tcp is held by process nginx (pid {main_pid(host, 'nginx')}) now. The run itself" in warned
    assert warned.count("is held by") == 1, warned
    done = playbook(lab, "-e", variables, "bridgeport.net.site")
    assert done.returncode == 0 and "is held by" not in done.stdout + done.stderr, done.stdout + done.stderr
    wait_for_page(client, "Welcome to nginx!")
    assert ":80 " not in host.run(["ss", "-Hltn"]).stdout
    assert site(lab, "-e", variables, "bridgeport.net.site")["changed"] == 0


def test_reboot_without_ansible(lab: Lab, host: Machine, variables: str) -> None:
    client = lab.hosts["client"]
    site(lab, "-e", variables, "bridgeport.net.site")
    host.run(["systemctl", "enable", "nginx", "redis-server"])
    before = ports(host)
    assert before[0].endswith(", reserved")
    host.reboot()
    wait_for_page(client, "Welcome to nginx!")
    assert ports(host) == before
    taking = "import socket; s = socket.socket(); s.setsockopt(1, 2, 1); s.bind(('', 80)); s.listen()"
    assert "Address already in use" in host.run(["python3", "-c", taking], check=False).stderr
    assert host.run(["bridgeport", "status"]).stdout.endswith("The host holds what was asked for.\n")
    assert "172.17.0.2" in host.run(["ip", "-br", "addr"], netns="web").stdout
    assert site(lab, "-e", variables, "bridgeport.net.site")["changed"] == 0
    # Who does not want ports kept from other processes has it switched off, and systemd lets go of them.
    loose = ["-e", variables, "-e", '{"host_reserve_ports": false}', "bridgeport.net.site"]
    assert site(lab, *loose)["changed"] == 2
    assert [line.replace(", reserved", "") for line in before] == ports(host)
    assert site(lab, *loose)["changed"] == 0


def test_proxies_are_predicted_and_come_back_with_a_reboot(lab: Lab, host: Machine, variables: str) -> None:
    def listening() -> list[str]:
        return sorted(line.split()[3] for line in host.run(["ss", "-Hltn"]).stdout.splitlines() if "%lo" in line)

    publishes = [{"endpoint": "web", "ports": ["80:80", "81:80"], "loopback": "proxy"}]
    arguments = ["-e", variables, "-e", json.dumps({"publish_ports": publishes}), "bridgeport.net.site"]
    site(lab, "--check", *arguments)
    site(lab, *arguments)
    assert site(lab, *arguments)["changed"] == 0
    host.run(["systemctl", "enable", "nginx", "redis-server"])
    before = listening()
    assert {"127.0.0.1%lo:80", "[::1]%lo:80", "127.0.0.1%lo:81", "[::1]%lo:81"} <= set(before)
    host.reboot()
    assert listening() == before
    assert host.run(["bridgeport", "status"]).stdout.endswith("The host holds what was asked for.\n")
    for address in ("127.0.0.1:80", "[::1]:81"):
        assert "Welcome to nginx!" in host.run(["curl", "-s", "--max-time", "5", f"http://{address}/"]).stdout
    assert host.run(["systemctl", "is-system-running"]).stdout == "running\n"
    site(lab, "bridgeport.net.teardown")
    assert "%lo:8" not in " ".join(listening())
    assert host.run(["systemctl", "list-units", "--all", "--no-legend", "bridgeport-proxy*"]).stdout == ""
    assert host.run(["sh", "-c", "ls /etc/systemd/system/bridgeport-proxy* || true"]).stdout == ""


def test_rules_come_back_after_the_hosts_firewall(lab: Lab, host: Machine, variables: str) -> None:
    """/etc/nftables.conf of Debian begins with flush ruleset."""
    client = lab.hosts["client"]
    host.run(["systemctl", "enable", "--now", "nftables"])
    site(lab, "-e", variables, "bridgeport.net.site")
    pid = main_pid(host, "nginx")
    for verb in ("restart", "reload", "restart"):
        host.run(["nft", "flush", "ruleset"])
        assert "Welcome" not in page(client)
        host.run(["systemctl", verb, "nftables"])
        wait_for_page(client, "Welcome to nginx!")
        assert host.run(["bridgeport", "status"]).returncode == 0
    assert main_pid(host, "nginx") == pid


def test_rules_come_back_after_firewalld(lab: Lab, host: Machine, variables: str) -> None:
    """It drops what it does not know; what it is told for our networks is its own configuration, and goes at the end."""
    client = lab.hosts["client"]
    host.run(["systemctl", "start", "firewalld"])
    assert host.run(["firewall-cmd", "--state"]).stdout == "running\n"
    configured = host.run(["firewall-cmd", "--list-all-zones", "--permanent"]).stdout
    site(lab, "-e", variables, "bridgeport.net.site")
    wait_for_page(client, "Welcome to nginx!")
    assert site(lab, "-e", variables, "bridgeport.net.site")["changed"] == 0
    pid = main_pid(host, "nginx")
    for command in (
        ["systemctl", "restart", "firewalld"],
        ["systemctl", "reload", "firewalld"],
        ["firewall-cmd", "--complete-reload"],
    ):
        host.run(command)
        wait_for_page(client, "Welcome to nginx!")
        assert host.run(["bridgeport", "status"]).returncode == 0
    assert main_pid(host, "nginx") == pid
    site(lab, "bridgeport.net.teardown")
    assert host.run(["firewall-cmd", "--list-all-zones", "--permanent"]).stdout == configured


def test_boot_with_a_corrupt_record(lab: Lab, host: Machine, variables: str) -> None:
    site(lab, "-e", variables, "bridgeport.net.site")
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
    site(lab, "-e", variables, "bridgeport.net.site")
    host.run(["systemctl", "start", "bridgeport", "nginx"])
    wait_for_page(lab.hosts["client"], "Welcome to nginx!")


def test_removing_an_endpoint_stops_what_lives_in_it(lab: Lab, host: Machine, variables: str) -> None:
    site(lab, "-e", variables, "bridgeport.net.site")
    assert main_pid(host, "redis-server") != "0"
    fewer = json.dumps({"service_endpoints": [{"name": "web", "network": "docker0", "unit": "nginx.service"}]})
    site(lab, "-e", variables, "-e", fewer, "-e", '{"service_prune": true}', "bridgeport.net.site")
    assert main_pid(host, "redis-server") == "0"
    assert main_pid(host, "nginx") != "0"
    assert host.run(["ls", "/run/netns"]).stdout.split() == ["web"]
    site(lab, "bridgeport.net.teardown")
    assert main_pid(host, "nginx") == "0"
    assert host.run(["ls", "/run/netns"]).stdout == ""


def installed(host: Host) -> list[str]:
    """What is in systemd's directories and beside them, whoever put it there."""
    return host.run(["find", "/etc/systemd", "/usr/local/sbin", "!", "-type", "d"]).stdout.split()


def test_what_the_roles_install_goes(lab: Lab, host: Machine, variables: str, tmp_path: Path) -> None:
    """By host_boot what restores everything, by the playbook teardown all of it; each predicted, and once."""
    client = lab.hosts["client"]
    before = set(installed(host))
    # Somebody else's file takes whatever there is.
    host.write("/etc/systemd/network/10-theirs.network", "[Match]\nName=bp-*\n[Network]\nLinkLocalAddressing=no\n")
    before.add("/etc/systemd/network/10-theirs.network")
    host.run(["networkctl", "reload"])
    site(lab, "-e", variables, "bridgeport.net.site")
    wait_for_page(client, "Welcome to nginx!")
    assert "unmanaged" in host.run(["networkctl", "list", "--no-legend", "bp-web"]).stdout

    alone = tmp_path / "alone.yml"
    alone.write_text("[{hosts: bridgeport_hosts, roles: [{role: bridgeport.net.host, host_state: absent}]}]")
    there = installed(host)
    for check in (["--check"], []):
        refused = playbook(lab, *check, str(alone))
        said = " ".join(refused.stdout.split())
        assert refused.returncode != 0 and "Run the playbook bridgeport.net.teardown" in said, said
    assert installed(host) == there

    redis = host.run(["systemctl", "show", "-P", "ActiveState", "redis-server"]).stdout
    once = ["-e", variables, "-e", '{"host_boot": false, "host_reserve_ports": false}', "bridgeport.net.site"]
    predicted = site(lab, "--check", *once)
    assert site(lab, *once)["changed"] == predicted["changed"] > 0
    assert site(lab, *once)["changed"] == 0
    wait_for_page(client, "Welcome to nginx!")
    assert host.run(["systemctl", "show", "-P", "ActiveState", "redis-server"]).stdout == redis == "active\n"
    assert {path for path in set(installed(host)) - before if "service.d/" not in path} == {
        "/etc/systemd/network/05-bridgeport.network"
    }
    host.run(["python3", "-c", "import socket; socket.socket().bind(('', 80))"])

    site(lab, "-e", variables, "bridgeport.net.site")
    assert ports(host)[0].endswith(", reserved") and set(installed(host)) == set(there)
    assert site(lab, "-e", variables, "bridgeport.net.site")["changed"] == 0

    predicted = site(lab, "--check", "bridgeport.net.teardown")
    assert set(installed(host)) == set(there)
    assert site(lab, "bridgeport.net.teardown")["changed"] == predicted["changed"]
    assert set(installed(host)) == before
    assert host.run(["systemctl", "list-units", "--all", "--no-legend", "bridgeport*"]).stdout == ""
    assert site(lab, "bridgeport.net.teardown")["changed"] == 0
