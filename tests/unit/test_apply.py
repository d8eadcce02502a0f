# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Undoing steps, as far as it needs no root."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.bridgeport.net.plugins.module_utils._apply import undo
from ansible_collections.bridgeport.net.plugins.module_utils._changes import WriteFile
from ansible_collections.bridgeport.net.plugins.module_utils._state import FileState


def test_one_that_cannot_be_undone_leaves_the_others_to_be_undone(tmp_path: Path) -> None:
    names = ["first", "blocked/second", "third"]
    (tmp_path / "blocked").write_text("a file where a directory was")
    steps = [WriteFile(("host", "files"), str(tmp_path / name), FileState("before"), None) for name in names]
    words = undo([(WriteFile, steps)])
    assert words.startswith("Undoing what this run had changed failed as well: Cannot write %s: " % steps[1].path)
    assert words.endswith("(EEXIST). Run again to complete it."), words
    assert [(tmp_path / name).read_text() for name in ("first", "third")] == ["before", "before"]
