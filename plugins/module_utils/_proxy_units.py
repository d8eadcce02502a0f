# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""The proxies that loopback addresses of the host need: their systemd units, and the small file of each. Pure.

The kernel can translate 127.0.0.1 only with ``route_localnet``, and ::1 not at all. Where a publish asks for a proxy,
systemd listens at these addresses and starts systemd-socket-proxyd with the first connection.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ._hostports import Binding
from ._model import Endpoint
from ._topology import Topology, once_for_each

__all__ = ("PROXY_DIRECTORY", "PROXY_PROGRAM", "UNIT_FILES", "Proxies", "proxies_of", "served_by", "service_of")

PROXY_PROGRAM = "/usr/lib/systemd/systemd-socket-proxyd"
# One file for each proxy, named as its service's instance; in it, where it leads to.
PROXY_DIRECTORY = "/var/lib/bridgeport/proxy"
_UNIT_DIRECTORY = "/etc/systemd/system"

_SOCKET = """\
# Written by bridgeport.net.
[Unit]
Description=Published port {port} on {addresses} (bridgeport.net)

[Socket]
{listens}
# What comes by wire is not for these addresses, whatever the host's rules are.
BindToDevice=lo
Service=bridgeport-proxy@{instance}.service
"""

_SERVICE = """\
# Written by bridgeport.net.
[Unit]
Description=Proxy of the published port %i (bridgeport.net)
CollectMode=inactive-or-failed
StartLimitIntervalSec=0

[Service]
Type=exec
EnvironmentFile={directory}/%i
ExecStart={program} --connections-max=8192 --exit-idle-time=1min $TARGET
LimitNOFILE=65536
# One user for all of them: there are more ports than dynamic users.
DynamicUser=yes
User=bridgeport-proxy
CapabilityBoundingSet=
LockPersonality=yes
MemoryDenyWriteExecute=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
"""


def _socket_unit(instance: str, *listens: str) -> str:
    return _SOCKET.format(
        port=instance.rpartition(":")[2],
        addresses=" and ".join(listen.rpartition(":")[0] for listen in listens),
        instance=instance,
        listens="\n".join("ListenStream=%s" % listen for listen in listens),
    )


# For both loopback addresses, for one of IPv4, and for that of IPv6. An instance cannot hold brackets.
UNIT_FILES = {
    "%s/bridgeport-proxy@.socket" % _UNIT_DIRECTORY: _socket_unit("%i", "127.0.0.1:%i", "[::1]:%i"),
    "%s/bridgeport-proxy4@.socket" % _UNIT_DIRECTORY: _socket_unit("%i", "%i"),
    "%s/bridgeport-proxy6@.socket" % _UNIT_DIRECTORY: _socket_unit("::1:%i", "[::1]:%i"),
    "%s/bridgeport-proxy@.service" % _UNIT_DIRECTORY: _SERVICE.format(directory=PROXY_DIRECTORY, program=PROXY_PROGRAM),
}


@dataclass(frozen=True)
class Proxies:
    """The proxies of a host: the text of each file by its path, and the socket units that listen."""

    files: t.Mapping[str, str] = field(default_factory=dict)
    listening: frozenset[str] = frozenset()


@once_for_each
def proxies_of(topology: Topology) -> Proxies:
    """The proxies that a topology asks for."""
    files: dict[str, str] = {}
    listening = set()
    for publish in topology.publishes.values():
        served = topology.proxied(publish) if publish.loopback == "proxy" else ()
        if served:
            instance, socket = _names(served)
            target = _target(served, topology.endpoints[publish.endpoint], publish.endpoint_port)
            files["%s/%s" % (PROXY_DIRECTORY, instance)] = "TARGET=%s\n" % target
            listening.add(socket)
    return Proxies({**UNIT_FILES, **files} if files else {}, frozenset(listening))


def _names(served: tuple[Binding, ...]) -> tuple[str, str]:
    """The instance of the service, and the socket unit."""
    first = served[0]
    if len(served) > 1:
        return str(first.port), "bridgeport-proxy@%d.socket" % first.port
    instance = "%s:%d" % (first.address, first.port)
    if first.version == 6:
        return instance, "bridgeport-proxy6@%d.socket" % first.port
    return instance, "bridgeport-proxy4@%s.socket" % instance


def _target(served: tuple[Binding, ...], endpoint: Endpoint, port: int) -> str:
    """Where a proxy connects to, in its own notation, which knows no brackets."""
    for version in (*(binding.version for binding in served), 4, 6):
        address = endpoint.address(version)
        if address is not None:
            return "%s:%d" % (address, port)
    raise AssertionError("every endpoint has an address")


def service_of(path: str) -> str:
    """The service that reads the file ``path`` of :data:`PROXY_DIRECTORY`."""
    return "bridgeport-proxy@%s.service" % path.rpartition("/")[2]


def served_by(instance: str) -> tuple[tuple[str, int], ...]:
    """The host addresses and ports that the proxy of this instance serves; none where the name is not one of ours."""
    address, _colon, port = instance.rpartition(":")
    if not port.isdigit():
        return ()
    return tuple((each, int(port)) for each in ((address,) if address else ("127.0.0.1", "::1")))
