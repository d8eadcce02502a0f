# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Everything on a host that a network module could change; a script, run inside the host by Host.snapshot.

Prints one JSON object. What changes by itself is left out (counters, handles, lifetimes, interface indexes,
the order of set elements), so that two snapshots of an idle host are equal.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

FILE_ROOTS = ("/etc", "/run", "/var/lib/bridgeport")
# /run/netns has its own key; the lock of iptables appears with the first look at its rules.
NOT_FILES = ("/run/netns", "/run/xtables.lock")
SETTLE_SECONDS = 4.0
LOOK_SECONDS = 0.05
LINK_KEYS = ("mtu", "address", "master", "ifalias")
ADDRESS_KEYS = ("family", "local", "prefixlen", "scope", "broadcast", "label")
BRIDGE_KEYS = ("forward_delay", "stp_state", "vlan_filtering", "mcast_snooping", "ageing_time")
PORT_KEYS = ("hairpin", "isolated", "group_fwd_mask")
# "flags" tells whether the link has a carrier, which a new bridge loses a moment after it has come up.
VOLATILE_ROUTE_KEYS = ("expires", "used", "age", "cache", "flags")
VOLATILE_RULE_KEYS = ("handle", "packets", "bytes", "expires", "used")
HOST_SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/default/forwarding",
    "net/bridge/bridge-nf-call-iptables",
    "net/bridge/bridge-nf-call-ip6tables",
)
LINK_SYSCTLS = (
    "net/ipv4/conf/{}/route_localnet",
    "net/ipv4/conf/{}/forwarding",
    "net/ipv4/conf/{}/rp_filter",
    "net/ipv6/conf/{}/forwarding",
    "net/ipv6/conf/{}/accept_ra",
    "net/ipv6/conf/{}/disable_ipv6",
)


def output(*command: str) -> str:
    """Return what a command prints; SystemExit with a sentence when it fails."""
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    if result.returncode != 0:
        raise SystemExit(f"Taking a snapshot failed: {' '.join(command)} said: {result.stderr.strip()}")
    return result.stdout


def ip(namespace: str | None, *arguments: str) -> list[dict[str, Any]]:
    """Return the JSON that ip(8) prints, in a namespace of /run/netns when one is named."""
    where = ["-n", namespace] if namespace else []
    found: list[dict[str, Any]] = json.loads(output("ip", *where, "-j", *arguments) or "[]")
    return [entry for entry in found if entry]


def chosen(entry: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """Return the part of a dictionary that has one of these keys."""
    return {key: entry[key] for key in keys if key in entry}


def settled_links(namespace: str | None) -> list[dict[str, Any]]:
    """Return `ip -d addr` once no address is tentative and no link comes or goes, or after SETTLE_SECONDS."""
    deadline = time.monotonic() + SETTLE_SECONDS
    links = ip(namespace, "-d", "addr", "show")
    # The kernel removes the veths of a deleted namespace some time after `ip netns delete` has returned:
    # the host's own links are looked at until they are the same twice.
    before = [] if namespace is None else links
    while time.monotonic() < deadline and (names(links) != names(before) or tentative(links)):
        before = links
        time.sleep(LOOK_SECONDS)
        links = ip(namespace, "-d", "addr", "show")
    return links


def names(links: list[dict[str, Any]]) -> list[str]:
    """Return the interface names of links."""
    return [entry["ifname"] for entry in links]


def tentative(links: list[dict[str, Any]]) -> bool:
    """Say whether duplicate address detection still goes on for an address."""
    return any(address.get("tentative") for entry in links for address in entry["addr_info"])


def link(entry: dict[str, Any]) -> dict[str, Any]:
    """Return what is comparable of one link."""
    info = entry.get("linkinfo", {})
    result = chosen(entry, LINK_KEYS)
    result["kind"] = info.get("info_kind", "")
    result["up"] = "UP" in entry["flags"]
    if info.get("info_kind") == "bridge":
        result["bridge"] = chosen(info["info_data"], BRIDGE_KEYS)
    if info.get("info_slave_kind") == "bridge":
        result["port"] = chosen(info["info_slave_data"], PORT_KEYS)
    return result


def network(namespace: str | None) -> dict[str, Any]:
    """Return links, addresses (by interface) and routes of the main table, sorted."""
    entries = settled_links(namespace)
    addresses = {
        entry["ifname"]: sorted(
            (chosen(address, ADDRESS_KEYS) for address in entry["addr_info"]),
            key=lambda address: (str(address["family"]), str(address["local"])),
        )
        for entry in entries
    }
    routes = [
        {key: value for key, value in route.items() if key not in VOLATILE_ROUTE_KEYS} | {"family": family}
        for family in ("inet", "inet6")
        for route in ip(namespace, "-f", family, "route", "show", "table", "main")
    ]
    return {
        "links": {entry["ifname"]: link(entry) for entry in entries},
        "addresses": addresses,
        "routes": sorted(routes, key=in_order),
    }


def in_order(value: Any) -> str:
    """Return a sort key for any JSON value."""
    return json.dumps(value, sort_keys=True)


def without_volatile(value: Any, key: str = "") -> Any:
    """Return a part of nft's JSON without counters and handles, and with set elements sorted."""
    if isinstance(value, dict):
        return {k: without_volatile(v, k) for k, v in value.items() if k not in VOLATILE_RULE_KEYS}
    if isinstance(value, list):
        items = [without_volatile(item) for item in value]
        # Elements of a set come in the order of a hash with a random seed.
        return sorted(items, key=in_order) if key in ("elem", "set") else items
    return value


def nftables() -> list[Any]:
    """Return the ruleset without what changes by itself; empty where there is no nft."""
    if not shutil.which("nft"):
        return []
    objects = json.loads(output("nft", "-j", "list", "ruleset"))["nftables"]
    return [without_volatile(entry) for entry in objects if "metainfo" not in entry]


def iptables() -> dict[str, Any]:
    """Return the tables of legacy iptables that this network namespace has loaded, and their rules."""
    tables: dict[str, Any] = {}
    for prefix in ("ip", "ip6"):
        try:
            with open(f"/proc/net/{prefix}_tables_names", encoding="ascii") as file:
                loaded = sorted(file.read().split())
        except FileNotFoundError:
            loaded = []
        # Asked only about tables that exist: the question alone would create them.
        save = shutil.which(f"{prefix}tables-legacy-save") or shutil.which(f"{prefix}tables-save")
        for name in loaded:
            rules = output(save, "-t", name) if save else ""
            tables[f"{prefix} {name}"] = [
                re.sub(r" \[\d+:\d+\]$", "", line) for line in rules.splitlines() if not line.startswith("#")
            ]
    return tables


def sysctls(links: list[str]) -> dict[str, str]:
    """Return the chosen settings of the host and of each link that the kernel has, by path below /proc/sys."""
    paths = list(HOST_SYSCTLS)
    paths += [form.format(name) for form in LINK_SYSCTLS for name in ("all", "default", *links)]
    result = {}
    for path in paths:
        try:
            with open("/proc/sys/" + path, encoding="ascii") as file:
                result[path] = file.read().strip()
        except FileNotFoundError:
            continue
    return result


def walk(root: str) -> Iterator[str]:
    """Yield the paths of everything below a directory that is not a directory."""
    for directory, inner, others in os.walk(root):
        inner[:] = [name for name in inner if os.path.join(directory, name) not in NOT_FILES]
        yield from (os.path.join(directory, name) for name in others)
        yield from (path for path in (os.path.join(directory, name) for name in inner) if os.path.islink(path))


def files() -> dict[str, list[str]]:
    """Return mode and SHA-256 (of a symbolic link: target) of each file that a module could have written."""
    result = {}
    for path in (path for root in FILE_ROOTS for path in walk(root) if path not in NOT_FILES):
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            result[path] = [stat.filemode(mode), os.readlink(path)]
        elif stat.S_ISREG(mode):
            with open(path, "rb") as file:
                result[path] = [stat.filemode(mode), hashlib.sha256(file.read()).hexdigest()]
    return result


def namespaces() -> dict[str, Any]:
    """Return the network of each namespace in /run/netns; None for a file there that is not a namespace."""
    found = sorted(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else []
    return {name: network(name) if os.path.ismount(f"/run/netns/{name}") else None for name in found}


def collect() -> dict[str, Any]:
    """Return the snapshot of the host that this process runs in."""
    result = network(None)
    result["nftables"] = nftables()
    result["iptables"] = iptables()
    result["sysctls"] = sysctls(list(result["links"]))
    result["namespaces"] = namespaces()
    result["files"] = files()
    return result


if __name__ == "__main__":
    json.dump(collect(), sys.stdout)
