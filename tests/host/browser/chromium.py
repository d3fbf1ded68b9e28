"""The Chromium of the browser suite, and its options: only this computer, and no window."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

VARIABLE = "INVOKEAI_EXTERNAL_CHROMIUM"
"""The environment variable with the path of a Chromium that is not on the path under a usual name."""

MISSING = (
    "THE BROWSER SUITE IS SKIPPED: there is no Chromium. Install one (Debian and Ubuntu: apt install chromium), "
    f"or name one in {VARIABLE}."
)

FLAGS = (
    # Its own sandbox does not work in containers and as root; it connects only to the Invoke on this computer.
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
    """The path of the Chromium in the variable, or of the first one on the path; None if there is not any."""
    named = environ.get(VARIABLE)
    names = (named,) if named else _NAMES
    return next(filter(None, (shutil.which(name, path=environ.get("PATH")) for name in names)), None)
