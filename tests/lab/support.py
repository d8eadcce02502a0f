# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the collection's modules and playbooks on lab hosts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hostlab import Host, Lab
from hostlab.image import image
from hostlab.machine import Machine, boot

ROOT = Path(__file__).resolve().parents[2]
COLLECTIONS = ROOT / ".ansible" / "collections"
BIN = Path(sys.executable).parent
# The articles' two machines.
CLIENT = ["192.168.52.202/24", "fd52::202/64"]
HOST = ["192.168.52.203/24", "fd52::203/64"]
# Who may carry the rules, by its full name.
BACKENDS = ["nftables", "iptables-nft", "iptables-legacy"]
RUNNER = Path(__file__).with_name("run_module.py")


@dataclass(frozen=True)
class Interpreter:
    """A Python of the managed host: its name in test ids, its path, and where it finds Ansible and the collection.

    preload: a library that stands in front of the system's, "" for none.
    """

    name: str
    path: str
    python_path: str
    preload: str = ""


def interpreters(scratch: Path) -> list[Interpreter]:
    """Debian's own Python with python3-pyroute2, and this one with the newest pyroute2."""
    import ansible

    # Debian's Python gets Ansible's module_utils from here, but not this environment's newer pyroute2.
    alone = scratch / "ansible-alone"
    alone.mkdir(parents=True, exist_ok=True)
    link = alone / "ansible"
    if not link.is_symlink():
        link.symlink_to(Path(ansible.__file__).parent)
    return [
        Interpreter("debian", "/usr/bin/python3", f"{alone}:{COLLECTIONS}"),
        Interpreter("pypi", sys.executable, str(COLLECTIONS)),
    ]


class Modules:
    """The collection's modules on one host, each run in a process of its own."""

    def __init__(self, host: Host, interpreter: Interpreter) -> None:
        self.host = host
        self.interpreter = interpreter

    def command(self, name: str) -> list[str]:
        """The command line that runs a module."""
        return [*self.python(), str(RUNNER), name]

    def python(self) -> list[str]:
        """The command line that runs this Python."""
        python = self.interpreter
        return ["env", f"PYTHONPATH={python.python_path}", f"LD_PRELOAD={python.preload}", python.path]

    def arguments(self, check: bool, **options: Any) -> str:
        """The module's standard input."""
        return json.dumps({**options, "_ansible_check_mode": check, "_ansible_diff": True})

    def run(self, module: str, check: bool = False, **options: Any) -> dict[str, Any]:
        """Run a module and return its result, a failed one too.

        :raises AssertionError: it printed anything but one JSON object, for example a traceback.
        """
        done = self.host.run(self.command(module), check=False, input=self.arguments(check, **options), timeout=120)
        try:
            result = json.loads(done.stdout)
        except ValueError:
            raise AssertionError(f"{module} printed no result: {done.stdout}{done.stderr}") from None
        assert isinstance(result, dict)
        assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
        return result

    def ok(self, module: str, check: bool = False, **options: Any) -> dict[str, Any]:
        """Run a module that must not fail."""
        result = self.run(module, check, **options)
        assert not result.get("failed"), result
        return result

    def refused(self, module: str, **options: Any) -> str:
        """Run a module that must fail, in check mode and for real, with one message and nothing changed; returns it."""
        before = self.host.snapshot()
        messages = []
        for check in (True, False):
            result = self.run(module, check, **options)
            assert result.get("failed") is True, result
            messages.append(result["msg"])
        assert messages[0] == messages[1]
        assert differences(before, self.host.snapshot()) == []
        message = messages[0]
        assert message.startswith("Cannot ") and message.endswith(".") and "\n" not in message, message
        return str(message)


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What differs in two snapshots of a host, part by part."""
    return [
        f"{part}: {before.get(part)} became {after.get(part)}"
        for part in sorted(before.keys() | after.keys())
        if before.get(part) != after.get(part)
    ]


def transition(modules: Modules, module: str, options: dict[str, Any], kernel: Callable[[Host], None]) -> None:
    """Run a module to a new state and again; `kernel` asserts what the host must hold afterwards."""
    host = modules.host
    start = host.snapshot()
    predicted = modules.ok(module, check=True, **options)
    assert predicted["changed"] is True
    assert differences(start, host.snapshot()) == [], "check mode changed the host"

    done = modules.ok(module, **options)
    assert done["changed"] is True
    assert done["actions"] == predicted["actions"] and done["actions"]
    assert done["diff"] == predicted["diff"] and done["diff"]["before"] != done["diff"]["after"]
    assert {key: done[key] for key in done if key not in ("invocation", "phases")} == {
        key: predicted[key] for key in predicted if key not in ("invocation", "phases", "topology")
    }
    assert "apply" in done["phases"] and "apply" not in predicted["phases"]
    kernel(host)
    reached = host.snapshot()
    assert reached != start, "the run changed nothing"

    for check in (True, False):
        again = modules.ok(module, check=check, **options)
        assert again["changed"] is False and again["actions"] == []
        assert again["diff"] == {"before": {}, "after": {}}
        assert differences(reached, host.snapshot()) == []
    assert modules.ok("topology_info")["drift"] == []


def choose_backend(host: Host, backend: str) -> dict[str, Any]:
    """Make a host's iptables the one that a backend asks for; returns the option that asks for the backend."""
    name, _dash, variant = backend.partition("-")
    if variant:
        for program in ("iptables", "ip6tables"):
            for part in ("", "-save", "-restore"):
                path = f"/usr/sbin/{program}-{variant}{part}"
                host.run(["ln", "-sfn", path, f"/etc/alternatives/{program}{part}"])
    return {"backend": name}


def playbook(
    lab: Lab, *arguments: str, hosts: dict[str, list[str]] | None = None, timeout: float = 300.0, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run ansible-playbook against the lab's hosts, with this checkout as the collection."""
    return _ansible("ansible-playbook", lab, arguments, hosts, timeout, **environment)


def module(lab: Lab, name: str, check: bool = False, **options: Any) -> dict[str, Any]:
    """Run one module of the collection on the managed host by Ansible, and return its result, a failed one too."""
    words = ["-m", f"bridgeport.net.{name}", "-a", json.dumps(options), *(["--check"] if check else [])]
    done = _ansible("ansible", lab, ["bridgeport_hosts", *words], None, ANSIBLE_STDOUT_CALLBACK="minimal")
    text = done.stdout[done.stdout.index("=> {") + 3 : done.stdout.rindex("}") + 1]
    result: dict[str, Any] = json.loads(text)
    return {**result, "failed": done.returncode != 0}


def _ansible(
    program: str,
    lab: Lab,
    arguments: Sequence[str],
    hosts: dict[str, list[str]] | None,
    timeout: float = 300.0,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    inventory = lab.directory / "inventory.yml"
    lab.write_inventory(
        inventory, hosts or {"bridgeport_hosts": ["host"]}, {"ansible_python_interpreter": "/usr/bin/python3"}
    )
    return subprocess.run(
        [str(BIN / program), "-i", str(inventory), *arguments],
        env={**ansible_environment(COLLECTIONS), **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def ansible_environment(collections: Path) -> dict[str, str]:
    """The environment in which Ansible finds the collection and the lab's connection plugin."""
    return {
        **os.environ,
        "ANSIBLE_HOME": str(ROOT / ".ansible"),
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "ANSIBLE_CONNECTION_PLUGINS": str(Path(__file__).parent / "connection_plugins"),
        "ANSIBLE_INJECT_FACT_VARS": "false",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_FORCE_COLOR": "0",
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "LC_ALL": "C.UTF-8",
    }


def recap(output: str, host: str = "host") -> dict[str, int]:
    """The play recap's numbers for one host."""
    line = [line for line in output.splitlines() if line.startswith(host + " ") and "ok=" in line][-1]
    return {key: int(value) for key, value in (word.split("=") for word in line.split() if "=" in word)}


def site(lab: Lab, *arguments: str) -> dict[str, int]:
    """Run a playbook that must succeed; returns the recap."""
    done = playbook(lab, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return recap(done.stdout)


def boot_for_modules(lab: Lab, python: Interpreter) -> Machine:
    """Boot the managed host as a machine with systemd on which that Python finds Ansible and the checkout."""
    visible = [ROOT, Path(sys.prefix).resolve(), Path(python.python_path.partition(":")[0])]
    return boot(lab, "host", HOST, image(ROOT / ".cache" / "images"), visible)


def machine_of(lab: Lab) -> Machine:
    """The managed host of a lab that has a machine with systemd in its place."""
    machine = lab.hosts["host"]
    assert isinstance(machine, Machine)
    return machine


def main_pid(host: Host, unit: str) -> str:
    """The main process of a systemd unit; 0 if it does not run."""
    return host.run(["systemctl", "show", "--property=MainPID", "--value", unit]).stdout.strip()


def page(client: Host, port: int = 80) -> str:
    """What the client gets from a port of the managed host by HTTP; empty if nothing."""
    address = f"http://192.168.52.203:{port}/"
    return client.run(["curl", "-s", "--max-time", "3", address], check=False).stdout


def wait_for_page(client: Host, text: str, port: int = 80) -> None:
    """Wait until the client gets an answer with this text."""
    for _attempt in range(50):
        if text in page(client, port):
            return
        time.sleep(0.1)
    assert text in page(client, port)
