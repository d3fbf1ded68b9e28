"""The schema of the models: their abilities, lifecycles and prices. Frozen values.

The values come from the YAML files beside this module and from the user's ``invokeai_external.yaml``: both have exactly
these fields.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from ..request import OptionValue
from .frozen import Frozen
from .lifecycle import Lifecycle
from .sizings import FixedSizing, FlexiblePresets, FlexibleSizing, NamedSizing, PresetSizing, SizeText, Sizing

__all__ = [
    "MODEL_FIELDS",
    "ChoiceOption",
    "ImageTokenRule",
    "InputImageLimits",
    "InputImageTokens",
    "Mode",
    "ModelConfig",
    "NumberOption",
    "Option",
    "Prices",
    "TextOption",
    "TokenKind",
    "UsualChoice",
    "option_kind",
]

Mode = Literal["txt2img", "img2img", "inpaint"]
"""What an image is made from: a prompt; a prompt and images; a prompt, an image and a mask."""

ALL_MODES: tuple[Mode, ...] = ("txt2img", "img2img", "inpaint")


Price = Annotated[float, Field(ge=0)]

TokenKind = Literal["text_in", "image_in", "text_out", "image_out"]
"""The kinds of tokens that have a price."""


class Prices(Frozen):
    """What a provider bills: USD per million tokens, per image, per megapixel. None for an unknown price: not zero.

    With a price by image (``per_image``, ``per_megapixel``), tokens that have no price are not billed.

    Attributes:
        since: The first day, in UTC, on which they are valid; None if they always were.
        text_in: Of the prompt.
        image_in: Of input images.
        text_out: Of text in the response, thoughts included.
        image_out: Of images in the response.
        cached_text_in: Of the part of the prompt that the provider had in its cache.
        cached_image_in: Of input images that the provider had in its cache.
        per_image: Of one image in the response, by the names of ``ModelConfig.image_prices``. A number is the price
            of any image: ``{any: 0.02}``.
        per_megapixel: Of 1,000,000 pixels of an image in the response; the pixels are not rounded.
        per_input_image: Of one input image, for a model whose input images have a price whatever their tokens are.
        web_search: Of one query of a web search: USD per query, not per million tokens.
        batch: The share of all these prices that a batch costs; None if no price of batches is known.
        flex: The share of all these prices that the slow service tier ``flex`` costs; None if no such price is known.
    """

    since: datetime.date | None = None
    text_in: Price | None = None
    image_in: Price | None = None
    text_out: Price | None = None
    image_out: Price | None = None
    cached_text_in: Price | None = None
    cached_image_in: Price | None = None
    per_image: dict[str, Price] = Field(default_factory=dict)
    per_megapixel: Price | None = None
    per_input_image: Price | None = None
    web_search: Price | None = None
    batch: Annotated[float, Field(gt=0, le=1)] | None = None
    flex: Annotated[float, Field(gt=0, le=1)] | None = None

    @field_validator("per_image", mode="before")
    @classmethod
    def _one_price_needs_no_name(cls, prices: object) -> object:
        if prices is None:
            return {}
        if isinstance(prices, Mapping):
            # In YAML, the image size 512 is a number.
            return {str(name): price for name, price in prices.items()}
        if isinstance(prices, bool) or not isinstance(prices, int | float):
            raise ValueError("must be a number in USD, or a number for each size")
        return {"any": prices}

    @property
    def is_by_image(self) -> bool:
        """True if an image has a price whatever its tokens are."""
        return bool(self.per_image) or self.per_megapixel is not None

    def bills(self, kind: TokenKind) -> bool:
        """False for tokens that are not billed, since the images have a price and these tokens do not."""
        return not self.is_by_image or getattr(self, kind) is not None


class ImageTokenRule(Frozen):
    """How the tokens of a finished image follow from its size and quality; ``pricing.tokens`` computes them.

    Attributes:
        rule: The name of the rule.
        quality: By quality: the patches along the longer edge of the image.
        usual: By quality: how many times the tokens of the rule the model usually uses; 1 if it is missing.
        at_most: By quality: the most times the tokens of the rule that the model uses; 1, so exactly the rule, if it is
            missing.
    """

    rule: Literal["gpt_image_2"]
    quality: dict[str, Annotated[int, Field(ge=1, le=10_000)]] = Field(min_length=1)
    usual: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    at_most: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)


class InputImageTokens(Frozen):
    """The tokens of an input image; ``pricing.tokens`` computes them. A mask counts as one more image of that size.

    Attributes:
        rule: ``fixed``: the same for every image. ``tiles``: a base, and more for each tile of 512 pixels.
            ``patches``: patches of 32 pixels.
        tokens: Of an image (``fixed``), or the base (``tiles``).
        per_tile: Of a tile (``tiles``).
        high_fidelity: The most that the option ``input_fidelity`` with the value ``high`` adds to an image.
        exact: False if ``tokens`` is the most that an image has.
    """

    rule: Literal["fixed", "tiles", "patches"]
    tokens: int = Field(default=0, ge=0)
    per_tile: int = Field(default=0, ge=0)
    high_fidelity: int = Field(default=0, ge=0)
    exact: bool = True


class InputImageLimits(Frozen):
    """The limits on input images: the image to edit and the references.

    Attributes:
        max_count: The most images; 0 for a model without input images.
        max_bytes: The largest image file in bytes.
        max_total_bytes: The most bytes of all images of one call; None for no such limit.
        max_mask_bytes: The largest mask file in bytes; only for models with the mode ``inpaint``.
        mask_format: ``alpha``: a PNG that is transparent where to change, in a separate field. ``white``: an image that
            is white where to change, sent after the image to edit and counted as an input image.
        square_rgba: True if the image to edit must be a square PNG with alpha (DALL·E 2).
        markup: True if a transparent PNG with drawings may lie over the image to edit, to say what to do.
    """

    max_count: int = Field(default=0, ge=0)
    max_bytes: int = Field(default=50_000_000, ge=1)
    max_total_bytes: int | None = Field(default=None, ge=1)
    max_mask_bytes: int = Field(default=4_000_000, ge=1)
    mask_format: Literal["alpha", "white"] = "alpha"
    square_rgba: bool = False
    markup: bool = False


class UsualChoice(Frozen):
    """What a model usually chooses of what you leave to it, for what an image is expected to cost.

    Attributes:
        quality: The quality; None if it is not known.
        size: The size; None if it is not known.
    """

    quality: str | None = None
    size: SizeText | None = None


class ChoiceOption(Frozen):
    """An option with a list of values.

    Attributes:
        values: All values.
        preview: The values that are a preview feature of the provider.
        experimental: The values that are refused without the setting ``experimental``.
        modes: The modes in which it applies.
    """

    values: tuple[str, ...] = Field(min_length=1)
    preview: tuple[str, ...] = ()
    experimental: tuple[str, ...] = ()
    modes: tuple[Mode, ...] = ALL_MODES


class NumberOption(Frozen):
    """An option that is a number.

    Attributes:
        minimum: The lowest value.
        maximum: The highest value.
        whole: True if it must be a whole number.
        modes: The modes in which it applies.
    """

    minimum: float
    maximum: float
    whole: bool = False
    modes: tuple[Mode, ...] = ALL_MODES


class TextOption(Frozen):
    """An option that is a text that the user writes, such as a negative prompt: one line, sent as it is written.

    Attributes:
        text: Always true; it says that the option is a text.
        max_characters: The longest text.
        modes: The modes in which it applies.
    """

    text: Literal[True]
    max_characters: int = Field(default=1_000, ge=1, le=32_000)
    modes: tuple[Mode, ...] = ALL_MODES


_OPTIONS = (ChoiceOption, NumberOption, TextOption)
_KIND_OF_FIELD = {field: kind for kind in _OPTIONS for field in kind.model_fields if field != "modes"}


def option_kind(fields: Mapping[str, object]) -> type[Frozen] | None:
    """The kind of option that has the first of these fields; None if no field is only of one kind."""
    # The options of a model may themselves have the name of a field; they are mappings.
    of_one_kind = (name for name, value in fields.items() if name in _KIND_OF_FIELD and not isinstance(value, Mapping))
    return _KIND_OF_FIELD.get(next(of_one_kind, ""))


def _option_tag(option: object) -> str:
    """The tag of an option, so that only the mistakes in the kind that was meant are reported."""
    kind = (option_kind(option) or ChoiceOption) if isinstance(option, Mapping) else type(option)
    return kind.__name__ if kind in _OPTIONS else ChoiceOption.__name__


Option = Annotated[
    Annotated[ChoiceOption, Tag("ChoiceOption")]
    | Annotated[NumberOption, Tag("NumberOption")]
    | Annotated[TextOption, Tag("TextOption")],
    Discriminator(_option_tag),
]


class ModelConfig(Frozen):
    """One model of one provider.

    Attributes:
        id: Its id, as in ``--model``, which is sent to the provider.
        provider: The provider's id.
        provider_name: The provider's name.
        api_model: The id to send in place of ``id``, such as the name of a deployment; None for ``id`` itself.
        extends: The model, as ``provider/id``, from which it has all that is not written for it; None for a model that
            has everything itself.
        name: The name to show.
        description: The description to show, which ends with the provider's billing note.
        lifecycle: Whether it is available, and until when.
        aliases: Other ids with which users may name it.
        modes: What it makes images from.
        seed: True if it supports seeds.
        previews: True if it shows unfinished images, as a stream of events.
        input_images: The limits on input images.
        max_images_per_call: The most images of one call; for more, there are several calls.
        max_prompt_characters: The longest prompt; None if there is no known limit.
        sizing: The sizes that it supports.
        options: Its options by name.
        defaults: The values of options that a request does not set, by name; the planner checks them.
        prices: Its prices. They may be written as a list whose entries each begin on a day (``since``); models from a
            ``Registry`` have the prices of the day.
        later_prices: Prices that begin on a later day, the earliest first.
        prices_as_of: The day on which somebody last compared its prices with the provider's; None for the user's own.
        image_tokens: The image tokens of one image, for estimates, by what decides them: an image size (``2K``), a
            quality and a size (``high 1024x1024``), a size for any quality (``1024x1024``), or ``any``.
        image_prices: The price of one image in USD as the provider publishes it, by the same names; used for estimates
            in place of tokens that are billed but not published. ``prices.per_image`` is what is billed itself.
        image_token_rule: The rule for the image tokens of a size and quality that is not in these two tables.
        input_image_tokens: The tokens of an input image; None if they are unknown.
        usual_choice: What it usually chooses of what is left to it.
        preview_tokens: The output tokens that each preview of an image costs.
        max_text_tokens: The most text tokens, thoughts included, that have been billed with an image, at the price
            ``text_out``. Not the API's output limit, which no image comes near.
        sources: Where its facts come from.
    """

    id: str = Field(min_length=1)
    provider: str = Field(min_length=1)
    provider_name: str = ""
    api_model: str | None = Field(default=None, min_length=1)
    extends: str | None = None
    name: str
    description: str
    lifecycle: Lifecycle = Field(default_factory=Lifecycle)
    aliases: tuple[str, ...] = ()
    modes: tuple[Mode, ...] = ("txt2img",)
    seed: bool = False
    previews: bool = False
    input_images: InputImageLimits = Field(default_factory=InputImageLimits)
    max_images_per_call: int = Field(default=1, ge=1)
    max_prompt_characters: int | None = Field(default=None, ge=1)
    sizing: Sizing
    options: dict[str, Option] = Field(default_factory=dict)
    defaults: dict[str, OptionValue] = Field(default_factory=dict)
    prices: Prices = Field(default_factory=Prices)
    later_prices: tuple[Prices, ...] = ()
    prices_as_of: datetime.date | None = None
    image_tokens: dict[str, int] = Field(default_factory=dict)
    image_prices: dict[str, Price] = Field(default_factory=dict)
    image_token_rule: ImageTokenRule | None = None
    input_image_tokens: InputImageTokens | None = None
    usual_choice: UsualChoice = Field(default_factory=UsualChoice)
    preview_tokens: int = Field(default=0, ge=0)
    max_text_tokens: int = Field(default=0, ge=0)
    sources: tuple[str, ...] = ()

    @field_validator("options")
    @classmethod
    def _options_replace_no_part_of_the_request(cls, options: dict[str, Option]) -> dict[str, Option]:
        # They are sent as fields beside these.
        for name in ("model", "n", "prompt", "size"):
            if name in options:
                raise ValueError(f"{name} is a part of every request, so it cannot be an option")
        return options

    @field_validator("defaults", mode="before")
    @classmethod
    def _on_and_off_are_words(cls, defaults: object) -> object:
        # YAML reads them as true and false.
        if not isinstance(defaults, Mapping):
            return defaults
        words = {True: "on", False: "off"}
        return {name: words[value] if isinstance(value, bool) else value for name, value in defaults.items()}

    @field_validator("later_prices")
    @classmethod
    def _later_prices_begin_on_a_day(cls, entries: tuple[Prices, ...]) -> tuple[Prices, ...]:
        days = [entry.since for entry in entries if entry.since]
        if len(days) < len(entries) or sorted(set(days)) != days:
            raise ValueError("every entry after the first must have a later day in 'since'")
        return entries

    @model_validator(mode="before")
    @classmethod
    def _split_prices(cls, fields: Any) -> Any:
        """Read a list of prices as the first entry and those that begin later."""
        prices = fields.get("prices") if isinstance(fields, Mapping) else None
        if not isinstance(prices, list | tuple) or not prices:
            return fields
        return {**fields, "prices": prices[0], "later_prices": prices[1:]}

    @model_validator(mode="after")
    def _modes_and_limits_agree(self) -> Self:
        has_input_images = self.input_images.max_count > 0
        if has_input_images != ("img2img" in self.modes or "inpaint" in self.modes):
            raise ValueError("modes and input_images.max_count must agree on input images")
        return self

    @property
    def reference(self) -> str:
        """Its unambiguous name: ``provider/id``."""
        return f"{self.provider}/{self.id}"

    @property
    def sent_id(self) -> str:
        """The id that the provider gets."""
        return self.api_model or self.id

    def prices_on(self, day: datetime.date) -> tuple[Prices, tuple[Prices, ...]]:
        """The prices that are valid on a day, unknown ones before the first day of all, and those that begin later."""
        entries = (self.prices, *self.later_prices)
        begun = [entry for entry in entries if entry.since is None or entry.since <= day]
        return begun[-1] if begun else Prices(), entries[len(begun) :]

    def as_unknown(self, model_id: str) -> Self:
        """The profile of this model for an unknown id, without prices and dates."""
        return self.model_copy(
            update={
                "id": model_id,
                "api_model": None,
                "name": model_id,
                "description": f"Not in the catalogue; treated like {self.name}. Needs an API key; images are billed.",
                "lifecycle": Lifecycle(),
                "aliases": (),
                "defaults": {},
                "prices": Prices(),
                "later_prices": (),
                "prices_as_of": None,
                "image_tokens": {},
                "image_prices": {},
                "image_token_rule": None,
                "input_image_tokens": None,
                "preview_tokens": 0,
                "max_text_tokens": 0,
                "sources": (),
            }
        )

    def as_snapshot(self, model_id: str) -> Self:
        """The profile of this model for one of its dated snapshots, which has the same abilities and prices."""
        name = f"{self.name} ({model_id})"
        return self.model_copy(update={"id": model_id, "api_model": None, "name": name, "aliases": (), "defaults": {}})


_TOKENS = (ImageTokenRule, InputImageTokens)
_PARTS = (ModelConfig, Lifecycle, Prices, *_TOKENS, InputImageLimits, UsualChoice, *_OPTIONS)
_SIZINGS = (FixedSizing, PresetSizing, NamedSizing, FlexibleSizing, FlexiblePresets)

MODEL_FIELDS = frozenset(name for part in (*_PARTS, *_SIZINGS) for name in part.model_fields) - {"provider_name"}
"""The names of all fields that a model and its parts can have in YAML."""
