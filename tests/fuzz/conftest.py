# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings of the fuzz tests, and how many cases there were in the end."""

from __future__ import annotations

import sys
import typing as t
from pathlib import Path

from hypothesis import HealthCheck, settings

# The stand-ins for nft and iptables, and the samples.
sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from cases import RAN, SCALE

settings.register_profile(
    "fuzz",
    deadline=None,
    derandomize=SCALE == 1,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("fuzz")


def pytest_terminal_summary(terminalreporter: t.Any) -> None:
    for name, number in RAN.items():
        terminalreporter.write_line("%6d  %s" % (number, name))
    terminalreporter.write_line("%d fuzz cases" % sum(RAN.values()))
