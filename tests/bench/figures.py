# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The figures to reach: what was measured of each, and whether it was met."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench import attach, flows, publish, resident
from bench.measure import ADD, AGAIN, REMOVE, Book, Key
from support import BACKENDS

MET, MISSED, UNKNOWN = "met", "missed", "not measured"


@dataclass(frozen=True)
class Figure:
    """One line of the table. ``reason`` says where the time goes."""

    what: str
    reach: str
    measured: str
    docker: str
    verdict: str
    reason: str


def figures(book: Book) -> list[Figure]:
    """All of them, in their order."""
    return [
        *against_docker(book),
        *ten_thousand(book),
        *thousand_endpoints(book),
        *last_of_many(book),
        *throughput(book),
        *residents(book),
    ]


def against_docker(book: Book) -> Iterator[Figure]:
    """Publishing 1,000 ports, by how much faster than Docker."""
    for backend in BACKENDS:
        name = f"ours, {backend}"
        ours = book.median(publish.PART, name, ADD, 1000)
        docker = book.measurements.get(Key(publish.PART, publish.DOCKER_ON, ADD, 1000))
        factor = docker.median / ours if ours and docker else None
        task = book.median(publish.PART, f"{name}, as an Ansible task", ADD, 1000)
        whole = f"; as a whole Ansible task {docker.median / task:.0f}x" if task and docker else ""
        yield Figure(
            f"1,000 ports of one endpoint, in the module, {backend}",
            "100x faster than `docker run`",
            f"{docker.mark}{factor:.0f}x ({seconds(ours)}{whole})" if docker and factor else "-",
            f"{docker.mark}{seconds(docker.median)}" if docker else "-",
            verdict(factor and factor >= 100),
            where(book, Key(publish.PART, name, ADD, 10000)),
        )


def ten_thousand(book: Book) -> Iterator[Figure]:
    """10,000 publishes."""
    docker = book.measurements.get(Key(publish.PART, publish.DOCKER_ON, ADD, 10000))
    for backend in BACKENDS:
        for what, words, reach in ((ADD, "first run", 1.0), (AGAIN, "no change", 0.5)):
            key = Key(publish.PART, f"ours, {backend}", what, 10000)
            took = book.median(*key)
            yield Figure(
                f"10,000 ports, {words}, in the module, {backend}",
                f"under {reach:g} s",
                seconds(took),
                f"{docker.mark}{seconds(docker.median)}" if docker and what == ADD else "-",
                verdict(took and took < reach),
                where(book, key),
            )


def thousand_endpoints(book: Book) -> Iterator[Figure]:
    """1,000 endpoints."""
    for what, words, reach in ((ADD, "create", 4.0), (AGAIN, "no change", 1.0), (REMOVE, "remove", 2.0)):
        key = Key(attach.PART, "ours, nftables", what, 1000)
        took = book.median(*key)
        docker = book.median(attach.PART, "Docker", what, 1000)
        yield Figure(
            f"1,000 endpoints, {words}, each, in the module",
            f"{reach:g} ms",
            f"{took:.2f} ms" if took else "-",
            f"{docker:.0f} ms" if docker else "-",
            verdict(took and took <= reach),
            where(book, key),
        )


def last_of_many(book: Book) -> Iterator[Figure]:
    """A new connection to the last of 10,000 ports, compared with the only one."""
    for backend in BACKENDS:
        reach = 1.1 if backend == "nftables" else 1.5
        for what in (flows.TCP, flows.UDP):
            one, last = (book.measurements.get(Key(flows.PART, f"ours, {backend}", what, n)) for n in (1, 10000))
            factor = last.median / one.median if one and last else None
            docker = [book.median(flows.PART, flows.DOCKER, what, n) for n in (1, 1000)]
            yield Figure(
                f"{what} to the last of 10,000 ports, {backend}",
                f"{reach}x of the only one",
                f"{factor:.2f}x" if factor else "-",
                f"{docker[1] / docker[0]:.2f}x of 1,000" if docker[0] and docker[1] else "-",
                verdict(factor and factor <= reach),
                ", ".join(
                    f"{words} {found.median:.1f} µs (half of the rounds {found.spread[0]:.1f} to {found.spread[1]:.1f})"
                    for words, found in (("only one", one), ("last", last))
                    if found
                ),
            )


def throughput(book: Book) -> Iterator[Figure]:
    """Throughput of a published port, compared with plain routing."""
    plain = book.measurements.get(Key(flows.PART, flows.ROUTING, flows.THROUGHPUT, 1))
    docker = book.median(flows.PART, flows.DOCKER, flows.THROUGHPUT, 1)
    for backend in BACKENDS:
        ours = book.measurements.get(Key(flows.PART, f"ours, {backend}", flows.THROUGHPUT, 1))
        factor = ours.median / plain.median if ours and plain else None
        yield Figure(
            f"throughput of a published port, {backend}",
            "0.95 of plain routing",
            f"{factor:.2f}" if factor else "-",
            f"{docker / plain.median:.2f}" if docker and plain else "-",
            verdict(factor and factor >= 0.95),
            ", ".join(
                f"{words} {found.median / 1000:.1f} Gbit/s "
                f"(half of the rounds {found.spread[0] / 1000:.1f} to {found.spread[1] / 1000:.1f})"
                for words, found in (("plain routing", plain), ("published", ours))
                if found
            ),
        )


def residents(book: Book) -> Iterator[Figure]:
    """What stays in memory for 1,000 ports."""
    for backend in BACKENDS:
        ours = [
            book.median(publish.PART, f"ours, {backend}", what, 1000) for what in (resident.PROCESSES, resident.PSS)
        ]
        docker = [
            book.median(publish.PART, publish.DOCKER_ON, what, 1000) for what in (resident.PROCESSES, resident.PSS)
        ]
        known = ours[0] is not None and ours[1] is not None
        yield Figure(
            f"resident for 1,000 ports, {backend}",
            "0 processes, 0 MiB",
            f"{ours[0]:.0f} processes, {ours[1]:.0f} MiB" if known else "-",
            f"{docker[0]:.0f} processes, {docker[1]:.0f} MiB" if docker[0] and docker[1] else "-",
            verdict(ours == [0, 0] if known else None),
            "",
        )


def verdict(reached: object) -> str:
    """One word."""
    return UNKNOWN if reached is None else MET if reached else MISSED


def where(book: Book, key: Key) -> str:
    """Where the time goes, of this or of the largest count that was profiled."""
    return book.where.get(key, "")


def seconds(value: float | None) -> str:
    """Seconds, to three places."""
    return "-" if value is None else f"{value:.3g} s"
