# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Process 1 of the lab's pid namespaces; a script, started by hostlab.lab through unshare(1).

    holder.py lan DIRECTORY [OWNER_FD]   the LAN: a bridge; every host's pid namespace lies inside this one
    holder.py host NAME SCRATCH          a host: own /proc, /sys, /run, and overlays of /etc and /var/lib

Once set up it prints "ready" on stdout, then reaps orphans until SIGTERM. When process 1 goes, the kernel
kills everything else in its namespace, nested ones included: that is the whole clean-up of processes, mounts
and links. OWNER_FD is a pidfd of the process that the lab belongs to: when that ends, in whatever way, the
lab's directory is removed and the LAN goes.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import socket
import sys
import time
from types import FrameType

MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
OVERLAID = ("/etc", "/var/lib")


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """Call mount(2); SystemExit with a sentence when the kernel refuses."""
    # The system call and not mount(8): seven processes fewer for each host.
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode()
    if libc.mount(*arguments) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise SystemExit(f"Mounting {kind} on {target} with options {data!r} failed: {reason}. Is this root?")


def ip(*arguments: str) -> None:
    """Run ip(8); SystemExit with a sentence when it fails (its own words are already on stderr)."""
    if os.spawnvp(os.P_WAIT, "ip", ["ip", *arguments]) != 0:
        raise SystemExit(f"The command ip {' '.join(arguments)} failed; its own message stands above.")


def set_sysctl(path: str, value: str, required: bool = True) -> None:
    """Write a value below /proc/sys; what this kernel does not have is passed over unless `required`."""
    try:
        with open("/proc/sys/" + path, "w", encoding="ascii") as file:
            file.write(value)
    except OSError as error:
        if required:
            raise SystemExit(f"Writing {value} to /proc/sys/{path} failed: {error}.") from error


def overlay(path: str, scratch: str) -> None:
    """Let this mount namespace write to `path` without the writes being seen outside."""
    base = scratch + path
    for name in ("upper", "work"):
        os.makedirs(f"{base}/{name}")
    # The root of an overlay has the mode of its upper directory.
    os.chmod(f"{base}/upper", os.stat(path).st_mode & 0o7777)
    mount("overlay", path, "overlay", data=f"lowerdir={path},upperdir={base}/upper,workdir={base}/work")


def set_up_host(name: str, scratch: str) -> None:
    """Make the namespaces that this process was started in look like a host of its own."""
    os.umask(0o022)
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    # A tmpfs, because the directory's own file system may itself be an overlay, which cannot be an upper
    # layer, and because nothing is then left on the disk.
    mount("tmpfs", scratch, "tmpfs", MS_NOSUID | MS_NODEV, "mode=700")
    for path in OVERLAID:
        overlay(path, scratch)
    mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    os.mkdir("/run/lock")
    os.chmod("/run/lock", 0o1777)
    socket.sethostname(name)
    # A new network namespace copies IPv4 settings from the machine, where Docker may have set forwarding.
    set_sysctl("net/ipv4/ip_forward", "0")
    for group in ("all", "default"):
        set_sysctl(f"net/ipv6/conf/{group}/disable_ipv6", "0")
        set_sysctl(f"net/ipv6/conf/{group}/accept_dad", "0")
    ip("link", "set", "lo", "up")


def set_up_lan() -> None:
    """Make the bridge that stands for the switch; it has no address and looks at nothing above Ethernet."""
    set_sysctl("net/ipv6/conf/default/disable_ipv6", "1")
    for family in ("iptables", "ip6tables", "arptables"):
        set_sysctl(f"net/bridge/bridge-nf-call-{family}", "0", required=False)
    ip("link", "add", "lan", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
    ip("link", "set", "lan", "up")


def report_ready() -> None:
    """Tell the starter, and let go of its pipe."""
    os.write(1, b"ready\n")
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 1)
    os.close(null)


def reap() -> None:
    """Collect every child that has ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def wait_for_end(owner: int | None) -> bool:
    """Reap children until SIGTERM (return False) or until the owner's pidfd says it ended (return True)."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    ended: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGTERM:
            ended.append(number)

    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, note)
    signal.signal(signal.SIGTERM, note)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    watched = [reader] if owner is None else [reader, owner]
    report_ready()
    while not ended:
        readable, _unused, _unused = select.select(watched, [], [])
        if reader in readable:
            os.read(reader, 4096)
        reap()
        if owner in readable:
            return True
    return False


def remove_remains(directory: str) -> None:
    """Kill every other process of this pid namespace and remove the lab's directory. For a lost owner."""
    for _unused in range(50):
        try:
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            break
        reap()
        time.sleep(0.01)
    shutil.rmtree(directory, ignore_errors=True)


def main(arguments: list[str]) -> None:
    """Run in the role named by the first argument."""
    if arguments[0] == "host":
        set_up_host(arguments[1], arguments[2])
        wait_for_end(None)
        return
    set_up_lan()
    owner = int(arguments[2]) if len(arguments) > 2 else None
    if wait_for_end(owner):
        remove_remains(arguments[1])


if __name__ == "__main__":
    main(sys.argv[1:])
