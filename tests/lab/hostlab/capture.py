# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Record packets on an interface of a host, with tcpdump."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hostlab.host import Host
from hostlab.packets import Packet, packets

__all__ = ["Packet", "capture", "packets"]

QUIET_SECONDS = 0.1
FLUSH_SECONDS = 2.0


@contextmanager
def capture(host: Host, interface: str, pcap_path: Path, filter: str = "", netns: str | None = None) -> Iterator[Path]:
    """Record the packets of an interface that match a pcap filter to a file; packets() reads it.

    Recording has begun when the block is entered, and the file is complete when it is left. LabError when
    tcpdump cannot start. The file must not lie under /run, /etc or /var/lib, which are the host's own.
    """
    pcap_path.unlink(missing_ok=True)
    command = ["tcpdump", "-n", "-i", interface, "-U", "-w", str(pcap_path), "--immediate-mode", "-Z", "root"]
    process = host.start([*command, *filter.split()], netns=netns, ready="listening on")
    try:
        yield pcap_path
    finally:
        _wait_until_quiet(pcap_path)
        process.stop()


def _wait_until_quiet(path: Path) -> None:
    """Wait until tcpdump has written what the kernel handed to it: no growth for QUIET_SECONDS."""
    deadline = time.monotonic() + FLUSH_SECONDS
    size, since = -1, time.monotonic()
    while time.monotonic() < min(deadline, since + QUIET_SECONDS):
        now = path.stat().st_size if path.exists() else 0
        if now != size:
            size, since = now, time.monotonic()
        time.sleep(0.01)
