# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fuzz tests with a number of cases.

``FUZZ_SCALE`` in the environment multiplies the number, and asks for other cases each time.
"""

from __future__ import annotations

import functools
import os
import typing as t

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

SCALE = int(os.environ.get("FUZZ_SCALE") or 1)
# The cases that each test really ran, by its name.
RAN: dict[str, int] = {}

Test = t.Callable[..., None]


def cases(number: int, *strategies: st.SearchStrategy[t.Any]) -> t.Callable[[Test], Test]:
    """Run a test with ``number`` cases of what the strategies make."""

    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        def counted(*arguments: t.Any, **options: t.Any) -> None:
            RAN[test.__name__] = RAN.get(test.__name__, 0) + 1
            test(*arguments, **options)

        return settings(max_examples=number * SCALE, phases=(Phase.generate, Phase.shrink))(given(*strategies)(counted))

    return decorate
