# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The host on which runs are disturbed, with a client and a friend on its LAN, and the workers on all three."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from faults.states import CLIENT, CLOSED, FRIEND, LAN, QUESTIONS, SERVED, SUBNETS, Question, State
from hostlab import Host, Lab
from hostlab.process import kill_group
from support import COLLECTIONS, HOST, choose_backend, differences

WORKER = Path(__file__).with_name("worker.py")
# A closed door costs the first; where an answer is wanted, it gets the time that a busy machine may take for it.
PATIENCE, MORE_PATIENCE = 0.3, 3.0
RECORD = "/var/lib/bridgeport"
FORWARDING = {
    "/proc/sys/net/ipv4/ip_forward": "0",
    "/proc/sys/net/ipv6/conf/all/forwarding": "0",
    "/proc/sys/net/ipv6/conf/eth0/accept_ra": "1",
    "/proc/sys/net/ipv6/conf/default/accept_ra": "1",
}
# Doors at which the client knocks during each run, whatever it does: nobody may ever open.
SHUT = [
    (protocol, address, port)
    for protocol in ("tcp", "udp")
    for address, port in [
        *((LAN[version], port) for version in (4, 6) for port in (22, 81, 5001, 8004)),
        *((address, port) for number in (17, 18, 19, 20) for address in (f"172.{number}.0.2", f"fd00:{number}::2") for port in (22, 5001)),
        ("172.17.0.2", 5000),
        ("172.17.0.3", 5000),
        ("172.18.0.3", 5000),
    ]
]  # fmt: skip


class Lost(Exception):  # noqa: N818
    """Something did not survive what it must."""


class Ended(NamedTuple):
    """How a run ended: its exit status (negative: the signal), what it printed, what its seams noted."""

    status: int
    text: str
    errors: str
    seconds: float
    steps: list[str]
    calls: list[str]

    @property
    def result(self) -> dict[str, Any]:
        """The module's result. Lost if it printed anything else."""
        try:
            result = json.loads(self.text)
        except ValueError:
            said = (self.text + self.errors)[-2000:]
            raise Lost(f"a run printed no result (status {self.status}): {said}") from None
        if "Traceback" in self.text:
            raise Lost(f"a run printed a traceback: {self.text[-3000:]}")
        return dict(result)


class Knocked(NamedTuple):
    """What a watch saw: what went wrong, in sentences, and how often it knocked."""

    lost: list[str]
    knocks: int


class Worker:
    """The worker of one host, as the outside sees it. Not for two threads at once."""

    def __init__(self, host: Host) -> None:
        """Start it."""
        command = ["env", f"PYTHONPATH={COLLECTIONS}", sys.executable, str(WORKER)]
        self.process = subprocess.Popen(
            host.argv(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.host = host
        self._read()

    def ask(self, do: str, **words: Any) -> Any:
        """Ask for something, and wait for the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **words}) + "\n")
        self.process.stdin.flush()
        answer = self._read()
        if "error" in answer:
            raise AssertionError(f"the worker on {self.host.name} failed: {answer['error']}")
        return answer["answer"]

    def _read(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"the worker on {self.host.name} has ended with status {self.process.wait(5)}")
        return json.loads(line)

    def stop(self) -> None:
        """End it with all that it started."""
        kill_group(self.process)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


class Ground:
    """A lab with its three workers, and what the host's states look like when nothing disturbs."""

    def __init__(self, scratch: Path, backend: str) -> None:
        """Start it all. ``backend``: one of support.BACKENDS."""
        self.lab = Lab(scratch)
        self.backend = backend
        self.references: dict[str, dict[str, Any]] = {}
        try:
            hosts = {
                "host": self.lab.add_host("host", HOST),
                "client": self.lab.add_host("client", [f"{CLIENT[4]}/24", f"{CLIENT[6]}/64"]),
                "friend": self.lab.add_host("friend", [f"{FRIEND[4]}/24", f"{FRIEND[6]}/64"]),
            }
            self.option = choose_backend(hosts["host"], backend)["backend"]
            for host in hosts.values():
                # Or a datagram to a closed port would be refused once a second only.
                for setting in ("ipv4/icmp_ratelimit", "ipv6/icmp/ratelimit"):
                    host.write(f"/proc/sys/net/{setting}", "0")
            for number in SUBNETS:
                for version, subnet in ((4, f"172.{number}.0.0/16"), (6, f"fd00:{number}::/64")):
                    hosts["client"].run(["ip", f"-{version}", "route", "add", subnet, "via", LAN[version]])
            self.workers = {name: Worker(host) for name, host in hosts.items()}
        except BaseException:
            self.stop()
            raise
        self.host, self.worker = hosts["host"], self.workers["host"]
        self.pool = ThreadPoolExecutor(len(hosts))

    def __enter__(self) -> Ground:
        """Nothing more to start."""
        return self

    def __exit__(self, *_problem: object) -> None:
        """Stop it all."""
        self.stop()

    def stop(self) -> None:
        """End the workers and the lab."""
        for worker in getattr(self, "workers", {}).values():
            worker.stop()
        self.lab.stop()

    # Runs

    def start(self, module: str, options: dict[str, Any], **how: Any) -> int:
        """Begin a run of a module; how: seams, environment, limits."""
        return int(self.worker.ask("start", request={"module": module, "options": options, **how}))

    def end(self, run: int, delay: float | None = None, begun: bool = False) -> Ended:
        """Wait for the end of a run; with a delay, kill it."""
        said = self.worker.ask("end", run=run, delay=delay, begun=begun)
        if said["hung"]:
            raise Lost(f"a run did not end: {said['text'][-2000:]}")
        notes = said.get("steps", []), said.get("calls", [])
        return Ended(said["status"], said["text"], said["errors"], said["seconds"], *notes)

    def run(self, module: str, options: dict[str, Any], **how: Any) -> Ended:
        """Run a module to its end."""
        return self.end(self.start(module, options, **how))

    def to(self, state: State, **how: Any) -> Ended:
        """Run from whatever there is to a state, by one plan."""
        return self.run("target", self.target(state), **how)

    def target(self, state: State) -> dict[str, Any]:
        """The options that ask for a state."""
        return {**state.lists(), "backend": self.option}

    def boot(self) -> Ended:
        """What the boot unit runs."""
        run = self.worker.ask("start", request={"command": ["apply"]})
        return self.end(run)

    def settle(self, state: State, run: Ended | None = None) -> None:
        """Be in a state: undisturbed, and once more without a change.

        :raises Lost: a run failed, or the second one changed something.
        """
        done = (run or self.to(state)).result
        if done.get("failed"):
            raise Lost(f"the next run failed: {done['msg']}")
        again = self.to(state).result
        if again.get("failed") or again.get("changed"):
            raise Lost(f"a second run changed something: {again.get('msg') or again['actions']}")

    def make_references(self, states: Sequence[State]) -> None:
        """See what each state looks like when nothing disturbs, in whichever order they come.

        :raises Lost: a state is not the same by one way as by another, or a door is not as it should be.
        """
        for state in [*states, *reversed(states)]:
            self.settle(state)
            if not state.networks:
                self.forget_forwarding()
            known = self.references.setdefault(state.name, self.snapshot())
            self.compare(known)
            self.ask_all([state])

    def forget_forwarding(self) -> None:
        """Let the host be one that never forwarded."""
        self.worker.ask("write", values=FORWARDING)

    def snapshot(self, inside: bool = True) -> dict[str, Any]:
        """See hostlab.snapshot. inside: of namespaces not only their names."""
        return comparable(self.worker.ask("snapshot", inside=inside))

    def compare(self, known: dict[str, Any], inside: bool = True) -> None:
        """Make sure that the host is as known, once links have settled.

        :raises Lost: it is not.
        """
        for _attempt in range(5):
            found = self.snapshot(inside)
            if not differences(known, found):
                return
        raise Lost("the host is not as after an undisturbed run: " + "; ".join(detail(known, found)))

    # Doors

    def ask_all(self, states: Sequence[State], between: bool = False) -> int:
        """Ask every question; each must be answered as in one of the states. Returns how many were asked.

        between: the host may be half-way, where what is not in both states alike may be closed.

        :raises Lost: a door was open, shut or led elsewhere.
        """
        self.worker.ask("serve", ports=SERVED)
        right = {question: {question.answer(state) for state in states} for question in QUESTIONS}
        for question in QUESTIONS:
            if between and not question.kept:
                right[question].add(CLOSED)
        wrong = self._wrong(right, PATIENCE)
        wrong = self._wrong({question: right[question] for question in wrong}, MORE_PATIENCE)
        if wrong:
            raise Lost("; ".join(f"{question}: {answer} answered" for question, answer in wrong.items()))
        return len(QUESTIONS)

    def wait_for(self, questions: Sequence[Question]) -> None:
        """Wait until web answers: a thousand new endpoints have much to tell each other at first.

        :raises Lost: it does not.
        """
        self.worker.ask("serve", ports=SERVED, only=["web"])
        right = {question: {question.before} for question in questions}
        for _attempt in range(10):
            wrong = self._wrong(right, MORE_PATIENCE)
            if not wrong:
                return
        raise Lost("; ".join(f"{question}: {answer} answered" for question, answer in wrong.items()))

    def _wrong(self, right: dict[Question, set[str]], patience: float) -> dict[Question, str]:
        """Ask questions; returns those with another answer than the right ones, and the answer."""
        places = dict.fromkeys(question.place for question in right)
        mine = {place: [question for question in right if question.place == place] for place in places}

        def of_place(place: str) -> list[str]:
            targets = [(q.protocol, q.address, q.port) for q in mine[place]]
            worker = self.workers.get(place, self.worker)
            netns = None if place in self.workers else place
            found = worker.ask("probe", targets=targets, timeout=patience, netns=netns)
            return [answer["name"] if answer["ok"] else CLOSED for answer in found]

        answers = zip(places, self.pool.map(of_place, places))
        found = {question: answer for place, said in answers for question, answer in zip(mine[place], said)}
        return {question: answer for question, answer in found.items() if answer not in right[question]}

    def watch(self, kept: Sequence[Question]) -> None:
        """Have the client, and for its own doors the friend, knock until watched() is called."""
        for place in ("client", "friend"):
            doors = [(q.protocol, q.address, q.port, q.before) for q in kept if q.place == place]
            self.workers[place].ask("watch", kept=doors, closed=SHUT if place == "client" else [])

    def watched(self) -> Knocked:
        """End the watch."""
        said = [self.workers[place].ask("watched") for place in ("client", "friend")]
        return Knocked([sentence for each in said for sentence in each["lost"]], sum(each["knocks"] for each in said))


def without_bare_tables(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without the tables that iptables-nft makes when it needs them: a kill leaves them behind, empty and harmless."""

    def table_of(kind: str, body: dict[str, Any]) -> tuple[str, str]:
        return body["family"], body["name" if kind == "table" else "table"]

    items = [(kind, body) for item in objects for kind, body in item.items()]
    filled = {
        table_of(kind, body)
        for kind, body in items
        if kind != "table" and not (kind == "chain" and body.get("policy") == "accept")
    }
    return [{kind: body} for kind, body in items if table_of(kind, body) in filled]


def comparable(found: dict[str, Any]) -> dict[str, Any]:
    """A snapshot without what depends on the way to a state, and not on the state.

    That are the order in which tables and what is in them were made, the link-local addresses that the kernel gives a second after an
    interface came up, and what a port of a bridge got from a setting for interfaces to come, which it never uses.
    """

    def place(entry: dict[str, Any]) -> str:
        # Of rules, the order within their chain counts, and stays.
        kind, body = next(iter(entry.items()))
        return " ".join((kind, body["family"], body.get("table", ""), body.get("chain") or body["name"]))

    for network in (found, *filter(None, found["namespaces"].values())):
        network["addresses"] = {
            name: [address for address in addresses if address["scope"] != "link"]
            for name, addresses in network["addresses"].items()
        }
        network["routes"] = [route for route in network["routes"] if not route["dst"].startswith("fe80:")]
    sysctls = {key: value for key, value in found["sysctls"].items() if "/bp-" not in key}
    # A table of legacy iptables that was made once cannot be deleted: without a rule or a chain of ours it is none.
    tables = {
        name: lines
        for name, lines in found["iptables"].items()
        if any(line.startswith("-") or line.endswith(" -") for line in lines)
    }
    return {
        **found,
        "nftables": sorted(without_bare_tables(found["nftables"]), key=place),
        "sysctls": sysctls,
        "iptables": tables,
    }


def detail(before: Any, after: Any, path: str = "") -> list[str]:
    """The leaves in which two snapshots differ, at most a dozen."""
    if isinstance(before, dict) and isinstance(after, dict):
        found = [
            line
            for key in sorted(before.keys() | after.keys())
            for line in detail(before.get(key), after.get(key), f"{path}/{key}")
        ]
        return found[:12]
    if before == after:
        return []
    if isinstance(before, list) and isinstance(after, list):
        gone = [item for item in before if item not in after]
        new = [item for item in after if item not in before]
        return [f"{path}: missing {str(gone)[:600]}, new {str(new)[:600]}"]
    return [f"{path}: {before} became {after}"]
