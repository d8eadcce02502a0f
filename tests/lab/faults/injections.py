# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs that the host refuses something: each is undone completely, says what and why, and succeeds afterwards."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from faults.ground import Ground, Lost
from faults.kills import KEPT
from faults.states import AFTER, BEFORE, State
from faults.tally import Tally

# What the kernel may say to each kind of call, and to all others.
CODES = {
    "unshare": errno.ENOSPC,
    "mount": errno.ENOMEM,
    "umount2": errno.EBUSY,
    "setns": errno.EPERM,
    "write": errno.ENOSPC,
    "rename": errno.EROFS,
    "fsync": errno.EIO,
    "symlink": errno.EDQUOT,
    "unlink": errno.EROFS,
}
NETLINK_CODES = (errno.ENOBUFS, errno.EBUSY, errno.ENOMEM)
RULES = ("nft", "run", "python-iptables")
# Back from a namespace there must be a way: without one the process ends at once, and the next run completes it.
NO_WAY_BACK = "setns _returning"


def refused_calls(ground: Ground, tally: Tally, only: Sequence[str] = ()) -> None:
    """The first and the last call of each kind that a run makes is refused, one at a time.

    only: kinds, in place of all.
    """
    ground.settle(BEFORE)
    calls = ground.to(AFTER, seams={}).calls
    ground.settle(AFTER)
    ground.settle(BEFORE)
    for number in chosen(calls):
        name = calls[number]
        if name.startswith(NO_WAY_BACK) or (only and not name.startswith(tuple(only))):
            continue
        code = CODES.get(name.split()[0], NETLINK_CODES[number % 3])
        words = "" if name.startswith(RULES) else f"{os.strerror(code)} ({errno.errorcode[code]})"
        refuse(ground, tally, f"call {number}, {name}", words, seams={"fail_call": number, "code": code})


def chosen(calls: Sequence[str]) -> list[int]:
    """The numbers of the first and the last call of each kind."""
    kinds: dict[str, list[int]] = {}
    for number, name in enumerate(calls):
        kinds.setdefault(kind_of(name), []).append(number)
    return sorted({number for numbers in kinds.values() for number in (numbers[0], numbers[-1])})


def kind_of(name: str) -> str:
    """What sort of call it is: the netlink message, the function, the directory that is written to."""
    words = name.split()
    if words[0] == "netlink":
        return " ".join(words[:3])
    if words[-1].startswith("/proc/sys"):
        return f"{words[0]} /proc/sys"
    return " ".join([words[0], *map(os.path.dirname, words[1:2])])


def refuse(ground: Ground, tally: Tally, what: str, words: str, **how: Any) -> None:
    """One run from before to after meets a refusal; another one does not.

    :raises Lost: something was left of it, or it was not told as it should be, or a door did not stay open.
    """
    ground.worker.ask("serve", ports=(22, 5000, 5001))
    ground.watch(KEPT)
    tally.count("injections")
    try:
        ended = ground.to(AFTER, **how)
        result = ended.result
        if result.get("failed"):
            told_well(result["msg"], words)
            ground.compare(ground.references[BEFORE.name])
        else:
            # Something that need not succeed.
            ground.compare(ground.references[AFTER.name])
    except Lost as problem:
        raise Lost(f"{ground.backend}, refused {what}: {problem}") from None
    finally:
        knocked = ground.watched()
    if knocked.lost:
        raise Lost(f"{ground.backend}, refused {what}: {'; '.join(knocked.lost[:5])}")
    for state in (AFTER, BEFORE):
        ground.settle(state)
        ground.compare(ground.references[state.name])


def told_well(message: str, words: str) -> None:
    """Make sure that an error is a sentence of ours with the system's own words in it."""
    if not message.startswith("Cannot ") or "unforeseen" in message or "\n" in message or words not in message:
        raise Lost(f"the error should be a sentence with {words!r} in it and is: {message}")
    if "failed as well" in message:
        raise Lost(f"not all was undone: {message}")


class Trouble(NamedTuple):
    """Something wrong with the host itself: how it comes and goes, as shell commands, and what is said of it.

    meanwhile: it comes between the run's plan and its first step.
    """

    what: str
    begin: str
    end: str
    words: str
    meanwhile: bool = False


RECORD = "/var/lib/bridgeport"
TROUBLES = [
    Trouble(
        "a full disk at the record",
        f"cp -a {RECORD} /run/saved; mount -t tmpfs -o size=64k none {RECORD}; cp -a /run/saved/. {RECORD}/; "
        f"head -c 999999 /dev/zero > {RECORD}/filler || true",
        f"umount {RECORD}; rm -r /run/saved",
        "No space left on device (ENOSPC)",
    ),
    Trouble(
        "a read-only directory of the record",
        f"mount --bind {RECORD} {RECORD}; mount -o remount,ro,bind {RECORD}",
        f"umount {RECORD}",
        "Read-only file system (EROFS)",
    ),
    Trouble(
        "a read-only /proc/sys",
        "mount --bind /proc/sys /proc/sys; mount -o remount,ro,bind /proc/sys",
        "umount /proc/sys",
        "Read-only file system (EROFS)",
    ),
    Trouble(
        "a read-only /etc/netns",
        "mount --bind /etc/netns /etc/netns; mount -o remount,ro,bind /etc/netns",
        "umount /etc/netns",
        "Read-only file system (EROFS)",
    ),
    Trouble("a file of a namespace's name", "touch /run/netns/extra", "rm /run/netns/extra", "/run/netns/extra"),
    Trouble(
        "a namespace of that name that came meanwhile",
        "ip netns add extra",
        "ip netns del extra",
        "/run/netns/extra",
        meanwhile=True,
    ),
]
# What a backend cannot be without.
NEEDED = {
    "nftables": "/usr/lib/x86_64-linux-gnu/libnftables.so.1",
    "iptables-nft": "/usr/sbin/xtables-nft-multi",
    "iptables-legacy": "/usr/sbin/xtables-legacy-multi",
}


def troubles(ground: Ground, tally: Tally) -> None:
    """What is wrong with the host as a whole, one thing after the other."""
    path = NEEDED[ground.backend]
    missing = Trouble(f"no {path}", f"mount --bind /dev/null {path}", f"umount {path}", "Install")
    ground.settle(BEFORE)
    for trouble in (*TROUBLES, missing):
        with_trouble(ground, tally, trouble)


def with_trouble(ground: Ground, tally: Tally, trouble: Trouble) -> None:
    """One run while something is wrong with the host; another when it is no more.

    :raises Lost: see refuse().
    """
    tally.count("injections")
    how = {"seams": {"meanwhile": trouble.begin}} if trouble.meanwhile else {}
    if not trouble.meanwhile:
        ground.host.run(["sh", "-ec", trouble.begin])
    try:
        result = ground.to(AFTER, **how).result
    finally:
        # Fails where the run has taken away what is not its own.
        ground.host.run(["sh", "-ec", trouble.end])
    try:
        if not result.get("failed"):
            raise Lost("the run did not fail")
        told_well(result["msg"], trouble.words)
        ground.compare(ground.references[BEFORE.name])
        for state in (AFTER, BEFORE):
            ground.settle(state)
            ground.compare(ground.references[state.name])
    except Lost as problem:
        raise Lost(f"{ground.backend}, {trouble.what}: {problem}") from None


def few_files(ground: Ground, tally: Tally, limits: Sequence[int]) -> None:
    """Runs that may open so many files only: each is refused before it begins, or succeeds, as with the last limit.

    :raises Lost: one began and failed, or the last one was refused.
    """
    ground.settle(BEFORE)
    for limit in limits:
        refuse(
            ground, tally, f"more than {limit} open files", "Raise the limit of open files", limits={"NOFILE": limit}
        )
    result = ground.to(AFTER, limits={"NOFILE": limits[-1]}).result
    if result.get("failed"):
        raise Lost(f"{limits[-1]} open files are enough: {result['msg']}")
    ground.settle(BEFORE)


def no_way_back(ground: Ground, tally: Tally) -> None:
    """A process that cannot leave a namespace again ends at once, as if it were killed; the next run completes it."""
    ground.settle(BEFORE)
    calls = ground.to(AFTER, seams={}).calls
    ground.settle(BEFORE)
    number = next(number for number, name in enumerate(calls) if name.startswith(NO_WAY_BACK))
    tally.count("injections")
    ended = ground.to(AFTER, seams={"fail_call": number, "code": errno.EPERM})
    if ended.status != 70 or "Cannot return to the host's own network namespace" not in ended.errors:
        raise Lost(f"no way back: status {ended.status}, {ended.errors[-500:]}")
    settle_all(ground, (AFTER, BEFORE))


def settle_all(ground: Ground, states: Sequence[State]) -> None:
    """Be in states, one after the other, each as it always is."""
    for state in states:
        ground.settle(state)
        ground.compare(ground.references[state.name])
