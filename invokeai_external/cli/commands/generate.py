"""``generate``: from arguments to a request, from pictures to files, with a live line in between."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import anyio
import anyio.to_thread

from ...errors import CancelledError, ExternalError, InvalidRequestError, NotSavedError
from ...images.errors import ImageError
from ...planning.plan import Plan
from ...request import MAX_PREVIEWS, GenerationRequest, InputImage, MetadataMode, OptionValue
from ...result import GenerationResult, Notice, Preview, Progress, Received, Sending
from ...service.service import Service
from ...settings.settings import Settings
from ...sizing import AspectRatio, Size
from ...transport.messages import HttpRequest
from .. import report
from ..common import make_own_folder, settings
from ..exit_codes import INTERRUPTED, PROVIDER_FAILED
from ..image_files import ImageFolder, PreviewFolder, SavedImage, read_image
from ..progress_line import live_line
from ..prompts import prompt_of

__all__ = ["Arguments", "Run", "make_images", "request_of", "run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The arguments of ``generate`` that say what to make, as they stand on the command line."""

    out: Path
    prompt: str | None = None
    prompt_file: Path | None = None
    model: str | None = None
    n: int = 1
    size: str | None = None
    aspect_ratio: str | None = None
    image_size: str | None = None
    seed: int | None = None
    references: tuple[Path, ...] = ()
    init: Path | None = None
    mask: Path | None = None
    mask_color: Literal["white", "black"] = "white"
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    previews: Path | None = None


@dataclass(slots=True)
class Run:
    """What came of one run: kept up to date while it goes on, so that nothing is lost when it is interrupted.

    ``is_billed`` is False for a run on the sandbox in process.
    """

    is_billed: bool = True
    saved: list[SavedImage] = field(default_factory=list)
    not_saved: list[NotSavedError] = field(default_factory=list)
    under_way: set[int] = field(default_factory=set)
    result: GenerationResult | None = None


def run(
    arguments: Arguments,
    *,
    root: Path | None,
    sandbox: bool,
    dry_run: bool,
    as_json: bool,
    metadata: MetadataMode | None = None,
) -> int:
    """Make the pictures, or show what would be sent; returns the exit code.

    ``metadata`` says where the pictures' settings go; None for what the settings say.
    """
    request = request_of(arguments)
    current = settings(root)
    if arguments.previews:
        request = replace(request, previews=current.limits.previews or MAX_PREVIEWS)
    if dry_run:
        anyio.run(partial(_dry_run, current, request, sandbox=sandbox, as_json=as_json))
        return 0
    folder = ImageFolder(arguments.out, metadata or current.limits.metadata)
    previews = PreviewFolder(arguments.previews) if arguments.previews else None
    if not sandbox:
        make_own_folder(root)
    done = Run(is_billed=not sandbox)
    making = partial(make_images, current, request, folder, done, sandbox=sandbox, previews=previews)
    try:
        return _made_and_told(making, done, as_json=as_json)
    except Exception:
        # Whatever it was, what is saved can be found.
        for saved in done.saved:
            report.say(f"Saved: {saved.path}")
        raise


def _made_and_told(making: Callable[[Callable[[Progress], None]], Awaitable[None]], done: Run, *, as_json: bool) -> int:
    """Make the pictures and tell of them; returns the exit code."""
    try:
        with live_line() as on_progress:
            anyio.run(making, on_progress)
        code = _tell_all(done, as_json=as_json)
    except KeyboardInterrupt:
        code = _interrupted(done, as_json=as_json)
    sys.stdout.flush()
    return code


def _tell_all(done: Run, *, as_json: bool) -> int:
    result = done.result
    assert result is not None
    if not done.saved:
        raise done.not_saved[0]
    if as_json:
        report.print_json(_result_object(result, done))
    else:
        _tell(result, done)
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
) -> None:
    """Make pictures and save each as soon as it is there, so that an interrupted run keeps what has arrived.

    One that cannot be saved stops no other.
    """

    def save(progress: Progress) -> None:
        if isinstance(progress, Sending | Preview):
            done.under_way.add(progress.call)
        else:
            done.under_way.discard(progress.call)
        if isinstance(progress, Received):
            for image in progress.images:
                try:
                    done.saved.append(folder.save(image))
                except NotSavedError as error:
                    done.not_saved.append(error)
        if isinstance(progress, Preview) and previews:
            previews.keep(progress)
        on_progress(progress)

    async with Service(current, sandbox=sandbox) as service:
        done.result = await service.generate(request, save)


def request_of(arguments: Arguments) -> GenerationRequest:
    """The request of a command line; raises InvalidRequestError for what cannot be read."""
    return GenerationRequest(
        prompt=prompt_of(arguments.prompt, arguments.prompt_file),
        model=arguments.model,
        n=arguments.n,
        size=_parsed("--size", Size.parse, arguments.size),
        aspect_ratio=_parsed("--aspect-ratio", AspectRatio.parse, arguments.aspect_ratio),
        image_size=_parsed("--image-size", str, arguments.image_size),
        seed=arguments.seed,
        init_image=read_image(arguments.init) if arguments.init else None,
        mask=_read_mask(arguments.mask, arguments.mask_color) if arguments.mask else None,
        references=tuple(read_image(path) for path in arguments.references),
        options=arguments.options,
    )


def _parsed(flag: str, parse: Callable[[str], Any], text: str | None) -> Any:
    """The value of a size option; None where it is left out, empty or ``auto``, as OpenAI writes it."""
    try:
        return None if text is None or text.strip().lower() in ("", "auto") else parse(text)
    except ValueError as error:
        raise InvalidRequestError(f"{flag}: {error}.", remedy="Mend it and try again.") from None


def _read_mask(path: Path, color: Literal["white", "black"]) -> InputImage:
    """A mask file in the form used inside; transparency, or else white, marks what to change, or black alone."""
    from ...images.masks import mask_from_black, mask_from_file

    file = read_image(path)
    try:
        if color == "black":
            return InputImage(mask_from_black(file.data), file.name, marks="black")
        return InputImage(mask_from_file(file.data), file.name)
    except ImageError as error:
        raise InvalidRequestError(f"{path}: {error}", remedy="Give another mask.") from None


def _interrupted(done: Run, *, as_json: bool) -> int:
    error = CancelledError("Interrupted.", remedy=_left_behind(done))
    if as_json:
        images_kept = {"images": [_image_object(saved) for saved in done.saved]} if done.saved else {}
        report.print_json({"error": report.error_object(error), **images_kept, **_errors_object(done.not_saved)})
    else:
        for saved in done.saved:
            print(saved.path)
        for lost in done.not_saved:
            report.say(f"Error: {lost}")
        report.say(f"{error}")
    return INTERRUPTED


def _left_behind(done: Run) -> str:
    """What an interrupted run has kept, and what of it may still be billed, which the sandbox does not."""
    kept, under_way = len(done.saved), len(done.under_way)
    parts = [f"{kept} finished picture{'s were' if kept > 1 else ' was'} kept."] if kept else []
    if under_way and not done.is_billed:
        parts.append("The sandbox bills nothing.")
    elif under_way:
        parts.append(
            f"{under_way} call{'s were' if under_way > 1 else ' was'} under way and may be billed all the same."
        )
    else:
        parts.append("Nothing was under way.")
    return " ".join(parts)


def _tell(result: GenerationResult, done: Run) -> None:
    for picture in _in_order(result, done.saved):
        print(picture.path)
    report.notices((*result.notices, *_saving_notices(done.saved)))
    for error in (*result.errors, *done.not_saved):
        report.say(f"Error: {error}")
    cost = "cost unknown" if result.cost_usd is None else f"${result.cost_usd:.4f}"
    report.say(f"{result.provider}/{result.model}: {len(result.images)} in {result.elapsed_s:.1f} s, {cost}")


def _result_object(result: GenerationResult, done: Run) -> dict[str, Any]:
    notices = (*result.notices, *_saving_notices(done.saved))
    return {
        "model": result.model,
        "provider": result.provider,
        "images": [_image_object(picture) for picture in _in_order(result, done.saved)],
        "notices": [asdict(notice) for notice in notices],
        "usage": asdict(result.usage) if result.usage else {},
        "cost_usd": result.cost_usd,
        "request_ids": list(result.request_ids),
        "elapsed_s": round(result.elapsed_s, 3),
        **_errors_object((*result.errors, *done.not_saved)),
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
    }


def _in_order(result: GenerationResult, saved: list[SavedImage]) -> list[SavedImage]:
    """The saved pictures in the order of the request; they were saved in that of their arrival, if they were."""
    by_identity = {id(picture.image): picture for picture in saved}
    return [by_identity[id(image)] for image in result.images if id(image) in by_identity]


def _saving_notices(saved: list[SavedImage]) -> list[Notice]:
    # The same notice on several pictures is told once.
    return list(dict.fromkeys(notice for picture in saved for notice in picture.notices))


async def _dry_run(current: Settings, request: GenerationRequest, *, sandbox: bool, as_json: bool) -> None:
    async with Service(current, sandbox=sandbox) as service:
        # Pictures may take a while to prepare; in a thread, so that Ctrl-C works meanwhile.
        plan, requests = await anyio.to_thread.run_sync(service.dry_run, request, abandon_on_cancel=True)
    cost = plan.estimate_usd
    shown = [_shown(http_request) for http_request in requests]
    if as_json:
        report.print_json(
            {
                "model": plan.model.id,
                "provider": plan.model.provider,
                "requests": shown,
                "notices": [asdict(notice) for notice in plan.notices],
                "estimated_cost_usd": cost,
            }
        )
        return
    _tell_plan(plan, shown, cost)


def _tell_plan(plan: Plan, shown: list[dict[str, Any]], cost: float | None) -> None:
    for request in shown:
        print(f"POST {request['url']}")
        report.print_json(request.get("json") or {"form": request["form"], "files": request["files"]})
    report.notices(plan.notices)
    if cost is None:
        report.say("Estimated cost: unknown. Nothing was sent.")
    else:
        report.say(
            f"Estimated cost: ${cost:.4f} for the pictures; prompt and input pictures come on top. Nothing was sent."
        )


def _shown(request: HttpRequest) -> dict[str, Any]:
    """A request for people to read: whole, but for the pictures in it."""
    if request.json is not None:
        return {"url": request.url, "json": _without_images(request.json)}
    files = [f"{part.name}: {part.filename}, {part.content_type}, {len(part.data):,} bytes" for part in request.files]
    return {"url": request.url, "form": dict(request.form), "files": files}


def _without_images(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            name: f"<{len(inner):,} characters of base64>" if name == "data" else _without_images(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_without_images(inner) for inner in value]
    return value
