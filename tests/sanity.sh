#!/bin/sh
# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# ansible-test sanity on a copy of the collection: it insists on the path ansible_collections/bridgeport/net.

set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
work="$top/.cache/sanity"
copy="$work/ansible_collections/bridgeport/net"
python=$(python -c 'import sys; print("%d.%d" % sys.version_info[:2])')

rm -rf "$copy"
mkdir -p "$copy"
cd "$top"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents --no-dereference --target-directory "$copy"

# It lists files by git, which ignores the cache of this checkout.
git init --quiet "$copy"

# ansible-test fetches pip's bootstrap from a host of its own, unless its cache has it: the interpreter's pip serves.
export HOME="$work/home"
unset ANSIBLE_HOME ANSIBLE_COLLECTIONS_PATH
cache="$HOME/.ansible/test/cache"
mkdir -p "$cache"
for version in 23_1_2 24_2 25_2; do
    cat >"$cache/get_pip_$version.py" <<'END'
import subprocess
import sys

subprocess.check_call([sys.executable, "-m", "ensurepip", "--default-pip"], stdout=subprocess.DEVNULL)
wanted = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", *wanted]))
END
done

cd "$copy"
exec ansible-test sanity --python "$python" --color no "$@"
