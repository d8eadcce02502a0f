# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the bridgeport.net collection: it may change or go without notice.

"""systemd units in endpoints: what is asked for, and the files that say so. Pure."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ._errors import InputError
from ._names import valid_endpoint_name

__all__ = (
    "MARK",
    "SERVICE_KEYS",
    "UNIT_DIRECTORY",
    "Unit",
    "drop_in_path",
    "drop_in_text",
    "endpoint_of_drop_in",
    "namespace_path",
    "owner_unit",
    "parse_units",
    "split_entries",
    "unit_path",
    "valid_unit_name",
)

UNIT_DIRECTORY = "/etc/systemd/system"
MARK = "# Written by the module bridgeport.net.service_unit."
# What an entry of service_endpoints says of its unit; everything else is the endpoint's.
SERVICE_KEYS = (
    "unit",
    "exec",
    "user",
    "group",
    "environment",
    "environment_files",
    "working_directory",
    "restart",
    "description",
    "after",
    "requires",
    "service_options",
)
_ENDPOINT = "endpoint:"
_UNIT_NAME = re.compile(r"[A-Za-z0-9:_.\\-]+(@[A-Za-z0-9:_.\\-]+)?\.service\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_DIRECTIVE = re.compile(r"[A-Z][A-Za-z0-9]*\Z")
_NAMESPACE_LINE = re.compile(r"^NetworkNamespacePath=/run/netns/(\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Unit:
    """A service and where it runs.

    ``mode``: ``endpoint``, with the name in ``endpoint``; ``host``, the host's own network; ``none``, no network.
    ``text`` is the unit's file where we write it, None for a unit that somebody else has installed.
    """

    name: str
    mode: str
    endpoint: str = ""
    text: str | None = None

    @property
    def place(self) -> str:
        """Where it runs, in words."""
        if self.mode == "endpoint":
            return "the endpoint %s" % self.endpoint
        return "the host's network" if self.mode == "host" else "no network"


def split_entries(
    entries: t.Sequence[t.Mapping[str, t.Any]],
) -> tuple[list[dict[str, t.Any]], list[dict[str, t.Any]]]:
    """Part a role's entries into those of veth_endpoint and those of service_unit.

    :raises InputError: an entry contradicts itself.
    """
    endpoints, units = [], []
    for entry in entries:
        network = str(entry.get("network") or "")
        own = not (network in ("host", "none") or network.startswith(_ENDPOINT))
        rest = {key: entry[key] for key in entry if key not in SERVICE_KEYS}
        if own:
            endpoints.append(rest)
        elif set(rest) - {"name", "network"}:
            raise InputError(
                "Cannot give %s to the service %s in the network '%s': it has no endpoint of its own. "
                "Leave them out, or name a network of this host."
                % (", ".join(sorted(map(str, set(rest) - {"name", "network"}))), entry.get("name"), network)
            )
        service = {key: entry[key] for key in SERVICE_KEYS if entry.get(key) is not None}
        if not service:
            if own:
                continue
            raise InputError(
                "Cannot place %s in the network '%s': it has neither 'unit' nor 'exec'. Say which service it is."
                % (entry.get("name"), network)
            )
        service.setdefault("unit", "%s.service" % entry.get("name"))
        units.append({**service, "network": _ENDPOINT + str(entry.get("name")) if own else network})
    return endpoints, units


def parse_units(entries: t.Iterable[t.Mapping[str, t.Any]]) -> list[Unit]:
    """Read the module's entries.

    :raises InputError: one is wrong in itself, or two are of one unit.
    """
    units: dict[str, Unit] = {}
    for entry in entries:
        unit = _parse_unit(entry)
        if unit.name in units:
            raise InputError(
                "Cannot run the unit %s in two places, %s and %s. Name it once."
                % (unit.name, units[unit.name].place, unit.place)
            )
        units[unit.name] = unit
    return list(units.values())


def valid_unit_name(name: str, what: str) -> str:
    """The name, if it is a service's.

    :param what: what is being attempted: ``run`` or ``remove``.
    :raises InputError: it is not.
    """
    if not _UNIT_NAME.match(name):
        raise InputError(
            "Cannot %s the unit %r: it is not the name of a service. Give the whole name of one, as in flask.service."
            % (what, name)
        )
    return name


def _parse_unit(entry: t.Mapping[str, t.Any]) -> Unit:
    name, network = valid_unit_name(entry["unit"], "run"), entry.get("network") or ""
    if network in ("host", "none"):
        mode, endpoint = network, ""
    elif network.startswith(_ENDPOINT):
        mode, endpoint = "endpoint", valid_endpoint_name(network[len(_ENDPOINT) :])
    else:
        raise InputError(
            "Cannot run the unit %s in the network %r. Give 'endpoint:NAME', 'host' or 'none'." % (name, network)
        )
    given = sorted(key for key in SERVICE_KEYS if key not in ("unit", "exec") and entry.get(key) is not None)
    if not entry.get("exec"):
        if given:
            raise InputError(
                "Cannot set %s of the unit %s: without 'exec' it is an existing unit, whose settings are its own. "
                "Give 'exec', or leave them out." % (", ".join(given), name)
            )
        return Unit(name, mode, endpoint)
    if "@" in name:
        raise InputError(
            "Cannot write the unit %s: an instance's settings are its template's. Choose a name without '@'." % name
        )
    return Unit(name, mode, endpoint, _unit_text(name, entry))


def _unit_text(name: str, entry: t.Mapping[str, t.Any]) -> str:
    def line(directive: str, value: object) -> str:
        return "%s=%s\n" % (directive, _one_line(name, directive, value))

    service: dict[str, list[str]] = {
        "Type": ["exec"],
        "ExecStart": [entry["exec"]],
        "Restart": [entry.get("restart") or "on-failure"],
        "RestartSec": ["1"],
    }
    for directive, key in (("User", "user"), ("Group", "group"), ("WorkingDirectory", "working_directory")):
        if entry.get(key):
            service[directive] = [entry[key]]
    service["Environment"] = [
        _assignment(name, variable, value) for variable, value in (entry.get("environment") or {}).items()
    ]
    service["EnvironmentFile"] = list(entry.get("environment_files") or ())
    for directive, value in (entry.get("service_options") or {}).items():
        if not _DIRECTIVE.match(str(directive)):
            raise InputError(
                "Cannot set %r in the unit %s: it is not a directive of [Service]. Give one such as MemoryMax."
                % (directive, name)
            )
        service[directive] = list(value) if isinstance(value, (list, tuple)) else [value]
    text = MARK + "\n[Unit]\n" + line("Description", entry.get("description") or "%s (bridgeport.net)" % name)
    # What it needs may come later, such as a port of the host that is still published: it goes on trying.
    text += "StartLimitIntervalSec=0\n"
    for other in entry.get("requires") or ():
        text += line("Requires", other) + line("After", other)
    for other in entry.get("after") or ():
        text += line("After", other)
    text += "\n[Service]\n"
    for directive, values in service.items():
        text += "".join(line(directive, value) for value in values)
    return text + "\n[Install]\nWantedBy=multi-user.target\n"


def _one_line(name: str, directive: str, value: object) -> str:
    text = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
    if not text.isprintable() or text.endswith("\\"):
        raise InputError(
            "Cannot write %s=%r into the unit %s: a setting is one line of printable characters that does not end in a "
            "backslash." % (directive, text, name)
        )
    return text


def _assignment(name: str, variable: object, value: object) -> str:
    if not _VARIABLE.match(str(variable)) or isinstance(value, (bool, dict, list)) or value is None:
        raise InputError(
            "Cannot set %s=%r in the environment of the unit %s: a variable is letters, digits and '_', and its value "
            "a string. Put the value in quotes." % (variable, value, name)
        )
    text = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("\n", "\\n")
    return '"%s=%s"' % (variable, text)


def unit_path(name: str) -> str:
    """The file of a unit that we write."""
    return "%s/%s" % (UNIT_DIRECTORY, name)


def drop_in_path(name: str) -> str:
    """The drop-in that puts a unit where it belongs."""
    return "%s/%s.d/bridgeport.conf" % (UNIT_DIRECTORY, name)


def namespace_path(endpoint: str) -> str:
    """The namespace of an endpoint, as systemd knows it."""
    return "/run/netns/%s" % endpoint


def owner_unit(endpoint: str) -> str:
    """The unit that everything in an endpoint is bound to, an instance of the role ``host``'s."""
    return "bridgeport-endpoint@%s.service" % endpoint


def endpoint_of_drop_in(text: str) -> str:
    """The endpoint that a drop-in of ours names; empty if none."""
    found = _NAMESPACE_LINE.search(text)
    return found.group(1) if found else ""


def drop_in_text(unit: Unit, bound: bool) -> str | None:
    """The text of the drop-in; None where there is to be none.

    :param bound: the unit is bound to the endpoint's own unit, which the role ``host`` installs.
    """
    if unit.mode == "host":
        return None
    if unit.mode == "none":
        return MARK + " The unit has no network.\n[Service]\nPrivateNetwork=yes\n"
    lines = [MARK + " The unit runs inside the endpoint %s." % unit.endpoint]
    if bound:
        owner = owner_unit(unit.endpoint)
        lines += ["[Unit]", "BindsTo=" + owner, "After=" + owner, ""]
    lines += ["[Service]", "NetworkNamespacePath=" + namespace_path(unit.endpoint)]
    # In place of the host's own, whose stub resolver cannot be reached from inside.
    lines += [
        "BindReadOnlyPaths=-/etc/netns/%s/%s:/etc/%s" % (unit.endpoint, file, file) for file in ("hosts", "resolv.conf")
    ]
    return "".join(line + "\n" for line in lines)
