# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints the matrices: rows and columns, ours beside Docker's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import NamedTuple

from matrix.conditions import Condition
from matrix.rows import NOT_OFFERED, REFUSALS, Question

Answers = Mapping[Question, str]
LETTERS = "abcdefgh"


class Ours(NamedTuple):
    """Our answers in one condition."""

    condition: Condition
    answers: Answers


class Dockers(NamedTuple):
    """Docker's answers; proxy: its userland proxy runs."""

    words: str
    proxy: bool
    answers: Answers


def wrong(found: Iterable[Ours]) -> list[str]:
    """A sentence for each cell that is wrong."""
    return [
        f"{question}, {condition}: wanted {question.wanted}, got {answer}"
        for condition, answers in found
        for question, answer in answers.items()
        if not question.right(answer)
    ]


def matrix_a(found: Sequence[Ours], docker: Sequence[Dockers], proxy: bool) -> list[str]:
    """Matrix A, a line for each row. Conditions that give the same column share one.

    proxy: ours are to be compared with Docker's answers by its proxy.
    """
    rows = _rows(found[0].answers)
    columns = [("row", [cells[0].row for cells in rows]), ("wanted", [wanted(cells) for cells in rows])]
    ours = [(f"[{number}]", [our_cell(cells, each) for cells in rows]) for number, each in enumerate(found, 1)]
    columns += _merged(ours)
    columns.append(
        (
            "",
            [
                "WRONG" if any("WRONG" in column[number] for _label, column in ours) else "ok"
                for number in range(len(rows))
            ],
        )
    )
    columns.append(("Docker 29", [documented(cells) for cells in rows]))
    columns += _merged(
        [(f"[{letter}]", [together(cells, each.answers) for cells in rows]) for letter, each in zip(LETTERS, docker)]
    )
    like = [each.answers for each in docker if each.proxy == proxy]
    if like:
        columns.append(("beside Docker", [compare(cells, found[0].answers, like) for cells in rows]))
    return grid([heading for heading, _column in columns], list(zip(*(column for _heading, column in columns))))


def matrix_b(found: Sequence[Ours], docker: Sequence[Dockers]) -> list[str]:
    """Matrix B: a table of what is wanted, tables of what was answered, each for all conditions that give the same."""
    tables = [("wanted; = where Docker 29 is documented to give the same", _modes(found[0].answers, _wanted_or_same))]
    tables += _merged(
        [(f"[{number}]", _modes(each.answers, partial(our_cell, ours=each))) for number, each in enumerate(found, 1)]
    )
    theirs = [
        (f"[{letter}]", _modes(each.answers, partial(together, answers=each.answers)))
        for letter, each in zip(LETTERS, docker)
    ]
    tables += [(f"Docker {label}, the modes that it has", lines) for label, lines in _merged(theirs)]
    return [line for label, lines in tables for line in ("", label, *lines)]


def _merged(columns: Iterable[tuple[str, list[str]]]) -> list[tuple[str, list[str]]]:
    """The columns, those with the same content under one heading."""
    labels: dict[tuple[str, ...], str] = {}
    for label, column in columns:
        labels[tuple(column)] = labels.get(tuple(column), "") + label
    return [(label, list(column)) for column, label in labels.items()]


def _modes(answers: Answers, show: Callable[[Sequence[Question]], str]) -> list[str]:
    rows: dict[str, dict[str, list[Question]]] = {}
    for question in answers:
        if question.table == "B":
            rows.setdefault(question.row, {}).setdefault(question.column, []).append(question)
    headings = list(dict.fromkeys(column for row in rows.values() for column in row))
    return grid(["mode", *headings], [[mode, *(show(row[name]) for name in headings)] for mode, row in rows.items()])


def _rows(answers: Answers) -> list[list[Question]]:
    rows: dict[str, list[Question]] = {}
    for question in answers:
        if question.table == "A":
            rows.setdefault(question.row, []).append(question)
    return list(rows.values())


def _wanted_or_same(cells: Sequence[Question]) -> str:
    return wanted(cells) + (" =" if documented(cells).endswith("=") else "")


def our_cell(cells: Sequence[Question], ours: Ours) -> str:
    """Our answers to one cell's questions; WRONG behind what is not what is wanted."""
    text = together(
        cells,
        {
            **ours.answers,
            **{each: "closed" for each in cells if each.wanted == "closed" and each.right(ours.answers[each])},
        },
    )
    bad = [question for question in cells if not question.right(ours.answers[question])]
    return f"{text} WRONG" if bad else text


def wanted(cells: Sequence[Question]) -> str:
    """The wanted answers to one cell's questions."""
    return together(cells, {question: question.wanted for question in cells})


def documented(cells: Sequence[Question]) -> str:
    """What Docker 29 is documented to answer; = behind it where that is what is wanted here."""
    said = {question: question.docker for question in cells}
    if not all(said.values()):
        return ""
    same = all(_word(said[question]) == _word(question.wanted) for question in cells)
    return together(cells, said) + (" =" if same else "")


def compare(cells: Sequence[Question], ours: Answers, docker: Sequence[Answers]) -> str:
    """How ours stand beside Docker's.

    safer: a door is shut that Docker leaves open, works: there is an answer where Docker has none, less: there is none
    where Docker means to give one, source: the service sees another address.
    """
    if any(question.docker == NOT_OFFERED for question in cells):
        return ""
    words = []
    for question, theirs in product(cells, docker):
        here, there = _word(ours[question]), _word(theirs.get(question, ""))
        if there and here != there:
            shut = "less" if question.docker not in ("", "F") else "safer"
            words.append(shut if here == "F" else "works" if there == "F" else "source")
    return ", ".join(dict.fromkeys(words)) or "equal"


def _word(answer: str) -> str:
    return "F" if answer in REFUSALS else answer


def together(cells: Sequence[Question], answers: Answers) -> str:
    """The answers to one cell's questions as one text, shortened where protocols or IP versions agree."""
    by_word: dict[str, list[Question]] = {}
    for question in cells:
        if question in answers:
            by_word.setdefault(answers[question], []).append(question)
    if len(by_word) <= 1:
        return "".join(by_word)
    return ", ".join(f"{_which(group, cells)} {text}" for text, group in by_word.items())


def _which(group: Sequence[Question], cells: Sequence[Question]) -> str:
    """The words for some of a cell's questions: a protocol, an IP version, or each by itself."""
    ways: list[tuple[str, list[Question]]] = []
    for question in cells:
        ways.append((question.protocol, [each for each in cells if each.protocol == question.protocol]))
        ways.append((f"v{question.version}", [each for each in cells if each.version == question.version]))
    for name, members in ways:
        if members == list(group):
            return name
    return "+".join(f"{question.protocol}{question.version}" for question in group)


def grid(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table with columns of even width."""
    table = [list(headings), *(list(line) for line in lines)]
    widths = [max(len(line[number]) for line in table if number < len(line)) for number in range(len(headings))]
    rule = ["-" * width for width in widths]
    return [
        "  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip()
        for line in [table[0], rule, *table[1:]]
    ]
