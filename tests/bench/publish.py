# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Part publish: ports of one endpoint, and what stays resident for them."""

from __future__ import annotations

from bench import resident
from bench.control import Control
from bench.measure import Book, Key, ports
from bench.peers.base import Ground, Peer, Work
from bench.peers.chained import Cni, Netavark
from bench.peers.docker import Docker
from bench.peers.floor import FloorPublishes
from bench.peers.ours import OurPublishes
from bench.peers.tasks import PublishTask, RulePerItem
from bench.phases import profile_all
from support import BACKENDS

PART = "publish"
DOCKER_ON, DOCKER_OFF = "Docker, proxy on", "Docker, proxy off"
# What the resident processes are counted for; with fewer ports in a short run.
RESIDENT_PORTS = 1000


def measure(ground: Ground, book: Book) -> None:
    """Measure the part."""
    settings = ground.settings
    ours = [OurPublishes(ground, f"ours, {backend}", backend) for backend in BACKENDS]
    docker = [Docker(ground, DOCKER_ON, True), Docker(ground, DOCKER_OFF, False)]
    peers: list[Peer] = [
        *ours,
        PublishTask(ground, "ours, nftables, as an Ansible task"),
        FloorPublishes(ground, "nft -f"),
        *docker,
        Cni(ground, "CNI plugins"),
        Netavark(ground, "netavark"),
        RulePerItem(ground, "Ansible, an item per port"),
    ]
    counted = max((count for count in settings.ports if count <= RESIDENT_PORTS), default=0)
    control = Control(book, settings, PART, lambda count: Work(["web"], ports(count)))

    def count_processes(peer: Peer, count: int) -> None:
        if count == counted and peer in (*ours, *docker):
            for what, value in resident.of(peer.host).items():
                key = Key(PART, peer.name, what, count)
                if key not in book.measurements:
                    book.add(key, value, resident.UNITS[what])

    control.between = count_processes
    control.measure(peers, settings.ports)
    for peer in ours:
        profile_all(book, PART, peer, control.work_of(max(settings.ports)))
