# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Print both matrices, ours and Docker's; exit status 1 if a cell is wrong."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hostlab import Lab
from matrix import ours
from matrix.asking import Ground, ask, give_routes, serve
from matrix.conditions import FOREIGN, PLAIN
from matrix.docker import IPV6, Docker
from matrix.rows import kernel_has_sctp, questions
from matrix.tables import LETTERS, Dockers, Ours, matrix_a, matrix_b, wrong
from matrix.topology import NETWORKS, PLACES
from support import BACKENDS, CLIENT, HOST

LEGEND = """
Who asks: E the outside client, H the host, an endpoint by its name (peer shares a network with web, other does not).
Answers: the source address that the service saw (E, H the host's address on the LAN, gw the gateway of the service's
network, or an endpoint), yes for a ping; refused, timeout, unreachable; wanted may be closed, which is either of the
last two; F is any of these. Each cell is asked over every protocol and IP version; where they differ, it says so.
Docker 29's column is what is documented of it, = where that is what is wanted here; the others are measured.
Columns that are alike are printed once, under all their numbers.
WRONG: not what is wanted.
beside Docker: safer, a door is shut that it leaves open; works, it has no answer; less, it means to give an answer and
there is none here; source, its service sees another address.
"""


def main() -> int:
    """Run everything the command line asks for."""
    parser = argparse.ArgumentParser(prog="matrix", description="Who reaches what, in full.")
    parser.add_argument("--backend", choices=BACKENDS, default="nftables")
    parser.add_argument("--loopback", choices=("nat", "proxy"), nargs="+", default=["nat", "proxy"])
    parser.add_argument("--docker", type=Path, help="where Debian's Docker was unpacked; without it, no such columns")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bridgeport-matrix-") as scratch:
        found = {way: measure_ours(Path(scratch), arguments.backend, way) for way in arguments.loopback}
        docker = []
        if arguments.docker:
            for proxy in (False, True):
                docker += measure_docker(Path(scratch), arguments.docker.resolve(), proxy)
    for way, answers in found.items():
        show(answers, docker, arguments.backend, way)
    return report([each for way in found.values() for each in way], docker)


def measure_ours(scratch: Path, backend: str, loopback: str) -> list[Ours]:
    """Our answers in every condition."""
    found = []
    with Lab(scratch / f"ours-{loopback}") as lab:
        say(f"ours: {backend}, loopback {loopback}")
        ground, modules = ours.machines(lab, scratch, loopback)
        ours.make(modules, backend, loopback)
        serve(ground, [place.name for place in PLACES])
        give_routes(ground, NETWORKS)
        # A proxy's connections begin on the host and are never forwarded.
        for condition in PLAIN if loopback == "proxy" else (*PLAIN, *FOREIGN):
            say(f"ours: {condition}")
            with condition.on(ground.host, lambda: modules.ok("bridge_network", name="docker0")):
                found.append(Ours(condition, ask(ground, questions(loopback))))
    return found


def measure_docker(scratch: Path, unpacked: Path, proxy: bool) -> list[Dockers]:
    """Docker's answers, with the FORWARD policy that it sets and with the one that a host may have had before."""
    lab = Lab(scratch / f"docker-{proxy}")
    ground = Ground(lab.add_host("client", CLIENT), lab.add_host("host", HOST))
    docker = Docker(ground.host, unpacked, proxy)
    try:
        with lab:
            return ask_docker(docker, ground)
    finally:
        docker.clean()


def ask_docker(docker: Docker, ground: Ground) -> list[Dockers]:
    """Docker's answers, one set for each policy."""
    kind = f"{docker.start(IPV6)}, userland proxy {'on' if docker.proxy else 'off'}"
    say(f"Docker {kind}")
    docker.make()
    serve(ground, [place.name for place in docker.places])
    give_routes(ground, docker.networks)
    asked = [question for question in questions() if docker.can_be_asked(question)]
    found = []
    for policy in ("DROP", "ACCEPT"):
        for command in ("iptables", "ip6tables"):
            ground.host.run([command, "-P", "FORWARD", policy])
        found.append(Dockers(f"{kind}, FORWARD {policy}", docker.proxy, ask(ground, asked)))
    return found


def show(found: Sequence[Ours], docker: Sequence[Dockers], backend: str, loopback: str) -> None:
    """Print all tables."""
    print(f"\nWho reaches what: backend {backend}, loopback {loopback}")
    print(LEGEND)
    print(*(f"[{number}] {condition}" for number, (condition, _answers) in enumerate(found, 1)), sep="\n")
    print(*(f"[{letter}] Docker {each.words}" for letter, each in zip(LETTERS, docker)), sep="\n")
    if not kernel_has_sctp():
        print("sctp: this kernel has none, so nothing is asked over it.")
    print("\nMatrix A: who reaches a published port", *matrix_a(found, docker, loopback == "proxy"), sep="\n")
    print("\nMatrix B: what each mode of a network lets through")
    print("ctr is the service, c2 its neighbour, d1 an endpoint of another network, pub its published port; port 80 is")
    print("published and 81 is not. Docker's mode without doors, nat-unprotected, is not offered.")
    print(*matrix_b(found, docker), sep="\n")


def report(found: Sequence[Ours], docker: Sequence[Dockers]) -> int:
    """Print what is wrong and how much was asked; returns the exit status."""
    bad = wrong(found)
    print("", *bad, sep="\n")
    cells = sum(len(each.answers) for each in found)
    print(f"{cells} cells of ours in {len(found)} conditions: {len(bad)} wrong.")
    print(f"{sum(len(each.answers) for each in docker)} cells of Docker's.")
    return 1 if bad else 0


def say(text: str) -> None:
    """Tell what is going on, apart from the tables."""
    print(f"... {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
