# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""The topology as plain JSON values and back: for the record, and for results that a person reads."""

from __future__ import annotations

import functools
import typing as t

from ._errors import InputError, RecordError
from ._ipam import address_problem, gateway_problem
from ._model import (
    LOOPBACKS,
    MODES,
    PROTOCOLS,
    Endpoint,
    Masquerade,
    Network,
    Publish,
    Route,
    parse_address,
    parse_mac,
    parse_subnet,
    source_texts,
)
from ._names import valid_endpoint_name, valid_host_name, valid_interface_name, valid_sysctl
from ._topology import Topology

__all__ = (
    "describe_endpoint",
    "describe_masquerade",
    "describe_network",
    "describe_publish",
    "topology_from_json",
    "topology_to_json",
)

Json = t.Dict[str, t.Any]
Item = t.TypeVar("Item")

_HIGHEST_PORT = 65535


def describe_network(network: Network) -> Json:
    """A network under the names of the module's options."""
    return {
        "name": network.name,
        "subnets": [str(subnet) for subnet in network.subnets],
        "gateways": [str(gateway) for gateway in network.gateways],
        "allocate_from": [str(subnet) for subnet in network.allocate_from],
        "mode": network.mode,
        "icc": network.icc,
        "mtu": network.mtu,
        "mac": network.mac,
        "trusted_interfaces": list(network.trusted_interfaces),
    }


def describe_endpoint(endpoint: Endpoint) -> Json:
    """An endpoint under the names of the module's options, and its namespace and host interface."""
    return {
        "name": endpoint.name,
        "network": endpoint.network,
        "addresses": [str(address) for address in endpoint.addresses],
        "mac": endpoint.mac,
        "interface": endpoint.interface,
        "host_interface": endpoint.host_interface,
        "namespace": "/run/netns/%s" % endpoint.name,
        "default_route": endpoint.default_route,
        "routes": [
            {"destination": str(route.destination), "via": None if route.via is None else str(route.via)}
            for route in endpoint.routes
        ],
        "expose": ["%d/%s" % pair for pair in endpoint.expose],
        "sysctls": dict(endpoint.sysctls),
        "nameservers": list(endpoint.nameservers),
        "search": list(endpoint.search),
        "aliases": list(endpoint.aliases),
        "guard": endpoint.guard,
    }


def describe_publish(publish: Publish) -> Json:
    """A publish with the host port that it got; ``host_address`` is empty for every host address."""
    return {
        "endpoint": publish.endpoint,
        "host_address": publish.host_address,
        "host_port": publish.host_port,
        "endpoint_port": publish.endpoint_port,
        "protocol": publish.protocol,
        "loopback": publish.loopback,
        "sources": list(publish.sources),
    }


def describe_masquerade(masquerade: Masquerade) -> Json:
    """A masquerade under the names of the module's options; those that do not apply are left out."""
    options = {
        "network": masquerade.network,
        "source": masquerade.source,
        "except_out_interface": masquerade.except_out_interface,
        "to_source": masquerade.to_source,
    }
    return {name: str(value) for name, value in options.items() if value}


def topology_to_json(topology: Topology) -> Json:
    """The whole topology as JSON values, in a stable order."""
    return {
        "networks": [describe_network(topology.networks[name]) for name in sorted(topology.networks)],
        "endpoints": [describe_endpoint(topology.endpoints[name]) for name in sorted(topology.endpoints)],
        "publishes": [_publish_to_json(publish) for publish in sorted(topology.publishes.values())],
        "masquerades": [describe_masquerade(topology.masquerades[name]) for name in sorted(topology.masquerades)],
    }


def _publish_to_json(publish: Publish) -> Json:
    return {**describe_publish(publish), "asked": [publish.asked_first, publish.asked_last]}


def topology_from_json(data: t.Any) -> Topology:
    """Read what :func:`topology_to_json` wrote.

    :raises RecordError: a value is missing, of the wrong type, nothing that a request could have led to, or contradicts
        another.
    """
    try:
        topology = Topology(
            networks=_by_key(map(_network, data["networks"]), lambda network: network.name),
            endpoints=_by_key(map(_endpoint, data["endpoints"]), lambda endpoint: endpoint.name),
            publishes=_by_key(map(_publish, data["publishes"]), lambda publish: publish.key),
            masquerades=_by_key(map(_masquerade, data["masquerades"]), lambda masquerade: masquerade.name),
        )
        _check_references(topology)
        topology.check()
    except RecordError:
        raise
    except KeyError as problem:
        raise RecordError("it has no %s" % problem) from problem
    except InputError as problem:
        raise RecordError(_as_part(str(problem))) from problem
    except (TypeError, ValueError, AttributeError, OverflowError) as problem:
        raise RecordError("%s: %s" % (type(problem).__name__, problem)) from problem
    return topology


def _as_part(sentence: str) -> str:
    """What is wrong with a request, as part of another sentence and without what to do."""
    first = sentence.partition(". ")[0]
    return "one " + first[:1].lower() + first[1:]


def _by_key(items: t.Iterable[Item], key_of: t.Callable[[Item], t.Any]) -> dict[t.Any, Item]:
    found: dict[t.Any, Item] = {}
    for item in items:
        if found.setdefault(key_of(item), item) is not item:
            raise RecordError("%s is there twice" % (key_of(item),))
    return found


def _check_references(topology: Topology) -> None:
    for endpoint in topology.endpoints.values():
        network = topology.networks.get(endpoint.network)
        if network is None:
            raise RecordError(
                "endpoint %s names the network %s, which is not there" % (endpoint.name, endpoint.network)
            )
        for address in endpoint.addresses:
            problem = address_problem(address, network)
            if problem:
                raise RecordError("endpoint %s has the address %s, but %s" % (endpoint.name, address, problem))
    for publish in topology.publishes.values():
        if publish.endpoint not in topology.endpoints:
            raise RecordError("a publish names the endpoint %s, which is not there" % publish.endpoint)
    for masquerade in topology.masquerades.values():
        if masquerade.network and masquerade.network not in topology.networks:
            raise RecordError("a masquerade names the network %s, which is not there" % masquerade.network)


def _network(item: Json) -> Network:
    network = Network(
        name=valid_interface_name(item["name"], "network"),
        subnets=tuple(parse_subnet(text, "subnet") for text in _list(item["subnets"])),
        gateways=tuple(parse_address(text, "gateway") for text in _list(item["gateways"])),
        allocate_from=tuple(parse_subnet(text, "allocate_from") for text in _list(item["allocate_from"])),
        mode=_one_of(MODES, item["mode"]),
        icc=_boolean(item["icc"]),
        mtu=_number(item["mtu"], 68, 65535),
        mac=parse_mac(item["mac"], "network"),
        trusted_interfaces=tuple(
            valid_interface_name(name, "trusted interface") for name in _list(item["trusted_interfaces"])
        ),
    )
    if not network.subnets or len(network.subnets) != len(network.gateways):
        raise RecordError("network %s has not one gateway for each subnet" % network.name)
    for subnet, gateway in zip(network.subnets, network.gateways):
        problem = gateway_problem(subnet, gateway)
        if problem:
            raise RecordError("network %s has the gateway %s, but %s" % (network.name, gateway, problem))
    return network


def _endpoint(item: Json) -> Endpoint:
    name = valid_endpoint_name(item["name"])
    return Endpoint(
        name=name,
        network=str(item["network"]),
        addresses=tuple(parse_address(text, "address") for text in _list(item["addresses"])),
        mac=parse_mac(item["mac"], "endpoint"),
        interface=valid_interface_name(item["interface"], "interface"),
        default_route=_boolean(item["default_route"]),
        routes=tuple(map(_route, _list(item["routes"]))),
        expose=tuple(map(_exposed, _list(item["expose"]))),
        sysctls=tuple(sorted(valid_sysctl(key, value, name) for key, value in item["sysctls"].items())),
        nameservers=tuple(str(parse_address(text, "nameserver")) for text in _list(item["nameservers"])),
        search=tuple(valid_host_name(text, "search domain") for text in _list(item["search"])),
        aliases=tuple(valid_host_name(text, "alias") for text in _list(item["aliases"])),
        guard=_boolean(item.get("guard", True)),
    )


def _route(item: Json) -> Route:
    via = item["via"]
    return Route(
        parse_subnet(item["destination"], "route"), None if via is None else parse_address(via, "gateway of a route")
    )


def _list(value: t.Any) -> list[t.Any]:
    if not isinstance(value, list):
        raise TypeError("%r is not a list" % (value,))
    return value


def _one_of(words: t.Sequence[str], value: t.Any) -> str:
    if value not in words:
        raise ValueError("%r is none of %s" % (value, ", ".join(words)))
    return str(value)


def _number(value: t.Any, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError("%r is not a whole number from %d to %d" % (value, least, most))
    return value


def _boolean(value: t.Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("%r is not true or false" % (value,))
    return value


def _exposed(text: str) -> tuple[int, str]:
    port, _slash, protocol = text.partition("/")
    return _number(int(port), 1, _HIGHEST_PORT), _one_of(PROTOCOLS, protocol)


def _publish(item: Json) -> Publish:
    first, last = item["asked"]
    return Publish(
        str(item["endpoint"]),
        _number(item["endpoint_port"], 1, _HIGHEST_PORT),
        _one_of(PROTOCOLS, item["protocol"]),
        _host_address(item["host_address"]),
        _number(first, 0, _HIGHEST_PORT),
        _number(last, first, _HIGHEST_PORT),
        _number(item["host_port"], 0, _HIGHEST_PORT),
        _one_of(LOOPBACKS, item["loopback"]),
        _sources(tuple(_list(item["sources"]))),
    )


# Thousands of publishes share a few addresses and lists.
@functools.lru_cache(maxsize=4096)
def _host_address(text: str) -> str:
    return str(parse_address(text, "host address")) if text else ""


@functools.lru_cache(maxsize=4096)
def _sources(texts: tuple[str, ...]) -> tuple[str, ...]:
    return source_texts(texts, "source")


def _masquerade(item: Json) -> Masquerade:
    network, source, to_source = item.get("network"), item.get("source"), item.get("to_source")
    interface = item.get("except_out_interface")
    if bool(network) == bool(source):
        raise RecordError("a masquerade has not one network or one source")
    return Masquerade(
        network=str(network or ""),
        source=parse_subnet(source, "source") if source else None,
        except_out_interface=valid_interface_name(interface, "except_out_interface") if interface else "",
        to_source=parse_address(to_source, "to_source") if to_source else None,
    )
