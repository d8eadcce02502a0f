# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The benchmarks themselves: a short run of all of them, and what is made of the numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.control import Control
from bench.figures import figures
from bench.flows import DOCKER, PROXY, ROUTING, TCP, THROUGHPUT, UDP
from bench.measure import ADD, AGAIN, FULL, REMOVE, Book, Key, Settings, ports
from bench.peers.base import Peer, Times, Work
from bench.report import tables
from bench.resident import PROCESSES, PSS
from hostlab import LabError
from support import BACKENDS, ROOT

OURS = [f"ours, {backend}" for backend in BACKENDS]
PUBLISHERS = {
    *OURS,
    "ours, nftables, as an Ansible task",
    "nft -f",
    "Docker, proxy on",
    "Docker, proxy off",
    "CNI plugins",
    "netavark",
    "Ansible, an item per port",
}
ATTACHERS = {
    OURS[0],
    "ours, nftables, as an Ansible task",
    "ip -batch",
    "Docker",
    "CNI plugins",
    "netavark",
    "Ansible, an item per endpoint",
}


@pytest.fixture(scope="module")
def unpacked() -> None:
    """The peers' programs, downloaded once."""
    subprocess.run(["make", "--silent", ".cache/docker", ".cache/peers"], cwd=ROOT, check=True, timeout=600)


def test_a_short_run_measures_every_subject(unpacked: None, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    command = [sys.executable, "-m", "bench", "--quick", "--report", str(folder)]
    path = f"{ROOT / 'tests'}:{ROOT / 'tests/lab'}"
    done = subprocess.run(
        ["env", f"PYTHONPATH={path}", *command], cwd=ROOT, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    data = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert data["failures"] == []
    found = {(each["part"], each["subject"], each["what"], each["number"]): each for each in data["measurements"]}
    assert all(
        each["median"] > 0 for key, each in found.items() if key[3] and key[2] not in (PROCESSES, PSS, "memory, RSS")
    )

    for what in (ADD, REMOVE):
        assert {key[1] for key in found if key[0] == "publish" and key[2] == what and key[3] == 20} >= PUBLISHERS
        assert {key[1] for key in found if key[0] == "attach" and key[2] == what and key[3] == 4} >= ATTACHERS
    assert found["publish", "Ansible, an item per port", ADD, 20]["estimated_from"] == 2
    for name in OURS:
        assert ("publish", name, AGAIN, 20) in found
        # What its name promises: no process, and so no memory.
        assert found["publish", name, PROCESSES, 20]["values"] == [0.0]
    # dockerd, containerd, the container's shim, and two proxies for each port.
    assert found["publish", "Docker, proxy on", PROCESSES, 20]["values"] == [43.0]
    assert found["publish", "Docker, proxy off", PROCESSES, 20]["values"] == [3.0]
    for what in (TCP, UDP):
        assert {(key[1], key[3]) for key in found if key[2] == what} == {
            *((name, number) for name in (*OURS, DOCKER) for number in (1, 20)), (ROUTING, 1), (PROXY, 1),
        }  # fmt: skip
    assert {key[1] for key in found if key[2] == THROUGHPUT} == {*OURS, DOCKER, ROUTING, PROXY}
    assert {key[2] for key in found if key[0] == "site"} == {"first run", "no change"}

    assert "## Figures to reach" in done.stdout and "own time:" in done.stdout
    assert (folder / "report.md").read_text(encoding="utf-8").startswith(done.stdout[:200])
    for name in ("publish.svg", "attach.svg", "tcp.svg"):
        picture = (folder / name).read_text(encoding="utf-8")
        assert OURS[0] in picture and "href=" not in picture
    assert "_engine.py" in (folder / "profile-publish-nftables-add.txt").read_text(encoding="utf-8")


def filled() -> Book:
    """Numbers that meet every figure, to the last."""
    book = Book()
    book.add(Key("publish", "Docker, proxy on", ADD, 1000), 30.0)
    book.add(Key("attach", "Docker", ADD, 1000), 300.0)
    for name in OURS:
        book.add(Key("publish", name, ADD, 1000), 0.3)
        book.add(Key("publish", name, ADD, 10000), 0.99)
        book.add(Key("publish", name, AGAIN, 10000), 0.49)
        book.add(Key("publish", name, PROCESSES, 1000), 0.0, "")
        book.add(Key("publish", name, PSS, 1000), 0.0, "MiB")
        book.add(Key("flows", name, THROUGHPUT, 1), 9500.0, "Mbit/s")
        for what in (TCP, UDP):
            book.add(Key("flows", name, what, 1), 10.0, "us")
            book.add(Key("flows", name, what, 10000), 11.0 if name == OURS[0] else 15.0, "us")
    book.add(Key("flows", ROUTING, THROUGHPUT, 1), 10000.0, "Mbit/s")
    for what, value in ((ADD, 4.0), (AGAIN, 1.0), (REMOVE, 2.0)):
        book.add(Key("attach", OURS[0], what, 1000), value)
    return book


def test_every_figure_met() -> None:
    assert {figure.verdict for figure in figures(filled())} == {"met"}
    assert {figure.verdict for figure in figures(Book())} == {"not measured"}


@pytest.mark.parametrize(
    ("key", "worse"),
    [
        (Key("publish", "Docker, proxy on", ADD, 1000), 29.0),
        (Key("publish", OURS[0], ADD, 10000), 1.01),
        (Key("publish", OURS[2], AGAIN, 10000), 0.51),
        (Key("attach", OURS[0], ADD, 1000), 4.1),
        (Key("attach", OURS[0], AGAIN, 1000), 1.1),
        (Key("attach", OURS[0], REMOVE, 1000), 2.1),
        (Key("flows", OURS[0], TCP, 10000), 11.2),
        (Key("flows", OURS[1], UDP, 10000), 15.2),
        (Key("flows", OURS[0], THROUGHPUT, 1), 9400.0),
        (Key("publish", OURS[0], PROCESSES, 1000), 1.0),
    ],
    ids=str,
)
def test_a_figure_missed(key: Key, worse: float) -> None:
    book = filled()
    book.measurements[key].values[:] = [worse]
    missed = [figure for figure in figures(book) if figure.verdict == "missed"]
    # Docker's time is in the comparison of all three backends.
    assert len(missed) == (3 if key.subject.startswith("Docker") else 1), missed


class Hanging(Peer):
    """Is stopped by the host, which took too long with it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def add(self, work: Work) -> Times:  # noqa: ARG002
        try:
            subprocess.run(["sleep", "60"], timeout=0.01, check=True)
        except subprocess.TimeoutExpired as error:
            raise LabError("It took too long.") from error
        return {}

    def remove(self, work: Work) -> Times:
        raise AssertionError(f"asked to take down {work.count} objects that were never set up")


class Slow(Peer):
    """Takes a second for each object and one more, on a host that is not needed."""

    makes_endpoint = True

    def __init__(self, name: str, broken: int = 0) -> None:
        self.name = name
        self.asked: list[int] = []
        self.broken = broken

    def add(self, work: Work) -> Times:
        if self.broken and work.count >= self.broken:
            raise RuntimeError("broken")
        self.asked.append(len(work.ports))
        return {"": 1.0 + len(work.ports)}

    def remove(self, work: Work) -> Times:
        return {"": len(work.ports) / 2}


def test_what_would_take_too_long_is_extrapolated() -> None:
    book, slow = Book(), Slow("slow")
    settings = Settings(rounds=3, limit=101.0, patience=25.0)
    Control(book, settings, "publish", lambda number: Work(["web"], ports(number))).measure([slow], [1, 10, 100, 1000])
    # 100 take as long as is allowed, and are not repeated; after them nothing larger is tried.
    assert slow.asked == [0, 0, 0, 1, 1, 1, 10, 10, 100]
    assert book.median("publish", "slow", ADD, 1000) == 1001.0
    assert book.measurements[Key("publish", "slow", REMOVE, 1000)].estimated_from == 100
    assert "~1e+03 s" in "\n".join(tables(book))


def test_what_takes_too_long_is_stopped_and_no_failure() -> None:
    book, hanging = Book(), Hanging("Docker, proxy on")
    Control(book, Settings(limit=100.0), "publish", lambda number: Work(["web"], ports(number))).measure(
        [hanging], [1000]
    )
    assert book.failures == []
    book.add(Key("publish", OURS[0], ADD, 1000), 0.5)
    assert ">360 s (720x)" in "\n".join(tables(book))
    assert figures(book)[0].measured.startswith(">720x") and figures(book)[0].verdict == "met"


def test_a_subject_that_fails_does_not_stop_the_others() -> None:
    book, good, bad = Book(), Slow("good"), Slow("bad", broken=10)
    settings = Settings(rounds=1, limit=FULL.limit)
    Control(book, settings, "publish", lambda number: Work(["web"], ports(number))).measure([bad, good], [1, 10, 100])
    assert book.failures == ["publish: bad, of 10: broken"]
    assert book.median("publish", "good", ADD, 100) == 101.0
    assert book.median("publish", "bad", ADD, 100) is None
