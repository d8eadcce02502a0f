# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The nouns by themselves: names, addresses, subnets, MAC addresses and what is derived from them."""

from __future__ import annotations

import errno
import socket
from ipaddress import ip_address, ip_network

import pytest
from ansible_collections.bridgeport.net.plugins.module_utils._errors import kernel_words
from ansible_collections.bridgeport.net.plugins.module_utils._model import (
    Endpoint,
    Masquerade,
    Network,
    Publish,
    derived_mac,
    host_interface_name,
    parse_address,
    parse_mac,
    parse_subnet,
    source_texts,
)
from ansible_collections.bridgeport.net.plugins.module_utils._names import valid_endpoint_name, valid_interface_name
from samples import refused

NETWORK = Network(
    "dual0",
    (ip_network("10.0.1.0/24"), ip_network("fd00:1::/64")),
    (ip_address("10.0.1.1"), ip_address("fd00:1::1")),
    1500,
    "02:42:00:00:00:01",
)


def publish(host_address: str, first: int, last: int, host_port: int = 0) -> Publish:
    return Publish("web", 5000, "tcp", host_address, first, last, host_port)


@pytest.mark.parametrize("name", ["docker0", "br-1.2_x", "0", "a" * 15, "eth0.100", "ALL"])
def test_interface_name_is_kept(name: str) -> None:
    assert valid_interface_name(name, "network") == name


@pytest.mark.parametrize(
    "name", ["", " ", "-x", ".", "..", "_x", "a/b", "a b", "br0\n", 'br"', "br:1", "größe", "all", "default", "lo"]
)
def test_bad_interface_name_is_refused(name: str) -> None:
    refused(lambda: valid_interface_name(name, "network"), repr(name), "name of the network", "Choose another name.")


def test_long_interface_name_is_refused_with_the_limit() -> None:
    refused(lambda: valid_interface_name("a" * 16, "network"), "a" * 16, "16 characters", "at most 15", "shorter name")


@pytest.mark.parametrize("name", ["web", "flask.service-1", "a" * 63])
def test_endpoint_name_is_kept(name: str) -> None:
    assert valid_endpoint_name(name) == name


@pytest.mark.parametrize("name", ["", "..", "../etc", "a/b", "web\n", "lo", "all", "default", "-web"])
def test_bad_endpoint_name_is_refused(name: str) -> None:
    refused(lambda: valid_endpoint_name(name), repr(name), "name of the endpoint", "Choose another name.")


def test_long_endpoint_name_is_refused_with_the_limit() -> None:
    refused(lambda: valid_endpoint_name("a" * 64), "a" * 64, "64 characters", "at most 63")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.10", "192.0.2.10"),
        ("2001:DB8::0010", "2001:db8::10"),
        ("::", "::"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("::ffff:0.0.0.0", "0.0.0.0"),
    ],
)
def test_address_is_read(text: str, address: str) -> None:
    assert parse_address(text, "host address") == ip_address(address)


@pytest.mark.parametrize(
    "text",
    [
        *("", "localhost", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.1/24", " 10.0.0.1", "[::1]"),
        *("fe80::1%eth0", "2001:db8::1%x; flush ruleset", "10.0.0.1%eth0", "::ffff:10.0.0.1%eth0"),
    ],
)
def test_bad_address_is_refused(text: str) -> None:
    refused(lambda: parse_address(text, "nameserver"), repr(text), "the nameserver", "Give an address such as")


@pytest.mark.parametrize(
    ("text", "subnet"),
    [
        ("10.0.0.0/24", "10.0.0.0/24"),
        ("10.0.0.0/31", "10.0.0.0/31"),
        ("FD00:0::/64", "fd00::/64"),
        ("0.0.0.0/0", "0.0.0.0/0"),
    ],
)
def test_subnet_is_read(text: str, subnet: str) -> None:
    assert parse_subnet(text, "subnet") == ip_network(subnet)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("10.0.0.1/24", "Write the subnet itself, 10.0.0.0/24."),
        ("fd00::1/64", "Write the subnet itself, fd00::/64."),
        ("10.0.0.0", "the prefix length is missing"),
        ("10.0.0.0/33", "Write it as in 172.17.0.0/16."),
        ("10.0.0.0/", "Write it as in 172.17.0.0/16."),
        ("lan/24", "Write it as in 172.17.0.0/16."),
        ("", "the prefix length is missing"),
    ],
)
def test_bad_subnet_is_refused_with_the_right_one(text: str, remedy: str) -> None:
    refused(lambda: parse_subnet(text, "subnet of network lan0"), repr(text), "subnet of network lan0", remedy)


@pytest.mark.parametrize("text", ["02:42:ac:11:00:02", "02-42-AC-11-00-02", " 02:42:AC:11:00:02 "])
def test_mac_is_spelt_as_the_kernel_does(text: str) -> None:
    assert parse_mac(text, "endpoint web") == "02:42:ac:11:00:02"


@pytest.mark.parametrize(
    "text", ["", "02:42:ac:11:00", "02:42:ac:11:00:02:03", "02:42:ac:11:00:zz", "0242ac110002", "00:00:00:00:00:00"]
)
def test_bad_mac_is_refused(text: str) -> None:
    refused(lambda: parse_mac(text, "endpoint web"), repr(text), "endpoint web", "02:42:ac:11:00:02")


@pytest.mark.parametrize("text", ["ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "33:33:00:00:00:01"])
def test_group_mac_is_refused(text: str) -> None:
    refused(lambda: parse_mac(text, "network lan0"), text, "not a unicast MAC address")


def test_derived_mac_is_stable_local_and_unicast() -> None:
    assert derived_mac("network", "docker0") == "02:42:fd:42:9f:49"
    assert derived_mac("network", "docker0") != derived_mac("network", "docker1")
    assert parse_mac(derived_mac("endpoint", "docker0", "web"), "endpoint web").startswith("02:42:")


@pytest.mark.parametrize(("endpoint", "name"), [("web", "bp-web"), ("abcdefghijkl", "bp-abcdefghijkl")])
def test_short_endpoint_names_its_host_interface(endpoint: str, name: str) -> None:
    assert host_interface_name(endpoint) == name


def test_long_endpoint_names_get_distinct_host_interfaces_that_fit() -> None:
    names = {host_interface_name("service-%d-of-many" % number) for number in range(200)}
    assert len(names) == 200
    assert {len(name) for name in names} == {15}
    assert all(name.startswith("bp-serv-") for name in names)


@pytest.mark.parametrize(
    ("there", "spec"),
    [
        (publish("", 80, 80), "80:5000/tcp"),
        (publish("", 0, 0, 49153), "5000/tcp"),
        (publish("", 8000, 8010, 8003), "8000-8010:5000/tcp"),
        (publish("127.0.0.1", 8443, 8443), "127.0.0.1:8443:5000/tcp"),
        (publish("127.0.0.1", 0, 0, 49153), "127.0.0.1::5000/tcp"),
        (publish("2001:db8::1", 80, 80), "[2001:db8::1]:80:5000/tcp"),
        (publish("::", 0, 0), "[::]::5000/tcp"),
    ],
)
def test_publish_is_written_in_dockers_grammar(there: Publish, spec: str) -> None:
    assert there.spec == spec


def test_publish_key_is_the_request_whatever_port_was_chosen() -> None:
    assert publish("", 0, 0, 49153).key == publish("", 0, 0, 50000).key
    assert publish("", 0, 0, 49153).key != publish("127.0.0.1", 0, 0, 49153).key
    assert publish("", 80, 80).key != publish("", 80, 81).key


@pytest.mark.parametrize(
    ("address", "subnet"),
    [("10.0.1.255", "10.0.1.0/24"), ("fd00:1::5", "fd00:1::/64"), ("10.0.2.1", None), ("fd00:2::1", None)],
)
def test_network_knows_its_subnet_of_an_address(address: str, subnet: str | None) -> None:
    assert NETWORK.subnet_of(ip_address(address)) == (None if subnet is None else ip_network(subnet))


@pytest.mark.parametrize(
    ("mode", "translated", "sealed"),
    [("nat", True, False), ("routed", False, False), ("internal", False, True), ("isolated", False, True)],
)
def test_mode_decides_on_translation_and_sealing(mode: str, translated: bool, sealed: bool) -> None:
    network = Network("x", NETWORK.subnets, NETWORK.gateways, 1500, NETWORK.mac, mode)
    assert (network.translated, network.sealed) == (translated, sealed)
    assert network.families == {4, 6}


def test_publishes_lead_to_the_first_address_of_a_family() -> None:
    addresses = tuple(map(ip_address, ("fd00:1::5", "10.0.1.5", "10.0.1.6")))
    endpoint = Endpoint("web", "dual0", addresses, "02:42:00:00:00:02")
    assert endpoint.address(4) == ip_address("10.0.1.5")
    assert endpoint.address(6) == ip_address("fd00:1::5")
    assert Endpoint("web", "dual0", (), "02:42:00:00:00:02").address(4) is None


def test_masquerade_is_named_by_network_or_subnet() -> None:
    assert Masquerade(network="lan0").name == "lan0"
    assert Masquerade(source=ip_network("10.9.0.0/24")).name == "10.9.0.0/24"


def test_errno_is_told_in_the_kernels_words() -> None:
    assert kernel_words(errno.EEXIST) == "File exists (EEXIST)"
    assert kernel_words(4242).endswith("(errno 4242)")


@pytest.mark.parametrize("text", ["::1.2.3.4", "::a:0", "::1:0", "::ffff:ffff"])
def test_ipv4_address_in_the_guise_of_ipv6_is_refused(text: str) -> None:
    """inet_ntop, and so nft and iptables-save, spell it in another way than Python does."""
    refused(lambda: parse_address(text, "gateway"), repr(text), "gateway", "no packet has")
    refused(lambda: parse_subnet(text + "/128", "source"), repr(text + "/128"), "source", "no packet has")


@pytest.mark.parametrize(
    "text", ["::", "::1", "::ffff", "0:0:0:0:0:1::", "64:ff9b::102:304", "::1:0:0:0", "fd00::102:304"]
)
def test_other_ipv6_address_is_spelled_in_one_way(text: str) -> None:
    address = parse_address(text, "gateway")
    assert socket.inet_ntop(socket.AF_INET6, address.packed) == str(address)
    assert str(parse_subnet(text + "/128", "source")) == "%s/128" % address


def test_subnet_of_ipv4_mapped_addresses_is_refused() -> None:
    refused(lambda: parse_subnet("::ffff:0:0/96", "source"), "'::ffff:0:0/96'", "no packet has")
    refused(lambda: source_texts(["192.0.2.1", "::ffff:192.0.2.0/120"], "source"), "'::ffff:192.0.2.0/120'")
