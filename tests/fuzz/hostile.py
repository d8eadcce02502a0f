# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values that nobody should type, and options as a module's argument spec has them."""

from __future__ import annotations

import typing as t

from hypothesis import strategies as st

Json = t.Any
Spec = t.Mapping[str, t.Any]

LONG = "x" * 5000
HOSTILE_TEXTS = [
    *("", " ", "\n", "\t", "\0", "a\0b", "a\nb", "a\r\nb", "a b", "a;b", 'a"b', "a'b", "a\\", "a$b", "`a`", "%", "%s"),
    *("%(x)s", "{x}", "{{ x }}", "#", "*", "?", "-", "--", "-j", "-rf", "!", "@x", "~", ".", "..", "../etc", "/", "//"),
    *("/etc/passwd", "a/b", "a,b", "a}", "a{", "<a>", "&amp;", "None", "null", "true", "[]", "{}", LONG, "x" * 16),
    *(
        "é",
        "日本",
        "\u202e",
        "\u2028",
        "\x85",
        "\x1b[31m",
        "\ud800",
        "\U0001f600",
        "İ",
        "ß",
        "\u0661",
        "\uff18\uff10",
        "\ufeff",
    ),
    *('x"; flush ruleset; #', 'x" accept #', "x\n-A INPUT -j ACCEPT", "x\n[Service]\nExecStart=/bin/true"),
    *("x\n127.0.0.1 evil", "x -j ACCEPT", "drop", "accept", "jump", "ip", "counter", "all", "default", "lo", "host"),
    *("0", "-1", "65535", "65536", "99999999999", "1e3", "0x50", "1.5", "080", "+80", "4" * 4500),
]
HOSTILE_ADDRESSES = [
    *(
        "0.0.0.0",
        "255.255.255.255",
        "127.0.0.1",
        "169.254.1.1",
        "224.0.0.1",
        "240.0.0.1",
        "256.1.1.1",
        "1.2.3",
        "01.2.3.4",
    ),
    *("1.2.3.4\n", " 1.2.3.4", "1.2.3.4/32", "::", "::1", "::ffff:10.0.0.9", "::10.0.0.9", "fe80::1", "fe80::1%eth0"),
    *("fd00:1::5%1", 'fd00:1::5%"x', "ff02::1", "[fd00:1::5]", "fd00:1::5::", "2001:db8::1", "10.0.0.0", "10.0.0.255"),
]
HOSTILE_SUBNETS = [
    *(
        "10.0.0.0/24",
        "10.0.0.0/25",
        "10.0.0.1/24",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/",
        "/24",
        "10.0.0.0",
        "0.0.0.0/0",
    ),
    *("10.0.0.0/255.255.255.0", "10.0.0.0/0.0.0.255", "10.9.0.0/32", "10.9.0.0/31", "10.9.0.0/30", "127.0.0.0/8"),
    *("::/0", "::/96", "::a:0/112", "::ffff:0:0/96", "::ffff:10.0.0.0/104", "fe80::/64", "fe80::%eth0/64", "ff00::/8"),
    *("fd00:1::/64", "fd00:1::/128", "fd00:9::/127", "fd00:9::/126", "fd00::/8", "10.0.0.0/8", "10.0.0.0/24/24", "a/b"),
]
HOSTILE_PORTS = [
    *("0", "65536", "80-70", "80-80", "-80", "80-", "80:", ":80", "::80", "80:80:80", "0:80", "80:0", "65535:65535"),
    *(
        "80-82:80-83",
        "80-82:80-82",
        "80-82:80",
        "1-3",
        "80/icmp",
        "80/",
        "/tcp",
        "80/TCP",
        "80/tcp/udp",
        "localhost:80:80",
    ),
    *(
        "[::1]:80:80",
        "[::1:80:80",
        "[::1]80",
        "[]:80:80",
        "[fe80::1%eth0]:80:80",
        "::1:80:80",
        "0.0.0.0:80:80",
        "[::]:80:80",
    ),
    *("9" * 5000, "80:" + "9" * 5000, "80-" + "9" * 5000),
    *("[::ffff:192.0.2.1]:80:80", "[::192.0.2.1]:80:80", "127.0.0.1::80", "224.0.0.1:80:80", "80:80/sctp", "53:53/udp"),
]
HOSTILE_NUMBERS = [0, -1, 1, 67, 68, 1279, 1280, 65535, 65536, 2**31, 2**63, 2**64, 10**30, 1.5, -0.0, 1e308, True]

# What ends a word, a string, a line or a path where it should not.
DANGEROUS = [
    *(
        "\n",
        "\r",
        "\x0b",
        "\x85",
        "\u2028",
        "\0",
        " ",
        "\t",
        '"',
        "'",
        "\\",
        ";",
        "#",
        "%",
        "{",
        "}",
        "/",
        "/../",
        "$(x)",
        ",",
    )
]
DANGEROUS += [
    "\n[Service]\nUser=root",
    "\n-A INPUT -j ACCEPT",
    "\nnameserver 192.0.2.1",
    '" accept #',
    "; flush ruleset",
]

# What makes sense, by the option's name: mostly of the networks and endpoints that are there.
SENSIBLE: dict[str, list[t.Any]] = {
    "name": ["lan0", "dual0", "fresh0", "web", "db", "new", "br-1.x", "0", "drop"],
    "network": ["lan0", "lan0", "dual0", "routed0", "inner0", "endpoint:web"],
    "endpoint": ["web", "web", "db", "both", "r", "new"],
    "subnets": ["10.0.0.0/24", "10.7.0.0/24", "fd00:7::/64", "10.8.0.0/29", "fd00:8::/125", "172.17.0.0/16"],
    "gateways": ["10.0.0.1", "10.7.0.1", "10.7.0.9", "fd00:7::1", "fd00:7::9"],
    "allocate_from": ["10.0.0.128/25", "10.7.0.128/25", "fd00:7::100/120"],
    "mac": ["02:42:00:00:00:01", "02-42-00-00-00-02", "02:42:AC:11:00:02"],
    "trusted_interfaces": ["eth0", "eth1", "lan0", "wg0.5"],
    "addresses": ["10.0.0.2", "10.0.0.77", "fd00:1::77", "10.0.1.5", "10.7.0.7"],
    "expose": ["5000", "53/udp", "3000-3003", "80/sctp"],
    "interface": ["eth0", "eth1", "net-0"],
    "destination": [
        "10.99.0.0/16",
        "fd99::/48",
        "0.0.0.0/0",
        "192.0.2.1:80",
        "web:5000",
        "[2001:db8::1]:80/udp",
        "10.0.0.2/icmp",
    ],
    "via": ["10.0.0.1", "10.0.0.50", "fd00:1::1", "10.0.1.1"],
    "nameservers": ["192.0.2.53", "2001:db8::53"],
    "search": ["example.org", "a.b"],
    "aliases": ["www", "www.example.org", "a_b"],
    "ports": [
        "80:5000",
        "8443:443/tcp",
        "127.0.0.1:81:80",
        "9000",
        "6000-6003:6000-6003/udp",
        "[::1]:82:80",
        "192.0.2.1:83:80",
        80,
    ],
    "sources": ["192.0.2.0/24", "192.0.2.7", "2001:db8::/32", "10.0.0.0/8"],
    "source": ["10.9.0.0/24", "fd09::/64", "host", "outside", "web", "192.0.2.77", "both"],
    "except_out_interface": ["br9", "lan0"],
    "to_source": ["203.0.113.7", "2001:db8::7"],
    "unit": ["flask.service", "web.service", "db@1.service", "a\\x2db.service"],
    "exec": ["/usr/bin/true", "/usr/bin/python3 -m http.server 80", "/bin/sh -c 'exec \"$0\"'"],
    "user": ["www-data", "0"],
    "group": ["www-data"],
    "environment_files": ["/etc/default/web", "-/etc/default/web"],
    "working_directory": ["/srv"],
    "description": ["The web"],
    "after": ["network.target"],
    "requires": ["redis.service"],
    "endpoints": ["web", "db"],
    "command": ["/usr/local/sbin/bridgeport"],
}
KEYS = [
    "net.core.somaxconn",
    "net.ipv4.ip_forward",
    "net/ipv6/conf/eth0/accept_ra",
    "A",
    "PATH",
    "MemoryMax",
    "User",
    "Environment",
]
DICTIONARY_KEYS = st.sampled_from(
    [*KEYS, "net", "net.", "net...x", "kernel.x", "a=b", "", "a b", "net.a.b\n", "\ud800", LONG]
)

hostile_texts = st.one_of(
    st.sampled_from([*HOSTILE_TEXTS, *HOSTILE_ADDRESSES, *HOSTILE_SUBNETS, *HOSTILE_PORTS]), st.text(max_size=12)
)
scalars = st.one_of(hostile_texts, st.sampled_from([*HOSTILE_NUMBERS, None, False]))
json_values: st.SearchStrategy[Json] = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(hostile_texts, inner, max_size=3)),
    max_leaves=6,
)


def spoiled(text: str) -> list[str]:
    """A text with something dangerous behind it, in front of it and in its middle."""
    half = len(text) // 2
    return [form for odd in DANGEROUS for form in (text + odd, odd + text, text[:half] + odd + text[half:])]


def spoiled_options(options: dict[str, Json]) -> t.Iterator[dict[str, Json]]:
    """Options of which one text is spoiled, be it in a list, or a key or value of a dictionary."""
    for name, value in options.items():
        if isinstance(value, dict):
            ((key, text),) = value.items()
            yield from ({**options, name: {odd: text}} for odd in spoiled(key))
            yield from ({**options, name: {key: odd}} for odd in spoiled(text))
        elif isinstance(value, list):
            yield from ({**options, name: [odd]} for odd in spoiled(value[0]))
        else:
            yield from ({**options, name: odd} for odd in spoiled(value))


def option(name: str, spec: Spec) -> st.SearchStrategy[Json]:
    """A value for one option: sensible mostly, else of the right type, else anything."""
    kind = spec.get("type", "str")
    if kind == "list":
        one = option(name, {**spec, "type": spec.get("elements", "str")})
        return _mostly(st.lists(one, min_size=1, max_size=2), st.one_of(st.just([]), one, json_values))
    if "options" in spec:
        return _mostly(arguments(spec["options"], spec), json_values)
    if "choices" in spec:
        return _mostly(st.sampled_from(spec["choices"]), scalars)
    if kind == "bool":
        return _mostly(st.booleans(), scalars)
    if kind == "int":
        return _mostly(st.sampled_from([1280, 1500, 9000]), scalars)
    if kind == "dict":
        return _mostly(st.dictionaries(DICTIONARY_KEYS, scalars, max_size=2), json_values)
    if kind == "raw":
        return _mostly(st.sampled_from(SENSIBLE[name]), st.one_of(hostile_texts, _ports_as_dictionaries, json_values))
    return _mostly(st.sampled_from(SENSIBLE[name]), scalars)


_ports_as_dictionaries = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("host_address", "host_port", "port", "protocol", "x"), scalars)
)


def _mostly(usual: st.SearchStrategy[Json], odd: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    return st.integers(0, 19).flatmap(lambda number: odd if number == 13 else usual)


def arguments(options: t.Mapping[str, Spec], rules: Spec) -> st.SearchStrategy[dict[str, Json]]:
    """Values for some of the options, mostly as the rules among them have it.

    :param rules: ``mutually_exclusive``, ``required_by`` and ``required_one_of``, as Ansible has them.
    """
    strategies = {name: option(name, spec) for name, spec in options.items()}
    required = {name for name, spec in options.items() if spec.get("required")}
    names = sorted(strategies)

    @st.composite
    def draw_all(draw: st.DrawFn) -> dict[str, Json]:
        chosen = set(draw(st.lists(st.sampled_from(names), max_size=4, unique=True)))
        if draw(st.integers(0, 19)) != 13:
            chosen = _allowed(draw, chosen | required, rules) & strategies.keys()
        return {name: draw(strategies[name]) for name in names if name in chosen}

    return draw_all()


def _allowed(draw: st.DrawFn, chosen: set[str], rules: Spec) -> set[str]:
    for group in rules.get("required_one_of", ()):
        if not chosen & set(group):
            chosen |= {draw(st.sampled_from(group))}
    for pair in rules.get("mutually_exclusive", ()):
        if chosen >= set(pair):
            chosen -= {draw(st.sampled_from(pair))}
    for needy, needed in rules.get("required_by", {}).items():
        chosen -= set() if chosen >= set(needed) else {needy}
    return chosen
