# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who reaches what: every way that a packet may come, with real packets, here and through Debian's Docker.

:mod:`topology` says what is on the host, :mod:`rows` who asks whom and which answer is wanted, :mod:`conditions` what
else may be so on a host, :mod:`ours` and :mod:`docker` make it, :mod:`asking` asks, :mod:`tables` prints.
``python -m matrix` is all of it.
"""
