"""``generate``: turns arguments into a request and images into files, and shows the progress."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import typer

from ...errors import (
    BudgetExceededError,
    CancelledError,
    ExternalError,
    NotSavedError,
    SettingsError,
    SpendingRecordError,
)
from ...progress import Preview, Progress, Received, Sending
from ...request import (
    MAX_PREVIEWS,
    GenerationRequest,
    MetadataMode,
)
from ...result import GenerationResult, Notice
from ...service.collected_results import total_cost, total_usage
from ...service.refusals import Purse
from ...service.service import Service
from ...service.spent_today import SpentToday, cost_text, spent_today
from ...settings.settings import Settings
from ...spending.recorded_call import Payer
from .. import event_loop, report
from ..common import make_own_folder, settings
from ..exit_codes import INTERRUPTED, PROVIDER_FAILED, WRONG_USAGE
from ..generate_arguments import Arguments, request_of
from ..image_files import ImageFolder, PreviewFolder, SavedImage
from ..progress_line import live_line
from ..remedies import with_root
from ..terminal import fitted_question, is_terminal
from .dry_run import dry_run_of

__all__ = ["Run", "make_images", "run"]


@dataclass(slots=True)
class Run:
    """The state of one run, updated while it goes on, so that nothing is lost if it is interrupted.

    Attributes:
        is_billed: False for a run on a sandbox.
        root: What was given with ``--root``.
        wanted: How many images were asked for.
        received: The calls that were answered.
        saved: The images that are saved, in the order of their arrival, which is that of the numbers in their names.
        not_saved: The errors of images that could not be saved.
        in_flight: The numbers of the calls in flight.
        result: The result, when all calls have ended.
        today: What today comes to then; None if that is not known.
        not_recorded: Notices about costs that are not in the spending record, or that it cannot show.
    """

    is_billed: bool = True
    root: Path | None = None
    wanted: int = 1
    received: list[Received] = field(default_factory=list)
    saved: list[SavedImage] = field(default_factory=list)
    not_saved: list[NotSavedError] = field(default_factory=list)
    in_flight: set[int] = field(default_factory=set)
    result: GenerationResult | None = None
    today: SpentToday | None = None
    not_recorded: list[Notice] = field(default_factory=list)


def run(
    arguments: Arguments,
    *,
    root: Path | None,
    sandbox: bool,
    dry_run: bool,
    as_json: bool,
    metadata: MetadataMode | None = None,
    tag: str | None = None,
    max_cost: float | None = None,
) -> int:
    """Make the images, or show what would be sent; returns the exit code.

    Args:
        arguments: What to make.
        root: What was given with ``--root``.
        sandbox: True to make them with the sandbox.
        dry_run: True to send nothing.
        as_json: Print JSON.
        metadata: Where to save the settings of the images; None for the user's setting.
        tag: What their cost is filed under; None for the user's setting.
        max_cost: The most that they may cost, in USD; None for what the limits allow.
    """
    request = request_of(arguments)
    current = settings(root)
    if arguments.previews:
        request = replace(request, previews=current.limits.previews or MAX_PREVIEWS)
    purse = Purse(payer=Payer(host="cli", tag=tag or current.limits.tag), max_cost_usd=max_cost)
    if sandbox and max_cost is not None:
        report.say("Note: --max-cost does not apply to the sandbox, which costs nothing.", indent=6)
    if dry_run:
        event_loop.run(partial(dry_run_of, current, request, purse, sandbox=sandbox, as_json=as_json))
        return 0
    folder = ImageFolder(arguments.out, metadata or current.limits.metadata)
    previews = PreviewFolder(arguments.previews) if arguments.previews else None
    if not sandbox:
        make_own_folder(root)
    done = Run(root=root, wanted=request.n)
    making = partial(make_images, current, request, folder, done, sandbox=sandbox, previews=previews)
    try:
        try:
            return _make_and_report(partial(making, purse=purse), done, as_json=as_json)
        except BudgetExceededError as error:
            if as_json or not _asks_at_terminal(error, current):
                raise
            if not typer.confirm(fitted_question(f"{error.message} Make it all the same?"), err=True):
                report.say("Nothing was sent.")
                return WRONG_USAGE
            purse = replace(purse, allow_unknown_price=True)
            return _make_and_report(partial(making, purse=purse), done, as_json=as_json)
    except Exception:
        # Whatever went wrong, say which images are saved.
        for saved in done.saved:
            report.say(f"Saved: {saved.path}")
        report.notices(done.not_recorded)
        raise


def _asks_at_terminal(error: BudgetExceededError, current: Settings) -> bool:
    """True if the price of a run is unknown, the settings say to ask, and there is a terminal."""
    return error.limit == "unknown_price" and current.budgets.unknown_price == "ask" and is_terminal()


def _make_and_report(
    making: Callable[[Callable[[Progress], None]], Awaitable[None]], done: Run, *, as_json: bool
) -> int:
    """Make the images and report them; returns the exit code."""
    try:
        with live_line(done.wanted) as on_progress:
            event_loop.run(making, on_progress)
        code = _report_all(done, as_json=as_json)
    except KeyboardInterrupt:
        code = _interrupted(done, as_json=as_json)
    sys.stdout.flush()
    return code


def _report_all(done: Run, *, as_json: bool) -> int:
    result = done.result
    assert result is not None
    if not done.saved:
        raise done.not_saved[0]
    if as_json:
        report.print_json(_result_object(result, done))
    else:
        _print_result(result, done)
    return PROVIDER_FAILED if result.errors or done.not_saved else 0


async def make_images(
    current: Settings,
    request: GenerationRequest,
    folder: ImageFolder,
    done: Run,
    on_progress: Callable[[Progress], None],
    *,
    sandbox: bool,
    previews: PreviewFolder | None = None,
    purse: Purse | None = None,
) -> None:
    """Make images and save each as soon as it arrives, so that an interrupted run keeps what has arrived.

    An image that cannot be saved does not stop the others.
    """

    def save(progress: Progress) -> None:
        if isinstance(progress, Sending | Preview):
            done.in_flight.add(progress.call)
        else:
            done.in_flight.discard(progress.call)
        if isinstance(progress, Received):
            done.received.append(progress)
            for image in progress.images:
                try:
                    done.saved.append(folder.save(image))
                except NotSavedError as error:
                    done.not_saved.append(error)
        if isinstance(progress, Preview) and previews:
            previews.keep(progress)
        on_progress(progress)

    async with Service(current, sandbox=sandbox) as service:
        done.is_billed = service.is_billed(request)
        try:
            done.result = await service.generate(request, save, purse=purse)
        finally:
            done.not_recorded += await service.settled()
    if done.is_billed:
        await _look_at_today(current, done)


async def _look_at_today(current: Settings, done: Run) -> None:
    """Find out what today comes to. The images are there, whatever becomes of the record."""
    try:
        done.today = await anyio.to_thread.run_sync(spent_today, current)
    except (SettingsError, SpendingRecordError) as error:
        if not done.not_recorded:
            unknown = Notice("not_recorded", f"{error.message} What was spent today is not known.")
            done.not_recorded.append(unknown)


def _interrupted(done: Run, *, as_json: bool) -> int:
    error = CancelledError("Interrupted.", remedy=_left_behind(done))
    if as_json:
        report.print_json(
            {"error": report.error_object(error), **_received_object(done), **_errors_object(done.not_saved)}
        )
    else:
        for saved in done.saved:
            print(saved.path)
        report.notices(_received_notices(done))
        for lost in done.not_saved:
            report.say_error(lost)
        report.say(f"{error}")
    return INTERRUPTED


def _received_object(done: Run) -> dict[str, Any]:
    """What an interrupted run has made until then, in the fields of a complete one."""
    images = {"images": [_image_object(saved) for saved in done.saved]} if done.saved else {}
    if not done.received:
        return images
    usage = total_usage([call.usage for call in done.received])
    return {
        **images,
        "notices": [asdict(notice) for notice in _received_notices(done)],
        "usage": asdict(usage) if usage else {},
        "cost_usd": total_cost([call.cost_usd for call in done.received]),
    }


def _received_notices(done: Run) -> Sequence[Notice]:
    of_calls = [notice for call in done.received for notice in call.notices]
    return list(dict.fromkeys((*of_calls, *_saving_notices(done.saved), *done.not_recorded)))


def _cost_text(cost_usd: float | None, done: Run) -> str:
    if done.is_billed:
        return cost_text(cost_usd)
    return "what it would cost is unknown" if cost_usd is None else f"would cost {cost_text(cost_usd)}"


def _images_text(count: int) -> str:
    return f"{count} image{'' if count == 1 else 's'}"


def _left_behind(done: Run) -> str:
    """What an interrupted run has saved, and what may still be billed; the sandbox bills nothing."""
    kept, in_flight = len(done.saved), len(done.in_flight)
    cost = _cost_text(total_cost([call.cost_usd for call in done.received]), done)
    parts = [f"Saved {kept} finished image{'s' if kept > 1 else ''} ({cost})."] if kept else []
    if in_flight and not done.is_billed:
        parts.append("The sandbox bills nothing.")
    elif in_flight:
        parts.append(f"{in_flight} call{'s were' if in_flight > 1 else ' was'} in flight and may still be billed.")
    else:
        parts.append("No call was in flight.")
    return " ".join(parts)


def _print_result(result: GenerationResult, done: Run) -> None:
    for saved in done.saved:
        print(saved.path)
    report.notices((*result.notices, *_saving_notices(done.saved), *done.not_recorded))
    for error in (*result.errors, *done.not_saved):
        report.say_error(with_root(error, done.root))
    failed = done.wanted - len(result.images)
    made = _images_text(len(result.images))
    if failed > 0:
        made = f"{len(result.images)} of {_images_text(done.wanted)}, {failed} failed,"
    cost = _cost_text(result.cost_usd, done)
    today = f", {done.today}" if done.today else ""
    report.say(f"{result.provider}/{result.model}: {made} in {result.elapsed_s:.1f} s, {cost}{today}")


def _result_object(result: GenerationResult, done: Run) -> dict[str, Any]:
    notices = (*result.notices, *_saving_notices(done.saved), *done.not_recorded)
    return {
        "model": result.model,
        "provider": result.provider,
        "images": [_image_object(saved) for saved in _in_order(result, done.saved)],
        "notices": [asdict(notice) for notice in notices],
        "usage": asdict(result.usage) if result.usage else {},
        "cost_usd": result.cost_usd,
        **(done.today.fields if done.today else {}),
        "request_ids": list(result.request_ids),
        "elapsed_s": round(result.elapsed_s, 3),
        **_errors_object([with_root(error, done.root) for error in (*result.errors, *done.not_saved)]),
    }


def _errors_object(errors: Sequence[ExternalError]) -> dict[str, Any]:
    return {"errors": [report.error_object(error) for error in errors]} if errors else {}


def _image_object(saved: SavedImage) -> dict[str, Any]:
    image = saved.image
    return {
        "path": str(saved.path),
        "width": image.size.width,
        "height": image.size.height,
        "mime_type": image.mime_type,
        "bytes": saved.bytes,
        "seed": image.seed,
        "metadata_path": str(saved.metadata_path) if saved.metadata_path else None,
        **_sources_object(saved),
    }


def _sources_object(saved: SavedImage) -> dict[str, Any]:
    """The web pages that the model found for an image, if it searched."""
    external = saved.image.metadata.get("external")
    sources = external.get("sources") if isinstance(external, Mapping) else None
    return {"sources": sources} if sources else {}


def _in_order(result: GenerationResult, saved: list[SavedImage]) -> list[SavedImage]:
    """The saved images in the order of the request, which is that of their seeds and of the ids of the calls."""
    by_identity = {id(one.image): one for one in saved}
    return [by_identity[id(image)] for image in result.images if id(image) in by_identity]


def _saving_notices(saved: list[SavedImage]) -> list[Notice]:
    # Report the same notice on several images once.
    return list(dict.fromkeys(notice for one in saved for notice in one.notices))
