# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The articles' service: a Flask application that says Hello on port 5000. It knows nothing of namespaces."""

from __future__ import annotations

from flask import Flask

app = Flask(__name__)


@app.route("/")
def hello() -> str:
    """Say Hello."""
    return "Hello\n"


if __name__ == "__main__":
    app.run(host="0.0.0.0", port=5000)
