"""The schema of the catalogue: providers, and models with their abilities, lifecycles and prices. Frozen values.

The values come from the YAML files beside this module and from the user's ``invokeai_external.yaml``: both have exactly
these fields.
"""

from __future__ import annotations

import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..sizing import FixedSizing, FlexiblePresets, FlexibleSizing, PresetSizing, Sizing

__all__ = [
    "MODEL_FIELDS",
    "ChoiceOption",
    "InputImageLimits",
    "Lifecycle",
    "Mode",
    "ModelConfig",
    "NumberOption",
    "Option",
    "Prices",
    "ProviderConfig",
    "Status",
]

Mode = Literal["txt2img", "img2img", "inpaint"]
"""What an image is made from: a prompt; a prompt and images; a prompt, an image and a mask."""

Status = Literal["active", "deprecated", "retired"]
"""Available; available, but with an announced or reported end; no longer available from the provider."""

ALL_MODES: tuple[Mode, ...] = ("txt2img", "img2img", "inpaint")


class _Frozen(BaseModel):
    # Validators take a while to build, so they are built on first use.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class Lifecycle(_Frozen):
    """How long a model is available.

    Attributes:
        status: The status; None if only the dates decide. Models from a ``Registry`` have the status of the day.
        since: The release date.
        shutdown: The last day, in UTC; None if it is not known.
        shutdown_confirmed: False if the provider has not announced the last day, or it is disputed. Then it only
            causes a warning.
        successor: The id of the model to use instead. From a ``Registry``, it is not retired itself.
    """

    status: Status | None = None
    since: datetime.date | None = None
    shutdown: datetime.date | None = None
    shutdown_confirmed: bool = True
    successor: str | None = None

    def status_on(self, day: datetime.date) -> Status:
        """The status on a day: retired after the last day, if that is confirmed.

        A written status of ``active`` or ``retired`` is used on every day.
        """
        if self.status in ("active", "retired"):
            return self.status
        if self.shutdown and self.shutdown_confirmed and day > self.shutdown:
            return "retired"
        return "deprecated" if self.shutdown or self.status else "active"


class Prices(_Frozen):
    """Prices in USD per million tokens; None for an unknown price, which is not zero.

    Attributes:
        text_in: Of the prompt.
        image_in: Of input images.
        text_out: Of text in the response, thoughts included.
        image_out: Of images in the response.
    """

    text_in: float | None = Field(default=None, ge=0)
    image_in: float | None = Field(default=None, ge=0)
    text_out: float | None = Field(default=None, ge=0)
    image_out: float | None = Field(default=None, ge=0)


class InputImageLimits(_Frozen):
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


class ChoiceOption(_Frozen):
    """An option with a list of values.

    Attributes:
        values: All values.
        preview: The values that are a preview feature of the provider.
        modes: The modes in which it applies.
    """

    values: tuple[str, ...] = Field(min_length=1)
    preview: tuple[str, ...] = ()
    modes: tuple[Mode, ...] = ALL_MODES


class NumberOption(_Frozen):
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


Option = Annotated[ChoiceOption | NumberOption, Field(union_mode="left_to_right")]


class ModelConfig(_Frozen):
    """One model of one provider.

    Attributes:
        id: The id to send to the provider.
        provider: The provider's id.
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
        prices: Its prices.
        image_tokens: The image tokens of one image, for estimates, by what decides them: an image size (``2K``), a
            quality and a size (``high 1024x1024``), or ``any``.
        text_tokens: The most text tokens that are billed with each image, at the price ``text_out``.
    """

    id: str = Field(min_length=1)
    provider: str = Field(min_length=1)
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
    options: dict[str, Option] = {}
    prices: Prices = Field(default_factory=Prices)
    image_tokens: dict[str, int] = {}
    text_tokens: int = Field(default=0, ge=0)

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

    def as_unknown(self, model_id: str) -> Self:
        """The profile of this model for an unknown id, without prices and dates."""
        return self.model_copy(
            update={
                "id": model_id,
                "name": model_id,
                "description": f"Not in the catalogue; treated like {self.name}. Needs an API key; images are billed.",
                "lifecycle": Lifecycle(),
                "aliases": (),
                "prices": Prices(),
                "image_tokens": {},
                "text_tokens": 0,
            }
        )

    def as_snapshot(self, model_id: str) -> Self:
        """The profile of this model for one of its dated snapshots, which has the same abilities and prices."""
        return self.model_copy(update={"id": model_id, "name": f"{self.name} ({model_id})", "aliases": ()})


_PARTS = (ModelConfig, Lifecycle, Prices, InputImageLimits, ChoiceOption, NumberOption)
_SIZINGS = (FixedSizing, PresetSizing, FlexibleSizing, FlexiblePresets)

MODEL_FIELDS = frozenset(name for part in (*_PARTS, *_SIZINGS) for name in part.model_fields)
"""The names of all fields that a model and its parts have."""


class ProviderConfig(_Frozen):
    """One provider.

    Attributes:
        id: Its id, as in ``--model`` and in the names of settings.
        adapter: Its wire format: the name of a module in ``adapters/``.
        name: The name to show.
        base_url: The URL of its API.
        api_version: The path to append to a base URL without a path.
        key_url: The web page where you create a key.
        billing_url: The web page with credit and limits.
        billing_note: The last sentence of the description of each of its models.
    """

    id: str
    adapter: Literal["gemini", "openai_images"]
    name: str
    base_url: str
    api_version: str
    key_url: str
    billing_url: str
    billing_note: str
