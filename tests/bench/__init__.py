# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection and its peers at the same work, side by side in one run.

Every subject has a lab host of its own; the rounds go over all subjects in turn, so that noise meets all alike.
"""
