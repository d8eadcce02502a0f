# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""systemd units in endpoints: the files that are written, and what must happen to the units."""

from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest
from ansible_collections.bridgeport.net.plugins.module_utils._errors import DependencyError, StateError
from ansible_collections.bridgeport.net.plugins.module_utils._unit_plan import (
    UnitState,
    check_version,
    parse_states,
    parse_version,
    plan_absent,
    plan_present,
)
from ansible_collections.bridgeport.net.plugins.module_utils._units import (
    Unit,
    drop_in_path,
    drop_in_text,
    endpoint_of_drop_in,
    parse_units,
    split_entries,
    unit_path,
)
from samples import refused

NGINX = UnitState(
    "nginx.service",
    "nginx.service",
    "loaded",
    "active",
    "enabled",
    "/lib/systemd/system/nginx.service",
    (),
    False,
    "",
    7,
    False,
    100,
)
PLACED = Unit("nginx.service", "endpoint", "web")
NETWORKS = {"": 100, "web": 200}
DROP_IN = drop_in_path("nginx.service")


def planned(unit: Unit, state: UnitState, files: dict[str, str | None] | None = None, **more: t.Any) -> list[str]:
    """The actions for one unit."""
    return plan_present([unit], [state], files or {}, NETWORKS, True, more.get("missing_ok", False)).actions


def test_entries_are_parted() -> None:
    endpoints, units = split_entries(
        [
            {"name": "web", "network": "docker0", "expose": [80], "unit": "nginx.service"},
            {"name": "db", "network": "docker0", "exec": "/bin/db", "user": "db"},
            {"name": "bare", "network": "docker0"},
            {"name": "side", "network": "endpoint:web", "exec": "/bin/side", "unit": "sidecar.service"},
            {"name": "ssh", "network": "host", "unit": "ssh.service"},
        ]
    )
    assert endpoints == [
        {"name": "web", "network": "docker0", "expose": [80]},
        {"name": "db", "network": "docker0"},
        {"name": "bare", "network": "docker0"},
    ]
    assert units == [
        {"unit": "nginx.service", "network": "endpoint:web"},
        {"unit": "db.service", "exec": "/bin/db", "user": "db", "network": "endpoint:db"},
        {"unit": "sidecar.service", "exec": "/bin/side", "network": "endpoint:web"},
        {"unit": "ssh.service", "network": "host"},
    ]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"name": "x", "network": "host", "unit": "a.service", "mac": "02:00:00:00:00:01"}, ("mac", "x", "'host'")),
        ({"name": "x", "network": "none"}, ("neither 'unit' nor 'exec'",)),
        ({"name": "x", "network": "endpoint:y"}, ("neither 'unit' nor 'exec'",)),
    ],
)
def test_entries_that_contradict_themselves(entry: dict[str, t.Any], words: tuple[str, ...]) -> None:
    refused(lambda: split_entries([entry]), *words)


def test_a_written_unit() -> None:
    unit = parse_units(
        [
            {
                "unit": "db.service",
                "network": "endpoint:db",
                "exec": "/bin/db --port 1",
                "user": "db",
                "environment": {"A": 'x "y" \\ 100%\nz', "N": 1},
                "environment_files": ["-/etc/default/db"],
                "requires": ["a.mount"],
                "after": ["b.service"],
                "service_options": {
                    "Type": "notify",
                    "MemoryMax": "1G",
                    "ExecStartPre": ["/bin/a", "/bin/b"],
                    "PrivateTmp": True,
                },
            }
        ]
    )[0]
    assert unit.text is not None
    assert unit.text.splitlines() == [
        "# Written by the module bridgeport.net.service_unit.",
        "[Unit]",
        "Description=db.service (bridgeport.net)",
        "StartLimitIntervalSec=0",
        "Requires=a.mount",
        "After=a.mount",
        "After=b.service",
        "",
        "[Service]",
        "Type=notify",
        "ExecStart=/bin/db --port 1",
        "Restart=on-failure",
        "RestartSec=1",
        "User=db",
        'Environment="A=x \\"y\\" \\\\ 100%%\\nz"',
        'Environment="N=1"',
        "EnvironmentFile=-/etc/default/db",
        "MemoryMax=1G",
        "ExecStartPre=/bin/a",
        "ExecStartPre=/bin/b",
        "PrivateTmp=yes",
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"unit": "nginx", "network": "host"}, ("'nginx'", "name of a service")),
        ({"unit": "../x.service", "network": "host"}, ("'../x.service'",)),
        ({"unit": "x.service"}, ("x.service", "''")),
        ({"unit": "x.service", "network": "docker0"}, ("'docker0'", "endpoint:NAME")),
        ({"unit": "x.service", "network": "endpoint:a/b"}, ("'a/b'",)),
        ({"unit": "x.service", "network": "host", "user": "root"}, ("user of the unit x.service",)),
        ({"unit": "x@1.service", "network": "host", "exec": "/bin/x"}, ("without '@'",)),
        ({"unit": "x.service", "network": "host", "exec": "/bin/x\nUser=root"}, ("ExecStart", "one line")),
        ({"unit": "x.service", "network": "host", "exec": "/bin/x \\"}, ("backslash",)),
        ({"unit": "x.service", "network": "host", "exec": "/bin/x", "user": "a\nb"}, ("User",)),
        ({"unit": "x.service", "network": "host", "exec": "/bin/x", "environment": {"A B": "c"}}, ("'c'", "A B")),
        ({"unit": "x.service", "network": "host", "exec": "/bin/x", "environment": {"A": True}}, ("A=True", "quotes")),
        ({"unit": "x.service", "network": "host", "exec": "/bin/x", "service_options": {"a b": 1}}, ("'a b'",)),
        ({"unit": "x.service", "network": "host", "exec": "/bin/x", "service_options": {"Nice": "1\n2"}}, ("Nice",)),
    ],
)
def test_units_that_are_refused(entry: dict[str, t.Any], words: tuple[str, ...]) -> None:
    refused(lambda: parse_units([entry]), *words)


def test_a_unit_named_twice_is_refused() -> None:
    entries = [{"unit": "x.service", "network": network} for network in ("host", "endpoint:web")]
    refused(lambda: parse_units(entries), "x.service in two places", "the host's network and the endpoint web")


def test_drop_ins() -> None:
    text = drop_in_text(PLACED, bound=True)
    assert text is not None
    assert "BindsTo=bridgeport-endpoint@web.service\nAfter=bridgeport-endpoint@web.service\n" in text
    assert "NetworkNamespacePath=/run/netns/web\n" in text
    assert endpoint_of_drop_in(text) == "web"
    assert "BindsTo" not in (drop_in_text(PLACED, bound=False) or "")
    assert "PrivateNetwork=yes" in (drop_in_text(Unit("a.service", "none"), bound=True) or "")
    assert drop_in_text(Unit("a.service", "host"), bound=True) is None


def test_states_are_read_from_systemctl() -> None:
    shown = "Id=a.service\nLoadState=loaded\nMainPID=12\nDropInPaths=/x /y\nNeedDaemonReload=yes\n\nId=b.service\nLoadState=not-found\nMainPID=0\n"
    first, second = parse_states(["a.service", "b.service"], shown)
    assert (first.load, first.pid, first.drop_ins, first.stale) == ("loaded", 12, ("/x", "/y"), True)
    assert (second.name, second.load, second.pid, second.up) == ("b.service", "not-found", 0, False)


def test_a_unit_moves_once() -> None:
    assert planned(PLACED, NGINX) == ["Write %s." % DROP_IN, "Restart nginx.service."]
    there = replace(NGINX, drop_ins=(DROP_IN,), namespace="/run/netns/web", network=200)
    files = {DROP_IN: drop_in_text(PLACED, True)}
    assert planned(PLACED, there, files) == []
    # Its namespace was made anew: it runs in the old one.
    assert planned(PLACED, replace(there, network=150), files) == ["Restart nginx.service."]
    # It is stopped, which is its administrator's business, or has no main process to look at.
    assert planned(PLACED, replace(there, active="inactive", network=0), files) == []
    assert planned(PLACED, replace(there, network=0), files) == []
    # A killed run had written the drop-in, and systemd has not read it.
    unread = plan_present([PLACED], [replace(NGINX, stale=True)], files, NETWORKS, True, False)
    assert unread.actions == ["Restart nginx.service."] and unread.reload


def test_a_restart_is_owed_until_the_unit_is_started() -> None:
    there = replace(NGINX, drop_ins=(DROP_IN,), namespace="/run/netns/web", network=200, started=500)
    files = {DROP_IN: drop_in_text(PLACED, True)}

    def actions(state: UnitState, since: int) -> tuple[list[str], bool]:
        plan = plan_present([PLACED], [state], files, NETWORKS, True, False, {"nginx.service": since})
        return plan.actions, plan.reload

    restarted = ["Restart nginx.service."]
    assert actions(there, 501) == (restarted, False)
    assert actions(there, 500) == actions(there, 499) == ([], False)
    # It was started, and is down again; or whatever was started, systemd had not read the file.
    assert actions(replace(there, active="failed", network=0), 499) == (restarted, False)
    assert actions(there, 0) == (restarted, True)


def test_a_unit_moves_from_one_endpoint_to_another() -> None:
    there = replace(NGINX, drop_ins=(DROP_IN,), namespace="/run/netns/web", network=200)
    other = Unit("nginx.service", "endpoint", "db")
    files = {DROP_IN: drop_in_text(PLACED, True)}
    assert planned(other, there, files) == ["Write %s." % DROP_IN, "Restart nginx.service."]


def test_a_unit_goes_back_to_the_host() -> None:
    there = replace(NGINX, drop_ins=(DROP_IN,), namespace="/run/netns/web", network=200)
    host = Unit("nginx.service", "host")
    assert planned(host, there, {DROP_IN: "x"}) == ["Remove %s." % DROP_IN, "Restart nginx.service."]
    assert planned(host, NGINX) == []
    # Its own unit gives it another namespace.
    assert planned(host, replace(NGINX, network=300)) == []
    # From no network at all, by our own drop-in, into an endpoint.
    alone = replace(NGINX, drop_ins=(DROP_IN,), private_network=True, network=300)
    assert planned(PLACED, alone, {DROP_IN: "x"}) == ["Write %s." % DROP_IN, "Restart nginx.service."]


def test_a_written_unit_is_enabled_and_kept_running() -> None:
    unit = Unit("db.service", "host", text="# Written by the module bridgeport.net.service_unit.\n")
    new = UnitState("db.service", "db.service", "not-found", "inactive", "", "", (), False, "", 0, False)
    path = unit_path("db.service")
    assert planned(unit, new) == ["Write %s." % path, "Enable db.service.", "Restart db.service."]
    up = replace(new, load="loaded", active="active", enabled="enabled", fragment=path, pid=9, network=100)
    assert planned(unit, up, {path: unit.text}) == []
    assert planned(unit, replace(up, active="failed", pid=0, network=0), {path: unit.text}) == ["Start db.service."]
    assert planned(unit, up, {path: "# Written by the module bridgeport.net.service_unit. Older\n"}) == [
        "Write %s." % path,
        "Restart db.service.",
    ]


@pytest.mark.parametrize(
    ("unit", "state", "words"),
    [
        (PLACED, replace(NGINX, load="not-found"), ("nginx.service in the endpoint web", "no such unit")),
        (PLACED, replace(NGINX, load="masked"), ("masked",)),
        (PLACED, replace(NGINX, private_network=True), ("PrivateNetwork",)),
        (PLACED, replace(NGINX, namespace="/run/netns/x"), ("/run/netns/x already",)),
        (Unit("nginx.service", "host", text="x"), NGINX, ("/lib/systemd/system/nginx.service", "not ours")),
        (
            Unit("nginx.service", "host", text="x"),
            replace(NGINX, fragment=unit_path("nginx.service")),
            (unit_path("nginx.service"), "not ours"),
        ),
    ],
)
def test_units_that_cannot_be_placed(unit: Unit, state: UnitState, words: tuple[str, ...]) -> None:
    refused(lambda: planned(unit, state), *words, kind=StateError)


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("252.36-1~deb12u1", 252),
        ("252 (252.36-1)", 252),
        ("v256", 256),
        ("v257-rc1-12-g0123abc", 257),
        ("256~rc3", 256),
        ("systemd 239 (239-82.el8)", 239),
        ("241\n", 241),
        ("0a1b2c3d", None),
        ("unknown", None),
        ("", None),
    ],
)
def test_the_version_of_systemd(said: str, version: int | None) -> None:
    assert parse_version(said) == version


def test_a_systemd_that_would_run_them_on_the_host_is_refused() -> None:
    placed = [Unit("ssh.service", "host"), PLACED]
    words = ("nginx.service in the endpoint web", "241-7~deb10u8", "242 or newer")
    refused(lambda: check_version(placed, "241-7~deb10u8"), *words, kind=DependencyError)
    for said in ("242", "252.36-1~deb12u1", "", "unknown"):
        check_version(placed, said)
    # These need nothing that an older one does not have.
    check_version([Unit("ssh.service", "host"), Unit("queue.service", "none")], "241")


def test_two_names_of_one_unit_are_refused() -> None:
    alias = replace(NGINX, name="www.service")
    units = [PLACED, replace(PLACED, name="www.service")]
    refused(
        lambda: plan_present(units, [NGINX, alias], {}, NETWORKS, True, False),
        "www.service",
        "the same as nginx.service",
        kind=StateError,
    )


def test_an_unknown_unit_may_yet_be_installed() -> None:
    assert planned(PLACED, replace(NGINX, load="not-found", active="inactive", network=0), missing_ok=True)


def test_what_is_removed() -> None:
    path = unit_path("db.service")
    db = UnitState("db.service", "db.service", "loaded", "active", "enabled", path, (), False, "", 9, False)
    files: dict[str, str | None] = {
        path: "# Written by the module bridgeport.net.service_unit.\n",
        drop_in_path("db.service"): "# Written by the module bridgeport.net.service_unit. x\n",
        DROP_IN: "# Written by the module bridgeport.net.service_unit. x\n",
    }
    assert plan_absent([db], files).actions == [
        "Stop db.service.",
        "Disable db.service.",
        "Remove %s." % path,
        "Remove %s." % drop_in_path("db.service"),
    ]
    assert plan_absent([NGINX], files).actions == ["Stop nginx.service.", "Remove %s." % DROP_IN]
    assert plan_absent([NGINX], files, keep_drop_ins=True).actions == ["Stop nginx.service."]
    # Never what is not ours.
    assert plan_absent([NGINX], {DROP_IN: "[Service]\n"}).actions == []
    owner = replace(NGINX, name="bridgeport-endpoint@web.service")
    assert plan_absent([], files, [owner, replace(owner, active="inactive")]).actions == [
        "Stop bridgeport-endpoint@web.service."
    ]
