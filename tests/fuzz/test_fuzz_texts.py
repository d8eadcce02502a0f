# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever the names are, what is written stays what it was meant to be: rules, units, hosts files; and the filters."""

from __future__ import annotations

import contextlib
import json
import re
import typing as t
from unittest import mock

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.bridgeport.net.plugins.filter.port_spec import port_spec
from ansible_collections.bridgeport.net.plugins.filter.service_parts import service_parts
from ansible_collections.bridgeport.net.plugins.filter.without_keys import without_keys
from ansible_collections.bridgeport.net.plugins.module_utils._codec import topology_from_json, topology_to_json
from ansible_collections.bridgeport.net.plugins.module_utils._errors import BridgeportError, KernelError
from ansible_collections.bridgeport.net.plugins.module_utils._plan import make_plan, scope_of
from ansible_collections.bridgeport.net.plugins.module_utils._report import actions_of
from ansible_collections.bridgeport.net.plugins.module_utils._state import FileState
from ansible_collections.bridgeport.net.plugins.module_utils._topology import Topology
from ansible_collections.bridgeport.net.plugins.module_utils._units import drop_in_path, unit_path
from ansible_collections.bridgeport.net.plugins.modules import boot_engine, service_unit
from cases import cases
from hostile import Json, hostile_texts, json_values, spoiled_options
from hosts import FACTS, intact
from hypothesis import event
from hypothesis import strategies as st
from running import Result, check_refusal, requests, run
from safety import check_texts, sections_of
from samples import Request, decided

# Names

Requested = t.Tuple[t.List[Request], t.List[Request], t.List[Request], t.List[Request]]


def names(length: int) -> st.SearchStrategy[str]:
    """Names as they are allowed, words of the rules' own languages among them."""
    words = [
        "drop",
        "accept",
        "jump",
        "ip",
        "map",
        "0",
        "1e5",
        "0x10",
        "a-j",
        "A.",
        "x" * length,
        "BRIDGEPORT",
        "to_lan0",
        "host-",
    ]
    return st.one_of(
        st.sampled_from(words), st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,%d}" % (length - 1), fullmatch=True)
    )


@st.composite
def topologies(draw: st.DrawFn) -> Requested:
    bridge, endpoint = draw(names(15)), draw(names(63))
    network: Request = {
        "name": bridge,
        "subnets": draw(st.sampled_from([["10.7.0.0/24"], ["10.7.0.0/24", "fd00:7::/64"], ["fd00:7::/64"]])),
        "icc": draw(st.booleans()),
        "mode": draw(st.sampled_from(["nat", "nat", "routed", "internal"])),
        "trusted_interfaces": draw(st.lists(names(15), max_size=2)),
    }
    joined: Request = {
        "name": endpoint,
        "network": bridge,
        "interface": draw(names(15)),
        "aliases": draw(st.lists(st.one_of(names(63), hostile_texts), max_size=1)),
        "search": draw(st.lists(names(20), max_size=1)),
        "nameservers": draw(st.sampled_from([None, ["192.0.2.53", "2001:db8::53"]])),
    }
    publish: Request = {
        "endpoint": endpoint,
        "ports": draw(
            st.lists(st.sampled_from(["80:80", "127.0.0.1:86:80", "[2001:db8::1]:82:80/udp", "9000"]), max_size=2)
        ),
        "sources": draw(st.sampled_from([None, ["192.0.2.0/24"], ["2001:db8::/32", "192.0.2.7"]])),
        "loopback": draw(st.sampled_from(["nat", "none", "proxy"])),
    }
    masquerade: Request = {"source": "10.9.0.0/24", "except_out_interface": draw(names(15))}
    return [network], [joined], [publish], [masquerade]


@cases(300, topologies())
def test_any_names(requested: Requested) -> None:
    try:
        topology = decided(*requested, FACTS)
    except BridgeportError:
        event("refused")
        return
    check_texts(topology)
    assert topology_from_json(json.loads(json.dumps(topology_to_json(topology)))) == topology
    for backend in ("nftables", "iptables-nft"):
        scope = scope_of(topology, topology, (), (), True)
        assert make_plan(topology, topology, intact(topology, backend), scope, backend, backend) == []
    assert all(sentence.isprintable() for sentence in actions_of(Topology(), topology, []))


# Units


class Systemd:
    """A systemd that is a value: files, and what it knows of units."""

    def __init__(self, known: t.Mapping[str, str]) -> None:
        self.files: dict[str, str] = {}
        self.known = dict(known)
        self.running: set[str] = set()
        self.enabled: set[str] = set()
        self.started: dict[str, int] = {}
        self.owed: dict[str, int] = {}
        self.now = 1
        # The step that a run does not survive: what it does, and when.
        self.deadly = ("", "")

    def show(self, names: t.Sequence[str], _properties: t.Sequence[str]) -> str:
        return "\n".join(map(self._show, names))

    def _show(self, name: str) -> str:
        path, drop_in = unit_path(name), drop_in_path(name)
        said = {
            "Id": name,
            "LoadState": "loaded" if path in self.files else self.known.get(name, "not-found"),
            "ActiveState": "active" if name in self.running else "inactive",
            "UnitFileState": "enabled" if name in self.enabled else "disabled",
            "FragmentPath": path if path in self.files else "/lib/x",
            "DropInPaths": drop_in if drop_in in self.files else "",
            "MainPID": "0",
            "InactiveExitTimestampMonotonic": str(self.started.get(name, 0)),
        }
        return "".join("%s=%s\n" % item for item in said.items())

    def write(self, path: str, state: FileState | None) -> None:
        self.files.pop(path, None)
        if state is not None:
            self.files[path] = state.text

    def read(self, path: str) -> FileState | None:
        return FileState(self.files[path]) if path in self.files else None

    def change(self, verb: str, names: t.Collection[str]) -> None:
        if not names:
            return
        self._survive("before", verb)
        if verb == "enable":
            self.enabled.update(names)
        elif verb == "restart":
            self.start(names)
        else:
            assert all(unit_path(name) in self.files for name in names)
            self.enabled -= set(names)
        self._survive("after", verb)

    def start(self, names: t.Collection[str]) -> None:
        self.now += 1
        self.running.update(names)
        self.started.update(dict.fromkeys(names, self.now))

    def reload(self) -> None:
        self._survive("before", "reload")

    def owe(self, names: t.Collection[str], read: bool) -> None:
        self.now += 1
        self.owed.update(dict.fromkeys(names, self.now if read else 0))

    def settle(self, names: t.Collection[str]) -> None:
        for name in names:
            self.owed.pop(name, None)

    def _survive(self, when: str, step: str) -> None:
        if self.deadly == (when, step):
            self.deadly = ("", "")
            raise KernelError("Cannot %s: the run was killed %s it." % (step, when))

    def placed(self) -> list[str]:
        return sorted(
            {re.sub(r"\.d/bridgeport\.conf$", "", path)[len("/etc/systemd/system/") :] for path in self.files}
        )

    def run(self, options: dict[str, t.Any], check: bool = False) -> Result:
        doing: dict[str, t.Any] = {
            "systemd_runs": lambda: True,
            "manager_version": lambda: "252.36-1~deb12u1",
            "show_units": self.show,
            "read_file": self.read,
            "write_file": self.write,
            "change_units": self.change,
            "stop_units": self.running.difference_update,
            "start_units": self.start,
            "reload_manager": self.reload,
            "owe": self.owe,
            "read_owed": lambda: dict(self.owed),
            "settle": self.settle,
            "placed_units": self.placed,
            "is_namespace": lambda name: name != "gone",
            "_inode": lambda _path: 7,
        }
        with mock.patch.multiple(service_unit, **doing):
            return run("service_unit", options, check)


KNOWN = {"flask.service": "loaded", "db@1.service": "loaded", "web.service": "masked"}
UNIT_KEYS = {"Description", "StartLimitIntervalSec", "Requires", "After", "BindsTo"}


def strings_in(value: Json) -> set[str]:
    """All that is in a value, as text."""
    if isinstance(value, dict):
        return set().union(*map(strings_in, value.keys()), *map(strings_in, value.values()))
    return set().union(*map(strings_in, value)) if isinstance(value, list) else {str(value)}


def check_unit(text: str, asked: set[str]) -> None:
    """Every setting is one that was asked for, or one of ours."""
    ours = re.compile(
        r"exec|on-failure|1|0|yes|no|multi-user\.target|\S+\.service \(bridgeport\.net\)|/run/netns/[\w.-]+"
        r"|bridgeport-endpoint@[\w.-]+\.service|-/etc/netns/[\w.-]+/(hosts|resolv\.conf):/etc/(hosts|resolv\.conf)"
    )
    for section, directive, value in sections_of(text):
        assert (section == "[Unit]") == (directive in UNIT_KEYS) or section == "[Service]", (section, directive)
        if directive == "Environment" and value.startswith('"') and value not in asked:
            variable, _equals, inner = value[1:-1].partition("=")
            plain = re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], inner).replace("%%", "%")
            assert not re.search(r'(?<!\\)(?:\\\\)*"', value[1:-1]), value
            assert variable in asked and (plain in asked or inner in asked), value
        else:
            assert value in asked or ours.fullmatch(value), (directive, value)


@cases(300, requests("service_unit"))
def test_service_unit(options: dict[str, t.Any]) -> None:
    systemd = Systemd(KNOWN)
    predicted = systemd.run(options, check=True)
    assert systemd.files == {}
    done = systemd.run(options)
    if done.get("failed"):
        assert (systemd.files, systemd.running, systemd.enabled) == ({}, set(), set())
        if done["msg"].startswith("Cannot"):
            check_refusal(done)
            event("refused")
        return
    event("done")
    assert done == predicted
    asked = strings_in(options)
    for path, text in systemd.files.items():
        assert re.fullmatch(r"/etc/systemd/system/[A-Za-z0-9:_.\\@-]+\.service(\.d/bridgeport\.conf)?", path), path
        check_unit(text, asked)
    assert systemd.run(options)["actions"] == []
    gone = systemd.run({"state": "absent", "units": [{"unit": name} for name in systemd.placed()]})
    assert not gone.get("failed") and systemd.files == {}


@pytest.mark.parametrize(
    ("when", "step", "lost"),
    [("before", "reload", True), ("before", "restart", True), ("after", "restart", False)],
)
def test_a_restart_that_a_run_owes_is_done_once(when: str, step: str, lost: bool) -> None:
    systemd = Systemd({})
    unit = {"unit": "new.service", "network": "host", "exec": "/usr/bin/old"}
    systemd.run({"units": [unit]})
    systemd.deadly = (when, step)
    assert systemd.run({"units": [{**unit, "exec": "/usr/bin/new"}]})["failed"]
    # A run for another unit leaves it to the one that is for it.
    systemd.run({"units": [{**unit, "unit": "other.service"}]})
    for actions in (["Restart new.service."] if lost else [], []):
        assert systemd.run({"units": [{**unit, "exec": "/usr/bin/new"}]})["actions"] == actions
    assert systemd.owed == {}


def test_units_that_are_removed_are_named_once() -> None:
    unit = {"unit": "new.service", "network": "endpoint:web", "exec": "/usr/bin/true"}
    for asked in ({"units": [unit] * 2}, {"units": [unit], "endpoints": ["web", "web"]}):
        systemd = Systemd({})
        systemd.run({"units": [unit]})
        done = systemd.run({"state": "absent", **asked})
        assert [action for action in done["actions"] if action.startswith("Remove")] == [
            "Remove %s." % unit_path("new.service"),
            "Remove %s." % drop_in_path("new.service"),
        ]
        assert len(done["actions"]) == 4 and systemd.files == {}
    wrong = Systemd({}).run({"state": "absent", "units": [{"unit": "new"}]})
    check_refusal(wrong)
    assert "Cannot remove the unit 'new'" in wrong["msg"]


SOUND: dict[str, t.Any] = {
    "unit": "new.service",
    "network": "endpoint:web",
    "exec": "/usr/bin/true",
    "user": "www-data",
    "environment": {"A": "b"},
    "environment_files": ["/etc/default/web"],
    "working_directory": "/srv",
    "description": "The web",
    "after": ["network.target"],
    "requires": ["redis.service"],
    "service_options": {"MemoryMax": "1G"},
}


SPOILED = list(spoiled_options(SOUND))


@cases(len(SPOILED), st.sampled_from(SPOILED))
def test_spoiled_unit(entry: dict[str, t.Any]) -> None:
    systemd = Systemd({})
    done = systemd.run({"units": [entry]})
    if done.get("failed"):
        check_refusal(done)
        assert systemd.files == {}
    for text in systemd.files.values():
        check_unit(text, strings_in(entry))


@cases(100, requests("boot_engine"))
def test_boot_engine(options: dict[str, t.Any]) -> None:
    with mock.patch.object(boot_engine, "build_archive", return_value=b""):
        done = run("boot_engine", options, check=True)
    if done.get("failed") and done["msg"].startswith("Cannot"):
        check_refusal(done)


# Filters


@cases(200, json_values, json_values)
def test_filters(value: Json, keys: Json) -> None:
    calls: list[t.Callable[[], Json]] = [
        lambda: port_spec(value),
        lambda: service_parts(value),
        lambda: without_keys(value, keys),
        lambda: without_keys([{"a": value}], keys),
    ]
    for call in calls:
        with contextlib.suppress(AnsibleFilterError):
            json.dumps(call())


services = st.dictionaries(
    st.one_of(st.sampled_from(["name", "network", "unit", "exec", "routes"]), hostile_texts),
    st.one_of(hostile_texts, json_values),
    max_size=4,
)


@cases(150, st.lists(services, max_size=3))
def test_services(entries: list[dict[str, Json]]) -> None:
    with contextlib.suppress(AnsibleFilterError):
        parts = service_parts(entries)
        assert len(parts["endpoints"]) <= len(entries) and len(parts["units"]) <= len(entries)
        assert service_parts(entries) == parts
