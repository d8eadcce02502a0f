# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Odd input to the filters and to the modules that have no engine behind them: a sentence and no traceback."""

from __future__ import annotations

import socket
import struct
import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.bridgeport.net.plugins.filter.port_spec import port_spec
from ansible_collections.bridgeport.net.plugins.filter.service_parts import service_parts
from ansible_collections.bridgeport.net.plugins.filter.without_keys import without_keys
from ansible_collections.bridgeport.net.plugins.module_utils._errors import KernelError, StateError
from ansible_collections.bridgeport.net.plugins.module_utils._sockets import _decode
from ansible_collections.bridgeport.net.plugins.modules.boot_engine import check_path
from samples import refused


@pytest.mark.parametrize("keys", [None, 5, "unit", [["unit"]], [{}], [1]])
def test_keys_to_leave_out_are_strings(keys: t.Any) -> None:
    with pytest.raises(AnsibleFilterError, match="it is not a list of keys"):
        without_keys([{"name": "web"}], keys)


def test_keys_are_left_out() -> None:
    assert without_keys([{"name": "web", "unit": "x"}, {"unit": "y"}], ["unit", "z"]) == [{"name": "web"}, {}]


def test_service_with_a_key_that_is_no_string_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="Cannot give 1, routes to the service web"):
        service_parts([{"name": "web", "network": "host", "unit": "web.service", 1: "x", "routes": []}])


def test_port_of_the_wrong_type_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="Cannot publish"):
        port_spec([80])


@pytest.mark.parametrize(
    "path", ["", "bridgeport", "../bridgeport", "/usr/local/sbin/", "/tmp/a\0b", "/tmp/a\nb", "/\ud800"]
)
def test_command_that_is_no_path_is_refused(path: str) -> None:
    refused(lambda: check_path(path), "Cannot install the command as", "full path of a file")


def test_command_in_place_of_a_directory_is_refused() -> None:
    refused(lambda: check_path("/usr"), "/usr", "directory", kind=StateError)
    check_path("/usr/local/sbin/bridgeport")


@pytest.mark.parametrize("message", [b"", b"\2", b"\2" * 71])
def test_half_of_a_message_about_a_socket_is_an_error(message: bytes) -> None:
    refused(lambda: list(_decode("tcp", message)), "tcp sockets", "cannot be understood", kind=KernelError)


def test_attribute_of_a_socket_without_a_value_is_no_value() -> None:
    message = struct.pack("=BBBBH66x", socket.AF_INET6, 10, 0, 0, 0x5000) + struct.pack("=HH", 4, 11)
    assert [(item.version, item.port) for item in _decode("tcp", message)] == [(6, 80), (4, 80)]
