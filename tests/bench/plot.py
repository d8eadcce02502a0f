# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plots: one line for each subject over the number of objects, both axes logarithmic."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import pygal

from bench import attach, flows, publish
from bench.measure import ADD, AGAIN, REMOVE, Book, Key


class Plot(NamedTuple):
    """A picture: its file's name, its title, what it shows, and in which unit."""

    name: str
    title: str
    part: str
    what: str
    unit: str


PLOTS = (
    Plot("publish", "Publishing ports of one endpoint", publish.PART, ADD, "seconds"),
    Plot("publish-no-change", "The same ports once more", publish.PART, AGAIN, "seconds"),
    Plot("unpublish", "Taking the ports back", publish.PART, REMOVE, "seconds"),
    Plot("attach", "Creating endpoints", attach.PART, ADD, "seconds"),
    Plot("attach-no-change", "The same endpoints once more", attach.PART, AGAIN, "seconds"),
    Plot("detach", "Removing endpoints", attach.PART, REMOVE, "seconds"),
    Plot("tcp", "A new tcp connection to the last of many ports", flows.PART, flows.TCP, "microseconds"),
    Plot("udp", "A new udp flow to the last of many ports", flows.PART, flows.UDP, "microseconds"),
)


def plots(book: Book, folder: Path) -> list[Path]:
    """Draw what was measured; returns the files."""
    return [draw(book, plot, folder) for plot in PLOTS if book.columns(plot.part, plot.what)]


def draw(book: Book, plot: Plot, folder: Path) -> Path:
    """Draw one."""
    # Without the script for tooltips, which would be loaded from elsewhere.
    chart = pygal.Line(
        title=plot.title, y_title=plot.unit, logarithmic=True, js=[], legend_at_bottom=True, truncate_legend=-1,
        width=1000, height=640, legend_at_bottom_columns=2,
    )  # fmt: skip
    # Powers of ten, but for a short run: evenly spaced on a logarithmic axis.
    counts = [count for count in book.columns(plot.part, plot.what) if count]
    chart.x_labels = [f"{count:,}" for count in counts]
    values = {
        subject: [book.median(*Key(plot.part, subject, plot.what, count)) for count in counts]
        for subject in book.subjects(plot.part, plot.what)
    }
    chart.y_labels = decades([value for line in values.values() for value in line if value])
    for subject, line in values.items():
        chart.add(subject, line)
    path = folder / f"{plot.name}.svg"
    path.write_bytes(chart.render())
    return path


def decades(values: list[float]) -> list[float]:
    """The powers of ten around all values."""
    if not values:
        return []
    lowest, highest = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return [10.0**power for power in range(lowest, highest + 1)]
