"""Which Chromium the browser suite runs in, and how it is started: alone on this machine, without a window."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

VARIABLE = "INVOKEAI_EXTERNAL_CHROMIUM"
"""Names a Chromium that is not on the path under one of the usual names."""

MISSING = (
    "THE BROWSER SUITE IS SKIPPED: there is no Chromium. Install one (Debian and Ubuntu: apt install chromium), "
    f"or name one in {VARIABLE}."
)

FLAGS = (
    # Without a sandbox of its own, since containers and root give it none; it sees this machine's Invoke alone.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)

_NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium_of(environ: Mapping[str, str]) -> str | None:
    """The path of the Chromium that the environment names, or of the first on the path; None where there is none."""
    named = environ.get(VARIABLE)
    names = (named,) if named else _NAMES
    return next(filter(None, (shutil.which(name, path=environ.get("PATH")) for name in names)), None)
