"""``install``: copies the plugin into an Invoke root."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from pathlib import Path

from ...errors import InvalidRequestError
from .. import report
from ..common import no_folder, open_root
from ..remedies import command_line

__all__ = ["PLUGIN_FOLDER", "VERSION_FILE", "copies_of_plugin", "install_plugin", "plugin_folder", "run"]

PLUGIN_FOLDER = "invokeai_external"
VERSION_FILE = "invokeai_external/version.py"


def plugin_folder(root: Path) -> Path:
    """The folder of the plugin in an Invoke root."""
    return root / "nodes" / PLUGIN_FOLDER


def copies_of_plugin(root: Path) -> list[Path]:
    """The folders that Invoke would load the plugin from, whatever their names: a clone may have any."""
    found = [path.parents[1] for path in (root / "nodes").glob(f"*/{VERSION_FILE}")]
    return sorted(folder for folder in found if not folder.name.startswith((".", "_")))


def run(root: Path | None) -> None:
    """Install the plugin and say what to do next; raises InvalidRequestError."""
    report.say(f"Installed the plugin in {install_plugin(open_root(root))}. Now start or restart Invoke.")


def install_plugin(root: Path) -> Path:
    """Copy the plugin into a root in one step, over an older copy; returns its folder or raises InvalidRequestError."""
    if not root.is_dir():
        raise no_folder(root)
    if not (root / "invokeai.yaml").is_file():
        raise InvalidRequestError(
            f"{root} is not an Invoke root: it has no invokeai.yaml.",
            remedy=f"Start Invoke once, or specify its root: {command_line('install')} --root INVOKE_ROOT",
        )
    target = plugin_folder(root)
    if (target / ".git").exists():
        raise InvalidRequestError(
            f"{target} is a git clone, so it was not replaced.",
            remedy=f"Update it with: {shlex.join(['git', '-C', str(target), 'pull'])}",
        )
    if os.path.lexists(target) and not _is_replaceable(target):
        raise InvalidRequestError(
            f"{target} is not a copy of the plugin, so it was not replaced.", remedy="Move it away, then install again."
        )
    for other in copies_of_plugin(root):
        if other != target:
            raise InvalidRequestError(
                f"The plugin is already in {other}, and Invoke loads only one of two copies.",
                remedy="Update that copy, or delete its folder and install again.",
            )
    try:
        _copy(target)
    except OSError as error:
        raise InvalidRequestError(
            f"The plugin cannot be copied to {target}: {_reason(error)}.",
            remedy="Check the free space and the permissions of the folder, then install again.",
        ) from None
    return target


def _is_replaceable(target: Path) -> bool:
    """True for an older copy, even a damaged one, and for an empty folder: nothing else is in it."""
    if target.is_symlink() or not target.is_dir():
        return False
    return (target / Path(VERSION_FILE).parent).is_dir() or not any(target.iterdir())


def _reason(error: OSError) -> str:
    """The reason that the system gives; for several files, the reason for the first."""
    if isinstance(error, shutil.Error):
        return str(error.args[0][0][2]).rpartition("] ")[2].partition(":")[0]
    return error.strerror or type(error).__name__


def _copy(target: Path) -> None:
    """Replace what is there by the plugin; raises OSError after it has put back what was there."""
    source = Path(__file__).parents[2]
    target.parent.mkdir(parents=True, exist_ok=True)
    # Invoke skips folders that begin with a dot, so that it never loads half a copy.
    work = Path(tempfile.mkdtemp(dir=target.parent, prefix=".installing-"))
    fresh, old = work / "fresh", work / "old"
    try:
        shutil.copytree(source, fresh / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copyfile(source / "invoke" / "node_pack_init.txt", fresh / "__init__.py")
        if os.path.lexists(target):
            target.rename(old)
        try:
            fresh.rename(target)
        except BaseException:
            _put_back(old, target)
            raise
    finally:
        if os.path.lexists(target) or not os.path.lexists(old):
            shutil.rmtree(work, ignore_errors=True)


def _put_back(old: Path, target: Path) -> None:
    if not os.path.lexists(old):
        return
    try:
        old.rename(target)
    except OSError as error:
        raise InvalidRequestError(
            f"The plugin cannot be copied to {target}: {error.strerror}.",
            remedy=f"The previous copy is in {old}; move it back.",
        ) from None
