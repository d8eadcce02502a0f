# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible callback plugin: writes how long each task took into the file that BENCH_DURATIONS names, one JSON line each."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """Takes the time from a task's start to the end of its last host, loop items included."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "durations"

    def __init__(self) -> None:
        super().__init__()
        self._task = ""
        self._start = self._end = 0.0

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:  # noqa: ARG002
        """Close the task before, and begin this one."""
        self._write()
        self._task, self._start = task.get_name(), time.perf_counter()

    def v2_runner_on_ok(self, result: Any) -> None:  # noqa: ARG002
        """One host is done."""
        self._end = time.perf_counter()

    def v2_playbook_on_stats(self, stats: Any) -> None:  # noqa: ARG002
        """The play is over."""
        self._write()

    def _write(self) -> None:
        if self._task and self._end > self._start:
            with open(os.environ["BENCH_DURATIONS"], "a", encoding="utf-8") as file:
                file.write(json.dumps({"task": self._task, "seconds": self._end - self._start}) + "\n")
