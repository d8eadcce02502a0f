#!/bin/sh
# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# run-all.sh PART ...: parts of the tests, one after the other, each with its time and a sign of life every half minute.
# Goes on after a failed part, and fails at the end.

set -u

show_progress() {
    trap 'kill "$nap"; exit' TERM
    while :; do
        sleep 30 &
        nap=$!
        wait "$nap"
        echo "-- $1 for $(($(date +%s) - $2)) s"
    done
}

[ $# -gt 0 ] || { echo "There is no part to run." >&2; exit 1; }
failed=
progress=
trap '[ -z "$progress" ] || kill "$progress"' EXIT
for part in "$@"; do
    echo "== $part =="
    start=$(date +%s)
    show_progress "$part" "$start" &
    progress=$!
    if ${MAKE:-make} --no-print-directory "$part"; then verdict=passed; else verdict=FAILED failed="$failed $part"; fi
    kill "$progress"
    wait "$progress" 2>/dev/null
    progress=
    echo "== $part $verdict after $(($(date +%s) - start)) s =="
done

if [ -n "$failed" ]; then
    echo "Failed:$failed"
    exit 1
fi
echo "All parts passed: $*."
