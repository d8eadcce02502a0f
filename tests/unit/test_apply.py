# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Steps that fail, and undoing them, as far as it needs no root."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.bridgeport.net.plugins.module_utils._apply import apply, undo
from ansible_collections.bridgeport.net.plugins.module_utils._changes import WriteFile
from ansible_collections.bridgeport.net.plugins.module_utils._errors import BridgeportError
from ansible_collections.bridgeport.net.plugins.module_utils._state import FileState


def test_one_that_cannot_be_undone_leaves_the_others_to_be_undone(tmp_path: Path) -> None:
    names = ["first", "blocked/second", "third"]
    (tmp_path / "blocked").write_text("a file where a directory was")
    steps = [WriteFile(("host", "files"), str(tmp_path / name), FileState("before"), None) for name in names]
    words = undo([(WriteFile, steps)])
    assert words.startswith("Undoing what this run had changed failed as well: Cannot write %s: " % steps[1].path)
    assert words.endswith("(EEXIST). Run again to complete it."), words
    assert [(tmp_path / name).read_text() for name in ("first", "third")] == ["before", "before"]


def test_a_failure_that_is_borne_is_told_and_the_run_is_finished(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file where a directory was")
    step = WriteFile(("host", "files"), str(tmp_path / "blocked/it"), None, FileState("new"))
    finished: list[bool] = []
    (sentence,) = apply([step], lambda: finished.append(True), bearing=(WriteFile,))
    assert finished == [True]
    assert sentence.startswith("Cannot write %s: " % step.path)
    assert sentence.endswith("All else was done; 'bridgeport apply' tries this again.")
    with pytest.raises(BridgeportError, match="What this run had changed until then was undone"):
        apply([step], lambda: finished.append(True))
    assert finished == [True]
