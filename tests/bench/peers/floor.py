# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same in the fewest commands, without any thought of what is there: `nft -f` and `ip -batch`. Nothing can be faster
that goes by these programs."""

from __future__ import annotations

from bench.peers.base import Peer, Subject, Times, Work

BRIDGES = {"docker0": "172.17", "br1": "172.18"}
RULES = """
table ip floor {
    map published { type inet_proto . inet_service : ipv4_addr . inet_service; }
    set open_ports { type ipv4_addr . inet_proto . inet_service; }
    chain prerouting {
        type nat hook prerouting priority dstnat;
        fib daddr type local dnat ip to meta l4proto . th dport map @published
    }
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        ip saddr 172.16.0.0/12 accept
        ip daddr . meta l4proto . th dport @open_ports accept
    }
}
"""


class Floor(Subject):
    """Bridges by hand."""

    def prepare(self) -> None:
        """Make two bridges, and forward."""
        lines = []
        for name, net in BRIDGES.items():
            lines += [f"link add {name} type bridge", f"address add {net}.0.1/16 dev {name}", f"link set {name} up"]
        self.host.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n")
        self.host.write("/proc/sys/net/ipv4/ip_forward", "1")

    def join(self, names: list[str]) -> Times:
        """Make namespaces and join them, on two bridges by turns."""
        outside, inside = [], []
        bridges = list(BRIDGES)
        for i, name in enumerate(names):
            bridge = bridges[i % len(bridges)]
            net = BRIDGES[bridge]
            peer = f"peer name eth0 netns {name}"
            outside += [f"netns add {name}", f"link add v-{name} type veth {peer}"]
            outside += [f"link set v-{name} master {bridge} group 7 up"]
            address = f"{net}.{i // 500}.{2 + i // 2 % 250}/16"
            lines = ["link set lo up", f"address add {address} dev eth0", "link set eth0 up"]
            lines += [f"route add default via {net}.0.1"]
            inside.append(batch(f"-n {name}", lines))
        return self.timed(["sh", "-e"], batch("", outside) + "".join(inside))


class FloorPublishes(Floor, Peer):
    """Elements of a map and a set, each kind in one transaction."""

    repeats = True

    def prepare(self) -> None:
        """Join the endpoint and load the rules."""
        super().prepare()
        self.join(["web"])
        self.host.run(["nft", "-f", "-"], input=RULES)

    def add(self, work: Work) -> Times:
        """Add the elements."""
        return self._elements("add", work)

    def remove(self, work: Work) -> Times:
        """Delete the elements."""
        return self._elements("delete", work)

    def _elements(self, verb: str, work: Work) -> Times:
        ways = ", ".join(f"tcp . {port} : 172.17.0.2 . {port}" for port in work.ports)
        doors = ", ".join(f"172.17.0.2 . tcp . {port}" for port in work.ports)
        script = f"{verb} element ip floor published {{ {ways} }}\n{verb} element ip floor open_ports {{ {doors} }}\n"
        return self.timed(["nft", "-f", "-"], script)


class FloorEndpoints(Floor, Peer):
    """Namespaces and pairs in one batch, and one batch in each namespace."""

    def add(self, work: Work) -> Times:
        """Join them."""
        return self.join(work.endpoints)

    def remove(self, work: Work) -> Times:
        """All pairs by their group, in one message, and the namespaces."""
        return self.timed(
            ["sh", "-e"],
            "ip link delete group 7\n" + batch("", [f"netns delete {name}" for name in work.endpoints]),
        )


def batch(options: str, lines: list[str]) -> str:
    """A line of shell that gives ip(8) these lines."""
    return f"ip {options} -batch - <<'END'\n" + "\n".join(lines) + "\nEND\n"
