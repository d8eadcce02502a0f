# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The articles' walk-through on two machines made of namespaces.

Usage: demo.py up | down

`up` builds a client (192.168.52.202) and a host (192.168.52.203) on one LAN, runs playbooks/site.yml on the host,
starts a Flask application inside the endpoint, asks it from the client and shows how the request was translated.
`down` removes all of it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lab"))

from hostlab import Host, Lab  # noqa: E402
from hostlab.capture import capture, packets  # noqa: E402
from support import BIN, COLLECTIONS, Modules, ansible_environment, interpreters  # noqa: E402

CLIENT, HOST = "192.168.52.202", "192.168.52.203"
DIRECTORY = HERE.parents[1] / ".cache" / "demo"
LAB = DIRECTORY / "lab"


def main() -> int:
    """Run the verb; returns the exit status."""
    if sys.argv[1:] == ["up"]:
        return up()
    if sys.argv[1:] == ["down"]:
        return down()
    sys.exit("Usage: demo.py up | down")


def up() -> int:
    """Build what is missing and show it; 0 if the client gets its Hello."""
    lab = find_or_build()
    host, client = lab.hosts["host"], lab.hosts["client"]
    title(f"The playbook, on the host {HOST}")
    if run_site(lab):
        print("The playbook failed; see above.")
        return 1
    start_flask(host)
    title(f"The client {CLIENT} asks {HOST}")
    answer = client.run(["curl", "--silent", "--show-error", "--max-time", "5", f"http://{HOST}/"], check=False)
    print(f"$ curl {HOST}\n{answer.stdout}{answer.stderr}", end="")
    show_rules(host)
    show_ports(host)
    show_translation(host, client)
    print("\nmake demo-down removes the two machines and everything in them.")
    return 0 if answer.stdout == "Hello\n" else 1


def down() -> int:
    """Remove the machines and the demo's files."""
    if LAB.exists():
        Lab.load(LAB).stop()
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    print("The demo is gone: no namespace, link, rule, file or process of it is left.")
    return 0


def find_or_build() -> Lab:
    """The lab that an earlier run left standing, or a new one."""
    if LAB.exists():
        lab = Lab.load(LAB)
        if lab.alive() and {"client", "host"} <= set(lab.hosts):
            return lab
        lab.stop()
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    lab = Lab(LAB, persistent=True)
    lab.start()
    try:
        lab.add_host("client", [f"{CLIENT}/24"])
        lab.add_host("host", [f"{HOST}/24"])
    except BaseException:
        lab.stop()
        raise
    return lab


def run_site(lab: Lab) -> int:
    """Run the site playbook on the host; returns its exit status."""
    inventory = DIRECTORY / "inventory.yml"
    lab.write_inventory(inventory, {"bridgeport_hosts": ["host"]}, {"ansible_python_interpreter": "/usr/bin/python3"})
    command = [
        str(BIN / "ansible-playbook"),
        "-i",
        str(inventory),
        "-e",
        f"@{HERE / 'vars.yml'}",
        "bridgeport.net.site",
    ]
    sys.stdout.flush()
    return subprocess.run(command, env=ansible_environment(COLLECTIONS), check=False).returncode


def start_flask(host: Host) -> None:
    """Start the application in its endpoint, unless it runs there."""
    listening = host.run(["ss", "-Hltn", "sport = :5000"], netns="flask").stdout
    if not listening:
        host.start([sys.executable, str(HERE / "app.py")], netns="flask", ready="Running on", timeout=30)


def show_rules(host: Host) -> None:
    """The publishes, as nftables holds them."""
    title("The rules: each published port is one element of a map")
    for chain in (["map", "ip", "bridgeport", "published"], ["chain", "ip", "bridgeport", "prerouting"],
                  ["chain", "ip", "bridgeport", "publish"], ["chain", "ip", "bridgeport", "postrouting"]):  # fmt: skip
        print(host.run(["nft", "list", *chain]).stdout, end="")
    print("All of them: nft list table ip bridgeport")


def show_ports(host: Host) -> None:
    """The published ports, as the info module returns them."""
    title("The published ports")
    with tempfile.TemporaryDirectory() as scratch:
        modules = Modules(host, interpreters(Path(scratch))[0])
        info = modules.ok("topology_info")
    for endpoint, lines in info["port_table"].items():
        for line in lines:
            print(f"{endpoint}: {line}")
    print(f"drift: {info['drift'] or 'none'}")


def show_translation(host: Host, client: Host) -> None:
    """One request, captured on both sides of the host."""
    title("One request on its way, captured on both sides of the host")
    lan, bridge = DIRECTORY / "lan-eth0.pcap", DIRECTORY / "bridge-docker0.pcap"
    with capture(host, "eth0", lan, "tcp port 80"), capture(host, "docker0", bridge, "tcp port 5000"):
        client.run(["curl", "--silent", "--max-time", "5", f"http://{HOST}/"], check=False)
    sides = [("eth0 (LAN)", packets(lan)), ("docker0 (bridge)", packets(bridge))]
    rows = []
    for wanted, words in (("S", "request"), ("SA", "answer")):
        ordered = sides if wanted == "S" else sides[::-1]
        for place, found in ordered:
            packet = next((item for item in found if item.flags == wanted), None)
            if packet is not None:
                source = f"{packet.source}:{packet.source_port}"
                rows.append((words, place, source, f"{packet.destination}:{packet.destination_port}"))
    table(("", "hop", "source", "destination"), rows)
    print(f"\nThe captures: {lan.relative_to(Path.cwd())} ({len(sides[0][1])} packets), "
          f"{bridge.relative_to(Path.cwd())} ({len(sides[1][1])} packets)")  # fmt: skip


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, tuple("-" * width for width in widths), *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def title(text: str) -> None:
    """Print a heading."""
    print(f"\n=== {text} ===", flush=True)


if __name__ == "__main__":
    sys.exit(main())
