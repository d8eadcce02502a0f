# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Frames made by hand, a script.

    frames.py send INTERFACE < '[{"kind": "arp", "mac": "02:…", "source": "172.17.0.3", "mark": 0}, …]'
    frames.py listen INTERFACE     prints "ready", then the mark of each frame that arrives, and "end" at the last one
    frames.py receive              the same of the datagrams that come to a process, by whatever interface

Each frame ends in the word MARK and its number. One that carries "end" and is in order is sent behind them all.
"""

from __future__ import annotations

import json
import random
import re
import socket
import struct
import sys
from ipaddress import IPv6Address, ip_address
from typing import Any

ALL = b"\xff" * 6
ALL_NODES = bytes.fromhex("333300000001")
EVERYWHERE = IPv6Address("ff02::1").packed
# What a neighbour that believed the advertisement would take as its prefix, on the link and for addresses.
PREFIX = struct.pack("!BBBBLLL", 3, 4, 64, 0xC0, 3600, 3600, 0) + IPv6Address("2001:db8:bad::").packed
TYPES = {"ra": 134, "ns": 135, "na": 136, "redirect": 137}


def mac(text: str) -> bytes:
    """Return the octets of a MAC address."""
    return bytes.fromhex(text.replace(":", ""))


def checksum(data: bytes) -> int:
    """Return the Internet checksum."""
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv6(source: bytes, protocol: int, body: bytes, hops: int = 255, options: bool = False) -> bytes:
    """Return an IPv6 packet to all nodes; with `options` behind a destination options header of padding."""
    header = struct.pack("!BBBBI", protocol, 0, 1, 4, 0) if options else b""
    length, following = len(body) + len(header), 60 if options else protocol
    return struct.pack("!IHBB", 0x60000000, length, following, hops) + source + EVERYWHERE + header + body


def icmpv6(frame: dict[str, Any], tail: bytes) -> bytes:
    """Return a message of neighbour discovery."""
    kind, source = frame["kind"], ip_address(frame["source"]).packed
    own = mac(frame.get("says_mac", frame["mac"]))
    if kind == "ra":
        body = struct.pack("!BBHII", 64, 0, 1800, 0, 0) + b"\x01\x01" + own + PREFIX
    elif kind == "redirect":
        body = b"\0" * 4 + source + IPv6Address("2001:db8:bad::1").packed
    else:
        flags = b"\x20\0\0\0" if kind == "na" else b"\0" * 4
        body = flags + ip_address(frame["target"]).packed + (b"\x02" if kind == "na" else b"\x01") + b"\x01" + own
    # What follows the options would not be taken for one: a nonce option of as many octets.
    body += b"\x0e" + bytes([(len(tail) + 9) // 8]) + tail + b" " * (-(len(tail) + 2) % 8)
    message = struct.pack("!BBH", TYPES[kind], 0, 0) + body
    pseudo = source + EVERYWHERE + struct.pack("!IBBBB", len(message), 0, 0, 0, 58)
    message = struct.pack("!BBH", TYPES[kind], 0, checksum(pseudo + message)) + body
    return ipv6(source, 58, message, 255, frame.get("options", False))


def packet(frame: dict[str, Any]) -> tuple[int, bytes]:
    """Return the type and the content of a frame."""
    tail, kind = f"MARK{frame['mark']}.".encode(), frame["kind"]
    if kind == "other":
        return 0x88B5, tail + b" " * 46
    source = ip_address(frame["source"])
    if kind == "arp":
        says = mac(frame.get("says_mac", frame["mac"]))
        head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
        return 0x0806, head + says + source.packed + b"\0" * 6 + source.packed + tail
    if kind in TYPES:
        return 0x86DD, icmpv6(frame, tail)
    datagram = struct.pack("!HHHH", 40000, 40001, 8 + len(tail), 0) + tail
    if source.version == 6:
        pseudo = source.packed + EVERYWHERE + struct.pack("!IBBBB", len(datagram), 0, 0, 0, 17)
        datagram = datagram[:6] + struct.pack("!H", checksum(pseudo + datagram)) + tail
        return 0x86DD, ipv6(source.packed, 17, datagram)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 0, 0, 64, 17, 0) + source.packed + b"\xff" * 4
    return 0x0800, head[:10] + struct.pack("!H", checksum(head)) + head[12:] + datagram


def fragments(content: bytes) -> list[bytes]:
    """Return an IPv6 packet in two fragments, the first with no more than 8 octets of what is sent."""
    body, number = content[40:], random.getrandbits(32)
    pieces = [(0, 1, body[:8]), (1, 0, body[8:])]
    heads = [struct.pack("!BBHI", content[6], 0, offset << 3 | more, number) for offset, more, _piece in pieces]
    return [
        content[:4] + struct.pack("!HB", 8 + len(piece), 44) + content[7:40] + head + piece
        for head, (_offset, _more, piece) in zip(heads, pieces)
    ]


def octets(frame: dict[str, Any]) -> list[bytes]:
    """Return a whole frame, or those of its fragments."""
    kind, whole = packet(frame)
    tag = b"\x81\x00\x00\x05" if frame.get("tag") else b""
    to = mac(frame["to"]) if "to" in frame else ALL_NODES if kind == 0x86DD else ALL
    contents = fragments(whole) if frame.get("fragments") else [whole]
    return [to + mac(frame["mac"]) + tag + struct.pack("!H", kind) + content for content in contents]


def send(interface: str) -> None:
    """Send the frames of standard input, and the last one, from the interface's own addresses."""
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    raw.bind((interface, 0))
    for frame in json.load(sys.stdin):
        for data in octets(frame):
            raw.send(data)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
        last.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        last.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        last.sendto(b"MARKend.", ("255.255.255.255", 40001))


def listen(interface: str) -> None:
    """Print the marks of the frames that come in, until the last one."""
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    raw.bind((interface, 3))
    raw.settimeout(20)
    print("ready", flush=True)
    while True:
        data, address = raw.recvfrom(65536)
        found = re.search(rb"MARK(\w+)\.", data)
        if found and address[2] != socket.PACKET_OUTGOING:
            print(found[1].decode(), flush=True)
            if found[1] == b"end":
                return


def receive() -> None:
    """Print the marks of the datagrams that come to a process, by whatever interface, until the last one."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as process:
        process.bind(("::", 40001))
        process.settimeout(20)
        print("ready", flush=True)
        while True:
            found = re.search(rb"MARK(\w+)\.", process.recv(65536))
            if found:
                print(found[1].decode(), flush=True)
                if found[1] == b"end":
                    return


if __name__ == "__main__":
    if sys.argv[1] == "receive":
        receive()
    else:
        {"send": send, "listen": listen}[sys.argv[1]](sys.argv[2])
