# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which backend a host gets, what it is told if none works, and the way from one to another under traffic."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hostlab import Host, Lab, echo_command, watch_command
from support import BACKENDS, Interpreter, Modules, choose_backend

NETWORK: dict[str, Any] = {"name": "docker0", "subnets": ["172.17.0.0/16", "fd00:17::/64"]}
# Each move from one backend to another, once.
MOVES = ["iptables-nft", "iptables-legacy", "nftables", "iptables-legacy", "iptables-nft", "nftables"]


def traces(host: Host) -> dict[str, bool]:
    """Which backends hold anything of ours. Frames on a bridge are beyond iptables, and stay with nftables."""
    programs = {
        "nftables": ["sh", "-c", "nft list tables | grep -v bridge.bridgeport || true"],
        "iptables-nft": ["sh", "-c", "iptables-nft-save; ip6tables-nft-save"],
        "iptables-legacy": ["sh", "-c", "iptables-legacy-save; ip6tables-legacy-save"],
    }
    return {name: "bridgeport" in host.run(command).stdout.lower() for name, command in programs.items()}


def test_moving_closes_nothing_and_opens_nothing(lab: Lab, host: Host, client: Host, modules: Modules) -> None:
    modules.ok("bridge_network", **NETWORK)
    modules.ok("masquerade", network="docker0")
    modules.ok("veth_endpoint", network="docker0", name="web")
    modules.ok("port_publish", endpoint="web", ports=["80:5000"])
    host.start(echo_command("web", ["0.0.0.0:5000"]), netns="web", ready="ready")
    client.run(["ip", "route", "add", "172.17.0.0/16", "via", "192.168.52.203"])
    had = "nftables"
    for backend in MOVES:
        doors = "192.168.52.203:80", "192.168.52.203:81", "172.17.0.2:5000"
        watch = client.start(watch_command(*doors), ready="tenth")
        options = {**choose_backend(host, backend), "name": "docker0"}
        predicted = modules.ok("bridge_network", check=True, **options)
        assert traces(host) == {name: name == had for name in BACKENDS}
        moved = modules.ok("bridge_network", **options)
        assert moved["actions"] == [f"Move the firewall rules from {had} to {backend}."] == predicted["actions"]
        assert moved["diff"] == predicted["diff"]
        assert moved["diff"]["after"] == {"rules": {"bridgeport": {"backend": backend}}}
        watch.stop()
        seen = set(watch.output().split())
        assert seen == {"ready", "tenth"}, f"{had} to {backend}: {seen}"
        assert traces(host) == {name: name == backend for name in BACKENDS}
        # What is recorded is kept, whatever would be chosen on a new host.
        again = modules.ok("bridge_network", name="docker0", backend="auto")
        assert again["changed"] is False and modules.ok("topology_info")["backend"] == backend
        had = backend


def test_a_move_that_fails_is_undone(fresh: Callable[[str], Modules]) -> None:
    modules = fresh("pypi")
    host = modules.host
    modules.ok("bridge_network", **NETWORK)
    host.run(["iptables-nft", "-N", "BRIDGEPORT"])
    host.run(["iptables-nft", "-A", "BRIDGEPORT", "-j", "RETURN"])
    message = modules.refused("bridge_network", name="docker0", backend="iptables")
    assert "the chain BRIDGEPORT in table filter of iptables holds the rule '-j RETURN'" in message
    assert modules.ok("topology_info")["backend"] == "nftables"


def run_in(modules: Modules, prepare: str, **options: Any) -> dict[str, Any]:
    """Run bridge_network where a shell script has first hidden something, for this process alone."""
    command = ["unshare", "--mount", "sh", "-ec", f'{prepare}\nexec "$@"', "-", *modules.command("bridge_network")]
    done = modules.host.run(command, check=False, input=modules.arguments(False, **{**NETWORK, **options}))
    result = json.loads(done.stdout)
    assert isinstance(result, dict) and "Traceback" not in done.stdout + done.stderr
    return result


HIDE_NFTABLES = "for file in /usr/lib/*/libnftables.so.1; do mount --bind /dev/null $file; done"
HIDE_IPTABLES = "mount -t tmpfs tmpfs /etc/alternatives"


def test_auto_takes_iptables_where_nftables_is_missing(fresh: Callable[[str], Modules]) -> None:
    modules = fresh("pypi")
    done = run_in(modules, HIDE_NFTABLES, backend="auto")
    assert done["changed"] is True
    assert traces(modules.host) == {"nftables": False, "iptables-nft": True, "iptables-legacy": False}
    # The choice is kept when nftables comes.
    assert modules.ok("bridge_network", **NETWORK)["changed"] is False
    assert modules.ok("topology_info")["backend"] == "iptables-nft"


def warnings(result: dict[str, Any]) -> list[str]:
    """What a run warns of."""
    return [warning["event"]["msg"] for warning in result["warnings"]]


UNGUARDED = (
    "nftables alone can look at frames on a bridge, and %s. So the endpoints are not kept from sending with addresses of "
    "others. %s."
)
TOGETHER = (
    "Cannot keep the endpoints of network docker0 apart: nftables alone can look at frames on a bridge, and %s. %s; or "
    "set icc to true."
)
NO_NFTABLES = ("this host has none", "Install nftables; iptables may go on carrying the other rules")
NO_BRIDGES = (
    "the kernel of this host has no nf_tables for bridges",
    "Run one that has it (CONFIG_NF_TABLES_BRIDGE), as those of all distributions do",
)


def test_without_nftables_nobody_looks_at_frames(fresh: Callable[[str], Modules]) -> None:
    modules = fresh("pypi")
    assert run_in(modules, HIDE_NFTABLES, backend="iptables", icc=False)["msg"] == TOGETHER % NO_NFTABLES
    assert "warnings" not in run_in(modules, HIDE_NFTABLES, backend="iptables")
    modules.ok("veth_endpoint", network="docker0", name="web")
    assert warnings(run_in(modules, HIDE_NFTABLES)) == [UNGUARDED % NO_NFTABLES]


NO_BRIDGE_FAMILY = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>
/* A kernel without nf_tables for bridges: their family becomes one that no kernel has, and is refused by the real one. */
ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    ssize_t (*real)(int, const struct msghdr *, int) = dlsym(RTLD_NEXT, "sendmsg");
    for (size_t part = 0; part < message->msg_iovlen; part++) {
        struct nlmsghdr *header = message->msg_iov[part].iov_base;
        int left = message->msg_iov[part].iov_len;
        for (; NLMSG_OK(header, left); header = NLMSG_NEXT(header, left)) {
            struct nfgenmsg *of = NLMSG_DATA(header);
            if (header->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE) && of->nfgen_family == NFPROTO_BRIDGE)
                of->nfgen_family = NFPROTO_NUMPROTO - 1;
        }
    }
    return real(fd, message, flags);
}
"""


def preloaded(modules: Modules, directory: Path, source: str) -> Modules:
    """The same modules, with a library in front of the system's."""
    library = directory / "preloaded.so"
    command = ["gcc", "-shared", "-fPIC", "-x", "c", "-o", str(library), "-", "-ldl"]
    subprocess.run(command, check=True, input=source, text=True)
    return Modules(modules.host, replace(modules.interpreter, preload=str(library)))


def test_a_kernel_without_tables_for_bridges(fresh: Callable[[str], Modules], tmp_path: Path) -> None:
    plain = fresh("pypi")
    host = plain.host
    modules = preloaded(plain, tmp_path, NO_BRIDGE_FAMILY)
    start = host.snapshot()
    assert modules.refused("bridge_network", icc=False, **NETWORK) == TOGETHER % NO_BRIDGES
    modules.ok("bridge_network", **NETWORK)
    made = modules.ok("veth_endpoint", network="docker0", name="web")
    assert warnings(made) == [UNGUARDED % NO_BRIDGES]
    modules.ok("port_publish", endpoint="web", ports=["80:5000"])
    assert host.run(["nft", "list", "tables"]).stdout.splitlines() == ["table ip bridgeport", "table ip6 bridgeport"]
    seen = modules.ok("topology_info")
    assert seen["drift"] == [] and warnings(seen) == [UNGUARDED % NO_BRIDGES]
    assert modules.ok("bridge_network", **NETWORK)["changed"] is False
    # With another kernel the next run makes up for it.
    assert plain.ok("bridge_network", **NETWORK)["actions"] != []
    assert "table bridge bridgeport" in host.run(["nft", "list", "tables"]).stdout
    assert "warnings" not in plain.ok("topology_info")
    plain.ok("veth_endpoint", name="web", state="absent")
    plain.ok("bridge_network", name="docker0", state="absent")
    assert host.run(["nft", "list", "tables"]).stdout == ""
    assert host.snapshot()["links"] == start["links"]


def test_an_administrators_chain_that_is_left_behind(fresh: Callable[[str], Modules]) -> None:
    """It is his, so it is kept, and he is told that no packet meets it any more."""
    modules = fresh("pypi")
    modules.ok("bridge_network", backend="iptables", **NETWORK)
    for family, rules in (("iptables", 2), ("ip6tables", 1)):
        for number in range(rules):
            modules.host.run([family, "-A", "BRIDGEPORT-USER", "-p", "tcp", "--dport", str(number + 1), "-j", "DROP"])
    assert "warnings" not in modules.ok("topology_info")
    told = [
        "The chain BRIDGEPORT-USER of iptables-nft (IPv4) was kept with 2 rules in it, which no packet meets any more: no "
        "rules of networks are there now. If nobody needs it, remove it by 'iptables-nft -F BRIDGEPORT-USER' and "
        "'iptables-nft -X BRIDGEPORT-USER'.",
        "The chain BRIDGEPORT-USER of iptables-nft (IPv6) was kept with 1 rule in it, which no packet meets any more: no "
        "rules of networks are there now. If nobody needs it, remove it by 'ip6tables-nft -F BRIDGEPORT-USER' and "
        "'ip6tables-nft -X BRIDGEPORT-USER'.",
    ]
    moved: dict[str, Any] = {"name": "docker0", "backend": "nftables"}
    assert warnings(modules.ok("bridge_network", check=True, **moved)) == told
    assert warnings(modules.ok("bridge_network", **moved)) == told
    assert warnings(modules.ok("topology_info")) == told
    status = "from ansible_collections.bridgeport.net.plugins.module_utils._cli import main; main(['status'])"
    assert modules.host.run([*modules.python(), "-c", status]).stderr.splitlines() == [
        f"bridgeport: warning: {words}" for words in told
    ]
    # As the warning says.
    for words in told:
        for command in words.split("'")[1::2]:
            modules.host.run(command.split())
    assert "warnings" not in modules.ok("topology_info")


def test_neither_nftables_nor_iptables(fresh: Callable[[str], Modules]) -> None:
    modules = fresh("pypi")
    before = modules.host.snapshot()
    no_iptables = (
        "Cannot write firewall rules by iptables: this host has no such program. "
        "Install the package iptables, or nftables for the other backend."
    )
    no_nftables = (
        r"Cannot write firewall rules: the library libnftables\.so\.1 of nftables could not be loaded \(\S+: file too "
        r"short\)\. Install the package nftables, version 1\.0 or newer\."
    )
    message = run_in(modules, f"{HIDE_NFTABLES}\n{HIDE_IPTABLES}")["msg"]
    assert re.fullmatch(f"{no_nftables} Nor is iptables a way: {re.escape(no_iptables)}", message)
    assert run_in(modules, HIDE_IPTABLES, backend="iptables")["msg"] == no_iptables
    assert modules.host.snapshot() == before


def test_legacy_without_its_library(fresh: Callable[[str], Modules]) -> None:
    modules = fresh("debian")
    choose_backend(modules.host, "iptables-legacy")
    before = modules.host.snapshot()
    hide = "mount -t tmpfs tmpfs /usr/lib/python3/dist-packages/iptc"
    message = run_in(modules, hide, backend="iptables")["msg"]
    assert "python-iptables is not there for /usr/bin/python3" in message and "python3-iptables" in message
    assert modules.host.snapshot() == before


def test_legacy_with_a_broken_library(fresh: Callable[[str], Modules], tmp_path: Path) -> None:
    modules = fresh("debian")
    choose_backend(modules.host, "iptables-legacy")
    broken = tmp_path / "iptc"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise AttributeError(\"'NoneType' object has no attribute 'iptc_init'\")\n")
    python = modules.interpreter
    message = Modules(modules.host, Interpreter("broken", python.path, f"{tmp_path}:{python.python_path}")).refused(
        "bridge_network", backend="iptables", **NETWORK
    )
    assert (
        f"python-iptables 1.0.1 at {broken} does not work ('NoneType' object has no attribute 'iptc_init')" in message
    )
    (broken / "__init__.py").write_text("import os\nos.write(2, b'no such table')\nos._exit(3)\n")
    message = Modules(modules.host, Interpreter("broken", python.path, f"{tmp_path}:{python.python_path}")).refused(
        "bridge_network", backend="iptables", **NETWORK
    )
    assert "does not work (no such table)" in message


NO_TABLES = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/socket.h>
/* A kernel without legacy tables: IPT_SO_GET_INFO, which begins every look at one, is refused. */
int getsockopt(int fd, int level, int name, void *value, socklen_t *length) {
    int (*real)(int, int, int, void *, socklen_t *) = dlsym(RTLD_NEXT, "getsockopt");
    if ((level == 0 || level == 41) && name == 64) { errno = ENOPROTOOPT; return -1; }
    return real(fd, level, name, value, length);
}
"""


def test_a_kernel_without_legacy_tables(fresh: Callable[[str], Modules], tmp_path: Path) -> None:
    """That it has none is only found out by making one, so check mode cannot foretell it."""
    plain = fresh("pypi")
    choose_backend(plain.host, "iptables-legacy")
    before = plain.host.snapshot()
    done = preloaded(plain, tmp_path, NO_TABLES).run("bridge_network", backend="iptables", **NETWORK)
    assert done["msg"] == (
        "Cannot write the firewall rules of IPv4: the kernel has no tables of legacy iptables (can't initialize mangle: "
        "b'iptables who? (do you need to insmod?)'). Make the host's iptables that of nf_tables, or use the backend "
        "nftables. What this run had changed until then was undone."
    )
    assert plain.host.snapshot() == before


COMMITS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
/* Notes each table that is handed to the kernel. As long as /run/again is there, the first one has changed meanwhile. */
int setsockopt(int fd, int level, int name, const void *value, socklen_t length) {
    int (*real)(int, int, int, const void *, socklen_t) = dlsym(RTLD_NEXT, "setsockopt");
    if ((level == 0 || level == 41) && name == 64) {
        FILE *file = fopen("/run/commits", "a");
        fprintf(file, "%s\n", (const char *)value);
        fclose(file);
        if (unlink("/run/again") == 0) { errno = EAGAIN; return -1; }
    }
    return real(fd, level, name, value, length);
}
"""


def test_a_legacy_table_is_written_in_one_piece(fresh: Callable[[str], Modules], tmp_path: Path) -> None:
    """And once more if somebody else changed it after it was read."""
    plain = fresh("pypi")
    host = plain.host
    choose_backend(host, "iptables-legacy")
    modules = preloaded(plain, tmp_path, COMMITS)
    modules.ok("bridge_network", backend="iptables", **NETWORK)
    assert host.read("/run/commits").split() == ["mangle", "filter", "nat"] * 2
    host.write("/run/commits", "")
    host.write("/run/again", "")
    modules.ok("bridge_network", name="docker0", state="absent")
    assert host.read("/run/commits").split() == ["nat", "nat", "filter", "mangle", "nat", "filter", "mangle"]
    assert not traces(host)["iptables-legacy"]


def test_legacy_waits_for_the_lock_of_iptables(fresh: Callable[[str], Modules]) -> None:
    modules = fresh("pypi")
    host = modules.host
    choose_backend(host, "iptables-legacy")
    modules.ok("bridge_network", backend="iptables", **NETWORK)
    script = "echo held; sleep 4; iptables-legacy-save > /run/seen; echo released"
    holder = host.start(["flock", "/run/xtables.lock", "sh", "-c", script], ready="held")
    modules.ok("bridge_network", name="docker1", subnets=["172.18.0.0/16"])
    holder.wait_for("released", 10)
    assert "docker0" in host.read("/run/seen") and "docker1" not in host.read("/run/seen")
    assert "docker1" in host.run(["iptables-legacy-save"]).stdout
