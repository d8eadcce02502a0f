# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Watch doors while something is done to them, a script: each is asked over and over, by new connections.

    watch.py --open ADDRESS:PORT --shut ADDRESS:PORT [...] [--patience 2.0]

Prints "ready", "tenth" after every ten rounds, and, for a moment that must not be, "closed" or "open" with the address.
An open door answers a line within `patience` seconds. Ends when it is ended.
"""

from __future__ import annotations

import argparse
import socket

SHUT_SECONDS = 0.1


def answers(door: str, patience: float) -> bool:
    """Say whether something behind ADDRESS:PORT answers a line."""
    address, _unused, port = door.rpartition(":")
    try:
        with socket.create_connection((address, int(port)), patience) as connection:
            connection.sendall(b"?\n")
            return bool(connection.recv(100))
    except OSError:
        return False


def main() -> None:
    """Watch until the process is ended."""
    parser = argparse.ArgumentParser(description="Watch doors.")
    parser.add_argument("--open", required=True, metavar="ADDRESS:PORT")
    parser.add_argument("--shut", nargs="*", default=[], metavar="ADDRESS:PORT")
    parser.add_argument("--patience", type=float, default=2.0, help="seconds")
    arguments = parser.parse_args()
    print("ready", flush=True)
    rounds = 0
    while True:
        if not answers(arguments.open, arguments.patience):
            print(f"closed:{arguments.open}", flush=True)
        for door in arguments.shut:
            if answers(door, SHUT_SECONDS):
                print(f"open:{door}", flush=True)
        rounds += 1
        if rounds % 10 == 0:
            print("tenth", flush=True)


if __name__ == "__main__":
    main()
