# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""Named network namespaces: files in /run/netns, made and left as iproute2 does, so that both work together."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys
import typing as t

from ._errors import KernelError, kernel_words

__all__ = (
    "NAMESPACE_DIRECTORY",
    "create",
    "delete",
    "exists",
    "forget_broken",
    "inside",
    "is_namespace",
    "prepare_directory",
)

NAMESPACE_DIRECTORY = "/run/netns"

_CLONE_NEWNET = 0x40000000
_MS_BIND, _MS_REC, _MS_SHARED = 4096, 16384, 1 << 20
_MNT_DETACH = 2
_OWN = "/proc/thread-self/ns/net"
_libc = ctypes.CDLL(None, use_errno=True)


def _path(name: str) -> str:
    return "%s/%s" % (NAMESPACE_DIRECTORY, name)


def _call(function: str, *args: t.Any) -> int:
    """Call libc; returns 0 or the errno."""
    return ctypes.get_errno() if getattr(_libc, function)(*args) else 0


def _fail(attempt: str, code: int) -> t.NoReturn:
    raise KernelError("Cannot %s: the kernel said: %s." % (attempt, kernel_words(code)), code)


def exists(name: str) -> bool:
    """Whether /run/netns has an entry of exactly that name, be it a namespace or a broken file."""
    return os.path.lexists(_path(name))


def is_namespace(name: str) -> bool:
    """Whether /run/netns has a network namespace of exactly that name, and not just a file."""
    try:
        return os.stat(_path(name)).st_dev == os.stat(_OWN).st_dev
    except OSError:
        return False


def prepare_directory() -> None:
    """Make /run/netns a shared mount, as iproute2 does, so that namespaces mounted there are seen everywhere.

    :raises KernelError: the kernel refused.
    """
    os.makedirs(NAMESPACE_DIRECTORY, mode=0o755, exist_ok=True)
    path = NAMESPACE_DIRECTORY.encode()
    code = _call("mount", b"", path, b"none", _MS_SHARED | _MS_REC, None)
    if code == errno.EINVAL:
        # Not a mount point yet: only a mount can be shared.
        code = _call("mount", path, path, b"none", _MS_BIND | _MS_REC, None)
        code = code or _call("mount", b"", path, b"none", _MS_SHARED | _MS_REC, None)
    if code:
        _fail("make %s a shared mount" % NAMESPACE_DIRECTORY, code)


def create(name: str, in_it: t.Callable[[], t.Any]) -> t.Any:
    """Create a named namespace, call ``in_it`` inside and come back; returns its result.

    :raises KernelError: the kernel refused, or the name exists; nothing of this call is left.
    """
    path = _path(name)
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))
    except OSError as problem:
        _fail("create the namespace file %s" % path, problem.errno or 0)
    try:
        with _returning():
            code = _call("unshare", _CLONE_NEWNET)
            if code:
                _fail("create a network namespace for %s" % name, code)
            code = _call("mount", _OWN.encode(), path.encode(), b"none", _MS_BIND, None)
            if code:
                _fail("mount the network namespace at %s" % path, code)
            return in_it()
    except BaseException:
        delete(name)
        raise


def delete(name: str) -> None:
    """Take the name from a namespace. It ends with its last process and its last open file. No such name is no error.

    :raises KernelError: the kernel refused.
    """
    path = _path(name)
    code = _call("umount2", path.encode(), _MNT_DETACH)
    if code not in (0, errno.EINVAL, errno.ENOENT):
        _fail("unmount the namespace %s" % path, code)
    forget_broken(name)


def forget_broken(name: str) -> None:
    """Remove a file in /run/netns that is no namespace. No such file is no error.

    :raises KernelError: the kernel refused.
    """
    try:
        os.unlink(_path(name))
    except FileNotFoundError:
        pass
    except OSError as problem:
        _fail("remove the namespace file %s" % _path(name), problem.errno or 0)


def inside(name: str, in_it: t.Callable[[], t.Any]) -> t.Any:
    """Call ``in_it`` inside the named namespace and come back; returns its result.

    :raises KernelError: there is no such namespace (ENOENT), or the file is none (EINVAL).
    """
    try:
        file = os.open(_path(name), os.O_RDONLY | os.O_CLOEXEC)
    except OSError as problem:
        _fail("open the namespace %s" % _path(name), problem.errno or 0)
    try:
        with _returning():
            code = _call("setns", file, _CLONE_NEWNET)
            if code:
                _fail("enter the namespace %s" % _path(name), code)
            return in_it()
    finally:
        os.close(file)


@contextlib.contextmanager
def _returning() -> t.Iterator[None]:
    """Come back to the present namespace, whatever happens.

    A process that cannot come back is ended at once: whatever it did next, undoing included, would hit the wrong host.
    The next run completes what it began.
    """
    home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        code = _call("setns", home, _CLONE_NEWNET)
        os.close(home)
        if code:
            sys.stderr.write("Cannot return to the host's own network namespace: %s.\n" % kernel_words(code))
            sys.stderr.flush()
            os._exit(70)
