# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What becomes of a host when a run is killed, refused by the kernel, or not alone.

:mod:`states` says what is on the host and which doors are open, :mod:`worker` runs the collection's code there, each run
in a process of its own, and :mod:`seams` is where such a process ends or is refused. :mod:`ground` speaks to the workers
from outside. :mod:`kills`, :mod:`injections` and :mod:`crowds` are the cases. ``python -m faults` is all of it.
"""
