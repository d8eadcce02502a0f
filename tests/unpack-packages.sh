#!/bin/sh
# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Unpack the Debian packages that a file lists into a directory, without installing them: no script of theirs runs, no
# daemon is started, and removing the directory removes them.

set -eu

list=$(realpath "$1")
mkdir -p "$2"
cd "$2"
apt-get update --quiet --quiet
# shellcheck disable=SC2046
apt-get download --quiet --quiet -o APT::Sandbox::User=root $(cat "$list")
for package in *.deb; do
    dpkg-deb --extract "$package" .
    rm "$package"
done
