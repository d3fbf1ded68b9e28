"""The result of one call, and of all calls of a request."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import anyio.to_thread

from ..adapters.base import SANDBOX_HEADER, Answer
from ..errors import InvalidResponseError, ProviderError
from ..planning.plan import Call, Plan
from ..pricing.prices import cost_usd, images_usd
from ..progress import Received
from ..request import GenerationRequest
from ..result import GeneratedImage, GenerationResult, Notice, Usage
from ..settings.settings import Limits
from ..sizing import UNSEEN_STRETCH, Size
from ..transport.messages import HttpResponse
from ..transport.redaction import redacted
from .access import Access
from .calls import Position, Reply
from .image_metadata import describe, seed_of
from .image_urls import Content
from .library_files import save_image

if TYPE_CHECKING:
    from .image_checks import ArrivedImage, FinishedImage, Finisher

__all__ = ["Outcome", "collect", "finisher_of", "received", "too_little_memory", "total", "total_cost", "total_usage"]

_CUT_SHORT_NOTICE = Notice(
    "answer_cut_short",
    "The end of the response is missing or broken. The image is complete; its cost may be unknown.",
)

_SVG_NOTICE = Notice(
    "svg_unchecked",
    "The SVG file is saved as it was received; only its beginning and its end were checked. Like a web page, it may "
    "contain scripts and links: check it before you publish it.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one call made: its images, and the errors of those that were lost."""

    images: tuple[GeneratedImage, ...] = ()
    notices: tuple[Notice, ...] = ()
    usage: Usage | None = None
    cost_usd: float | None = None
    cost_from: str | None = None
    computed_usd: float | None = None
    request_id: str | None = None
    errors: tuple[ProviderError, ...] = ()


async def collect(
    access: Access,
    request: GenerationRequest,
    call: Call,
    reply: Reply,
    notices: tuple[Notice, ...],
    contents: Sequence[Content],
    limits: Limits,
    finisher: Callable[[], Finisher],
    large_edits: anyio.CapacityLimiter,
) -> Outcome:
    """The images of a reply, verified, composited, with their metadata; at most as many as were asked for.

    Args:
        access: Where the reply came from.
        request: What the user asked for.
        call: What was sent.
        reply: What the provider sent back.
        notices: Those of the plan; they go into the metadata, as those on the user's files do not.
        contents: The bytes of each image, or the error that lost it.
        limits: The user's.
        finisher: What finishes all images of the request; see ``finisher_of``.
        large_edits: How many edits of more than 8 million pixels may be composited at a time.

    Raises:
        ProviderError: No image can be handed over.
    """
    answer, response = reply.answer, reply.response
    common = (*notices, *reply.notices, *answer.notices, *_search_notices(answer))
    if response.is_cut_short:
        common = (*common, _CUT_SHORT_NOTICE)
    limiter = large_edits if call.original and call.original.is_large else None
    finished, errors = await anyio.to_thread.run_sync(
        _finished, call, answer, contents, limits, finisher, limiter=limiter
    )
    if (to_bill := _images_to_bill(call, answer, contents)) > call.n:
        common = (*common, _more_images(call.n, to_bill))
    by_prices, stated = _by_prices(call, reply, to_bill, [one.info.size for one, _ in finished]), answer.cost_usd
    cost = by_prices if stated is None else stated
    if SANDBOX_HEADER in response.headers:
        common = (*common, _sandbox_notice(cost, access))
    share = None if cost is None else round(cost / min(len(answer.images), call.n), 9)
    facts = {
        "provider": access.provider.id,
        "model": call.model.id,
        "status": response.status,
        "request_id": answer.request_id,
    }
    errors = [failure.replace(**facts, may_be_billed=True) for failure in errors]
    if not finished:
        raise errors[-1]
    # The loss of an image that was not asked for is not an error.
    errors = errors[: call.n - len(finished)]
    if len(answer.images) < call.n:
        errors.insert(0, _too_few(call, answer, is_cut_short=response.is_cut_short).replace(**facts))
    images, own_notices = [], list[Notice]()
    for one, done in finished:
        about_it = _image_notices(call, one, done)
        own_notices += about_it
        images.append(_generated(request, call, answer, response, one, done, share, (*about_it, *common), limits))
    return Outcome(
        images=tuple(images),
        notices=(*common, *own_notices),
        usage=answer.usage,
        cost_usd=cost,
        cost_from=None if cost is None else "prices" if stated is None else "provider",
        computed_usd=None if stated is None else by_prices,
        request_id=answer.request_id,
        errors=tuple(redacted(failure, access.api_key) for failure in errors),
    )


def _sandbox_notice(cost: float | None, access: Access) -> Notice:
    if not access.is_sandbox:
        # Before it was sent, it could have been a call to a provider, and it counts as such.
        what = "Without the key 'sandbox', its cost counts as if a provider had billed it."
        return Notice("sandbox", f"The image comes from a sandbox, which bills nothing. {what}")
    what = "what it would cost is unknown" if cost is None else "the cost shown is an estimate"
    return Notice("sandbox", f"The image comes from the sandbox and cost nothing; {what}.")


def received(position: Position, outcome: Outcome) -> Received:
    """What is reported of a call that made images."""
    return Received(
        call=position.call,
        calls=position.calls,
        images=outcome.images,
        notices=outcome.notices,
        usage=outcome.usage,
        cost_usd=outcome.cost_usd,
        cost_from=outcome.cost_from,
        computed_usd=outcome.computed_usd,
        request_id=outcome.request_id,
    )


def too_little_memory() -> ProviderError:
    """The error of a call that this computer's memory is too small for."""
    return InvalidResponseError(
        "The request or its response does not fit into this computer's memory.",
        remedy="It may have been billed. Close other programs before you try again.",
        may_be_billed=True,
    )


def total(plan: Plan, notices: tuple[Notice, ...], outcomes: Sequence[Outcome], elapsed_s: float) -> GenerationResult:
    """The result of all calls; raises the first error if there is no image at all."""
    errors = tuple(error for outcome in outcomes for error in outcome.errors)
    images = tuple(image for outcome in outcomes for image in outcome.images)
    if not images:
        raise errors[0]
    answered = [outcome for outcome in outcomes if outcome.images]
    return GenerationResult(
        provider=plan.model.provider,
        model=plan.model.id,
        images=images,
        # The same notice from several calls is reported once.
        notices=tuple(dict.fromkeys((*notices, *(n for outcome in answered for n in outcome.notices)))),
        usage=total_usage([outcome.usage for outcome in answered]),
        cost_usd=total_cost([outcome.cost_usd for outcome in answered]),
        request_ids=tuple(outcome.request_id for outcome in answered if outcome.request_id),
        errors=errors,
        elapsed_s=elapsed_s,
    )


def total_cost(costs: Sequence[float | None]) -> float | None:
    """The cost of several calls; None if that of one is unknown."""
    known = [cost for cost in costs if cost is not None]
    return round(sum(known), 9) if len(known) == len(costs) else None


def total_usage(usages: Sequence[Usage | None]) -> Usage | None:
    """The tokens of several calls; None if those of one are unknown, or there is no call."""
    known = [usage for usage in usages if usage]
    if not known or len(known) < len(usages):
        return None
    added = known[0]
    for usage in known[1:]:
        added += usage
    return added


def finisher_of(limits: Limits) -> Callable[[], Finisher]:
    """Makes what finishes the images of a request, once, when the first one is there."""

    @cache
    def finisher() -> Finisher:
        from .image_checks import Finisher

        return Finisher(limits)

    return finisher


def _finished(
    call: Call, answer: Answer, contents: Sequence[Content], limits: Limits, finisher: Callable[[], Finisher]
) -> tuple[list[tuple[ArrivedImage, FinishedImage]], list[ProviderError]]:
    """The images that are handed over, as they arrived and as they are finished, and the errors of the others."""
    # Pillow takes a while to load, and is first needed here.
    from .image_checks import arrived_images

    arrived, errors = arrived_images(call, answer, contents, limits)
    finished: list[tuple[ArrivedImage, FinishedImage]] = []
    for one in _chosen(call, arrived):
        try:
            finished.append((one, finisher().finish(call, one)))
        except ProviderError as error:
            errors.append(error)
    return finished, errors


def _images_to_bill(call: Call, answer: Answer, contents: Sequence[Content]) -> int:
    """How many images of a response are billed: all but copies beyond the number that was requested."""
    received = len(answer.images)
    if received <= call.n:
        return received
    files = [content for content in contents if isinstance(content, bytes)]
    return max(call.n, received - (len(files) - len(set(files))))


def _by_prices(call: Call, reply: Reply, to_bill: int, sizes: Sequence[Size]) -> float | None:
    """What a call cost in USD by the prices of its model; None if that is unknown.

    Args:
        call: What was sent.
        reply: What the provider sent back.
        to_bill: How many images are billed.
        sizes: The sizes of the images that are handed over.
    """
    answer = reply.answer
    if answer.is_grounded:
        # A search is billed too, and whether a query was within the free allowance is not known.
        return None
    if reply.response.is_cut_short and len(answer.images) < call.n:
        # The images whose transfer was cut off may be billed.
        return None
    # The size of an image that was lost is unknown.
    unread = [None] * (to_bill - len(sizes))
    of_images = images_usd(call.model, call.size, call.quality, [*sizes, *unread], sent=len(call.images))
    return cost_usd(answer.usage, call.model.prices, of_images)


def _generated(
    request: GenerationRequest,
    call: Call,
    answer: Answer,
    response: HttpResponse,
    arrived: ArrivedImage,
    finished: FinishedImage,
    cost: float | None,
    notices: Sequence[Notice],
    limits: Limits,
) -> GeneratedImage:
    return GeneratedImage(
        data=finished.data,
        mime_type=finished.mime_type,
        size=finished.size,
        metadata=describe(
            call,
            answer,
            arrived.info,
            written_prompt=request.prompt,
            revised_prompt=arrived.image.revised_prompt,
            cost_usd=cost if limits.metadata_cost else None,
            notices=notices,
            received_at=response.received_at,
            composited=finished.size if finished.composited else None,
        ),
        seed=seed_of(call, answer),
        cost_usd=cost,
        revised_prompt=arrived.image.revised_prompt,
        writer=save_image,
    )


def _chosen(call: Call, arrived: Sequence[ArrivedImage]) -> Sequence[ArrivedImage]:
    """At most as many images as were asked for: if more arrived, those of the requested size first."""
    size, pixels = call.size.size, _pixels_asked_for(call)
    if len(arrived) > call.n and pixels:
        # Among other sizes the nearest: a model may send a draft of 1K before the 2K that it was asked for.
        arrived = sorted(arrived, key=lambda one: (one.info.size != size, abs(math.log(_area(one.info.size) / pixels))))
    return arrived[: call.n]


def _pixels_asked_for(call: Call) -> int | None:
    """How many pixels an image was asked to have; those of a named size are about the same in each ratio."""
    if call.size.size:
        return _area(call.size.size)
    presets = call.model.sizing.presets() if call.size.image_size else ()
    return next((_area(p.size) for p in presets if p.size and p.image_size == call.size.image_size), None)


def _area(size: Size) -> int:
    return size.width * size.height


def _too_few(call: Call, answer: Answer, *, is_cut_short: bool) -> ProviderError:
    cost = "They may have been billed." if is_cut_short else "The cost is that of the images received."
    return InvalidResponseError(
        f"The request asked for {call.n} images and the response contains {len(answer.images)}.",
        remedy=f"Ask again for the rest. {cost}",
        may_be_billed=is_cut_short,
    )


def _more_images(asked: int, received: int) -> Notice:
    requested = "1 was" if asked == 1 else f"{asked} were"
    what = f"The provider sent {received} images where {requested} requested; the others were discarded."
    return Notice("more_images", what)


def _search_notices(answer: Answer) -> list[Notice]:
    """What to know about a response for which the model searched the web."""
    if not answer.is_grounded:
        return []
    queries = len(answer.searches)
    billed = "The search is" if queries == 1 else f"{queries} searches are" if queries else "The searches are"
    sources = ", ".join(f"{one.title} ({one.url})" if one.title else one.url for one in answer.sources)
    cost = "beside the tokens, so the cost is unknown" if answer.cost_usd is None else "too"
    what = f"The model searched the web. {billed} billed {cost}."
    return [Notice("web_search", f"{what} Sources: {sources}." if sources else what)]


def _image_notices(call: Call, arrived: ArrivedImage, finished: FinishedImage) -> list[Notice]:
    """The notices on one image."""
    info = arrived.info
    notices = [finished.kept] if finished.kept else []
    if info.mime_type == "image/svg+xml":
        # It has no pixels whose number could differ from what was asked for.
        return [*notices, _SVG_NOTICE]
    notices += _size_notices(call, info.size, finished)
    if info.is_signed and finished.composited:
        what = "The edit carried Content Credentials, which are lost because it was composited with the original."
        notices.append(Notice("credentials_ended", what))
    return notices


def _size_notices(call: Call, received: Size, finished: FinishedImage) -> list[Notice]:
    """The notices on a size that was not requested, or that does not have the original's ratio."""
    notices = []
    if call.size.size and received != call.size.size:
        end = f"scaled to the original's {finished.size}" if finished.composited else "kept as it is"
        notices.append(
            Notice(
                "size_received",
                f"The request asked for {call.size.size} and the provider sent {received}, which was {end}.",
            )
        )
    is_stretched = abs(received.ratio / finished.size.ratio - 1) > UNSEEN_STRETCH
    if finished.composited and is_stretched and not call.model.input_images.square_rgba:
        notices.append(
            Notice(
                "edit_stretched", f"The edit arrived as {received} and was stretched to the original's {finished.size}."
            )
        )
    return notices
