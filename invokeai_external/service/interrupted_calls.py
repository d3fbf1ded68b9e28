"""The calls that were in progress when their program was killed: they may have been charged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime

from ..errors import SpendingRecordError
from ..providers import catalog
from ..providers.built_in import built_in_ids
from ..result import Notice
from ..settings.settings import Settings
from ..settings.spending import record_path
from ..spending.owners import ended_owners, owners_folder
from ..spending.recorded_call import RecordedCall
from ..untrusted_text import fit_to_show

__all__ = ["interrupted_calls", "notices_of"]


def interrupted_calls(settings: Settings) -> tuple[RecordedCall, ...]:
    """The calls that killed programs had in progress, each once; empty if the record cannot be read."""
    path = record_path(settings)
    # Most programs end by themselves. Then the database is not opened, which takes longer than to start.
    if path is None or not any(ended_owners(owners_folder(path))):
        return ()
    from ..spending.record import SpendingRecord

    try:
        with closing(SpendingRecord(path)) as record:
            return tuple(call for call in record.release_ended() if not call.sandbox)
    except SpendingRecordError:
        # Whoever makes an image next says so.
        return ()


def notices_of(calls: Iterable[RecordedCall]) -> list[Notice]:
    """The notices about them: one for each model."""
    found: dict[tuple[str, str], list[RecordedCall]] = {}
    for one in sorted(calls, key=lambda one: one.started_at):
        found.setdefault((one.call.provider, one.call.model), []).append(one)
    return [Notice("left_in_flight", _sentence(*names, calls)) for names, calls in found.items()]


def _sentence(provider: str, model: str, calls: Sequence[RecordedCall]) -> str:
    """Says that calls of one model may have been charged; ``calls`` has the oldest first."""
    # The provider may have been removed since then.
    info = catalog.page(provider).provider if provider in built_in_ids() else None
    started = f"started {datetime.fromtimestamp(calls[0].started_at, UTC):%Y-%m-%d %H:%M} UTC"
    where = f" {info.billing_place}{'' if info.billing_url else '.'}" if info else "."
    # In a record that something else wrote, names may hold anything.
    name, model = info.name if info else fit_to_show(provider), fit_to_show(model)
    if len(calls) == 1:
        what, them = f"1 call to {name} ({model}, {started}) was", "it may have been billed. It is"
    else:
        what = f"{len(calls)} calls to {name} ({model}, the first {started}) were"
        them = "they may have been billed. They are"
    return f"{what} in flight when the program ended: {them} not sent again. Check your usage{where}"
