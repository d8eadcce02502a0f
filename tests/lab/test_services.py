# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services on a machine with systemd: units that the role writes, where they run, and what never disturbs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hostlab import Lab
from hostlab.machine import Machine
from support import machine_of, main_pid, module, page, playbook, recap, site, wait_for_page

NETWORK = {"bridge_networks": [{"name": "docker0", "subnets": ["172.17.0.0/16"]}]}
WEB = {"name": "web", "network": "docker0", "unit": "nginx.service"}
# A program that tells its environment, its user and the peer's address, on the port of its first argument.
TELL = """
import http.server, os, sys
class Tell(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = "%s %s %s %s" % (os.environ.get("GREETING"), os.getuid(), self.client_address[0], os.getcwd())
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())
http.server.HTTPServer(("0.0.0.0", int(sys.argv[1])), Tell).serve_forever()
"""
# Requests in one connection until a file appears, and one more. A new connection would have another port.
REQUESTS = """
import http.client, os, sys, time
connection = http.client.HTTPConnection("192.168.52.203", 80, timeout=60)
connection.connect()
port = connection.sock.getsockname()
for number in range(1000):
    last = os.path.exists(sys.argv[1])
    connection.request("GET", "/", headers={"Connection": "keep-alive"})
    answer = connection.getresponse()
    answer.read()
    assert connection.sock.getsockname() == port
    print("last" if last else number, answer.status, flush=True)
    if last:
        break
    time.sleep(0.2)
"""


@pytest.fixture
def host(booted: Lab) -> Machine:
    """The machine."""
    machine = machine_of(booted)
    machine.write("/usr/local/lib/tell.py", TELL)
    return machine


def arguments(services: list[dict[str, Any]], ports: list[str], **more: Any) -> list[str]:
    """What ansible-playbook is to be called with."""
    publishes = [{"endpoint": services[0]["name"], "ports": ports}] if ports else []
    return ["-e", json.dumps({**NETWORK, "service_endpoints": services, "publish_ports": publishes, **more})]


def tell(name: str, network: str, port: int, **more: Any) -> dict[str, Any]:
    """An entry whose unit the role writes."""
    return {"name": name, "network": network, "exec": f"/usr/bin/python3 /usr/local/lib/tell.py {port}", **more}


def namespace(host: Machine, unit: str) -> str:
    """The network namespace of a unit's main process."""
    return host.run(["readlink", f"/proc/{main_pid(host, unit)}/ns/net"]).stdout.strip()


def named(host: Machine, name: str) -> str:
    """The network namespace of an endpoint."""
    return host.run(["stat", "-L", "-c", "net:[%i]", f"/run/netns/{name}"]).stdout.strip()


def test_a_unit_that_the_role_writes(booted: Lab, host: Machine) -> None:
    client = booted.hosts["client"]
    service = tell(
        "app",
        "docker0",
        5000,
        user="www-data",
        environment={"GREETING": 'say "100%" \\o/'},
        working_directory="/tmp",
        service_options={"MemoryMax": "256M"},
    )
    asked = arguments([service], ["80:5000"])
    assert site(booted, *asked, "--check", "bridgeport.net.site")["failed"] == 0
    assert host.run(["systemctl", "status", "app"], check=False).returncode == 4
    site(booted, *asked, "bridgeport.net.site")
    wait_for_page(client, 'say "100%" \\o/ 33 192.168.52.202 /tmp')
    assert site(booted, *asked, "bridgeport.net.site")["changed"] == 0
    assert host.run(["systemctl", "show", "-p", "MemoryMax", "--value", "app"]).stdout.strip() == str(256 << 20)

    # It is enabled, and so there after a reboot; stopped by hand, it runs again after the next run.
    host.reboot()
    wait_for_page(client, "192.168.52.202")
    host.run(["systemctl", "stop", "app"])
    stopped = playbook(booted, *asked, "bridgeport.net.site")
    assert recap(stopped.stdout)["changed"] == 1, stopped.stdout
    wait_for_page(client, "192.168.52.202")

    # Changed, it is restarted; not listed, it is gone with its endpoint.
    service["environment"] = {"GREETING": "again"}
    before = main_pid(host, "app")
    assert site(booted, *arguments([service], ["80:5000"]), "bridgeport.net.site")["changed"] == 1
    assert main_pid(host, "app") != before
    wait_for_page(client, "again 33")
    site(booted, *arguments([WEB], ["8080:80"], service_prune=True), "bridgeport.net.site")
    assert host.run(["systemctl", "status", "app"], check=False).returncode == 4
    assert host.run(["sh", "-c", "ls -d /etc/systemd/system/app*"], check=False).stdout == ""


def test_a_run_that_is_killed_before_it_restarts_a_unit(booted: Lab, host: Machine) -> None:
    unit = {"unit": "app.service", "network": "host", "exec": "/usr/bin/sleep 1000"}
    host.run(["mkdir", "-p", "/usr/local/sbin"])
    assert module(booted, "service_unit", units=[unit])["changed"]
    for step in ("daemon-reload", "restart"):
        before, unit["exec"] = main_pid(host, "app"), f"/usr/bin/sleep 1{len(step)}"
        # In place of the step, the run is killed.
        shim = f'#!/bin/sh\ncase "$*" in *{step}*) kill -9 $PPID;; *) exec /usr/bin/systemctl "$@";; esac\n'
        host.write("/usr/local/sbin/systemctl", shim)
        host.run(["chmod", "755", "/usr/local/sbin/systemctl"])
        assert module(booted, "service_unit", units=[unit])["failed"]
        host.run(["rm", "/usr/local/sbin/systemctl"])
        assert unit["exec"] in host.read("/etc/systemd/system/app.service")
        assert main_pid(host, "app") == before
        for check in (True, False):
            assert module(booted, "service_unit", check, units=[unit])["actions"] == ["Restart app.service."]
        assert main_pid(host, "app") != before
        assert unit["exec"] in host.run(["ps", "-o", "args=", "-p", main_pid(host, "app")]).stdout
        assert not module(booted, "service_unit", units=[unit])["changed"]


def test_where_services_run(booted: Lab, host: Machine) -> None:
    """In an endpoint of their own, in that of another, in the host's network, in none; and from one to the other."""
    client = booted.hosts["client"]
    services = [
        WEB,
        tell("side", "endpoint:web", 5000),
        tell("open", "host", 7000),
        tell("alone", "none", 7001),
    ]
    asked = arguments(services, ["80:80", "5000:5000"])
    site(booted, *asked, "bridgeport.net.site")
    wait_for_page(client, "192.168.52.202", 5000)
    wait_for_page(client, "192.168.52.202", 7000)
    assert namespace(host, "side") == namespace(host, "nginx") == named(host, "web")
    assert namespace(host, "open") == host.run(["readlink", "/proc/1/ns/net"]).stdout.strip()
    places = {namespace(host, unit) for unit in ("side", "open", "alone")}
    assert len(places) == 3
    links = host.run(["nsenter", "-t", main_pid(host, "alone"), "-n", "ip", "-o", "link"]).stdout
    assert links.count("\n") == 1 and "lo:" in links
    assert site(booted, *asked, "bridgeport.net.site")["changed"] == 0

    # All move: what had no network gets one, what had an endpoint goes back to the host.
    services[1]["network"], services[2]["network"], services[3]["network"] = "host", "none", "endpoint:web"
    moved = arguments(services, ["80:80"])
    site(booted, *moved, "bridgeport.net.site")
    wait_for_page(client, "192.168.52.202", 5000)
    assert namespace(host, "alone") == named(host, "web")
    assert namespace(host, "side") == host.run(["readlink", "/proc/1/ns/net"]).stdout.strip()
    assert page(client, 7000) == ""
    assert site(booted, *moved, "bridgeport.net.site")["changed"] == 0

    # Removed, nothing of ours is left, and the distribution's own unit is as it was.
    site(booted, "bridgeport.net.teardown")
    assert (
        host.run(["sh", "-c", "grep -rl 'bridgeport.net.service_unit' /etc/systemd /etc/netns"], check=False).stdout
        == ""
    )
    assert host.run(["systemctl", "show", "-p", "DropInPaths", "--value", "nginx"]).stdout.strip() == ""
    host.run(["systemctl", "start", "nginx"])
    wait_for_page(client, "Welcome to nginx!")


def test_an_open_connection_outlives_every_publish(booted: Lab, host: Machine, tmp_path: Path) -> None:
    client = booted.hosts["client"]
    site(booted, *arguments([WEB], ["80:80"]), "bridgeport.net.site")
    wait_for_page(client, "Welcome to nginx!")
    pid = main_pid(host, "nginx")
    flag = tmp_path / "enough"
    connection = client.start(["python3", "-c", REQUESTS, str(flag)], ready="0 200")
    for ports in (["80:80", "8080:80"], ["80:80", "81-90:81-90"], ["80:80"]):
        done = playbook(booted, *arguments([WEB], ports, publish_prune=True), "bridgeport.net.site")
        assert recap(done.stdout)["changed"] == 1, done.stdout
    assert main_pid(host, "nginx") == pid
    flag.touch()
    connection.wait_for("last 200", 10)


def test_a_namespace_deleted_by_hand(booted: Lab, host: Machine) -> None:
    """Named by the status, mended by the next run, which takes the services along."""
    client = booted.hosts["client"]
    asked = arguments([WEB, {"name": "cache", "network": "docker0", "unit": "redis-server.service"}], ["80:80"])
    site(booted, *asked, "bridgeport.net.site")
    redis = main_pid(host, "redis-server")
    host.run(["ip", "netns", "delete", "web"])
    status = host.run(["bridgeport", "status"], check=False)
    assert status.returncode == 1 and "web" in status.stdout and "cache" not in status.stdout
    site(booted, *asked, "bridgeport.net.site")
    wait_for_page(client, "Welcome to nginx!")
    assert namespace(host, "nginx") == named(host, "web")
    assert host.run(["bridgeport", "status"]).returncode == 0
    assert site(booted, *asked, "bridgeport.net.site")["changed"] == 0
    assert main_pid(host, "redis-server") == redis


def overridden(host: Machine, line: str) -> None:
    """Give Debian's nginx a line of its administrator's own."""
    host.run(["mkdir", "-p", "/etc/systemd/system/nginx.service.d"])
    host.write("/etc/systemd/system/nginx.service.d/own.conf", f"[Service]\n{line}\n")
    host.run(["systemctl", "daemon-reload"])


def test_units_that_cannot_be_placed(booted: Lab, host: Machine) -> None:
    """Each is refused in one sentence, in check mode too, and nothing is changed."""

    def refused(units: list[dict[str, Any]], *words: str) -> None:
        before = host.run(["find", "/etc/systemd/system", "-printf", "%p %T@\n"]).stdout
        for check in (True, False):
            result = module(booted, "service_unit", check, units=units)
            assert result.get("failed") and result["msg"].startswith("Cannot ") and "\n" not in result["msg"], result
            assert [word for word in words if word not in result["msg"]] == [], result["msg"]
        assert host.run(["find", "/etc/systemd/system", "-printf", "%p %T@\n"]).stdout == before

    for name in ("web", "other"):
        host.run(["ip", "netns", "add", name])
    nginx = {"unit": "nginx.service", "network": "endpoint:web"}
    refused([{**nginx, "unit": "no-such.service"}], "no-such.service in the endpoint web", "no such unit")
    refused([{**nginx, "exec": "/bin/true"}], "/lib/systemd/system/nginx.service", "which is not ours")
    host.run(["ln", "-s", "/lib/systemd/system/redis-server.service", "/etc/systemd/system/redis.service"])
    host.run(["systemctl", "daemon-reload"])
    two = [{**nginx, "unit": unit} for unit in ("redis-server.service", "redis.service")]
    refused(two, "redis.service", "the same as redis-server.service")
    host.run(["systemctl", "mask", "--quiet", "redis-server.service"])
    refused(two[:1], "masked")
    overridden(host, "PrivateNetwork=yes")
    refused([nginx], "PrivateNetwork")
    overridden(host, "NetworkNamespacePath=/run/netns/x")
    refused([nginx], "/run/netns/x already")
    overridden(host, "CPUWeight=100")
    old = '#!/bin/sh\ncase "$*" in *=Version*) echo Version=241-7;; *) exec /usr/bin/systemctl "$@";; esac\n'
    host.run(["mkdir", "-p", "/usr/local/sbin"])
    host.write("/usr/local/sbin/systemctl", old)
    host.run(["chmod", "755", "/usr/local/sbin/systemctl"])
    refused([nginx], "nginx.service in the endpoint web", "systemd is of version 241-7", "242 or newer")
    host.run(["rm", "/usr/local/sbin/systemctl"])
    assert module(booted, "service_unit", True, units=[{**nginx, "network": "endpoint:nowhere"}])["changed"]
    gone = module(booted, "service_unit", False, units=[{**nginx, "network": "endpoint:nowhere"}])
    assert "there is no such endpoint" in gone["msg"]
    assert module(booted, "service_unit", False, units=[nginx], bound=False)["changed"]
    # Where our own drop-in has put it, it may leave again.
    assert module(booted, "service_unit", False, units=[{**nginx, "network": "endpoint:other"}], bound=False)["changed"]
    assert namespace(host, "nginx") == named(host, "other")


def test_a_unit_that_cannot_be_placed_fails_the_play_before_its_endpoint_is_made(booted: Lab, host: Machine) -> None:
    done = playbook(booted, *arguments([{**WEB, "unit": "no-such.service"}], []), "bridgeport.net.site")
    assert done.returncode != 0 and "systemd knows no such unit" in " ".join(done.stdout.split())
    assert host.run(["sh", "-c", "ls /run/netns 2>/dev/null || true"]).stdout == ""
