# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ways in which operators come in: the site playbook, roles in a playbook of theirs, an installed tarball."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostlab import Lab, echo_command
from support import BIN, CLIENT, COLLECTIONS, HOST, ROOT, ansible_environment, choose_backend, module, playbook, recap

VARIABLES = """
host_manage_packages: false
bridge_networks:
  - name: docker0
    subnets: [172.17.0.0/16]
  - name: quiet
    subnets: [10.77.0.0/24]
    mode: internal
service_endpoints:
  - {name: web, network: docker0, addresses: [172.17.0.2], expose: [5000]}
  - {name: db, network: quiet}
publish_ports:
  - {endpoint: web, ports: ["80:5000"]}
"""


EXISTING = """
- name: A playbook that has long been there
  hosts: web
  gather_facts: false
  module_defaults:
    group/bridgeport.net.all:
      state: present
  roles:
    - role: bridgeport.net.bridge
      vars:
        host_manage_packages: false
        bridge_networks: [{name: front, subnets: [10.5.0.0/24]}]
  tasks:
    - name: Something of its own
      ansible.builtin.copy:
        content: "theirs"
        dest: /etc/theirs
        mode: "0644"
      notify: Theirs
    - name: Join a service
      ansible.builtin.include_role:
        name: bridgeport.net.service
      vars:
        host_manage_packages: false
        service_endpoints: [{name: app, network: front, expose: [8080]}]
    - name: Publish it
      ansible.builtin.import_role:
        name: bridgeport.net.publish
      vars:
        host_manage_packages: false
        publish_ports: [{endpoint: app, ports: ["8080"], publish_all: true}]
    - name: Ask for a task inside the endpoint
      ansible.builtin.command: ip -br address show dev eth0
      changed_when: false
      become: true
      become_method: bridgeport.net.netns
      vars:
        ansible_netns_endpoint: app
      register: inside
    - name: Show
      ansible.builtin.debug:
        msg: "{{ inside.stdout }} {{ '127.0.0.1:80:8080/udp' | bridgeport.net.port_spec }}"
  handlers:
    - name: Theirs
      ansible.builtin.command: "true"
"""

# A network and an application at a time, and both published at the end.
PIECES = """
- name: Bring each application in by itself
  hosts: bridgeport_hosts
  gather_facts: false
  vars:
    host_manage_packages: false
  tasks:
    - name: Set up its network
      ansible.builtin.include_role:
        name: bridgeport.net.bridge
      vars:
        bridge_networks: [{name: "net{{ item }}", subnets: ["10.{{ item }}.0.0/24"]}]
      loop: [1, 2]
    - name: Make its endpoint
      ansible.builtin.include_role:
        name: bridgeport.net.service
      vars:
        service_endpoints: [{name: "app{{ item }}", network: "net{{ item }}"}]
      loop: [1, 2]
    - name: Publish both
      ansible.builtin.include_role:
        name: bridgeport.net.publish
      vars:
        publish_ports: [{endpoint: app1, ports: ["81:80"]}, {endpoint: app2, ports: ["82:80"]}]
    - name: Publish one at another port
      ansible.builtin.include_role:
        name: bridgeport.net.publish
      vars:
        publish_ports: [{endpoint: app1, ports: ["83:80"]}]
    - name: Publish the other at the port that is free now
      ansible.builtin.include_role:
        name: bridgeport.net.publish
      vars:
        publish_ports: [{endpoint: app2, ports: ["81:80"]}]
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Lab]:
    """A client and an untouched host."""
    with Lab(tmp_path / "lab") as lab:
        lab.add_host("client", CLIENT)
        lab.add_host("host", HOST)
        yield lab


@pytest.fixture
def variables(tmp_path: Path) -> str:
    """The operator's variables, as an argument of ansible-playbook."""
    path = tmp_path / "variables.yml"
    path.write_text(VARIABLES, encoding="utf-8")
    return f"@{path}"


def succeeded(done: subprocess.CompletedProcess[str]) -> str:
    """The output of a playbook that ran well and warned of nothing."""
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done.stdout


def test_site_verify_teardown(site: Lab, variables: str) -> None:
    host, client = site.hosts["host"], site.hosts["client"]
    untouched = host.snapshot()
    # Check mode on a fresh host: each task is predicted although the one before it did nothing.
    predicted = succeeded(playbook(site, "-e", variables, "--check", "--diff", "bridgeport.net.site"))
    assert host.snapshot() == untouched
    first = succeeded(playbook(site, "-e", variables, "bridgeport.net.site"))
    assert recap(first)["changed"] == recap(predicted)["changed"] == 4

    host.start(echo_command("web", ["0.0.0.0:5000"], []), netns="web", ready="ready")
    assert client.probe("tcp", "192.168.52.203", 80).source == "192.168.52.202"
    assert "default" not in host.run(["ip", "route"], netns="db").stdout

    for check in ([], ["--check"]):
        again = succeeded(playbook(site, "-e", variables, "bridgeport.net.site", *check))
        assert recap(again)["changed"] == 0
    assert "5000/tcp -> 0.0.0.0:80" in succeeded(playbook(site, "bridgeport.net.verify"))

    host.run(["cp", "/var/lib/bridgeport/topology.json", "/var/lib/bridgeport/pending.json"])
    interrupted = playbook(site, "bridgeport.net.verify")
    assert interrupted.returncode != 0
    assert '"The last run was interrupted. Run the site playbook to mend it."' in " ".join(interrupted.stdout.split())
    host.run(["nft", "flush", "ruleset"])
    drifted = playbook(site, "bridgeport.net.verify")
    assert drifted.returncode != 0
    assert "Restore the missing table ip bridgeport." in drifted.stdout
    succeeded(playbook(site, "-e", variables, "bridgeport.net.site"))
    succeeded(playbook(site, "bridgeport.net.verify"))

    removal = recap(succeeded(playbook(site, "bridgeport.net.teardown", "--check")))
    assert recap(succeeded(playbook(site, "bridgeport.net.teardown")))["changed"] == removal["changed"]
    left = host.snapshot()
    # Forwarding stays on: other software of the host may have come to need it.
    assert left["sysctls"].pop("net/ipv4/ip_forward") == "1"
    untouched["sysctls"].pop("net/ipv4/ip_forward")
    for state in (left, untouched):
        state["sysctls"] = {key: value for key, value in state["sysctls"].items() if not key.endswith("/forwarding")}
    assert left == untouched
    assert recap(succeeded(playbook(site, "bridgeport.net.teardown")))["changed"] == 0


def test_roles_in_a_playbook_that_already_exists(site: Lab, tmp_path: Path) -> None:
    """Static and dynamic inclusion, variables at the role, handlers and facts of the foreign play untouched."""
    path = tmp_path / "existing.yml"
    path.write_text(EXISTING, encoding="utf-8")
    output = succeeded(playbook(site, str(path), hosts={"web": ["host"]}))
    assert "10.5.0.2/24" in output
    assert "127.0.0.1" in output
    host = site.hosts["host"]
    assert host.read("/etc/theirs") == "theirs"
    assert 'comment "app" : 10.5.0.2 . 8080' in host.run(["nft", "list", "ruleset"]).stdout
    assert recap(succeeded(playbook(site, str(path), hosts={"web": ["host"]})))["changed"] == 0


PRUNED = """
- name: What is not listed goes
  hosts: web
  gather_facts: false
  roles:
    - role: bridgeport.net.bridge
      vars:
        host_manage_packages: false
        bridge_prune: true
        bridge_networks: [{name: front, subnets: [10.5.0.0/24]}]
"""


def test_bridge_prune_is_for_masquerades_too(site: Lab, tmp_path: Path) -> None:
    path, hosts = tmp_path / "pruned.yml", {"web": ["host"]}
    path.write_text(PRUNED, encoding="utf-8")
    succeeded(playbook(site, str(path), hosts=hosts))
    host = site.hosts["host"]
    for masquerades, rest in ((None, ["front"]), ([], [])):
        assert module(site, "masquerade", source="10.9.0.0/24")["changed"]
        more = [] if masquerades is None else ["-e", '{"bridge_masquerades": []}']
        for check in (["--check"], []):
            assert recap(succeeded(playbook(site, str(path), *more, *check, hosts=hosts)))["changed"] == 1
        record = json.loads(host.read("/var/lib/bridgeport/topology.json"))
        assert [item["network"] for item in record["topology"]["masquerades"]] == rest
        assert recap(succeeded(playbook(site, str(path), *more, hosts=hosts)))["changed"] == 0


def test_booleans_given_as_text(site: Lab, variables: str) -> None:
    """As -e NAME=VALUE and an inventory in INI give them: 'false' and 'no' are no."""
    host = site.hosts["host"]
    text = "host_manage_packages=no host_boot=false host_reserve_ports=no bridge_prune={0} service_prune={0}"
    asked = ["-e", variables, "-e", text.format("false"), "bridgeport.net.site"]
    assert recap(succeeded(playbook(site, *asked)))["changed"] == 4
    assert module(site, "masquerade", source="10.9.0.0/24")["changed"]
    assert module(site, "veth_endpoint", network="docker0", endpoints=[{"name": "more"}])["changed"]
    for check in (["--check"], []):
        assert recap(succeeded(playbook(site, *asked, *check)))["changed"] == 0
    assert "more" in host.run(["ls", "/run/netns"]).stdout.split()
    pruned = ["-e", variables, "-e", text.format("yes"), "bridgeport.net.site"]
    assert recap(succeeded(playbook(site, *pruned)))["changed"] == 2
    assert "more" not in host.run(["ls", "/run/netns"]).stdout.split()


OMITTED = """
host_manage_packages: false
bridge_networks:
  - {name: front, subnets: [10.5.0.0/24], mode: "{{ nothing_of_the_kind | default(omit) }}"}
  - {name: quiet, subnets: [10.7.0.0/24], mode: internal}
"""


def test_a_network_whose_mode_is_omitted_is_masqueraded(site: Lab, tmp_path: Path) -> None:
    """It is of mode nat. Null is refused as Ansible refuses it for every choice, and takes no masquerade away."""

    def masqueraded() -> list[str]:
        record = json.loads(site.hosts["host"].read("/var/lib/bridgeport/topology.json"))
        return [item["network"] for item in record["topology"]["masquerades"]]

    path = tmp_path / "omitted.yml"
    path.write_text(OMITTED, encoding="utf-8")
    asked = ["-e", f"@{path}", "bridgeport.net.site"]
    for changed in (2, 0):
        assert recap(succeeded(playbook(site, *asked)))["changed"] == changed
        assert masqueraded() == ["front"]
    null = {"bridge_networks": [{"name": "front", "subnets": ["10.5.0.0/24"], "mode": None}]}
    refused = playbook(site, *asked, "-e", json.dumps(null))
    assert refused.returncode != 0 and "value of mode must be one of: nat" in " ".join(refused.stdout.split())
    assert masqueraded() == ["front"]


def test_check_mode_of_roles_that_are_included_more_than_once(site: Lab, tmp_path: Path) -> None:
    """Each starts from what the latest would have done, on a fresh host and on one that has it all."""
    path = tmp_path / "pieces.yml"
    path.write_text(PIECES, encoding="utf-8")
    host = site.hosts["host"]
    untouched = host.snapshot()
    predicted = recap(succeeded(playbook(site, "--check", str(path))))
    assert host.snapshot() == untouched
    assert recap(succeeded(playbook(site, str(path))))["changed"] == predicted["changed"] == 9
    again = recap(succeeded(playbook(site, "--check", str(path))))
    assert recap(succeeded(playbook(site, str(path))))["changed"] == again["changed"] == 3


def test_from_an_installed_tarball(site: Lab, variables: str, tmp_path: Path) -> None:
    environment = ansible_environment(tmp_path / "installed")
    galaxy = [str(BIN / "ansible-galaxy"), "collection"]
    subprocess.run(
        [*galaxy, "build", "--output-path", str(tmp_path), str(ROOT)], env=environment, check=True, capture_output=True
    )
    tarball = tmp_path / "bridgeport-net-0.1.0.tar.gz"
    listing = subprocess.run(["tar", "tzf", str(tarball)], check=True, capture_output=True, text=True).stdout.split()
    assert "plugins/modules/port_publish.py" in listing
    assert not [name for name in listing if name.startswith((".", "tests/lab", "tests/unit", "molecule"))]
    command = [*galaxy, "install", "--offline", "-p", str(tmp_path / "installed"), str(tarball)]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    inventory = tmp_path / "inventory.yml"
    site.write_inventory(inventory, {"bridgeport_hosts": ["host"]}, {"ansible_python_interpreter": "/usr/bin/python3"})
    done = subprocess.run(
        [str(BIN / "ansible-playbook"), "-i", str(inventory), "-e", variables, "bridgeport.net.site"],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert recap(succeeded(done))["changed"] == 4
    assert "docker0" in site.hosts["host"].run(["ip", "-br", "link"]).stdout


@pytest.mark.parametrize(
    ("library", "backend", "listing", "word"),
    [
        ("none", "nftables", ["nft", "list", "map", "ip", "bridgeport", "published"], " : 172.17.0.2 . "),
        (
            "pyroute2*",
            "iptables-legacy",
            ["iptables-legacy-save", "-t", "nat"],
            "--to-destination 172.17.0.2:",
        ),
    ],
    ids=["without-pyroute2", "without-iptc"],
)
def test_an_interpreter_without_the_library(
    site: Lab, tmp_path: Path, library: str, backend: str, listing: list[str], word: str
) -> None:
    """The module goes on under the system's Python, with more arguments than a pipe holds."""
    # Made of the very Python that has the library: what it links to does not tell.
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    packages = next((tmp_path / "bare" / "lib").glob("python3*/site-packages"))
    for there in Path("/usr/lib/python3/dist-packages").glob(library):
        (packages / there.name).symlink_to(there)
    python = str(tmp_path / "bare" / "bin" / "python")
    found = subprocess.run([python, "-c", "from pyroute2 import IPBatch"], check=False, capture_output=True)
    assert (found.returncode == 0) == (backend != "nftables"), found.stderr
    path = tmp_path / "large.yml"
    path.write_text(
        """
- name: Many arguments
  hosts: web
  gather_facts: false
  tasks:
    - name: Set up the network
      bridgeport.net.bridge_network: {name: docker0, subnets: [172.17.0.0/16], backend: "{{ backend }}"}
    - name: Join
      bridgeport.net.veth_endpoint: {name: web, network: docker0}
    - name: Publish
      bridgeport.net.port_publish:
        endpoint: web
        ports: "{{ range(20000, 30000) | map('regex_replace', '^(.*)$', '\\\\1:\\\\1/tcp') | list }}"
    - name: Install the command
      bridgeport.net.boot_engine: {command: /var/lib/bridgeport-command}
""",
        encoding="utf-8",
    )
    inventory = tmp_path / "inventory.yml"
    variables = {
        "ansible_python_interpreter": python,
        **choose_backend(site.hosts["host"], backend),
    }
    site.write_inventory(inventory, {"web": ["host"]}, variables)
    done = subprocess.run(
        [str(BIN / "ansible-playbook"), "-i", str(inventory), str(path)],
        env=ansible_environment(COLLECTIONS), capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert recap(succeeded(done))["changed"] == 4
    host = site.hosts["host"]
    assert host.run(listing).stdout.count(word) == 10000
    assert host.run(["/var/lib/bridgeport-command", "status"]).returncode == 0


def test_documentation_of_every_module_and_role() -> None:
    environment = ansible_environment(COLLECTIONS)
    modules = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
    assert modules == [
        "boot_engine",
        "bridge_network",
        "masquerade",
        "port_publish",
        "service_unit",
        "topology_info",
        "veth_endpoint",
    ]
    for kind, names in (("module", modules), ("filter", ["port_spec", "service_parts", "without_keys"]), ("become", ["netns"]),
                        ("role", ["bridge", "host", "publish", "service"])):  # fmt: skip
        command = [str(BIN / "ansible-doc"), "-t", kind, *(f"bridgeport.net.{name}" for name in names)]
        done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
        assert "ERROR" not in done.stderr, done.stderr
        for name in names:
            assert f"bridgeport.net.{name}" in done.stdout
