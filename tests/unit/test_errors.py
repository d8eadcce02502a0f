# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Errors are sentences in one line."""

from __future__ import annotations

import errno

import pytest
from ansible_collections.bridgeport.net.plugins.module_utils._errors import InputError, KernelError, system_words
from ansible_collections.bridgeport.net.plugins.module_utils._topology import Topology
from ansible_collections.bridgeport.net.plugins.module_utils._want_endpoints import want_endpoints
from samples import refused


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Cannot é 'b'.", "Cannot é 'b'."),
        ("Cannot a\nb.", "Cannot a\\nb."),
        ("Cannot \x1b[31m.", "Cannot \\x1b[31m."),
        ("Cannot \u2028.", "Cannot \\u2028."),
        ("Cannot \ud800.", "Cannot \\ud800."),
        ("Cannot \0.", "Cannot \\x00."),
    ],
)
def test_what_cannot_be_printed_is_spelled_out(said: str, shown: str) -> None:
    assert str(InputError(said)) == shown
    assert str(KernelError(said, 5)) == shown


def test_name_with_a_line_break_is_refused_in_one_line() -> None:
    refused(
        lambda: want_endpoints(Topology(), [{"name": "web", "network": "lan\n0"}]), "network lan\\n0", "does not exist"
    )


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (OSError(errno.EMFILE, "as the locale has it"), "Too many open files (EMFILE)"),
        # A socket's, which has no errno.
        (TimeoutError("timed out"), "timed out"),
        (OSError(), "OSError"),
    ],
)
def test_what_the_system_refused_is_named_with_or_without_an_errno(problem: OSError, words: str) -> None:
    assert system_words(problem) == words
