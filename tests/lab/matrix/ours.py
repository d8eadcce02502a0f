# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes the matrices' host by the collection's own modules."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hostlab import Lab
from hostlab.image import image
from hostlab.machine import boot
from matrix.asking import Ground
from matrix.rows import PROTOCOLS
from matrix.topology import NETWORKS, PLACES, PUBLISHED, Place, Port
from support import CLIENT, HOST, ROOT, Modules, choose_backend, interpreters


def machines(lab: Lab, scratch: Path, loopback: str) -> tuple[Ground, Modules]:
    """Add the client and the host to the lab. A proxy is systemd's, and so needs a host that boots."""
    debian, pypi = interpreters(scratch)
    client = lab.add_host("client", CLIENT)
    if loopback != "proxy":
        host = lab.add_host("host", HOST)
        return Ground(client, host), Modules(host, pypi)
    visible = [ROOT, Path(sys.prefix).resolve(), Path(debian.python_path.partition(":")[0])]
    machine = boot(lab, "host", HOST, image(ROOT / ".cache" / "images"), visible)
    modules = Modules(machine, debian)
    modules.ok("boot_engine")
    return Ground(client, machine), modules


def make(modules: Modules, backend: str = "nftables", loopback: str = "nat") -> None:
    """Make networks, endpoints and publishes.

    backend: one of support.BACKENDS. loopback: nat or proxy, for the publishes that do not say otherwise.
    """
    modules.ok(
        "bridge_network",
        **choose_backend(modules.host, backend),
        networks=[
            {"name": net.name, "subnets": [net.subnet(version) for version in net.versions], **net.options}
            for net in NETWORKS
        ],
    )
    masqueraded = [{"network": net.name} for net in NETWORKS if net.options.get("mode", "nat") == "nat"]
    modules.ok("masquerade", masquerades=masqueraded)
    modules.ok("veth_endpoint", endpoints=[endpoint(place) for place in PLACES])
    modules.ok("port_publish", publishes=list(publishes(PUBLISHED, loopback)))


def endpoint(place: Place) -> dict[str, Any]:
    """What veth_endpoint is asked for."""
    net = next(net for net in NETWORKS if net.name == place.network)
    addresses = [net.address(version, place.host) for version in net.versions]
    return {"name": place.name, "network": place.network, "addresses": addresses}


def publishes(ports: Iterable[Port], loopback: str) -> Iterable[dict[str, Any]]:
    """What port_publish is asked for."""
    for port in ports:
        for protocol in PROTOCOLS:
            # A proxy is for tcp: udp has no connection that could be handed on.
            how = port.loopback or (loopback if protocol == "tcp" else "nat")
            yield {"endpoint": port.endpoint, "ports": [port.spec(protocol)], "loopback": how}
