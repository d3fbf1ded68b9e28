"""What ``doctor`` says of the spending record: which file it is, and whether another program uses another one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from ..errors import ExternalError
from ..file_systems import is_on_network
from ..root_folder import USER_FILE
from ..settings.root import own_folder
from ..settings.settings import Settings, load_user_file
from ..settings.spending import lacks_folder, record_path
from ..spending.record import SpendingRecord
from ..spending.reports import waiting
from .remedies import command_line
from .spending import up_to

__all__ = ["spending_state"]


def spending_state(current: Settings, given_root: Path | None) -> Iterator[tuple[bool, str]]:
    """Lines about the spending record, and whether each is good.

    Args:
        current: The settings of the root folder.
        given_root: What was given with ``--root``.
    """
    path = record_path(current)
    if path is None:
        yield True, f"no costs are recorded: spending_record is off in {USER_FILE}"
        return
    if lacks_folder(path):
        yield False, f"no costs are recorded: there is no folder {path.parent}"
    elif not path.exists():
        yield True, f"no costs were recorded yet; the spending record will be {path}"
    else:
        yield from _of_file(path, given_root)
    other = _other_record(current)
    if other and other.exists() and not _is_same(other, path):
        yield (
            True,
            f"without --root, the command line uses another spending record, {other}; limits do not count what is in "
            f"it. To use one for both, set INVOKEAI_ROOT={current.root.absolute()}, or spending_record in both "
            f"{USER_FILE}",
        )


def _of_file(path: Path, given_root: Path | None) -> Iterator[tuple[bool, str]]:
    try:
        with closing(SpendingRecord(path)) as record, record.reading() as db:
            (mode,) = db.execute("PRAGMA journal_mode").fetchone()
            (calls,) = db.execute("SELECT count(*) FROM calls").fetchone()
            unconfirmed = waiting(db, "unconfirmed")
            size = path.stat().st_size
    except ExternalError as error:
        yield False, str(error)
        return
    yield True, f"the spending record is {path}: {'1 call' if calls == 1 else f'{calls} calls'}, {_size_shown(size)}"
    if is_on_network(path):
        yield (
            True,
            f"it is on a network disk, so its journal mode is {mode}; calls take longer to record there. To have it on "
            f"a disk of this machine, set spending_record in {USER_FILE}",
        )
    if unconfirmed.calls:
        count = len(unconfirmed.calls)
        yield (
            True,
            f"calls that may have been charged: {count}, {up_to(unconfirmed.at_most, unconfirmed.unknown)}; settle "
            f"them with: {command_line('spend', 'confirm', root=given_root)}",
        )


def _size_shown(size: int) -> str:
    return f"{size / 1_000_000:.1f} MB" if size >= 1_000_000 else f"{size / 1000:.0f} kB"


def _other_record(current: Settings) -> Path | None:
    """The record of the user's own folder, which the command line uses without a root folder."""
    own = own_folder(os.environ)
    if not own.is_dir() or _is_same(own, current.root):
        return None
    try:
        return record_path(load_user_file(own))
    except ExternalError:
        return None


def _is_same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()
