#!/bin/sh
# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Install the Debian packages that a file lists, those that are missing.

set -eu

missing=
while read -r package; do
    if ! dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed; then
        missing="$missing $package"
    fi
done <"$1"

if [ -n "$missing" ]; then
    echo "Installing$missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update --quiet --quiet
    # Some of these break others: ufw does iptables-persistent, which may hold the firewall of this machine. What is
    # installed here is the operator's, and to remove it is his decision.
    # shellcheck disable=SC2086
    apt-get install --yes --no-remove --quiet --quiet --no-install-recommends $missing
fi
