# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Part site: the playbook `site` over many hosts, first and without a change, reached without ssh."""

from __future__ import annotations

from pathlib import Path

from bench.measure import Book, Key, Settings, say
from bench.peers.base import clock
from hostlab import Lab
from support import playbook, recap

PART = "site"
FIRST, AGAIN = "first run", "no change"
SUBJECT = "site.yml"
SECONDS_PER_HOST = 20.0
VARIABLES = """
host_manage_packages: false
bridge_networks: [{name: docker0, subnets: [172.17.0.0/16]}]
service_endpoints:
  - {name: web, network: docker0, expose: [5000]}
  - {name: db, network: docker0}
publish_ports: [{endpoint: web, ports: ["80:5000", "8443:5000"]}]
"""


def measure(scratch: Path, settings: Settings, book: Book) -> None:
    """Measure with each number of hosts, every time with fresh ones."""
    for count in settings.site_hosts:
        with book.failing(f"{PART}: {count} hosts"), Lab(scratch / f"{PART}-{count}") as lab:
            names = [lab.add_host(f"h{i}", [f"192.168.52.{10 + i}/24"]).name for i in range(count)]
            (lab.directory / "variables.yml").write_text(VARIABLES, encoding="utf-8")
            for what, changed in ((FIRST, True), (AGAIN, False)):
                say(f"{PART}: {what} on {count} hosts")
                book.add(Key(PART, SUBJECT, what, count), clock(lambda: run(lab, names, changed)))  # noqa: B023


def run(lab: Lab, names: list[str], changed: bool) -> None:
    """Run the playbook, which must succeed on all hosts, and change them all or none.

    :raises AssertionError: it did otherwise.
    """
    variables = f"@{lab.directory / 'variables.yml'}"
    hosts = {"bridgeport_hosts": names}
    timeout = 60 + SECONDS_PER_HOST * len(names)
    done = playbook(lab, "-e", variables, "bridgeport.net.site", hosts=hosts, timeout=timeout)
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    assert {recap(done.stdout, name)["changed"] > 0 for name in names} == {changed}, done.stdout[-2000:]
