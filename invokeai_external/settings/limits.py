"""How much to do at once and how long to wait."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ..errors import SettingsError
from ..misspellings import or_nearest
from ..request import MAX_PREVIEWS, MetadataMode
from ..root_folder import SPENDING_FILE
from ..transport.retry_policy import MOST_WAIT_S
from .paths import path_in
from .yaml_file import problem_of

__all__ = ["Limits"]


class Limits(BaseModel):
    """How much to do at once and how long to wait: the ``settings:`` of ``invokeai_external.yaml``.

    Attributes:
        default_model: The model of a request that names no model: ``provider/model-id``, an id or an alias; None for
            the newest model of a provider that has a key.
        concurrency: The maximum number of calls in flight to one provider. A call is one HTTP request for images.
        max_attempts: The maximum number of attempts at one call, including the first.
        max_wait_s: The maximum number of seconds that one call waits between attempts, in total.
        timeout_s: A call ends with an error if nothing arrives for this many seconds.
        total_timeout_s: A call ends with an error after this many seconds, whatever has arrived.
        max_response_bytes: The largest response that is accepted.
        max_image_pixels: The largest image that is checked; a larger one is saved as it was received, with the notice
            ``kept_as_received``.
        verify_images: Decode every PNG that arrives. Otherwise only its checksums are checked, unless it is composited.
        mask_feather_px: Over how many pixels an edit fades in, from the edge of the mask inward; 0 for a hard edge.
        previews: How many previews of each unfinished image to ask for, if the model supports it.
        metadata: Where the command line saves the metadata of an image: in its file, beside it, or nowhere.
        metadata_cost: Write the cost of an image into its metadata. The tokens stay, from which it can be calculated.
        experimental: On the command line and in the library, allow the output formats gif and svg, which not every
            project at OpenAI may use.
        strip_prompt_weights: Send a prompt without its weights, such as ``sketch+++`` or ``(words)1.2``, which Invoke's
            templates contain.
        keep_originals: In Invoke, keep the original files of images that carry Content Credentials.
        look_ahead: In Invoke, send the calls of queued runs before their turn, up to ``concurrency``.
        spending_record: The file of the spending record, from the root folder; ``off`` records nothing.
        record_prompts: Record the prompt of each call with its cost.
        tag: What the costs are filed under, such as a client's name.
        freeze_gc: In Invoke, shorten the pause between two runs, by excluding what was loaded at the start from
            Python's garbage collection.

    Raises:
        SettingsError: A value is not valid, or there is no such field.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    default_model: str | None = Field(default=None, min_length=1)
    concurrency: int = Field(default=8, ge=1, le=64)
    max_attempts: int = Field(default=6, ge=1, le=20)
    max_wait_s: float = Field(default=120, ge=0, le=MOST_WAIT_S)
    timeout_s: float = Field(default=600, gt=0, le=3600)
    total_timeout_s: float = Field(default=1800, gt=0, le=86_400)
    max_response_bytes: int = Field(default=300_000_000, ge=1_000_000)
    max_image_pixels: int = Field(default=100_000_000, ge=1_000_000)
    verify_images: bool = False
    mask_feather_px: int = Field(default=8, ge=0, le=64)
    previews: int = Field(default=0, ge=0, le=MAX_PREVIEWS)
    metadata: MetadataMode = "auto"
    metadata_cost: bool = True
    experimental: bool = False
    strip_prompt_weights: bool = False
    keep_originals: bool = False
    look_ahead: bool = True
    freeze_gc: bool = True
    spending_record: str = Field(default=SPENDING_FILE, min_length=1)
    record_prompts: bool = False
    tag: str | None = Field(default=None, min_length=1, max_length=100)

    @field_validator("spending_record", mode="before")
    @classmethod
    def _off(cls, value: object) -> object:
        # YAML reads off as false.
        return "off" if value is False else value

    @field_validator("spending_record")
    @classmethod
    def _path(cls, value: str) -> str:
        path_in(Path(), value)
        return value

    if not TYPE_CHECKING:

        def __init__(self, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                first = error.errors(include_url=False, include_input=False)[0]
                name = ".".join(map(str, first["loc"]))
                meant = or_nearest(name, type(self).model_fields) if first["type"] == "extra_forbidden" else ""
                raise SettingsError(f"settings.{name}: {problem_of(first)}.", remedy=meant.strip() or None) from error
