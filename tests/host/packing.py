"""The node pack as users install it: a folder with the repository's files, or a repository to clone."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PACK = "invokeai_external"
"""The name of the node pack and of its folder."""


def copy_to(nodes: Path) -> Path:
    """Copy the pack to the ``nodes`` folder of a root; return its folder."""
    folder = nodes / PACK
    # Uncommitted files are included, so the tests see the work tree; ignored files are not.
    listed = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard", folder=REPOSITORY)
    for name in filter(None, listed.split("\0")):
        source = REPOSITORY / name
        if source.is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    return folder


def clone_source(folder: Path) -> Path:
    """Make a git repository with the pack for the node manager to clone, named like the pack."""
    repository = copy_to(folder)
    _git("init", "--quiet", folder=repository)
    _git("add", "--all", folder=repository)
    name = ("-c", "user.name=tests", "-c", "user.email=tests@localhost", "-c", "commit.gpgsign=false")
    _git(*name, "commit", "--quiet", "--message", "The work tree", folder=repository)
    return repository


def _git(*arguments: str, folder: Path) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout
