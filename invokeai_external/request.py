"""What goes in and what comes out: plain values, shared by every host and every provider."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .sizing import AspectRatio, Size

__all__ = ["MAX_PREVIEWS", "GenerationRequest", "InputImage", "MetadataMode", "OptionValue"]

OptionValue = str | float

MetadataMode = Literal["auto", "embed", "sidecar", "none"]
"""Where an image's settings are written: see ``metadata.place``."""

MAX_PREVIEWS = 3
"""The most previews of one picture: OpenAI's own limit for ``partial_images``, kept for every model."""


@dataclass(frozen=True, slots=True)
class InputImage:
    """A picture file that goes in.

    Attributes:
        data: The file's bytes, in any format that Pillow reads; for a mask a PNG of mode L, 255 = change.
        name: The file's name without its folder, for people and for the metadata.
        marks: For the metadata alone: ``black`` if black marked what to change in the file that a mask was made of.
    """

    data: bytes = field(repr=False)
    name: str
    marks: Literal["black"] | None = None

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """What somebody wants. The planner says what of it a model can do.

    Attributes:
        model: ``provider/model-id``, a known bare id or alias; None for the newest model of a provider with a key.
        prompt: What to paint; sent as it is.
        n: How many pictures, 1 to 10.
        size: Exact pixels; excludes the next two.
        aspect_ratio: The ratio, such as 16:9.
        image_size: A named size: ``512``, ``1K``, ``2K``, ``4K``.
        seed: A number that makes a picture repeatable where the model knows seeds; picture i gets ``seed + i``.
        init_image: The picture to edit.
        mask: Where to edit it: a PNG of mode L, 255 = change.
        references: Pictures to look at.
        options: Values by option name; ``auto`` and empty mean the provider's own choice.
        previews: How often to be shown each picture while it is made, 0 to 3; OpenAI is reported to bill for them.
    """

    prompt: str
    model: str | None = None
    n: int = 1
    size: Size | None = None
    aspect_ratio: AspectRatio | None = None
    image_size: str | None = None
    seed: int | None = None
    init_image: InputImage | None = None
    mask: InputImage | None = None
    references: tuple[InputImage, ...] = ()
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    previews: int = 0
