"""From a request and a model config to the calls to make. Pure: no clock, no network, no disk.

What a model cannot do and the picture can do without is left out with a ``Notice``; what would change the picture
raises before anything is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import CapabilityError, InvalidRequestError
from ..pricing.estimate import image_usd_at
from ..providers.schema import Mode, ModelConfig
from ..request import MAX_PREVIEWS, GenerationRequest, OptionValue
from ..result import Notice
from ..sizing import FlexibleSizing, SizeChoice, SizeRequest
from .input_images import CallImage, natural_ratio, prepare_images
from .options import accept_options

__all__ = ["MASK_SENTENCE", "MAX_IMAGES", "Call", "Plan", "count_calls", "plan"]

MAX_IMAGES = 10
"""The most pictures of one request: OpenAI's own limit for ``n``, kept for every model."""

MASK_SENTENCE = (
    "Edit the first picture only where the second picture, which is its mask, is white; leave everything exactly as it "
    "is where the mask is black, and answer with the whole first picture, edited."
)
"""What goes along with a mask that is sent as a picture, before the prompt and apart from it."""

_SEED_MASK = 0x7FFFFFFF
"""Gemini's seed is an int32 and not negative; every seed is kept inside that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call that the model can take.

    Attributes:
        model: The model.
        mode: What the picture is made from.
        prompt: The user's prompt, as it is.
        n: How many pictures this call gives.
        size: What to send for the size, and what it gives.
        seed: The seed to send; None to send none.
        init_image: The picture to edit.
        mask: Where to edit it: a PNG of the init image's size in the model's ``mask_format``.
        references: Pictures to look at.
        options: Option values to send, by name.
        previews: How many previews to ask for, over a stream; 0 for an answer in one piece.
    """

    model: ModelConfig
    mode: Mode
    prompt: str
    n: int
    size: SizeChoice
    seed: int | None
    init_image: CallImage | None
    mask: CallImage | None
    references: tuple[CallImage, ...]
    options: Mapping[str, OptionValue]
    previews: int = 0

    @property
    def images(self) -> tuple[CallImage, ...]:
        """All pictures in the order in which they are sent, the one to edit first; without the mask."""
        return (self.init_image, *self.references) if self.init_image else self.references

    @property
    def mask_sentence(self) -> str | None:
        """The sentence that says what the mask is; None without a mask, and where a field of its own says it."""
        return MASK_SENTENCE if self.mask and self.model.input_images.mask_format == "white" else None


@dataclass(frozen=True, slots=True)
class Plan:
    """The calls to make for a request, and what the user should know of them."""

    model: ModelConfig
    calls: tuple[Call, ...]
    notices: tuple[Notice, ...]

    @property
    def estimate_usd(self) -> float | None:
        """What its images will cost in USD, without prompt and input images; None if that is unknown."""
        total = 0.0
        for call in self.calls:
            cost = image_usd_at(call.model, call.size, call.options)
            if cost is None:
                return None
            total += call.n * cost
        return total


def plan(request: GenerationRequest, model: ModelConfig) -> Plan:
    """Plan a request for a model.

    Raises:
        InvalidRequestError: The request makes no sense for any model.
        CapabilityError: The model cannot do it.
    """
    _check_letters("model id", model.id)
    _check_letters("prompt", request.prompt)
    _check_prompt(request, model)
    _check_count(request)
    mode = _mode(request, model)
    size, size_notices = _size(request, model)
    options, option_notices = accept_options(request, model, mode)
    seeds, seed_notices = _seeds(request, model)
    previews, preview_notices = _previews(request, model)
    ready, image_notices = prepare_images(request, model, size)
    per_call = _images_per_call(request, model)
    calls = tuple(
        Call(
            model=model,
            mode=mode,
            prompt=request.prompt,
            n=min(per_call, request.n - first),
            size=size,
            seed=seeds[first] if seeds else None,
            init_image=ready.init_image,
            mask=ready.mask,
            references=ready.references,
            options=options,
            previews=previews,
        )
        for first in range(0, request.n, per_call)
    )
    notices = (
        *_lifecycle_notices(model),
        *size_notices,
        *option_notices,
        *seed_notices,
        *preview_notices,
        *image_notices,
    )
    return Plan(model, calls, notices)


def count_calls(request: GenerationRequest, model: ModelConfig) -> int:
    """How many calls ``plan`` makes of a request, without a look at its pictures, which takes time."""
    return -(-request.n // _images_per_call(request, model))


def _images_per_call(request: GenerationRequest, model: ModelConfig) -> int:
    # Each picture has a seed of its own, and no event of a stream says which of several pictures it belongs to.
    one_by_one = (request.seed is not None and model.seed) or (request.previews and model.previews)
    return 1 if one_by_one else model.max_images_per_call


def _check_letters(what: str, text: str) -> None:
    """Refuse half a letter, or a byte of a command line that is not UTF-8: neither JSON nor a file takes it."""
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise InvalidRequestError(f"The {what} is not valid Unicode.", remedy="Write it as UTF-8.")


def _check_prompt(request: GenerationRequest, model: ModelConfig) -> None:
    if not request.prompt.strip():
        raise InvalidRequestError("The prompt is empty.", remedy="Say what the picture should show.")
    limit = model.max_prompt_characters
    if limit is not None and request.mask and model.input_images.mask_format == "white":
        limit -= len(MASK_SENTENCE)
    if limit is not None and len(request.prompt) > limit:
        raise CapabilityError(
            f"The prompt has {len(request.prompt):,} characters; {model.name} takes at most {limit:,}.",
            remedy="Shorten the prompt.",
        )


def _check_count(request: GenerationRequest) -> None:
    if not 1 <= request.n <= MAX_IMAGES:
        raise InvalidRequestError(
            f"{request.n} pictures were asked for; a request makes 1 to {MAX_IMAGES}.",
            remedy="Choose a number in between.",
        )


def _mode(request: GenerationRequest, model: ModelConfig) -> Mode:
    if request.mask and not request.init_image:
        raise InvalidRequestError(
            "A mask was given without a picture to edit.", remedy="Give the picture that the mask belongs to as well."
        )
    mode: Mode = "txt2img"
    if request.init_image or request.references:
        mode = "inpaint" if request.mask else "img2img"
    if mode in model.modes:
        return mode
    if mode == "inpaint":
        raise CapabilityError(
            f"{model.name} takes no mask.", remedy="Leave the mask out, or choose a model with the mode inpaint."
        )
    raise CapabilityError(
        f"{model.name} takes no pictures, only words.",
        remedy="Leave the pictures out, or choose a model with the mode img2img.",
    )


def _size(request: GenerationRequest, model: ModelConfig) -> tuple[SizeChoice, list[Notice]]:
    if request.size and (request.aspect_ratio or request.image_size):
        raise InvalidRequestError(
            "A size was given together with an aspect ratio or an image size.", remedy="Give one or the other."
        )
    wanted = SizeRequest(
        size=request.size,
        aspect_ratio=request.aspect_ratio,
        image_size=request.image_size or None,
        natural_ratio=natural_ratio(request),
    )
    try:
        choice = model.sizing.choose(wanted)
    except ValueError as error:
        raise InvalidRequestError(f"{str(error)[0].upper()}{str(error)[1:]}.") from None
    notices = []
    if not wanted.is_met_by(choice):
        instead = "the size is left to it" if choice == SizeChoice() else f"{choice} is sent instead"
        notices.append(Notice("size_changed", f"{model.name} does not make {wanted}; {instead}."))
    if _is_experimental(model, choice):
        notices.append(Notice("experimental_size", f"{model.name} makes {choice} as an experiment: results may vary."))
    return choice, notices


def _is_experimental(model: ModelConfig, choice: SizeChoice) -> bool:
    limit = model.sizing.experimental_above if isinstance(model.sizing, FlexibleSizing) else None
    return limit is not None and choice.size is not None and choice.size.pixels > limit


def _seeds(request: GenerationRequest, model: ModelConfig) -> tuple[tuple[int, ...], list[Notice]]:
    """The seed of each picture; none where none is asked for or the model takes none."""
    if request.seed is None:
        return (), []
    if not model.seed:
        return (), [Notice("option_dropped", f"{model.name} takes no seed; {request.seed} was left out.")]
    return tuple((request.seed + i) & _SEED_MASK for i in range(request.n)), []


def _previews(request: GenerationRequest, model: ModelConfig) -> tuple[int, list[Notice]]:
    """How many previews of each picture to ask for."""
    if not 0 <= request.previews <= MAX_PREVIEWS:
        raise InvalidRequestError(
            f"{request.previews} previews were asked for; there are 0 to {MAX_PREVIEWS} of a picture.",
            remedy="Choose a number in between.",
        )
    if request.previews and not model.previews:
        return 0, [Notice("option_dropped", f"{model.name} shows no previews; {request.previews} were left out.")]
    return request.previews, []


def _lifecycle_notices(model: ModelConfig) -> list[Notice]:
    life = model.lifecycle
    if life.status not in ("deprecated", "retired"):
        return []
    instead = f" Use {life.successor} instead." if life.successor else ""
    if life.status == "retired":
        when = f" on {life.shutdown}" if life.shutdown else ""
        return [Notice("model_retired", f"{model.name} was retired{when}: only a proxy may still serve it.{instead}")]
    when = "will end, on a day not known for sure"
    if life.shutdown and life.shutdown_confirmed:
        when = f"ends on {life.shutdown}"
    elif life.shutdown:
        when = f"was reported to end on {life.shutdown}, which is not confirmed"
    return [Notice("model_deprecated", f"{model.name} {when}.{instead}")]
