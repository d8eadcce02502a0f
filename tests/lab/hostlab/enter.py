# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command line that runs a program inside a host. Used by Host and by the connection plugin."""

from __future__ import annotations

from collections.abc import Sequence


def nsenter_argv(pid: int, command: Sequence[str], netns: str | None = None, directory: str | None = None) -> list[str]:
    """Return the arguments that run `command` in the network, mount, pid and uts namespaces of process `pid`.

    netns: a name under /run/netns of that host, entered instead of the host's own network namespace.
    directory: working directory, looked up inside the host (nsenter alone would leave the command in /).
    """
    # nsenter opens every namespace before it enters the first: the name is looked up through the host's own
    # root, and one nsenter is enough for both.
    network = f"--net=/proc/{pid}/root/run/netns/{netns}" if netns else "--net"
    enter = ["nsenter", "--target", str(pid), "--mount", "--pid", "--uts", network, "--"]
    # env and not `nsenter --wdns`: that option came with util-linux 2.38 and `--wd` would leave the overlays.
    change_directory = ["env", f"--chdir={directory}", "--"] if directory else []
    return [*enter, *change_directory, *command]
