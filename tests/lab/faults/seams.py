# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a run ends or is refused: between the steps of its plan, and at each of its calls to the host.

Used in the process of a run, before it begins. Nothing of the collection knows of it: the functions that do things to the
host are replaced by ones that count, and then call them. A call is named by what it does, such as
"netlink RTM_NEWLINK create endpoint web".
"""

from __future__ import annotations

import builtins
import functools
import importlib
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import Any

MODULES = "ansible_collections.bridgeport.net.plugins.module_utils."
# Their functions are replaced, so their types say nothing.
_apply: Any = importlib.import_module(MODULES + "_apply")
_endpoints: Any = importlib.import_module(MODULES + "_endpoints")
_engine: Any = importlib.import_module(MODULES + "_engine")
_files: Any = importlib.import_module(MODULES + "_files")
_iptables: Any = importlib.import_module(MODULES + "_iptables")
_iptables_legacy: Any = importlib.import_module(MODULES + "_iptables_legacy")
_netlink: Any = importlib.import_module(MODULES + "_netlink")
_netns: Any = importlib.import_module(MODULES + "_netns")
_nftables: Any = importlib.import_module(MODULES + "_nftables")
_record: Any = importlib.import_module(MODULES + "_record")
_sysctl: Any = importlib.import_module(MODULES + "_sysctl")

OURS = ("/var/lib/bridgeport", "/etc/netns", "/run/netns", "/proc/sys")
KINDS = {16: "NEWLINK", 17: "DELLINK", 19: "SETLINK", 20: "NEWADDR", 21: "DELADDR", 24: "NEWROUTE", 25: "DELROUTE"}
FORGET_FLOW = 0x102
NOOP = 1
BAD_NFT = "delete table ip there_is_no_such_table\n"
BAD_RESTORE = "*filter\n-A THERE-IS-NO-SUCH-CHAIN -j ACCEPT\nCOMMIT\n"


class Seams:
    """The run's counter.

    kill_change: SIGKILL after so many steps of the plan. kill_call: SIGKILL after the call of this number. fail_call:
    the call of this number is refused with errno ``code``. Calls are numbered from 0, and only between the writing of
    the record and the end; without a number, none. meanwhile: a shell command of somebody else's, between the plan and
    its first step.
    """

    def __init__(
        self,
        note: Callable[[dict[str, Any]], None],
        kill_change: int | None = None,
        kill_call: int | None = None,
        fail_call: int | None = None,
        code: int = 0,
        meanwhile: str = "",
    ) -> None:
        """Prepare; nothing is replaced before install()."""
        self.note = note
        self.kill_change = kill_change
        self.kill_call = kill_call
        self.fail_call = fail_call
        self.code = code
        self.meanwhile = meanwhile
        self.calls: list[str] = []
        self.counting = False
        self.refused: int | None = None

    def install(self) -> None:
        """Put the counters in place."""
        self._steps()
        self._netlink()
        self._functions()
        self._files()

    def pass_by(self, name: str) -> int | None:
        """Count a call; returns the errno that it shall fail with, or None."""
        if not self.counting:
            return None
        number = len(self.calls)
        self.calls.append(name)
        return self.code if number == self.fail_call else None

    def passed(self) -> None:
        """A counted call is done."""
        if self.counting and len(self.calls) - 1 == self.kill_call:
            self.end()

    def end(self) -> None:
        """End this process as the outer world would: without a word, and at once."""
        self.note({"calls": self.calls})
        os.kill(os.getpid(), signal.SIGKILL)
        signal.pause()

    def _steps(self) -> None:
        real = _engine.apply

        def apply(changes: Any, finish: Callable[[], None], *rest: Any) -> Any:
            self.note({"steps": [change.sentence or type(change).__name__ for change in changes]})
            if self.kill_change is not None and self.kill_change <= len(changes):
                real(changes[: self.kill_change], self.end, *rest)
            return real(changes, finish, *rest)

        _engine.apply = apply
        begin = _record.Record.begin

        def counted_begin(record: Any, *args: Any) -> None:
            self.counting = True
            if self.meanwhile:
                subprocess.run(["sh", "-ec", self.meanwhile], check=True)
            begin(record, *args)

        _record.Record.begin = counted_begin

    def _netlink(self) -> None:
        real, answers = _netlink.Socket.transact, _netlink.Socket._acknowledgements

        def transact(sock: Any, requests: Any) -> None:
            if struct.unpack_from("=H", requests[0].message, 4)[0] == FORGET_FLOW:
                # How many flows there are to forget is not the same in each run, and the step is counted as a whole.
                real(sock, requests)
                return
            sent: list[Any] = []
            for request in requests:
                message = bytearray(request.message)
                kind = struct.unpack_from("=H", message, 4)[0]
                if self.pass_by(f"netlink {KINDS.get(kind, kind)} {request.attempt}") is not None:
                    # The kernel acknowledges this one and does nothing.
                    struct.pack_into("=H", message, 4, NOOP)
                    self.refused = len(sent)
                sent.append(request._replace(message=message))
                if self.counting and len(self.calls) - 1 == self.kill_call:
                    break
            real(sock, sent)
            self.passed()

        def acknowledgements(sock: Any, first: int, count: int) -> dict[int, int]:
            refused: dict[int, int] = answers(sock, first, count)
            if self.refused is not None:
                refused[self.refused] = self.code
                self.refused = None
            return refused

        _netlink.Socket.transact = transact
        _netlink.Socket._acknowledgements = acknowledgements

    def _functions(self) -> None:
        call = _netns._call

        def counted_call(function: str, *args: Any) -> int:
            words = [arg.decode() for arg in args if isinstance(arg, bytes)]
            code = self.pass_by(" ".join([function, sys._getframe(1).f_code.co_name, *words]))
            result = call(function, *args) if code is None else code
            self.passed()
            return int(result)

        _netns._call = counted_call
        self._rules()
        self._replace(_apply, "forget_flows", lambda *_rest: "forget flows")
        for module in (_apply, _endpoints):
            self._replace(module, "introduce", lambda *_rest: "introduce")

    def _rules(self) -> None:
        """A transaction that fails is one with a last line too many: the words are those of the program itself."""
        transact, program, steps = _nftables._run, _iptables.run_program, _iptables_legacy.apply_steps

        def nft(commands: str, attempt: str, *rest: Any, **options: Any) -> Any:
            if not attempt.startswith("write"):
                return transact(commands, attempt, *rest, **options)
            code = self.pass_by(f"nft {attempt}")
            result = transact(commands if code is None else commands + BAD_NFT, attempt, *rest)
            self.passed()
            return result

        def restore(command: Any, text: str = "", *rest: Any) -> Any:
            if not command[0].endswith("-restore"):
                return program(command, text, *rest)
            code = self.pass_by(f"run {command[0]}")
            result = program(command, text if code is None else text + BAD_RESTORE, *rest)
            self.passed()
            return result

        def legacy(version: int, tables: Any) -> None:
            commit = _iptables_legacy._commit
            if self.pass_by(f"python-iptables IPv{version} {' '.join(tables)}") is not None:
                _iptables_legacy._commit = self._refuse_second(commit)
            try:
                steps(version, tables)
            finally:
                # What undoes this is not refused.
                _iptables_legacy._commit = commit
            self.passed()

        _nftables._run, _iptables.run_program, _iptables_legacy.apply_steps = nft, restore, legacy

    def _refuse_second(self, real: Callable[..., bool]) -> Callable[..., bool]:
        """The first table is written, the next one is refused."""
        done: list[int] = []

        def commit(*args: Any) -> bool:
            if done:
                raise OSError(self.code, os.strerror(self.code))
            done.append(1)
            return real(*args)

        return commit

    def _files(self) -> None:
        for module in (_files, _sysctl, _record):
            vars(module)["open"] = self._open
        for name in ("rename", "symlink", "unlink", "fsync"):
            self._replace(os, name, functools.partial(_file_call, name))

    def _open(self, path: Any, mode: str = "r", **options: Any) -> Any:
        if "w" in mode:
            code = self.pass_by(f"write {path}")
            if code is not None:
                raise OSError(code, os.strerror(code))
        file = builtins.open(path, mode, **options)  # noqa: SIM115
        if "w" in mode:
            # Opened, and so emptied, and not yet written.
            self.passed()
        return file

    def _replace(self, module: Any, function: str, name_of: Callable[..., str]) -> None:
        real = getattr(module, function)

        def counted(*args: Any, **options: Any) -> Any:
            name = name_of(*args, **options)
            code = self.pass_by(name) if name else None
            if code is not None:
                raise OSError(code, os.strerror(code))
            result = real(*args, **options)
            if name:
                self.passed()
            return result

        setattr(module, function, counted)


def _file_call(name: str, *args: Any, **_options: Any) -> str:
    """The name of a call that does something to files, "" for those of others."""
    ours = name == "fsync" or any(str(arg).startswith(OURS) for arg in args)
    return " ".join([name, *map(str, args)]) if ours else ""
