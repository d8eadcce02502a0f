# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Part attach: endpoints, namespaces on a bridge."""

from __future__ import annotations

from bench.control import Control
from bench.measure import Book
from bench.peers.base import Ground, Peer, Work
from bench.peers.chained import Cni, Netavark
from bench.peers.docker import Docker
from bench.peers.floor import FloorEndpoints
from bench.peers.ours import OurEndpoints
from bench.peers.tasks import CommandPerItem, EndpointTask
from bench.phases import profile_all

PART = "attach"


def measure(ground: Ground, book: Book) -> None:
    """Measure the part."""
    ours = OurEndpoints(ground, "ours, nftables")
    peers: list[Peer] = [
        ours,
        EndpointTask(ground, "ours, nftables, as an Ansible task"),
        FloorEndpoints(ground, "ip -batch"),
        Docker(ground, "Docker", True),
        Cni(ground, "CNI plugins"),
        Netavark(ground, "netavark"),
        CommandPerItem(ground, "Ansible, an item per endpoint"),
    ]
    control = Control(book, ground.settings, PART, lambda count: Work([f"e{i}" for i in range(count)]))
    control.measure(peers, ground.settings.endpoints)
    profile_all(book, PART, ours, control.work_of(max(ground.settings.endpoints)))
