# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible connection plugin: run tasks in a host of the lab."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError, AnsibleFileNotFound
from ansible.module_utils.common.text.converters import to_text
from ansible.plugins.connection.local import Connection as LocalConnection

DOCUMENTATION = """
    name: hostlab
    short_description: run tasks in a host of the lab
    description:
        - Enters the namespaces of one host of the lab (tests/lab) with nsenter and runs tasks there, as root.
    author: bridgeport.net contributors
    version_added: 0.1.0
    extends_documentation_fragment:
        - connection_pipelining
    options:
        remote_addr:
            description: Name of the host, for messages.
            default: inventory_hostname
            vars:
                - name: inventory_hostname
                - name: ansible_host
        hostlab_pid:
            description: The pid of the host's process 1, as seen from outside (C(Host.pid)).
            type: int
            required: true
            vars:
                - name: hostlab_pid
        become_success_timeout:
            description: Number of seconds to wait for become to succeed; read by the plugin this one is built on.
            type: int
            default: 10
            vars:
                - name: ansible_hostlab_become_success_timeout
        become_strip_preamble:
            description: Strip what become itself prints; read by the plugin this one is built on.
            type: bool
            default: true
            vars:
                - name: ansible_hostlab_become_strip_preamble
"""

COPY_SECONDS = 300


def nsenter_argv(pid: int, command: list[str]) -> list[str]:
    """Return hostlab.enter.nsenter_argv for a command, in / as with a real machine."""
    # Ansible loads this file by its path: the package beside it is not importable by itself.
    lab = str(Path(__file__).resolve().parent.parent)
    if lab not in sys.path:
        sys.path.append(lab)
    argv: list[str] = import_module("hostlab.enter").nsenter_argv(pid, command, directory="/")
    return argv


class Connection(LocalConnection):
    """The local connection, with every command put inside the host's namespaces."""

    transport = "hostlab"
    has_pipelining = True

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        """Run a shell command in the host; return status, stdout and stderr."""
        argv = self._argv(["/bin/sh", "-c", to_text(cmd)])
        result: tuple[int, bytes, bytes] = super().exec_command("exec " + shlex.join(argv), in_data, sudoable)
        return result

    def put_file(self, in_path: str, out_path: str) -> None:
        """Copy a file of the controller to a path in the host."""
        if not os.path.exists(in_path):
            raise AnsibleFileNotFound(f"Copying {in_path} to {self._name()} failed: there is no such file.")
        with open(in_path, "rb") as source:
            self._copy('cat > "$1"', out_path, stdin=source)

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """Copy a file in the host to a path of the controller."""
        with open(out_path, "wb") as target:
            self._copy('cat < "$1"', in_path, stdout=target)

    def _name(self) -> str:
        return f"host {self.get_option('remote_addr')} of the lab"

    def _argv(self, command: list[str]) -> list[str]:
        pid = self.get_option("hostlab_pid")
        if not os.path.exists(f"/proc/{pid}/ns/net"):
            raise AnsibleConnectionFailure(
                f"Reaching {self._name()} failed: there is no process {pid} (hostlab_pid). "
                "Is the lab still running, and the inventory written since it was started?"
            )
        return nsenter_argv(pid, command)

    def _copy(self, script: str, path: str, **streams: Any) -> None:
        """Run a shell script in the host with `path` as $1; AnsibleError with its words when it fails."""
        argv = self._argv(["/bin/sh", "-c", script, "sh", path])
        result = subprocess.run(argv, check=False, stderr=subprocess.PIPE, timeout=COPY_SECONDS, **streams)
        if result.returncode != 0:
            said = result.stderr.decode(errors="replace").strip()
            raise AnsibleError(f"Copying {path} from or to {self._name()} failed: {said}")
