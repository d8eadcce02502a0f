#!/bin/sh
# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# All tests, one part after the other, each with its time. Goes on after a failed part, and fails at the end.

set -u

failed=
for part in lint types unit lab sanity; do
    echo "== $part =="
    start=$(date +%s)
    if ${MAKE:-make} --no-print-directory "$part"; then verdict=passed; else verdict=FAILED failed="$failed $part"; fi
    echo "== $part $verdict after $(($(date +%s) - start)) s =="
done

if [ -n "$failed" ]; then
    echo "Failed:$failed"
    exit 1
fi
echo "All parts passed."
