#!/usr/bin/python
# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: boot_engine
short_description: Install the engine that restores the topology at boot
version_added: 0.1.0
author: bridgeport.net contributors (@bridgeport-net)
description:
  - Installs the command C(bridgeport), which is this collection's own engine in one file. It needs Python, pyroute2 and
    nftables on the managed host, and no Ansible.
  - The command runs under the Python that runs this module, and calls the system's C(/usr/bin/python3), a name that
    outlasts an upgrade of the operating system. One in a virtual environment, or of another version than the system's,
    has to stay where it is.
  - C(bridgeport apply) brings the host to what its record holds, C(bridgeport status) tells how it has drifted,
    C(bridgeport ports) shows the published ports, whether they are reserved, and what process has one all the same, and
    C(bridgeport explain) tells the way of a packet.
  - The role C(bridgeport.net.host) calls this module and sets up the systemd unit that runs the command at boot.
extends_documentation_fragment:
  - bridgeport.net._attributes
  - bridgeport.net._attributes.writing
options:
  command:
    description:
      - Where the command is put, the full path of a file.
    type: str
    default: /usr/local/sbin/bridgeport
seealso:
  - module: bridgeport.net.topology_info
"""

EXAMPLES = r"""
---
- name: Install the command
  bridgeport.net.boot_engine:

- name: Remove it
  bridgeport.net.boot_engine:
    state: absent
"""

RETURN = r"""
actions:
  description: What the run did, or in check mode would do, one sentence for each change.
  returned: success
  type: list
  elements: str
  sample: ["Install the command /usr/local/sbin/bridgeport."]
"""

import hashlib
import importlib.util
import os
import tempfile
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bridgeport.net.plugins.module_utils._ansible import (
    go_on_elsewhere,
    lasting_interpreter,
    leave_with,
    state_option,
)
from ansible_collections.bridgeport.net.plugins.module_utils._archive import build_archive
from ansible_collections.bridgeport.net.plugins.module_utils._errors import (
    InputError,
    KernelError,
    StateError,
    kernel_words,
)
from ansible_collections.bridgeport.net.plugins.module_utils._netlink import require_pyroute2

MODE = 0o755


def check_path(path: str) -> None:
    """Refuse what cannot be the path of a command.

    :raises InputError: it is no full path of a file.
    :raises StateError: there is a directory.
    """
    if not path.startswith("/") or path.endswith("/") or not path.isprintable():
        raise InputError(
            "Cannot install the command as %r: it is not the full path of a file. Give one such as "
            "/usr/local/sbin/bridgeport." % path
        )
    if os.path.isdir(path):
        raise StateError("Cannot install the command as %s: it is a directory. Give the path of a file in it." % path)


def present(path: str) -> bytes | None:
    """The file's content, None where it is missing or not executable."""
    try:
        with open(path, "rb") as file:
            content = file.read()
            return content if os.fstat(file.fileno()).st_mode & 0o777 == MODE else None
    except OSError:
        return None


def describe(content: bytes | None) -> str:
    """A word for the diff: the content itself is of no use to a reader."""
    return "absent" if content is None else "sha256:" + hashlib.sha256(content).hexdigest()


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Install or remove the command; returns the module's result."""
    path = module.params["command"]
    check_path(path)
    there = present(path)
    wanted = None
    if module.params["state"] == "present":
        require_pyroute2()
        if importlib.util.find_spec("iptc") is None:
            # The host may get legacy iptables, or a network that asks for it, at any time later.
            go_on_elsewhere("pyroute2", "iptc")
        wanted = build_archive(lasting_interpreter())
    changed = there != wanted if wanted is not None else os.path.lexists(path)
    actions = []
    if changed:
        actions.append("%s the command %s." % ("Remove" if wanted is None else "Install", path))
        if not module.check_mode:
            write(module, path, wanted)
    diff = {"before": {path: describe(there)}, "after": {path: describe(wanted)}} if changed else {}
    return {"changed": changed, "actions": actions, "diff": diff}


def write(module: AnsibleModule, path: str, content: bytes | None) -> None:
    """Put the file in place whole, or remove it.

    :raises KernelError: the system refused.
    """
    try:
        if content is None:
            os.unlink(path)
            return
        with tempfile.NamedTemporaryFile(dir=module.tmpdir, delete=False) as file:
            file.write(content)
        os.chmod(file.name, MODE)
        module.atomic_move(file.name, path)
        os.chmod(path, MODE)
    except OSError as problem:
        code = problem.errno or 0
        raise KernelError("Cannot write %s: the system said: %s." % (path, kernel_words(code)), code) from None


def main() -> None:
    module = AnsibleModule(
        argument_spec={"command": {"type": "str", "default": "/usr/local/sbin/bridgeport"}, "state": state_option()},
        supports_check_mode=True,
    )
    leave_with(module, lambda: work(module))


if __name__ == "__main__":
    main()
