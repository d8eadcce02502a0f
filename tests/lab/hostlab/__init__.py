# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab: hosts made of Linux namespaces, joined by a LAN, invisible from outside.

>>> with Lab(tmp_path / "lab") as lab:
...     client = lab.add_host("client", ["192.168.52.203/24", "fd52::203/64"])
...     server = lab.add_host("server", ["192.168.52.10/24", "fd52::10/64"])
...     server.start(echo_command("server", tcp=["0.0.0.0:5000"]), ready="ready")
...     assert client.probe("tcp", "192.168.52.10", 5000).source == "192.168.52.203"
"""

from __future__ import annotations

from hostlab.errors import LabError
from hostlab.host import Host
from hostlab.lab import Lab
from hostlab.probes import Probe, echo_command, watch_command
from hostlab.process import Process

__all__ = ["Host", "Lab", "LabError", "Probe", "Process", "echo_command", "watch_command"]
