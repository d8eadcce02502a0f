# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asks the questions of the matrices with real packets, all at once, and puts the answers into the tables' words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from hostlab import Host, Probe, echo_command
from matrix.rows import PROTOCOLS, Question
from matrix.topology import (
    CLIENT,
    HOSTS_OWN,
    LAN,
    LOOPBACK,
    OUTSIDE,
    PLACES,
    SERVED,
    Net,
    address_of,
    network_of,
)

# A closed door costs its timeout. Where an answer is wanted, it gets the time that a busy machine may take for it.
PATIENCE, MORE_PATIENCE = 1.0, 3.0
AT_ONCE = 8
EVERYWHERE = {4: "0.0.0.0", 6: "[::]"}


class Ground(NamedTuple):
    """The two machines: the outside client, and the host whose endpoints are namespaces under /run/netns."""

    client: Host
    host: Host


def serve(ground: Ground, places: Iterable[str]) -> None:
    """Start the services that answer: in the named endpoints, on the client, and the host's own."""
    for machine in ground:
        # Or a datagram to a closed port would be refused once a second only.
        for setting in ("ipv4/icmp_ratelimit", "ipv6/icmp/ratelimit"):
            machine.write(f"/proc/sys/net/{setting}", "0")
    for place in places:
        listen(
            ground.host, place, [(version, port) for version in network_of(place).versions for port in SERVED], place
        )
    listen(ground.client, "client", [(version, port) for version in (4, 6) for port in OUTSIDE], None)
    own = echo_command("host", [f"{LOOPBACK[4]}:{HOSTS_OWN}"], python=ground.host.python)
    ground.host.start(own, ready="ready")


def listen(machine: Host, name: str, sockets: Iterable[tuple[int, int]], netns: str | None) -> None:
    """Start one echo server on every address of the given IP versions and ports, over tcp and udp."""
    forms = [f"{EVERYWHERE[version]}:{port}" for version, port in sockets]
    command = echo_command(name, *([forms] * len(PROTOCOLS)), python=machine.python)
    machine.start(command, netns=netns, ready="ready")


def give_routes(ground: Ground, networks: Iterable[Net]) -> None:
    """Let the client, and an endpoint, send to every network, and to loopback addresses, by way of the host."""
    for net in networks:
        for version in net.versions:
            ground.client.run(["ip", f"-{version}", "route", "add", net.subnet(version), "via", LAN[version]])
    for netns, via in ((None, LAN[4]), ("peer", address_of("gw", 4))):
        script = (
            "ip addr del 127.0.0.1/8 dev lo; ip route flush table local 127.0.0.0/8; "
            "echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet; ip route add 127.0.0.0/8 via " + via
        )
        machine = ground.host if netns else ground.client
        machine.run(["sh", "-c", script], netns=netns)


def ask(ground: Ground, questions: Sequence[Question]) -> dict[Question, str]:
    """Ask everything and return the answers as words."""
    quick = _ask(ground, questions, PATIENCE)
    answers = {question: quick[question] for question in questions}
    again = [each for each in questions if answers[each] == "timeout" and not each.right("timeout")]
    return {**answers, **_ask(ground, again, MORE_PATIENCE)}


def _ask(ground: Ground, questions: Sequence[Question], patience: float) -> dict[Question, str]:
    def of_place(place: str) -> dict[Question, str]:
        mine = [each for each in questions if each.place == place]
        machine = ground.client if place == "E" else ground.host
        netns = None if place in ("E", "H") else place
        probes = machine.probe_many([(q.protocol, q.address, q.port) for q in mine], netns, timeout=patience)
        return {question: word(question, probe) for question, probe in zip(mine, probes)}

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(of_place, dict.fromkeys(question.place for question in questions))
    return {question: answer for answers in found for question, answer in answers.items()}


def word(question: Question, probe: Probe) -> str:
    """The answer as the tables have it. One by another service than the wanted one tells its name too."""
    if not probe.ok:
        return str(probe.error)
    if probe.source is None:
        return "yes"
    source = source_word(probe.source, str(probe.name))
    if question.table == "B":
        source = {question.row: "ctr", f"{question.row}-2": "c2"}.get(source, source)
    return source if probe.name == (question.answers or probe.name) else f"{source}@{probe.name}"


def source_word(source: str, service: str) -> str:
    """The word for a source address that a service saw, the address itself if the tables have none."""
    words = {}
    for version in (4, 6):
        words.update({CLIENT[version]: "E", LAN[version]: "H", LOOPBACK[version]: "lo"})
        words.update({address_of(place.name, version): place.name for place in PLACES})
        if service in {place.name for place in PLACES}:
            words[network_of(service).address(version, 1)] = "gw"
    return words.get(source, source)


def expected(question: Question, explanation: dict[str, Any]) -> tuple[str, ...]:
    """The answers that an explanation of the question's packet leaves open, in the tables' words."""
    verdict, service = explanation["verdict"], explanation["endpoint"] or ""
    if verdict == "dropped":
        # A neighbour that is not to be reached is not even found.
        return ("timeout", "unreachable") if explanation["path"][-1].startswith("bridge") else ("timeout",)
    if verdict in ("refused", "unreachable"):
        return (verdict,)
    if question.protocol == "icmp":
        return ("yes",)
    name = {"host": "host", "outside": "client"}.get(verdict, service)
    return (word(question, Probe(True, name, explanation["seen"], question.port)),)
