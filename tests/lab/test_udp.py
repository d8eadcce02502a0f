# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""UDP flows: a client that never pauses and keeps its source port is answered by whom its port leads to now.

The kernel goes on sending the packets of a flow where it sent the first one. The host port and the endpoint's differ in
all of these tests.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hostlab import Host, echo_command
from support import Modules

# The host's addresses by which the client asks, and the sentence that announces the remedy.
ADDRESSES = ("192.168.52.203", "fd52::203", "127.0.0.1")
FORGOTTEN = "Forget the UDP flows to host port 53, which would go on as before."


@pytest.fixture
def standing(fresh: Callable[[str], Modules]) -> Modules:
    """A host with two endpoints, and two services in each that answer with the endpoint's name and their port."""
    modules = fresh("pypi")
    modules.ok("bridge_network", name="docker0", subnets=["172.17.0.0/16", "fd00:17::/64"])
    modules.ok("masquerade", network="docker0")
    for name, number in (("web", 2), ("peer", 3)):
        make(modules, name, number)
    return modules


def make(modules: Modules, name: str, number: int) -> None:
    """Make an endpoint at an address, with its services."""
    addresses = [f"172.17.0.{number}", f"fd00:17::{number}"]
    modules.ok("veth_endpoint", network="docker0", name=name, addresses=addresses)
    for port in (5300, 5301):
        forms = [f"0.0.0.0:{port}", f"[::]:{port}"]
        modules.host.start(echo_command(f"{name}-{port}", [], forms), netns=name, ready="ready")


def answers(host: Host, netns: str | None = None) -> list[str | None]:
    """Who answers at each address. What is asked from the same source port is one flow in the eyes of the kernel."""
    addresses = ADDRESSES[:2] if netns else ADDRESSES
    return [host.probe("udp", each, 53, netns, timeout=0.3, source_port=40053).name for each in addresses]


def test_udp_flows_follow_their_port(standing: Modules) -> None:
    """Published, moved and unpublished under the client's packets."""
    host = standing.host
    # Before: each packet makes an entry that leads to the host itself, where nobody listens.
    assert answers(host) == [None, None, None]
    for endpoint in ("web", "peer", "web"):
        for other in {"web", "peer"} - {endpoint}:
            standing.ok("port_publish", endpoint=other, ports=[], prune=True)
        done = standing.ok("port_publish", endpoint=endpoint, ports=["53:5300/udp"])
        assert FORGOTTEN in done["actions"]
        assert answers(host) == [f"{endpoint}-5300"] * 3
    # Many at once take another way through the kernel's listing.
    standing.ok("port_publish", endpoint="web", ports=["60-80:60-80/udp"])
    standing.ok("port_publish", endpoint="web", ports=["53:5300/udp"], prune=True)
    assert answers(host) == ["web-5300"] * 3
    standing.ok("port_publish", endpoint="web", state="absent")
    assert answers(host) == [None, None, None]


def test_another_port_of_the_endpoint(standing: Modules) -> None:
    for port in (5300, 5301, 5300):
        done = standing.ok("port_publish", endpoint="web", ports=[f"53:{port}/udp"], prune=True)
        assert FORGOTTEN in done["actions"]
        assert answers(standing.host) == [f"web-{port}"] * 3


def test_another_address_of_the_endpoint(standing: Modules) -> None:
    """The old address is given to another endpoint in the same breath."""
    host = standing.host
    standing.ok("port_publish", endpoint="web", ports=["53:5300/udp"])
    assert answers(host) == ["web-5300"] * 3
    standing.ok("veth_endpoint", network="docker0", name="peer", state="absent")
    moved = standing.ok("veth_endpoint", network="docker0", name="web", addresses=["172.17.0.9", "fd00:17::9"])
    assert FORGOTTEN in moved["actions"]
    make(standing, "late", 2)
    assert answers(host) == ["web-5300"] * 3


def test_the_endpoint_is_removed(standing: Modules) -> None:
    """Its address goes to one new endpoint, its host port to another."""
    host = standing.host
    standing.ok("port_publish", endpoint="web", ports=["53:5300/udp"])
    assert answers(host) == ["web-5300"] * 3
    gone = standing.ok("veth_endpoint", name="web", state="absent")
    assert FORGOTTEN in gone["actions"]
    assert answers(host) == [None] * 3
    make(standing, "late", 2)
    assert answers(host) == [None] * 3
    standing.ok("port_publish", endpoint="peer", ports=["53:5301/udp"])
    assert answers(host) == ["peer-5301"] * 3


def test_on_one_host_address(standing: Modules) -> None:
    """Flows to the same port of another address are somebody else's."""
    host = standing.host
    elsewhere = echo_command("host", [], ["127.0.0.1:53"])
    host.start(elsewhere, ready="ready")
    assert answers(host) == [None, None, "host"]
    specs = ["192.168.52.203:53:5300/udp", "[fd52::203]:53:5300/udp"]
    standing.ok("port_publish", endpoint="web", ports=specs)
    assert answers(host) == ["web-5300", "web-5300", "host"]
    standing.ok("port_publish", endpoint="web", ports=specs, state="absent")
    assert answers(host) == [None, None, "host"]


def test_a_neighbour_that_asks_the_host(standing: Modules) -> None:
    host = standing.host
    assert answers(host, netns="peer") == [None, None]
    standing.ok("port_publish", endpoint="web", ports=["53:5300/udp"])
    assert answers(host, netns="peer") == ["web-5300"] * 2
    standing.ok("port_publish", endpoint="web", ports=["53:5301/udp"], prune=True)
    assert answers(host, netns="peer") == ["web-5301"] * 2


def test_rules_that_were_lost_for_a_while(standing: Modules) -> None:
    """What was sent meanwhile went to the host itself, and must not go on doing so once the rules are back."""
    host = standing.host
    standing.ok("port_publish", endpoint="web", ports=["53:5300/udp"])
    # With another firewall's translations in place, a flow is settled by its first packet. Its rules look at
    # connections, or the kernel would not track any.
    chains = [
        f"chain {hook} {{ type nat hook {hook} priority -100; ct state new accept; }}"
        for hook in ("prerouting", "output")
    ]
    host.run(["nft", "-f", "-"], input="\n".join(["flush ruleset", "table inet another {", *chains, "}", ""]))
    assert answers(host) == [None] * 3
    mended = standing.ok("port_publish", endpoint="web", ports=["53:5300/udp"])
    assert FORGOTTEN in mended["actions"]
    assert answers(host) == ["web-5300"] * 3
