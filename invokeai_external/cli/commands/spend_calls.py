"""``spend show`` and ``spend confirm``: single calls of the spending record, and whether they were charged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ...result import Usage
from ...settings.settings import Settings
from ...spending.amounts import shown_usd, usd
from ...spending.calendar_days import Calendar
from ...spending.recorded_call import RecordedCall
from ...spending.reports import Waiting, call_of, latest_calls, waiting
from ...spending.rows import calendar_of
from .. import report
from ..common import settings
from ..remedies import command_line
from ..spending import STATES, call_object, exact_usd, open_record, print_csv, record_file, time_shown, up_to
from ..terminal import print_facts, print_table

__all__ = ["COLUMNS", "confirm", "show"]

COLUMNS = (
    *("id", "state", "started_at", "settled_at", "day", "provider", "model", "tier", "size", "quality", "n", "images"),
    *("expected_usd", "at_most_usd", "basis", "prices_of", "cost_usd", "cost_from", "computed_usd"),
    *Usage.__dataclass_fields__,
    *("request_id", "error", "host", "user", "board_id", "board", "tag", "sandbox", "imported", "prompt"),
    "image_hashes",
)
"""The columns of ``--csv``. Programs depend on them: new ones come last."""


def show(number: int | None, *, last: int, as_json: bool, as_csv: bool, root: Path | None) -> None:
    """Print one call, or the newest ones."""
    if as_json and as_csv:
        raise report.UsageError("--json and --csv cannot be combined.", remedy="Use one of them.")
    current = settings(root)
    calls: Sequence[RecordedCall] = ()
    calendar = Calendar()
    if number is not None or record_file(current).exists():
        with open_record(current) as record, record.reading() as db:
            calendar = calendar_of(db)
            if number is None:
                calls = latest_calls(db, last)
            elif found := call_of(db, number):
                calls = (found,)
            else:
                raise _no_call(number, record.path, root)
    if as_csv:
        print_csv(COLUMNS, [_csv_row(call, calendar) for call in calls])
    elif as_json and number is not None:
        report.print_json(call_object(calls[0], calendar))
    elif as_json:
        report.print_json({"calls": [call_object(call, calendar) for call in calls]})
    elif number is not None:
        print_facts(list(_facts(calls[0], calendar)))
    elif calls:
        print_table([_cells(call, calendar) for call in calls])
    else:
        report.show("Nothing was recorded yet.")


def confirm(
    numbers: Sequence[int], *, everything: bool, charged: bool | None, as_json: bool, root: Path | None
) -> None:
    """Settle calls that may have been charged; without numbers, print which they are."""
    if everything and numbers:
        raise report.UsageError("--all and the number of a call cannot be combined.", remedy="Use one of them.")
    if charged is None and (everything or numbers):
        raise report.UsageError(
            "Say whether they were charged.", remedy="Add --charged or --not-charged, as your bill says."
        )
    if charged is not None and not (everything or numbers):
        raise report.UsageError("Say which calls.", remedy="Add their numbers, or --all.")
    current = settings(root)
    if charged is None:
        _list_unconfirmed(current, as_json=as_json, root=root)
        return
    with open_record(current) as record:
        with record.reading() as db:
            waits = waiting(db, "unconfirmed")
            known = {number: call_of(db, number) for number in numbers}
        for number, call in known.items():
            if call is None:
                raise _no_call(number, record.path, root)
            if call.end.state != "unconfirmed":
                raise report.UsageError(
                    f"Call {number} cannot be settled: it is {STATES[call.end.state]}. No call was changed.",
                    remedy=f"To see which can be, run: {command_line('spend', 'confirm', root=root)}",
                )
        chosen = [call for call in known.values() if call] if numbers else list(waits.calls)
        done = set(record.confirm([call.id for call in chosen], charged=charged))
    settled = [call for call in chosen if call.id in done]
    amount = sum(call.call.at_most or 0 for call in settled) if charged else 0
    if as_json:
        report.print_json({"settled": [call.id for call in settled], "charged": charged, "amount_usd": usd(amount)})
        return
    is_one = len(settled) == 1
    count = "1 call" if is_one else f"{len(settled)} calls"
    if charged:
        report.show(f"{count} {'counts' if is_one else 'count'} as charged now: {shown_usd(amount)}.")
    else:
        report.show(f"{count} {'was not charged, and counts' if is_one else 'were not charged, and count'} no longer.")
    if charged and (unknown := sum(call.call.at_most is None for call in settled)):
        report.show(f"Of {unknown} the price is unknown: they are not in the sum.")


def _list_unconfirmed(current: Settings, *, as_json: bool, root: Path | None) -> None:
    calendar, waits = Calendar(), Waiting((), 0, 0)
    if record_file(current).exists():
        with open_record(current) as record, record.reading() as db:
            calendar, waits = calendar_of(db), waiting(db, "unconfirmed")
    if as_json:
        report.print_json({"calls": [call_object(call, calendar) for call in waits.calls]})
    elif waits.calls:
        print_table([_cells(call, calendar) for call in waits.calls])
        one = command_line("spend", "confirm", str(waits.calls[0].id), root=root)
        report.show(
            f"May have been charged: {up_to(waits.at_most, waits.unknown)}. To settle one as your bill says, "
            f"run: {one} --charged or: {one} --not-charged"
        )
        report.show("--all settles all of them. One that was charged counts at the most that it can cost.")
    else:
        report.show("There is no call that may have been charged.")


def _no_call(number: int, path: Path, root: Path | None) -> report.UsageError:
    return report.UsageError(
        f"There is no call {number} in {path}.",
        remedy="Single calls are kept for 400 days. To see the newest ones, run: "
        f"{command_line('spend', 'show', root=root)}",
    )


def _csv_row(call: RecordedCall, calendar: Calendar) -> dict[str, object]:
    exact = {f"{name}_usd": exact_usd(getattr(call.call, name)) for name in ("expected", "at_most")}
    exact |= {f"{name}_usd": exact_usd(getattr(call.end, name)) for name in ("cost", "computed")}
    flags = {name: int(getattr(call, name)) for name in ("sandbox", "imported")}
    return {**call_object(call, calendar), **exact, **flags, "image_hashes": " ".join(call.end.image_hashes)}


def _cells(call: RecordedCall, calendar: Calendar) -> dict[str, str]:
    kind = " (sandbox)" if call.sandbox else " (imported)" if call.imported else ""
    return {
        "Call": str(call.id),
        "Time": time_shown(call.started_at, calendar),
        "Model": call.call.reference,
        "Images": str(call.end.images),
        "Cost": _cost(call),
        "State": f"{STATES[call.end.state]}{kind}",
        "Error": call.end.error or "-",
        "Filed under": ", ".join(filter(None, (call.payer.user, call.payer.board, call.payer.tag))) or "-",
    }


def _cost(call: RecordedCall) -> str:
    match call.end.state:
        case "charged":
            return "unknown" if call.end.cost is None else shown_usd(call.end.cost)
        case "not_charged":
            return shown_usd(0)
        case _:
            return up_to(call.call.at_most or 0, call.call.at_most is None)


def _facts(call: RecordedCall, calendar: Calendar) -> Iterator[tuple[str, str]]:
    plan, payer, end = call.call, call.payer, call.end
    tokens = {name: getattr(end.usage, name, None) for name in Usage.__dataclass_fields__}
    facts = {
        "Call": str(call.id),
        "State": STATES[end.state],
        "Made by": "the sandbox" if call.sandbox else "imported" if call.imported else payer.host,
        "Started": time_shown(call.started_at, calendar),
        "Ended": None if call.settled_at is None else time_shown(call.settled_at, calendar),
        "Model": plan.reference,
        "Size": plan.size,
        "Quality": plan.quality,
        "Images": f"{end.images} of {plan.n}",
        "Cost": f"{_cost(call)}{_source(call)}",
        "By the prices": None if end.computed is None else shown_usd(end.computed),
        "Estimate": _estimate(call),
        "Prices of": plan.prices_of,
        "Tokens": ", ".join(
            f"{name.removesuffix('_tokens').replace('_', ' ')} {count}"
            for name, count in tokens.items()
            if count is not None
        ),
        "Error": end.error,
        "Request": end.request_id,
        "User": payer.user,
        "Board": payer.board or payer.board_id,
        "Tag": payer.tag,
        "Prompt": plan.prompt,
        "Image SHA-256": " ".join(end.image_hashes),
    }
    yield from ((name, value) for name, value in facts.items() if value)


def _source(call: RecordedCall) -> str:
    if call.end.state != "charged":
        return ""
    return {"provider": ", as the provider says", "prices": ", by the prices"}.get(
        call.end.cost_from or "", ", as you confirmed" if not call.imported else ""
    )


def _estimate(call: RecordedCall) -> str | None:
    plan = call.call
    if plan.expected is None:
        return None if plan.at_most is None else f"up to {shown_usd(plan.at_most)}"
    most = f", up to {shown_usd(plan.at_most)}" if plan.at_most not in (None, plan.expected) else ""
    return f"{shown_usd(plan.expected)}{most}"
