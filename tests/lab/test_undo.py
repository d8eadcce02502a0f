# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs that fail at their last step: the host is as it was before, whatever the steps before had changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from support import Modules, differences

# The kernel refuses a bridge of this name: it is an alternative name of another interface.
REFUSED = {"name": "zz", "subnets": ["10.9.0.0/24"]}


@pytest.fixture
def modules(fresh: Callable[[str], Modules]) -> Modules:
    """A host on which one bridge cannot be made."""
    made = fresh("pypi")
    made.host.run(["ip", "link", "add", "wg7", "type", "bridge"])
    made.host.run(["ip", "link", "property", "add", "dev", "wg7", "altname", "zz"])
    return made


def undone(modules: Modules, module: str, **options: Any) -> str:
    """Run a module that must fail and be undone; returns its message."""
    before = modules.host.snapshot()
    result = modules.run(module, **options)
    assert result.get("failed") is True, result
    assert "What this run had changed until then was undone." in result["msg"], result["msg"]
    assert differences(before, modules.host.snapshot()) == []
    assert modules.ok("topology_info")["drift"] == []
    return str(result["msg"])


@pytest.mark.parametrize("change", [{"mode": "isolated"}, {"subnets": ["10.0.0.0/24"]}])
def test_a_network_that_gives_up_ipv6_on_the_host(modules: Modules, change: dict[str, Any]) -> None:
    modules.ok("bridge_network", name="a", subnets=["10.0.0.0/24", "fd00:1::/64"], mtu=1500)
    undone(modules, "bridge_network", networks=[{"name": "a", **change}, REFUSED])


def test_an_address_that_stays_while_another_of_its_subnet_goes(modules: Modules) -> None:
    modules.ok("bridge_network", name="a", subnets=["10.0.0.0/24"], mtu=1500)
    addresses = ["10.0.0.2", "10.0.0.3", "10.0.0.4"]
    modules.ok("veth_endpoint", network="a", endpoints=[{"name": "web", "addresses": addresses}, {"name": "z"}])
    broken = {"name": "z", "sysctls": {"net.core.no_such_setting": "1"}}
    for kept in (["10.0.0.3", "10.0.0.9"], ["10.0.0.4", "10.0.0.2"]):
        undone(modules, "veth_endpoint", endpoints=[{"name": "web", "addresses": kept}, broken])
    modules.ok("veth_endpoint", name="web", addresses=["10.0.0.3", "10.0.0.9"])
    shown = modules.host.run(["ip", "-br", "-4", "addr", "show", "eth0"], netns="web").stdout
    assert shown.split()[2:] == ["10.0.0.3/24", "10.0.0.9/24"]


def test_an_mtu_that_is_too_small_for_ipv6(modules: Modules) -> None:
    modules.ok("bridge_network", name="a", subnets=["10.0.0.0/24"], mtu=1500)
    modules.ok("veth_endpoint", network="a", name="web")
    undone(modules, "bridge_network", networks=[{"name": "a", "mtu": 1200}, REFUSED])
    modules.ok("bridge_network", name="a", mtu=1200)
    undone(modules, "bridge_network", networks=[{"name": "a", "mtu": 1500}, REFUSED])
