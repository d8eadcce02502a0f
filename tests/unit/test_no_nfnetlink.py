# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A kernel without nfnetlink, as one of legacy iptables may be. There is none at hand, so its refusal is played."""

from __future__ import annotations

import errno
import os
import socket
import typing as t

import pytest
from ansible_collections.bridgeport.net.plugins.module_utils._conntrack import forget_flows
from ansible_collections.bridgeport.net.plugins.module_utils._errors import KernelError
from ansible_collections.bridgeport.net.plugins.module_utils._flows import Flow
from ansible_collections.bridgeport.net.plugins.module_utils._nftables import has_nftables, require_nftables
from samples import refused

NETLINK_NETFILTER = 12


def refuse(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Have no socket of nfnetlink."""
    real = socket.socket

    def socket_of(family: int, kind: int, protocol: int = 0) -> t.Any:
        if (family, protocol) == (socket.AF_NETLINK, NETLINK_NETFILTER):
            raise OSError(code, os.strerror(code))
        return real(family, kind, protocol)

    monkeypatch.setattr(socket, "socket", socket_of)


def test_nothing_to_forget(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, errno.EPROTONOSUPPORT)
    forget_flows([Flow(4, "", 53)])


def test_no_nftables(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, errno.EPROTONOSUPPORT)
    refused(require_nftables, "no nf_tables", "EPROTONOSUPPORT", kind=KernelError)
    assert not has_nftables()


@pytest.mark.parametrize("ask", [has_nftables, lambda: forget_flows([Flow(4, "", 53)])])
def test_too_many_open_files_are_no_missing_kernel(
    monkeypatch: pytest.MonkeyPatch, ask: t.Callable[[], object]
) -> None:
    refuse(monkeypatch, errno.EMFILE)
    with pytest.raises(OSError, match="Too many open files"):
        ask()
