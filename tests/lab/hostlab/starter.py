# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Start process 1 of a pid namespace and learn its pid as seen from outside."""

from __future__ import annotations

import select
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from hostlab.errors import LabError
from hostlab.process import ProcessId, kill_group

HOLDER = Path(__file__).resolve().parent / "holder.py"
READY_SECONDS = 15.0
NAMESPACES_LAN = ("--net", "--pid")
NAMESPACES_HOST = ("--net", "--pid", "--mount", "--uts", "--propagation", "private")
SO_PASSCRED = 16  # <asm-generic/socket.h>


def start_holder(
    role: Sequence[str],
    namespaces: Sequence[str],
    log: Path,
    inside: Sequence[str] = (),
    pass_fds: Sequence[int] = (),
) -> tuple[subprocess.Popen[str], ProcessId]:
    """Run `holder.py ROLE...` in new namespaces and return its outer process and the holder's identity.

    inside: a command line to put in front. log: file for what it says. LabError when it is not ready in time;
    nothing of it is then left.
    """
    python = [sys.executable, "-S", "-E", str(HOLDER)]
    command = [*inside, "unshare", *namespaces, "--fork", "--kill-child", "--", *python, *role]
    ours, theirs = socket.socketpair()
    with ours, theirs, open(log, "ab") as errors:
        ours.setsockopt(socket.SOL_SOCKET, SO_PASSCRED, 1)
        # Its own session: Ctrl-C in the terminal is for the owner, who then stops the lab in order.
        popen = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=theirs.fileno(),
            stderr=errors,
            text=True,
            start_new_session=True,
            pass_fds=pass_fds,
        )
        theirs.close()
        try:
            return popen, ProcessId.of(_ready(ours))
        except BaseException as error:
            kill_group(popen)
            if not isinstance(error, LabError):
                raise
            said = log.read_text(encoding="utf-8", errors="replace").strip()
            raise LabError(f"Starting {' '.join(role)} of the lab failed. {error} It said: {said}") from error


def _ready(connection: socket.socket) -> int:
    """Wait for "ready" and return the sender's pid, which the kernel translates to our pid namespace."""
    if not select.select([connection], [], [], READY_SECONDS)[0]:
        raise LabError(f"It was not ready within {READY_SECONDS} seconds.")
    text, messages, _unused, _unused = connection.recvmsg(64, socket.CMSG_SPACE(12))
    pids = [
        struct.unpack("iII", data)[0]
        for level, kind, data in messages
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS)
    ]
    if text != b"ready\n" or not pids:
        raise LabError("It ended before it was ready.")
    return int(pids[0])
