"""Makes a Python environment with a real Invoke: ``python tests/host/environment.py [VERSION]``.

It is in a cache folder outside of the repository, one folder for each version, and is made again if it is missing or
incomplete. ``INVOKEAI_EXTERNAL_HOST_CACHE`` sets another cache folder, and ``INVOKEAI_EXTERNAL_HOST_PYTHON`` the
interpreter of an existing environment.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

VERSION = "6.14.2"
"""The default version of Invoke for the tests; ``INVOKE_VERSION`` sets another."""

# Newer ones break the releases from 6.13.0 to 6.14.2: starlette 1 answers some thumbnails with 500.
_PINS = ("starlette==0.48.0", "uvicorn<0.50", "python-socketio<5.17")
_PYTHON = ">=3.11,<3.13"
_DONE = "made-of.txt"


def python_of(environ: Mapping[str, str]) -> Path:
    """The interpreter of the requested environment, which is made if necessary; progress goes to standard error.

    Raises:
        subprocess.CalledProcessError: It could not be made; uv reported why.
    """
    if given := environ.get("INVOKEAI_EXTERNAL_HOST_PYTHON"):
        return Path(given)
    version = environ.get("INVOKE_VERSION") or VERSION
    folder = _cache(environ) / f"invokeai-{version}"
    requirements = [f"invokeai=={version}", *_PINS]
    python = folder / "bin" / "python"
    if not _is_complete(folder, requirements):
        _make(folder, python, requirements)
    return python


def _cache(environ: Mapping[str, str]) -> Path:
    if given := environ.get("INVOKEAI_EXTERNAL_HOST_CACHE"):
        return Path(given).absolute()
    base = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or Path.home()) / ".cache"
    return Path(base) / "invokeai_external" / "hosts"


def _is_complete(folder: Path, requirements: list[str]) -> bool:
    done = folder / _DONE
    return done.is_file() and done.read_text(encoding="utf-8").split("\n") == requirements


def _make(folder: Path, python: Path, requirements: list[str]) -> None:
    _say(
        f"Making an environment with {requirements[0]} in {folder}, once: up to 7 GB, some minutes without a cache ..."
    )
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _uv("venv", "--python", _PYTHON, str(folder))
    _uv("pip", "install", "--python", str(python), *requirements)
    (folder / _DONE).write_text("\n".join(requirements), encoding="utf-8")
    _say(f"{requirements[0]} is ready.")


def _uv(*arguments: str) -> None:
    # uv may run a build backend, which the tests' guard against the internet must not block.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # Show its progress in a terminal, but do not log its list of 150 packages.
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    subprocess.run([sys.executable, "-m", "uv", *quiet, *arguments], check=True, env=environ)


def _say(text: str) -> None:
    print(f"== {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    _environ = dict(os.environ)
    if len(sys.argv) > 1:
        _environ["INVOKE_VERSION"] = sys.argv[1]
    print(python_of(_environ))
