"""``data``: copies the spending record, puts a copy in its place, or deletes what is in it, while Invoke runs."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path

import typer

from ...errors import InvalidRequestError, SpendingRecordError
from ...spending.copies import CopyFile, write_copy
from ...spending.record import SpendingRecord
from ...spending.reports import waiting
from .. import report
from ..common import settings
from ..spending import make_folder_of, no_record, open_record, record_file
from ..terminal import fitted_question, is_terminal

__all__ = ["backup", "delete", "restore"]


def backup(file: Path, *, as_json: bool, root: Path | None) -> None:
    """Write a copy of the record into a new file."""
    with open_record(settings(root)) as record, record.reading() as db:
        try:
            calls = write_copy(db, file)
        except FileExistsError:
            raise InvalidRequestError(f"{file} exists already.", remedy="Choose another name.") from None
        except OSError as error:
            raise InvalidRequestError(
                f"{file} cannot be written: {error.strerror}.", remedy="Choose another folder."
            ) from None
    if as_json:
        report.print_json({"spending_record": str(record.path), "file": str(file), "calls": calls})
    else:
        report.show(f"Copied the spending record {record.path} to {file}: {_calls(calls)}.")


def restore(file: Path, *, yes: bool, as_json: bool, root: Path | None) -> None:
    """Put a copy in the place of the record."""
    path = record_file(settings(root))
    make_folder_of(path, root)
    with closing(CopyFile(file)) as copy:
        if path.exists() and not _agreed(
            f"{_lost(path)}Put the {_calls(copy.calls)} of {file} in their place?", yes=yes
        ):
            return
        with closing(SpendingRecord(path)) as record:
            record.release_ended()
            calls = record.restore(copy)
    if as_json:
        report.print_json({"spending_record": str(path), "file": str(file), "calls": calls})
    else:
        report.show(f"The spending record {path} has what is in {file} now: {_calls(calls)}.")


def delete(*, yes: bool, as_json: bool, root: Path | None) -> None:
    """Delete what is in the record; calls in progress stay."""
    current = settings(root)
    path = record_file(current)
    if not path.exists():
        raise no_record(path)
    with open_record(current) as record:
        with record.reading() as db:
            (calls,) = db.execute("SELECT count(*) FROM calls").fetchone()
            unconfirmed, in_progress = waiting(db, "unconfirmed"), waiting(db, "in progress")
        among = f" {_calls(len(unconfirmed.calls))} of them may have been charged." if unconfirmed.calls else ""
        question = f"The spending record {path} has {_calls(calls)}.{among} Delete them, and all sums?"
        if not _agreed(question, yes=yes):
            return
        deleted = record.delete()
    if as_json:
        report.print_json({"spending_record": str(path), "deleted": deleted, "in_progress": len(in_progress.calls)})
        return
    report.show(f"Deleted from the spending record {path}: {_calls(deleted)}, and all sums.")
    if in_progress.calls:
        report.show(f"In progress, and still there: {_calls(len(in_progress.calls))}.")
    report.show("Limits count from zero again. The empty file stays; you can delete it while no program uses it.")


def _lost(path: Path) -> str:
    """A sentence on the calls that a restored copy takes the place of; empty if the record cannot be read."""
    with suppress(SpendingRecordError), closing(SpendingRecord(path)) as record, record.reading() as db:
        (calls,) = db.execute("SELECT count(*) FROM calls").fetchone()
        return f"The spending record {path} has {_calls(calls)}, which will be lost. "
    return ""


def _calls(number: int) -> str:
    return "1 call" if number == 1 else f"{number} calls"


def _agreed(question: str, *, yes: bool) -> bool:
    """True if the user agrees; raises UsageError if there is nobody to ask."""
    if yes:
        return True
    if not is_terminal():
        raise report.UsageError(
            "There is no terminal to ask at, so nothing was changed.",
            remedy=f"To answer yes to this question, add --yes: {question}",
        )
    if typer.confirm(fitted_question(question), err=True):
        return True
    report.say("Nothing was changed.")
    return False
