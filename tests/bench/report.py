# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report: tables in Markdown for the terminal and for a file, JSON, and plots."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import attach, flows, publish, sites
from bench.figures import MISSED, figures
from bench.measure import ADD, AGAIN, REMOVE, Book, Key
from bench.plot import plots

OURS = "ours, nftables"
PROGRAMS = (["nft", "--version"], ["iptables", "--version"], ["ansible", "--version"])
HEADINGS = {
    publish.PART: "Ports of one endpoint",
    attach.PART: "Endpoints",
    flows.PART: "New connections, and throughput",
    sites.PART: "The playbook site",
}
WORDS = {ADD: "set up", AGAIN: "ask again, no change", REMOVE: "take down"}


def write(book: Book, folder: Path, about: dict[str, Any]) -> str:
    """Write everything into a folder; returns the Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = plots(book, folder)
    text = "\n".join([*head(about), *tables(book), *conclusion(book)]) + "\n"
    pictures = "".join(f"\n![{path.stem}]({path.name})\n" for path in drawn)
    (folder / "report.md").write_text(text + pictures, encoding="utf-8")
    for name, listing in book.profiles.items():
        (folder / name).write_text(listing, encoding="utf-8")
    data = {
        "about": about,
        "measurements": book.as_json(),
        "figures": [vars(figure) for figure in figures(book)],
        "failures": book.failures,
    }
    (folder / "results.json").write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return text


def surroundings() -> dict[str, Any]:
    """The machine and its programs."""
    versions = {}
    for command in PROGRAMS:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        versions[command[0]] = done.stdout.splitlines()[0] if done.stdout else "none"
    load = Path("/proc/loadavg").read_text(encoding="ascii").split()[0]
    cpus = Path("/proc/cpuinfo").read_text(encoding="utf-8").count("processor\t")
    return {"kernel": platform.release(), "python": platform.python_version(), "cpus": cpus, "load": load, **versions}


def head(about: dict[str, Any]) -> Iterator[str]:
    """What the numbers are, and where they were taken."""
    yield "# Benchmarks\n"
    yield "; ".join(f"{name} {value}" for name, value in about.items()) + "\n"
    yield f"Medians of the rounds. In brackets how many times as long as {OURS}, or as much. ~ is extrapolated, > was stopped."


def tables(book: Book) -> Iterator[str]:
    """All tables."""
    for part, what in dict.fromkeys((key.part, key.what) for key in book.measurements):
        yield f"\n## {HEADINGS[part]}: {WORDS.get(what, what)}\n"
        subjects, counts = book.subjects(part, what), book.columns(part, what)
        rows = [[subject, *(cell(book, Key(part, subject, what, count)) for count in counts)] for subject in subjects]
        yield from table(["", *(f"{count:,}" for count in counts)], rows)


def cell(book: Book, key: Key) -> str:
    """One median, and its ratio to ours."""
    found = book.measurements.get(key)
    if found is None:
        return ""
    ours = book.median(key.part, OURS, key.what, key.number)
    ratio = f" ({found.median / ours:.3g}x)" if ours and key.subject != OURS else ""
    return f"{found.mark}{quantity(found.median, found.unit)}{ratio}"


def quantity(value: float, unit: str) -> str:
    """A value as people read it."""
    if unit == "us":
        return f"{value:.1f} µs, {1e6 / value:,.0f}/s"
    if unit == "s":
        return f"{value:.3g} s" if value >= 1 else f"{value * 1000:.3g} ms"
    return f"{value:,.0f} {unit}".strip()


def conclusion(book: Book) -> Iterator[str]:
    """The figures to reach, and what failed."""
    found = figures(book)
    yield "\n## Figures to reach\n"
    rows = [[f.what, f.reach, f.measured, f.docker, f.verdict] for f in found]
    yield from table(["figure", "to reach", "measured", "Docker", ""], rows)
    yield ""
    for figure in found:
        if figure.verdict == MISSED:
            yield f"* missed: {figure.what}, {figure.measured}. {figure.reason}".rstrip()
    yield "\n## Where the time goes\n"
    for key, shares in book.where.items():
        yield f"* {HEADINGS[key.part].lower()}, {key.number:,}, {key.subject}, {WORDS[key.what]}: {shares}"
    if book.failures:
        yield "\n## Failed measurements\n"
        yield from (f"* {failure}" for failure in book.failures)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A Markdown table with columns that line up."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    lines.insert(1, ["-" * width for width in widths])
    for line in lines:
        yield "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths)) + " |"
