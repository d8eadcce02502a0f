# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""The engine as one file that runs without Ansible: this package's own sources, as a Python zip application."""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import typing as t
import zipfile

from . import _cli

__all__ = ("build_archive",)

_PACKAGE = "bridgeport"
# Imported above, so that Ansible sends it along with the modules that build the archive.
_ENTRY = _cli.__name__.rpartition(".")[2]
# The same sources give the same bytes, so that a second run finds nothing to change.
_STAMP = (1980, 1, 1, 0, 0, 0)


def build_archive(interpreter: str) -> bytes:
    """The command ``bridgeport`` as the bytes of an executable file.

    :param interpreter: path of the Python that is to run it, one that has pyroute2.
    """
    files = {
        "__main__.py": "import sys\n\nfrom %s.%s import main\n\nsys.exit(main())\n" % (_PACKAGE, _ENTRY),
        "%s/__init__.py" % _PACKAGE: "",
    }
    for name, source in _sources().items():
        files["%s/%s.py" % (_PACKAGE, name)] = source
    buffer = io.BytesIO()
    buffer.write(b"#!%s\n" % interpreter.encode())
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(files):
            entry = zipfile.ZipInfo(path, _STAMP)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, files[path])
    return buffer.getvalue()


def _sources() -> dict[str, str]:
    """The sources of the command's module and of all that it imports from this package, by name."""
    found: dict[str, str] = {}
    waiting = [_ENTRY]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = inspect.getsource(importlib.import_module("." + name, __package__))
            waiting += _imported(found[name])
    return found


def _imported(source: str) -> t.Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            yield from [node.module] if node.module else [alias.name for alias in node.names]
