# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decode a classic pcap file: Ethernet, IPv4 and IPv6, TCP and UDP."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hostlab.errors import LabError

# First four bytes of the file: byte order, and seconds for one unit of the fraction.
MAGIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 1e-6),
    b"\xa1\xb2\xc3\xd4": (">", 1e-6),
    b"\x4d\x3c\xb2\xa1": ("<", 1e-9),
    b"\xa1\xb2\x3c\x4d": (">", 1e-9),
}
ETHERNET = 1
VLAN, IPV4, IPV6 = 0x8100, 0x0800, 0x86DD
PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6", 132: "sctp"}
EXTENSIONS = (0, 43, 60)  # hop-by-hop, routing, destination options: length in the second byte
FRAGMENT = 44
FLAGS = "FSRPAUEC"  # from the lowest bit: FIN SYN RST PSH ACK URG ECE CWR


@dataclass(frozen=True)
class Packet:
    """One IP packet. Ports are None for protocols without ports and for later fragments.

    time: seconds since 1970. proto: "tcp", "udp", "icmp", "icmp6", "sctp" or the number. flags: of TCP, letters
    of FLAGS such as "S" or "SA". length: bytes of payload after the TCP or UDP header.
    """

    time: float
    source_mac: str
    destination_mac: str
    source: str
    destination: str
    proto: str
    source_port: int | None
    destination_port: int | None
    flags: str
    length: int


def packets(path: Path) -> list[Packet]:
    """Return the IP packets of a pcap file in order; LabError when it is not one of Ethernet frames."""
    data = path.read_bytes()
    if len(data) < 24 or data[:4] not in MAGIC:
        raise LabError(f"Decoding {path} failed: it does not begin like a pcap file. Did tcpdump start?")
    order, unit = MAGIC[data[:4]]
    link_type = struct.unpack(order + "I", data[20:24])[0] & 0xFFFF
    if link_type != ETHERNET:
        raise LabError(f"Decoding {path} failed: link type {link_type} is not Ethernet. Do not capture on 'any'.")
    decoded = (_ethernet(time, frame) for time, frame in _records(data, order, unit))
    return [packet for packet in decoded if packet is not None]


def _records(data: bytes, order: str, unit: float) -> Iterator[tuple[float, bytes]]:
    """Yield time and frame of each complete record."""
    offset = 24
    while offset + 16 <= len(data):
        seconds, fraction, length, _unused = struct.unpack(order + "IIII", data[offset : offset + 16])
        frame = data[offset + 16 : offset + 16 + length]
        if len(frame) == length:
            yield seconds + fraction * unit, frame
        offset += 16 + length


def _mac(data: bytes) -> str:
    return ":".join(f"{byte:02x}" for byte in data)


def _ethernet(time: float, frame: bytes) -> Packet | None:
    """Return the IP packet in a frame, or None when it carries another protocol or is cut short."""
    link = time, _mac(frame[6:12]), _mac(frame[:6])
    kind, body = int.from_bytes(frame[12:14], "big"), frame[14:]
    if kind == VLAN:
        kind, body = int.from_bytes(body[2:4], "big"), body[4:]
    try:
        if kind == IPV4:
            return _ipv4(link, body)
        if kind == IPV6:
            return _ipv6(link, body)
    except struct.error:
        return None
    return None


def _ipv4(link: tuple[float, str, str], body: bytes) -> Packet:
    first, _unused, total, _unused, fragment, _unused, proto, _unused, source, destination = struct.unpack(
        "!BBHHHBBH4s4s", body[:20]
    )
    payload = body[(first & 15) * 4 : total]
    addresses = socket.inet_ntop(socket.AF_INET, source), socket.inet_ntop(socket.AF_INET, destination)
    return _packet(link, addresses, proto, payload, first_fragment=fragment & 0x1FFF == 0)


def _ipv6(link: tuple[float, str, str], body: bytes) -> Packet:
    _unused, length, proto, _unused, source, destination = struct.unpack("!IHBB16s16s", body[:40])
    payload, first = body[40 : 40 + length], True
    while len(payload) >= 8 and (proto in EXTENSIONS or proto == FRAGMENT):
        if proto == FRAGMENT:
            first = int.from_bytes(payload[2:4], "big") >> 3 == 0
            proto, payload = payload[0], payload[8:]
        else:
            proto, payload = payload[0], payload[8 + payload[1] * 8 :]
    addresses = socket.inet_ntop(socket.AF_INET6, source), socket.inet_ntop(socket.AF_INET6, destination)
    return _packet(link, addresses, proto, payload, first)


def _packet(
    link: tuple[float, str, str], addresses: tuple[str, str], proto: int, payload: bytes, first_fragment: bool
) -> Packet:
    """Return the packet; `link` is its time and MAC addresses, `addresses` source and destination."""
    ports: tuple[int | None, int | None] = (None, None)
    flags, header = "", 0
    name = PROTOCOLS.get(proto, str(proto))
    if first_fragment and name in ("tcp", "udp", "sctp"):
        ports = struct.unpack("!HH", payload[:4])
        header = {"tcp": 20, "udp": 8, "sctp": 12}[name]
    if first_fragment and name == "tcp":
        offset, bits = struct.unpack("!BB", payload[12:14])
        header = (offset >> 4) * 4
        flags = "".join(letter for place, letter in enumerate(FLAGS) if bits >> place & 1)
    return Packet(*link, *addresses, name, *ports, flags, max(0, len(payload) - header))
