# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which subnet a network gets and which address an endpoint gets."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from itertools import islice

import pytest
from ansible_collections.bridgeport.net.plugins.module_utils._errors import InputError
from ansible_collections.bridgeport.net.plugins.module_utils._ipam import (
    DEFAULT_POOLS,
    allocation_ranges,
    check_address,
    check_gateway,
    exhausted,
    first_host,
    free_addresses,
    pick_subnet,
)
from ansible_collections.bridgeport.net.plugins.module_utils._model import Network, Subnet
from samples import refused


def network(
    *subnets: str, gateways: tuple[str, ...] = (), allocate_from: tuple[str, ...] = (), mode: str = "nat"
) -> Network:
    parsed = tuple(map(ip_network, subnets))
    return Network(
        "lan0",
        parsed,
        tuple(map(ip_address, gateways)) or tuple(map(first_host, parsed)),
        1500,
        "02:42:00:00:00:01",
        mode,
        allocate_from=tuple(map(ip_network, allocate_from)),
    )


def first(where: Network, count: int, version: int = 4, taken: tuple[str, ...] = ()) -> list[str]:
    return list(map(str, islice(free_addresses(where, version, set(map(ip_address, taken))), count)))


def test_default_pools_are_dockers() -> None:
    pools = list(map(str, DEFAULT_POOLS))
    assert len(pools) == 31
    assert pools[:2] == ["172.17.0.0/16", "172.18.0.0/16"]
    assert pools[14:17] == ["172.31.0.0/16", "192.168.0.0/20", "192.168.16.0/20"]
    assert pools[-1] == "192.168.240.0/20"


@pytest.mark.parametrize(
    ("taken", "avoid", "picked"),
    [
        ([], [], "172.17.0.0/16"),
        (["172.17.0.0/16"], [], "172.18.0.0/16"),
        (["172.17.4.0/24", "172.18.255.255/32"], [], "172.19.0.0/16"),
        (["172.16.0.0/12"], [], "192.168.0.0/20"),
        (["100.0.0.0/24", "10.0.0.0/8"], [], "172.17.0.0/16"),
        (["172.19.0.0/16"], [], "172.17.0.0/16"),
        (["fd00::/8"], ["fd00::53"], "172.17.0.0/16"),
        ([], ["172.17.0.53"], "172.18.0.0/16"),
        (["172.16.0.0/12"], ["192.168.1.1"], "192.168.16.0/20"),
    ],
)
def test_first_pool_is_picked_that_nothing_uses(taken: list[str], avoid: list[str], picked: str) -> None:
    assert str(pick_subnet("lan0", map(ip_network, taken), map(ip_address, avoid))) == picked


def test_every_pool_in_use_is_refused() -> None:
    taken = [ip_network("172.16.0.0/12"), ip_network("192.168.0.0/16")]
    refused(lambda: pick_subnet("lan0", taken, []), "network lan0", "all 31 default pools", "Give one in 'subnets'.")


def test_thirty_one_networks_are_picked_apart() -> None:
    taken: list[Subnet] = []
    for _number in range(31):
        taken.append(pick_subnet("lan0", taken, []))
    assert taken == list(DEFAULT_POOLS)


@pytest.mark.parametrize(
    ("subnet", "address"),
    [
        ("172.17.0.0/16", "172.17.0.1"),
        ("10.0.0.128/25", "10.0.0.129"),
        ("10.0.0.0/30", "10.0.0.1"),
        ("10.0.0.0/31", "10.0.0.0"),
        ("10.0.0.7/32", "10.0.0.7"),
        ("fd00::/64", "fd00::1"),
        ("fd00::/127", "fd00::"),
    ],
)
def test_first_host_of_a_subnet(subnet: str, address: str) -> None:
    assert str(first_host(ip_network(subnet))) == address


@pytest.mark.parametrize(
    ("subnet", "gateway"),
    [
        ("10.0.0.0/24", "10.0.0.1"),
        ("10.0.0.0/24", "10.0.0.254"),
        ("10.0.0.0/31", "10.0.0.0"),
        ("10.0.0.0/31", "10.0.0.1"),
        ("fd00::/64", "fd00::ffff:ffff:ffff:ffff"),
    ],
)
def test_gateway_inside_the_subnet_is_accepted(subnet: str, gateway: str) -> None:
    check_gateway("lan0", ip_network(subnet), ip_address(gateway))


@pytest.mark.parametrize(
    ("subnet", "gateway", "reason"),
    [
        ("10.0.0.0/24", "10.0.1.1", "outside the subnet 10.0.0.0/24"),
        ("10.0.0.0/24", "fd00::1", "outside the subnet 10.0.0.0/24"),
        ("10.0.0.0/24", "10.0.0.0", "the network address of 10.0.0.0/24"),
        ("10.0.0.0/24", "10.0.0.255", "the broadcast address of 10.0.0.0/24"),
        ("fd00::/64", "fd00::", "the subnet-router anycast address of fd00::/64"),
    ],
)
def test_gateway_that_no_bridge_can_have_is_refused(subnet: str, gateway: str, reason: str) -> None:
    refused(lambda: check_gateway("lan0", ip_network(subnet), ip_address(gateway)), "lan0", gateway, reason, "Choose")


@pytest.mark.parametrize("address", ["10.0.0.2", "10.0.0.254", "fd00::2", "fd00::ffff:ffff:ffff:ffff"])
def test_address_inside_a_subnet_is_accepted(address: str) -> None:
    check_address("web", ip_address(address), network("10.0.0.0/24", "fd00::/64"))


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("9.255.255.255", "outside network lan0 (10.0.0.0/24, fd00::/64)"),
        ("10.0.1.0", "outside network lan0 (10.0.0.0/24, fd00::/64)"),
        ("fd01::1", "outside network lan0 (10.0.0.0/24, fd00::/64)"),
        ("10.0.0.0", "the network address of 10.0.0.0/24"),
        ("10.0.0.255", "the broadcast address of 10.0.0.0/24"),
        ("10.0.0.1", "the gateway of 10.0.0.0/24"),
        ("fd00::", "the subnet-router anycast address of fd00::/64"),
        ("fd00::1", "the gateway of fd00::/64"),
    ],
)
def test_address_that_no_endpoint_can_have_is_refused(address: str, reason: str) -> None:
    where = network("10.0.0.0/24", "fd00::/64")
    refused(lambda: check_address("web", ip_address(address), where), "endpoint web", address, reason, "leave it out")


def test_isolated_network_has_no_gateway_to_keep_clear_of() -> None:
    where = network("10.0.0.0/24", mode="isolated")
    check_address("web", ip_address("10.0.0.1"), where)
    assert first(where, 2) == ["10.0.0.1", "10.0.0.2"]


def test_addresses_come_lowest_first_without_gateway_network_and_broadcast() -> None:
    assert first(network("10.0.0.0/29"), 10) == ["10.0.0.%d" % number for number in range(2, 7)]
    assert first(network("10.0.0.0/29", gateways=("10.0.0.3",)), 10) == ["10.0.0.%d" % n for n in (1, 2, 4, 5, 6)]


def test_taken_addresses_are_skipped_and_reused_when_they_are_free_again() -> None:
    where = network("10.0.0.0/24")
    assert first(where, 2, taken=("10.0.0.2", "10.0.0.4")) == ["10.0.0.3", "10.0.0.5"]
    assert first(where, 1) == ["10.0.0.2"]


@pytest.mark.parametrize(
    ("subnet", "addresses"),
    [
        ("10.0.0.0/30", ["10.0.0.2"]),
        ("10.0.0.0/31", ["10.0.0.1"]),
        ("fd00::/126", ["fd00::2", "fd00::3"]),
        ("fd00::/127", ["fd00::1"]),
    ],
)
def test_small_subnets_are_used_to_the_last_address(subnet: str, addresses: list[str]) -> None:
    where = network(subnet)
    assert first(where, 10, where.subnets[0].version) == addresses


def test_range_inside_a_subnet_may_use_its_own_ends() -> None:
    # Docker: bridge address 10.2.2.1/16 with addresses from 10.2.2.0/24 gives 10.2.2.0, then 10.2.2.2.
    where = network("10.2.0.0/16", gateways=("10.2.2.1",), allocate_from=("10.2.2.0/24",))
    assert first(where, 2) == ["10.2.2.0", "10.2.2.2"]
    assert first(where, 300)[-1] == "10.2.2.255"


def test_range_at_the_end_of_a_subnet_keeps_clear_of_broadcast() -> None:
    where = network("10.0.0.0/24", allocate_from=("10.0.0.252/30",))
    assert first(where, 10) == ["10.0.0.252", "10.0.0.253", "10.0.0.254"]


def test_next_range_serves_when_the_first_is_full() -> None:
    where = network("10.0.0.0/24", allocate_from=("10.0.0.8/31", "10.0.0.20/31"))
    assert first(where, 10) == ["10.0.0.8", "10.0.0.9", "10.0.0.20", "10.0.0.21"]


def test_second_subnet_of_a_family_serves_when_the_first_is_full() -> None:
    assert first(network("10.0.0.0/30", "10.0.9.0/30"), 10) == ["10.0.0.2", "10.0.9.2"]


def test_range_of_one_family_leaves_the_other_its_whole_subnet() -> None:
    where = network("10.0.0.0/24", "fd00::/64", allocate_from=("10.0.0.128/25",))
    assert list(map(str, allocation_ranges(where, 4))) == ["10.0.0.128/25"]
    assert list(map(str, allocation_ranges(where, 6))) == ["fd00::/64"]
    assert first(where, 1, 6) == ["fd00::2"]


@pytest.mark.parametrize(
    ("subnet", "allocate_from", "expected"),
    [
        ("fd00::/56", "fd00:0:0:80::/64", ["fd00:0:0:80::", "fd00:0:0:80::1"]),
        ("fd00::/64", "fd00::8000:0:0:0/65", ["fd00::8000:0:0:0", "fd00::8000:0:0:1"]),
        ("fd00::/56", "fd00:0:0:ff::/64", ["fd00:0:0:ff::", "fd00:0:0:ff::1"]),
    ],
)
def test_ranges_beyond_64_bits(subnet: str, allocate_from: str, expected: list[str]) -> None:
    assert first(network(subnet, allocate_from=(allocate_from,)), 2, 6) == expected


def test_family_that_a_network_does_not_speak_has_no_addresses() -> None:
    assert first(network("10.0.0.0/24"), 1, 6) == []


def test_exhaustion_names_endpoint_network_and_ranges() -> None:
    problem = exhausted("web", network("10.0.0.0/24", allocate_from=("10.0.0.8/31", "10.0.0.20/31")), 4)

    def fail() -> None:
        raise problem

    assert isinstance(problem, InputError)
    refused(
        fail,
        "IPv4 address for endpoint web",
        "10.0.0.8/31, 10.0.0.20/31 of network lan0 is exhausted",
        "Remove endpoints",
    )
