"""The node pack as it reaches people: a folder of the repository's files, or a repository to clone."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PACK = "invokeai_external"
"""The name of the pack, which is that of its folder."""


def copy_to(nodes: Path) -> Path:
    """Put the pack into the ``nodes`` folder of a root; gives the pack's own folder."""
    folder = nodes / PACK
    # With what is not committed yet, so that the tests see the work tree; without what .gitignore names.
    listed = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard", folder=REPOSITORY)
    for name in filter(None, listed.split("\0")):
        source = REPOSITORY / name
        if source.is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    return folder


def clone_source(folder: Path) -> Path:
    """A git repository with the pack in it, for the node manager to clone; its name is the pack's."""
    repository = copy_to(folder)
    _git("init", "--quiet", folder=repository)
    _git("add", "--all", folder=repository)
    name = ("-c", "user.name=tests", "-c", "user.email=tests@localhost", "-c", "commit.gpgsign=false")
    _git(*name, "commit", "--quiet", "--message", "The work tree", folder=repository)
    return repository


def _git(*arguments: str, folder: Path) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout
