"""Plans the calls for a request to a model. Pure: no clock, no network, no disk.

What a model does not support is not sent, and a ``Notice`` says so, as long as the image stays what was asked for.
Otherwise an error is raised before anything is sent.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..errors import CapabilityError, InvalidRequestError
from ..pricing.estimate import Estimate, EstimatePart, ImagePrice, estimate_call, estimate_sum, usual_choice
from ..providers.schema import Mode, ModelConfig
from ..request import MAX_PREVIEWS, GenerationRequest, OptionValue
from ..result import Notice
from ..sizing import Size, SizeChoice
from ..untrusted_text import quoted, shows_nothing
from .input_images import CallImage, prepare_images
from .options import KEPT_FORMATS, accept_options, kept_format, only_sent_options, with_defaults
from .sizes import choose_size

if TYPE_CHECKING:
    from ..images.compositing import Original

__all__ = ["MASK_SENTENCE", "MAX_IMAGES", "Call", "Plan", "count_calls", "estimate_of", "expected_of", "plan"]

MAX_IMAGES = 10
"""The most images of one request, for every model: OpenAI's own limit for ``n``."""

MASK_SENTENCE = (
    "Edit the first picture only where the second picture, which is its mask, is white; leave everything exactly as it "
    "is where the mask is black, and answer with the whole first picture, edited."
)
"""The text that is sent with a mask that is itself an image: a separate part, before the prompt."""

_MAX_SEED = 0xFFFFFFFF
"""The largest seed of Invoke, whose random seeds have 32 bits."""

_MAX_SENT_SEED = 0x7FFFFFFF
"""Gemini's seed is an int32, so a larger one is reduced to 31 bits, always to the same number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call, within what the model supports.

    Attributes:
        model: The model.
        mode: What the image is made from.
        prompt: The user's prompt, unchanged.
        n: How many images the call returns.
        size: What to send for the size, and the size in pixels that it results in.
        seed: The seed to send; None to send no seed.
        init_image: The image to edit.
        mask: Where to edit it: a PNG of the init image's size in the model's ``mask_format``.
        references: The reference images.
        markup: Drawings on the init image that say what to do: a transparent PNG of its size.
        options: The option values to send, by name.
        previews: How many previews of each image to request, as a stream; 0 for a response in one piece.
        original: With a mask: the user's image and mask, to composite the edits into.
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
    markup: CallImage | None = None
    original: Original | None = field(default=None, repr=False, compare=False)

    @property
    def images(self) -> tuple[CallImage, ...]:
        """All images in the order in which they are sent, the one to edit first; without mask and markup."""
        return (self.init_image, *self.references) if self.init_image else self.references

    @property
    def quality(self) -> str | None:
        """The quality that is sent; None if the model chooses it."""
        quality = self.options.get("quality")
        return None if quality in (None, "", "auto") else str(quality)

    @property
    def keeps_file(self) -> bool:
        """True for the output formats gif and svg, whose files are kept byte for byte."""
        return self.options.get("output_format") in KEPT_FORMATS

    @property
    def mask_sentence(self) -> str | None:
        """The text that explains the mask; None if there is no mask, or the mask is sent in a separate field."""
        return MASK_SENTENCE if self.mask and self.model.input_images.mask_format == "white" else None


@dataclass(frozen=True, slots=True)
class Plan:
    """The calls for a request.

    Attributes:
        model: The model.
        calls: The calls, in the order of their images.
        notices: What differs from the request, and what else to know before it is sent.
    """

    model: ModelConfig
    calls: tuple[Call, ...]
    notices: tuple[Notice, ...]

    @property
    def estimate_usd(self) -> float | None:
        """What the finished images cost in USD, without the text that is billed with them and without what is sent.

        None if it is unknown, or depends on what the model chooses; ``estimate`` then has the most that it can be.
        """
        return self.estimate.part("images").usd

    @property
    def estimate(self) -> Estimate:
        """What the calls will cost, the prompt, the input images and the previews included."""
        return estimate_sum([estimate_of(call) for call in self.calls])

    @property
    def expected_usd(self) -> float | None:
        """What to expect that the calls cost in USD; None if that is unknown."""
        prices = [expected_of(call) for call in self.calls]
        known = [price for price in prices if price is not None]
        return round(sum(known), 12) if len(known) == len(prices) else None


def plan(
    request: GenerationRequest,
    model: ModelConfig,
    *,
    experimental: bool = False,
    sent_options: Collection[str] | None = None,
) -> Plan:
    """Plan the calls for a request to a model.

    Args:
        request: What the user wants.
        model: The model.
        experimental: True to allow the values of options that are experimental.
        sent_options: The options that the provider's API has; None if every option is sent under its own name.

    Raises:
        InvalidRequestError: The request is not valid for any model.
        CapabilityError: The model does not support it.
    """
    _check_unicode("model id", model.id)
    _check_unicode("prompt", request.prompt)
    _check_prompt(request, model)
    _check_count(request)
    mode = _mode(request, model)
    request = with_defaults(request, model, mode)
    request, unsent_notices = only_sent_options(request, model, sent_options)
    options, option_notices = accept_options(request, model, mode, experimental=experimental)
    size, size_notices = choose_size(request, model, options)
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
            markup=ready.markup,
            original=ready.original,
        )
        for first in range(0, request.n, per_call)
    )
    notices = (
        *_lifecycle_notices(model),
        *size_notices,
        *unsent_notices,
        *option_notices,
        *seed_notices,
        *preview_notices,
        *image_notices,
    )
    return Plan(model, calls, notices)


def expected_of(call: Call) -> float | None:
    """What to expect that a call costs in USD: with what the model usually chooses of what is left to it.

    None if that is unknown.
    """
    size, usual = usual_choice(call.model, call.size, call.quality)
    options = {**call.options, "quality": usual} if usual else call.options
    return estimate_of(replace(call, size=size, options=options)).expected_usd


def estimate_of(call: Call) -> Estimate:
    """What a call will cost."""
    estimate = estimate_call(
        call.model,
        size=call.size,
        quality=call.quality,
        n=call.n,
        prompt=call.prompt + (call.mask_sentence or ""),
        input_sizes=[_pixels(image) for image in call.images],
        mask_size=_pixels(drawn) if (drawn := call.mask or call.markup) else None,
        high_fidelity=call.options.get("input_fidelity") == "high",
        previews=call.previews,
        web_search="web_search" in call.options,
    )
    if not call.keeps_file:
        return estimate
    # All frames of a GIF are billed as one larger image (third parties), and an SVG is written after an image.
    unknown = EstimatePart("images", ImagePrice(None, None, "unknown"))
    return Estimate(tuple(unknown if part.name == "images" else part for part in estimate.parts))


def _pixels(image: CallImage) -> Size:
    from ..images.inputs import size_of

    return size_of(image.data)


def count_calls(request: GenerationRequest, model: ModelConfig) -> int:
    """How many calls ``plan`` makes for a request; fast, since the input images are not read."""
    return -(-request.n // _images_per_call(request, model))


def _images_per_call(request: GenerationRequest, model: ModelConfig) -> int:
    # Each image has its own seed, and the events of a stream do not say which of several images they belong to.
    kept = kept_format(request, model)
    streamed = request.previews and model.previews and not kept
    one_per_call = (request.seed is not None and model.seed) or streamed or kept == "svg"
    return 1 if one_per_call else model.max_images_per_call


def _check_unicode(what: str, text: str) -> None:
    """Refuse lone surrogates, also those of a command line that is not UTF-8: JSON and files cannot hold them."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidRequestError(f"The {what} is not valid Unicode.", remedy="Use UTF-8.")


def _check_prompt(request: GenerationRequest, model: ModelConfig) -> None:
    if shows_nothing(request.prompt):
        raise InvalidRequestError("The prompt is empty.", remedy="Describe the image that you want.")
    limit = model.max_prompt_characters
    if limit is not None and request.mask and model.input_images.mask_format == "white":
        limit -= len(MASK_SENTENCE)
    if limit is not None and len(request.prompt) > limit:
        raise CapabilityError(
            f"The prompt has {len(request.prompt):,} characters; {model.name} supports at most {limit:,}.",
            remedy="Shorten the prompt.",
        )


def _check_count(request: GenerationRequest) -> None:
    if not 1 <= request.n <= MAX_IMAGES:
        raise InvalidRequestError(
            f"{quoted(request.n)} is not a valid number of images.", remedy=f"Choose a number from 1 to {MAX_IMAGES}."
        )


def _mode(request: GenerationRequest, model: ModelConfig) -> Mode:
    if request.mask and not request.init_image:
        raise InvalidRequestError(
            "There is a mask but no image to edit.", remedy="Add the image that the mask belongs to."
        )
    _check_markup(request, model)
    mode: Mode = "txt2img"
    if request.init_image or request.references:
        mode = "inpaint" if request.mask else "img2img"
    if mode in model.modes:
        return mode
    if mode == "txt2img":
        raise CapabilityError(f"{model.name} only edits images.", remedy="Add an image to edit, or a reference image.")
    if mode == "inpaint":
        raise CapabilityError(
            f"{model.name} does not support masks.", remedy="Remove the mask, or choose a model that supports masks."
        )
    raise CapabilityError(
        f"{model.name} does not support input images.",
        remedy="Remove the images, or choose a model that supports input images.",
    )


def _check_markup(request: GenerationRequest, model: ModelConfig) -> None:
    if request.markup is None:
        return
    if request.mask:
        raise InvalidRequestError("A markup cannot be combined with a mask.", remedy="Use one or the other.")
    if not request.init_image:
        raise InvalidRequestError(
            "There is a markup but no image to edit.", remedy="Add the image that the markup belongs to."
        )
    if not model.input_images.markup:
        raise CapabilityError(
            f"{model.name} does not support markup.",
            remedy="Remove the markup, or choose GPT Image 2.5 or newer.",
        )


def _seeds(request: GenerationRequest, model: ModelConfig) -> tuple[tuple[int, ...], list[Notice]]:
    """The seed of each image; empty if the request has no seed or the model does not support seeds."""
    if request.seed is None:
        return (), []
    if not model.seed:
        what = f"{model.name} does not support seeds; {quoted(request.seed)} was not sent."
        return (), [Notice("option_dropped", what)]
    if not 0 <= request.seed <= _MAX_SEED:
        raise InvalidRequestError(
            f"{quoted(request.seed)} is not a valid seed.",
            remedy=f"Choose a number from 0 to {_MAX_SEED}, or leave it out for a random image.",
        )
    wanted = [request.seed + i for i in range(request.n)]
    sent = tuple(seed & _MAX_SENT_SEED for seed in wanted)
    changed = {seed: used for seed, used in zip(wanted, sent, strict=True) if used != seed}
    if not changed:
        return sent, []
    seeds, used = (", ".join(map(str, numbers)) for numbers in (changed.keys(), changed.values()))
    is_one = len(changed) == 1
    return sent, [
        Notice(
            "seed_changed",
            f"{model.name} supports seeds up to {_MAX_SENT_SEED}; for {'seed' if is_one else 'seeds'} {seeds}, "
            f"{used} {'was' if is_one else 'were'} sent.",
        )
    ]


def _previews(request: GenerationRequest, model: ModelConfig) -> tuple[int, list[Notice]]:
    """How many previews of each image to request."""
    if not 0 <= request.previews <= MAX_PREVIEWS:
        raise InvalidRequestError(
            f"{quoted(request.previews)} is not a valid number of previews.",
            remedy=f"Choose a number from 0 to {MAX_PREVIEWS}.",
        )
    if request.previews and not model.previews:
        what = f"{model.name} does not support previews, so there will be no previews."
        return 0, [Notice("option_dropped", what)]
    if request.previews and (kept := kept_format(request, model)):
        what = f"There are no previews with the output format {kept}."
        return 0, [Notice("option_dropped", what)]
    return request.previews, []


def _lifecycle_notices(model: ModelConfig) -> list[Notice]:
    life = model.lifecycle
    if life.status not in ("deprecated", "retired"):
        return []
    ending = life.ending(model.provider_name or model.provider)
    if life.status == "retired":
        return [Notice("model_retired", f"{model.name} {ending}; a proxy may still offer it.{life.instead}")]
    return [Notice("model_deprecated", f"{model.name} {ending}.{life.instead}")]
