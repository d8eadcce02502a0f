# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What else may be so on a host, and must make no difference: other firewalls, br_netfilter, lost rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product

from hostlab import Host

# Every rule of both kinds. A table of legacy iptables is made by listing it, so only those that are there.
FLUSH = """
nft flush ruleset
for family in ip ip6; do
    for table in $(cat /proc/net/${family}_tables_names 2>/dev/null); do
        ${family}tables-legacy -t $table -F && ${family}tables-legacy -t $table -X
    done
done
"""


@dataclass(frozen=True)
class Condition:
    """One state of the host.

    bridge_nf: net.bridge.bridge-nf-call-iptables and -ip6tables. forward: the policy of FORWARD that somebody else
    set: ACCEPT, or DROP by iptables-nft or iptables-legacy. repaired: all rules were lost, and put back.
    """

    bridge_nf: int = 0
    forward: str = "ACCEPT"
    repaired: bool = False

    def __str__(self) -> str:
        repaired = ", after a flush and a repair" if self.repaired else ""
        return f"bridge-nf-call {self.bridge_nf}, FORWARD {self.forward}{repaired}"

    @contextmanager
    def on(self, host: Host, repair: Callable[[], object]) -> Iterator[None]:
        """Make it so. repair: what an administrator would run; it also sees what other firewall there is."""
        for family in ("iptables", "ip6tables"):
            host.write(f"/proc/sys/net/bridge/bridge-nf-call-{family}", str(self.bridge_nf))
        if self.repaired:
            host.run(["sh", "-c", FLUSH])
        self._set_policy(host, self.forward)
        repair()
        try:
            yield
        finally:
            self._set_policy(host, "ACCEPT")

    def _set_policy(self, host: Host, policy: str) -> None:
        kind = self.forward.partition(" ")[2]
        # Not a word to a firewall that this condition does not use: the first one would make its tables.
        for command in (f"iptables-{kind}", f"ip6tables-{kind}") if kind else ():
            host.run([command, "-P", "FORWARD", policy.partition(" ")[0]])


PLAIN = [Condition(bridge_nf, repaired=repaired) for repaired, bridge_nf in product((False, True), (0, 1))]
FOREIGN = [Condition(bridge_nf, forward) for forward, bridge_nf in product(("DROP nft", "DROP legacy"), (0, 1))]
