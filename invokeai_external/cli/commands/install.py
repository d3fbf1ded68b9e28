"""``install``: the node pack in an Invoke root, in the shape in which a clone of the repository lies there."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from ...errors import InvalidRequestError
from .. import report
from ..common import open_root

__all__ = ["PACK_FOLDER", "VERSION_FILE", "copies_of_pack", "install_pack", "pack_folder", "run"]

PACK_FOLDER = "invokeai_external"
VERSION_FILE = "invokeai_external/version.py"


def pack_folder(root: Path) -> Path:
    """Where the pack lies in an Invoke root."""
    return root / "nodes" / PACK_FOLDER


def copies_of_pack(root: Path) -> list[Path]:
    """The folders that Invoke would load the pack from, whatever their names: a clone may have any."""
    found = [path.parents[1] for path in (root / "nodes").glob(f"*/{VERSION_FILE}")]
    return sorted(folder for folder in found if not folder.name.startswith((".", "_")))


def run(root: Path | None) -> None:
    """Install the pack, and say what comes next; raises InvalidRequestError."""
    root = open_root(root)
    report.say(f"The pack is in {install_pack(root)}. Start Invoke (anew); there is nothing else to install.")


def install_pack(root: Path) -> Path:
    """Copy the pack into a root in one step, over an older copy; gives its folder, raises InvalidRequestError."""
    if not (root / "invokeai.yaml").is_file():
        raise InvalidRequestError(
            f"{root} is no Invoke root: it holds no invokeai.yaml.",
            remedy="Name the folder with --root, or start Invoke once.",
        )
    target = pack_folder(root)
    if (target / ".git").exists():
        raise InvalidRequestError(
            f"{target} is a git clone, which is not replaced.", remedy=f"Update it with: git -C {target} pull"
        )
    if os.path.lexists(target) and not _is_replaceable(target):
        raise InvalidRequestError(
            f"{target} is not a copy of the pack, so it is not replaced.", remedy="Move it away, then install again."
        )
    for other in copies_of_pack(root):
        if other != target:
            raise InvalidRequestError(
                f"The pack is already in {other}, and Invoke would load only one of two.",
                remedy="Update it there, or remove that folder first.",
            )
    try:
        _copy(target)
    except OSError as error:
        raise InvalidRequestError(
            f"The pack cannot be copied to {target}: {_reason(error)}.",
            remedy="Check the free space and the permissions of the folder, then install again.",
        ) from None
    return target


def _is_replaceable(target: Path) -> bool:
    """True for an older copy, also one that is damaged, and for an empty folder: nothing of anybody else's is in it."""
    if target.is_symlink() or not target.is_dir():
        return False
    return (target / Path(VERSION_FILE).parent).is_dir() or not any(target.iterdir())


def _reason(error: OSError) -> str:
    """Why the system refused; of many files that were copied at once, why it refused the first."""
    if isinstance(error, shutil.Error):
        return str(error.args[0][0][2]).rpartition("] ")[2].partition(":")[0]
    return error.strerror or type(error).__name__


def _copy(target: Path) -> None:
    """Put the pack in place of what is there; raises OSError, and then what was there is there again."""
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
            f"The pack cannot be copied to {target}: {error.strerror}.",
            remedy=f"The one that was there is in {old} now; move it back.",
        ) from None
