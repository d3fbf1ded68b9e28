"""What is known of a model: what it can do, how long it lives, what it costs. Frozen values, no I/O.

The values come from the YAML files in ``catalog/`` and from the user's ``invokeai_external.yaml``; every field that
such a file may hold is a field here.
"""

from __future__ import annotations

import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..sizing import Sizing

__all__ = [
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
"""A picture from words, from words and pictures, or from words, a picture and a mask."""

Status = Literal["active", "deprecated", "retired"]
"""Served; served, but its end is announced; no longer served by its provider."""

ALL_MODES: tuple[Mode, ...] = ("txt2img", "img2img", "inpaint")


class _Frozen(BaseModel):
    # Validators take a while to build: they are when the first one is needed.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class Lifecycle(_Frozen):
    """How long a model lives.

    Attributes:
        status: ``active``; ``deprecated`` (works, but its end is announced); ``retired`` (its provider has ended it).
            None where nothing but the day of its end says so. Models that a ``Registry`` gives have that of its day.
        since: The day it was released.
        shutdown: The last day on which it is served, in UTC; None if no day is known.
        shutdown_confirmed: False for a day that its provider has not said itself, or that is disputed: it only warns.
        successor: The model id to use instead. A ``Registry`` gives one that is not retired itself.
    """

    status: Status | None = None
    since: datetime.date | None = None
    shutdown: datetime.date | None = None
    shutdown_confirmed: bool = True
    successor: str | None = None

    def status_on(self, day: datetime.date) -> Status:
        """What the model is on a day: retired from the day after its last one, if that is confirmed.

        Whoever writes ``active`` or ``retired`` is believed, whatever the day.
        """
        if self.status in ("active", "retired"):
            return self.status
        if self.shutdown and self.shutdown_confirmed and day > self.shutdown:
            return "retired"
        return "deprecated" if self.shutdown or self.status else "active"


class Prices(_Frozen):
    """Prices in USD for a million tokens; None is unknown, which is not zero."""

    text_in: float | None = Field(default=None, ge=0)
    image_in: float | None = Field(default=None, ge=0)
    text_out: float | None = Field(default=None, ge=0)
    image_out: float | None = Field(default=None, ge=0)


class InputImageLimits(_Frozen):
    """What a model takes in the way of pictures: the one to edit and the references together.

    Attributes:
        max_count: The most pictures; 0 for a model that takes none.
        max_bytes: The largest picture file in bytes.
        max_total_bytes: The most bytes for all pictures of one call together; None if there is no such limit.
        max_mask_bytes: The largest mask file in bytes; only for models with the mode ``inpaint``.
        mask_format: ``alpha``: a PNG that is transparent where to change, in a field of its own. ``white``: a picture
            that is white where to change, sent behind the one to edit and counted with the others.
        square_rgba: True if the picture to edit must be a square PNG with alpha (DALL·E 2).
    """

    max_count: int = Field(default=0, ge=0)
    max_bytes: int = Field(default=50_000_000, ge=1)
    max_total_bytes: int | None = Field(default=None, ge=1)
    max_mask_bytes: int = Field(default=4_000_000, ge=1)
    mask_format: Literal["alpha", "white"] = "alpha"
    square_rgba: bool = False


class ChoiceOption(_Frozen):
    """An option with a list of values.

    Attributes:
        values: What it takes.
        preview: Those of the values that the provider calls a preview.
        modes: Where it applies.
    """

    values: tuple[str, ...] = Field(min_length=1)
    preview: tuple[str, ...] = ()
    modes: tuple[Mode, ...] = ALL_MODES


class NumberOption(_Frozen):
    """An option that is a number from ``minimum`` to ``maximum``, both included."""

    minimum: float
    maximum: float
    modes: tuple[Mode, ...] = ALL_MODES


Option = Annotated[ChoiceOption | NumberOption, Field(union_mode="left_to_right")]


class ModelConfig(_Frozen):
    """One model of one provider.

    Attributes:
        id: The id that is sent to the provider.
        provider: The provider's id.
        name: What people call it.
        description: One or two sentences; that a key is needed and that use costs money among them.
        lifecycle: Whether it is still served, and until when.
        aliases: Other names for it; the id is what is sent.
        modes: What it can make pictures from.
        seed: True if it takes a seed.
        previews: True if it shows a picture while it makes it, over a stream of events.
        input_images: What pictures it takes.
        max_images_per_call: The most pictures that one call gives; more become several calls.
        max_prompt_characters: The longest prompt.
        sizing: The sizes it makes.
        options: Its options by name.
        prices: USD for a million tokens.
        image_tokens: The tokens of one finished picture, to estimate a cost with. Keyed by what sets it: an image size
            (``2K``), quality and size (``high 1024x1024``), or ``any``.
        text_tokens: The most text tokens that are billed with each finished picture, at the price ``text_out``.
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
        takes_images = self.input_images.max_count > 0
        if takes_images != ("img2img" in self.modes or "inpaint" in self.modes):
            raise ValueError("modes and input_images.max_count disagree on whether the model takes pictures")
        return self

    @property
    def reference(self) -> str:
        """The name that finds it anywhere: ``provider/id``."""
        return f"{self.provider}/{self.id}"

    def as_unknown(self, model_id: str) -> Self:
        """This model's profile lent to an id of which nothing is known, prices least of all."""
        return self.model_copy(
            update={
                "id": model_id,
                "name": model_id,
                "description": f"Not in the catalogue, treated like {self.name}. Needs an API key; use costs money.",
                "lifecycle": Lifecycle(),
                "aliases": (),
                "prices": Prices(),
                "image_tokens": {},
                "text_tokens": 0,
            }
        )

    def as_snapshot(self, model_id: str) -> Self:
        """This model under the id of one of its dated snapshots, which has the same abilities and prices."""
        return self.model_copy(update={"id": model_id, "name": f"{self.name} ({model_id})", "aliases": ()})


class ProviderConfig(_Frozen):
    """What people need to know of a provider, as its catalogue file says it.

    Attributes:
        id: Its id, as in ``--model`` and in the names of settings.
        adapter: The wire format that it speaks: the name of a module in ``adapters/``.
        name: What people call it.
        base_url: Where its API is served.
        api_version: What is added to a base URL without a path.
        key_url: Where to make a key.
        billing_url: Where to pay, and to see limits.
        billing_note: The sentence that ends each of its models' descriptions.
    """

    id: str
    adapter: Literal["gemini", "openai_images"]
    name: str
    base_url: str
    api_version: str
    key_url: str
    billing_url: str
    billing_note: str
