# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Matrix A, who reaches a published port, and matrix B, what each mode of a network lets through: wanted answers.

An answer is the source address that the service saw, as a word, or why there was none:

E the outside client, H the host's address on the LAN, gw the gateway address of the service's network, a name the
endpoint's own address (in matrix B ctr the service's, c2 its neighbour's), yes a ping's answer; refused, timeout,
unreachable. Wanted may also be closed: timeout, or unreachable once the kernel has given up asking for the neighbour's
MAC address.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from matrix.topology import CLIENT, HOSTS_OWN, MODES, OUTSIDE, PUBLISHED, SERVED, address_of


def kernel_has_sctp() -> bool:
    """Whether sockets of SCTP can be made here."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError:
        return False
    return True


PROTOCOLS = ("tcp", "udp", "sctp") if kernel_has_sctp() else ("tcp", "udp")
UNPUBLISHED = 8099
NOT_OFFERED = "-"
REFUSALS = ("refused", "timeout", "unreachable", "closed")


@dataclass(frozen=True)
class Question:
    """One cell: who asks for what, and the answer that is wanted. The same question may want another answer elsewhere.

    row, column: where it stands in its table. answers: the name of the service that is to answer, "" for none.
    docker: what Docker 29 is documented to answer, "" where nothing is said, NOT_OFFERED where it cannot be asked for
    it; F is no answer.
    """

    table: str
    row: str
    column: str
    place: str
    protocol: str
    version: int
    address: str
    port: int
    answers: str = field(compare=False)
    wanted: str = field(compare=False)
    docker: str = field(compare=False, default="")

    def right(self, answer: str) -> bool:
        """Whether this is the answer that is wanted."""
        return answer == self.wanted or (self.wanted == "closed" and answer in ("timeout", "unreachable"))

    @property
    def packet(self) -> dict[str, str]:
        """What topology_info is to explain."""
        source = {"E": CLIENT[self.version], "H": "host"}.get(self.place, self.place)
        address = f"[{self.address}]" if self.version == 6 else self.address
        destination = f"{address}/icmp" if self.protocol == "icmp" else f"{address}:{self.port}/{self.protocol}"
        return {"source": source, "destination": destination}

    def __str__(self) -> str:
        words = f"{self.table} {self.row} {self.column}, {self.place} -> {self.protocol} "
        return words + (f"[{self.address}]:{self.port}" if self.version == 6 else f"{self.address}:{self.port}")


class Row(NamedTuple):
    """A row of matrix A. ``to`` names an address of :func:`address_of`; proxied: the answer with loopback proxy.

    docker: what Docker 29 answers with its proxy and without, of docker-behaviour 4.1; F is no answer.
    """

    name: str
    place: str
    to: str
    port: int
    answers: str
    wanted: str
    docker: tuple[str, str] = ("", "")
    proxied: str = ""
    versions: tuple[int, ...] = (4, 6)
    protocols: tuple[str, ...] = PROTOCOLS


F = ("F", "F")
ROWS = [
    # The published port, from everywhere.
    Row("A1", "E", "LAN", 8080, "web", "E", ("E", "E")),
    Row("A1", "E", "gw", 8080, "web", "E"),
    # Endpoints' own addresses, for a neighbour of the host that has a route to them.
    Row("A2", "E", "web", 80, "", "timeout", F),
    Row("A3", "E", "plain", 80, "", "timeout", F),
    Row("A4", "E", "local", 80, "", "timeout", F),
    # Published on a loopback address only, the destination forged too.
    Row("A5", "E", "LAN", 8081, "", "refused", F),
    Row("A6", "E", "lo2", 5000, "", "timeout", F, versions=(4,)),
    Row("A6", "E", "lo", 8081, "", "timeout", F, versions=(4,)),
    Row("A6", "peer", "lo2", 5000, "", "timeout", versions=(4,)),
    # A service of IPv4 only, asked for over IPv6.
    Row("A7", "E", "LAN", 8085, "", "refused", ("gw", "F"), versions=(6,)),
    # The host itself.
    Row("A8", "H", "lo", 8080, "web", "gw", ("gw", "gw"), versions=(4,)),
    Row("A8", "H", "lo", 8080, "web", "refused", ("gw", "F"), proxied="gw", versions=(6,), protocols=("tcp",)),
    Row("A8", "H", "lo", 8080, "web", "refused", ("gw", "F"), versions=(6,), protocols=("udp",)),
    Row("A9", "H", "lo", 8085, "four", "refused", ("gw", "F"), proxied="gw", versions=(6,), protocols=("tcp",)),
    Row("A9", "H", "lo", 8085, "four", "refused", ("gw", "F"), versions=(6,), protocols=("udp",)),
    Row("A10", "H", "lo", 8081, "local", "gw", ("gw", "gw"), versions=(4,)),
    Row("A10", "H", "lo2", 5000, "local", "gw", ("gw", "gw"), versions=(4,)),
    Row("A11", "H", "LAN", 8080, "web", "gw", ("H", "gw")),
    Row("A12", "H", "gw", 8080, "web", "gw", ("gw", "gw")),
    Row("A13", "H", "LAN", 8081, "", "refused", F),
    Row("A14", "H", "web", 80, "web", "gw", ("gw", "gw")),
    Row("A14", "H", "plain", 80, "plain", "gw", ("gw", "gw")),
    # An endpoint of the same network.
    Row("A15", "peer", "LAN", 8080, "web", "gw", ("gw", "peer")),
    Row("A15", "peer", "gw", 8080, "web", "gw", ("gw", "peer")),
    Row("A15", "peer", "gw2", 8080, "web", "gw", ("gw", "peer")),
    Row("A16", "peer", "web", 80, "web", "peer", ("peer", "peer")),
    Row("A16", "peer", "plain", 80, "plain", "peer", ("peer", "peer")),
    # An endpoint of another network.
    Row("A17", "other", "LAN", 8080, "web", "gw", ("gw", "gw")),
    Row("A17", "other", "gw", 8080, "web", "gw", ("gw", "gw")),
    Row("A17", "other", "gw2", 8080, "web", "gw", ("gw", "gw")),
    Row("A18", "other", "web", 80, "", "timeout", F),
    Row("A18", "other", "plain", 80, "", "timeout", F),
    # The endpoint itself.
    Row("A19", "web", "LAN", 8080, "web", "gw", ("gw", "gw")),
    Row("A19", "web", "gw", 8080, "web", "gw", ("gw", "gw")),
    # From an endpoint to what is published on a loopback address of the host.
    Row("A20", "peer", "LAN", 8081, "", "refused", F),
    Row("A20", "other", "LAN", 8081, "", "refused", F),
    Row("A20", "web", "LAN", 8081, "", "refused", F),
    # Further than Docker's table: outbound, masqueraded, and what passes through is not hijacked by a published number.
    Row("A21", "web", "E", OUTSIDE[0], "client", "H"),
    Row("A21", "other", "E", OUTSIDE[0], "client", "H"),
    Row("A22", "web", "E", OUTSIDE[1], "client", "H"),
    # Nothing is published there.
    Row("A23", "E", "LAN", UNPUBLISHED, "", "refused"),
    # Published on one host address.
    Row("A24", "E", "LAN", 8084, "web", "E"),
    Row("A24", "E", "gw", 8084, "", "refused"),
    Row("A24", "H", "LAN", 8084, "web", "gw"),
    # Published with loopback none.
    Row("A25", "E", "LAN", 8083, "web", "E"),
    Row("A25", "H", "lo", 8083, "", "refused", (NOT_OFFERED, NOT_OFFERED)),
    # The host's own service on a loopback address, from the wire: what route_localnet would open.
    Row("A26", "H", "lo", HOSTS_OWN, "host", "lo", versions=(4,), protocols=("tcp",)),
    Row("A26", "E", "lo", HOSTS_OWN, "", "timeout", versions=(4,), protocols=("tcp",)),
    Row("A26", "peer", "lo", HOSTS_OWN, "", "timeout", versions=(4,), protocols=("tcp",)),
]

# Matrix B's columns: heading, who asks, for which address ("" the service itself), for which port (0 the published one).
COLUMNS = [
    ("E→H:pub", "E", "LAN", 0),
    ("E→ctr:80", "E", "", SERVED[0]),
    ("E→ctr:81", "E", "", SERVED[1]),
    ("E ping ctr", "E", "", -1),
    ("H→ctr:80", "H", "", SERVED[0]),
    ("d1→ctr:80", "other", "", SERVED[0]),
    ("d1→ctr:81", "other", "", SERVED[1]),
    ("d1→H:pub", "other", "LAN", 0),
    ("c2→ctr:80", "c2", "", SERVED[0]),
    ("c2→H:pub", "c2", "LAN", 0),
    ("ctr→E", "ctr", "E", OUTSIDE[0]),
]
# In the order of the columns. r refused, t timeout, u unreachable, n closed; ctr and c2 are the service and its neighbour.
WANTED = {
    "nat": "E t t t gw t t gw c2 gw H",
    "trusted": "E E t t gw t t gw c2 gw H",
    "routed": "r E t yes gw gw t r c2 r ctr",
    "internal": "r t t t gw t t r c2 u u",
    "isolated": "r t t t u t t r c2 u u",
    "no-icc": "E t t t gw t t gw n gw H",
}
# Docker 29 with its proxy off, of docker-behaviour 4.2.
DOCKER = {
    "nat": "E F F F gw F F gw c2 c2",
    "trusted": "E E F F gw F F gw c2 c2",
    "routed": "F E F yes gw gw F F c2 F",
    "internal": "F F F F gw F F F c2 F",
    "isolated": "F F F F F F F F c2 F",
    "no-icc": "E F F F gw F F gw F F",
}
SHORT = {"r": "refused", "t": "timeout", "u": "unreachable", "n": "closed"}


def questions(loopback: str = "nat") -> list[Question]:
    """All cells of both matrices. loopback: how 127.0.0.1 and ::1 reach the published ports, nat or proxy."""
    return [*_matrix_a(loopback), *_matrix_b()]


def _matrix_a(loopback: str) -> Iterator[Question]:
    for row in ROWS:
        wanted = row.proxied if loopback == "proxy" and row.proxied else row.wanted
        answers = row.answers if wanted not in REFUSALS else ""
        docker = row.docker[0 if loopback == "proxy" else 1]
        name = f"{row.name} {row.place} → {row.to}:{row.port}"
        for protocol in row.protocols:
            for version in row.versions:
                address = address_of(row.to, version)
                column = f"{protocol}{version}"
                yield Question(
                    "A", name, column, row.place, protocol, version, address, row.port, answers, wanted, docker
                )


def _matrix_b() -> Iterator[Question]:
    published = {port.endpoint: port.host_port for port in PUBLISHED}
    for mode in MODES:
        words = dict(zip((column[0] for column in COLUMNS), WANTED[mode].split()))
        docker = dict(zip(words, DOCKER[mode].split()))
        stands_for = {"c2": f"{mode}-2", "ctr": mode}
        for heading, asks, to, port in COLUMNS:
            word = words[heading]
            wanted = SHORT.get(word, word)
            answers = "" if wanted in REFUSALS else "client" if to == "E" else "" if port < 0 else mode
            for protocol in PROTOCOLS if port >= 0 else ("icmp",):
                for version in (4, 6):
                    yield Question(
                        table="B",
                        row=mode,
                        column=heading,
                        place=stands_for.get(asks, asks),
                        protocol=protocol,
                        version=version,
                        address=address_of(to or mode, version),
                        port=port if port > 0 else published.get(mode, UNPUBLISHED) if not port else 0,
                        answers=answers,
                        wanted=wanted,
                        docker=docker.get(heading, ""),
                    )
