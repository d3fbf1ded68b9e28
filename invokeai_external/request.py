"""A request: plain values, the same for every host and every provider."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .sizing import AspectRatio, Size

__all__ = ["MAX_PREVIEWS", "GenerationRequest", "InputImage", "MetadataMode", "OptionValue"]

OptionValue = str | float
"""The value of an option: text, or a number where the option has one."""

MetadataMode = Literal["auto", "embed", "sidecar", "none"]
"""Where the metadata of an image is written: see ``images.metadata.place``."""

MAX_PREVIEWS = 3
"""The most previews of one image, for every model: OpenAI's own limit for ``partial_images``."""


@dataclass(frozen=True, slots=True)
class InputImage:
    """An image file to send.

    Attributes:
        data: The bytes of the file, in any format that Pillow reads; for a mask a PNG of mode L, 255 = change.
        name: The name of the file without its folder, for messages and for the metadata.
        marks: Only for the metadata: ``black`` if black marked what to change in the original file of a mask.
    """

    data: bytes = field(repr=False)
    name: str
    marks: Literal["black"] | None = None

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file, in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """What you want. The planner decides what of it a model supports.

    Attributes:
        model: ``provider/model-id``, or a known id or alias without a provider; None for the newest model of a provider
            that has a key.
        prompt: The description of the image, sent unchanged.
        n: How many images, 1 to 10.
        size: The exact size in pixels; cannot be combined with the next two.
        aspect_ratio: The ratio of width to height, such as 16:9.
        image_size: A named size: ``512``, ``1K``, ``2K``, ``4K``.
        seed: Makes an image repeatable, on models that support seeds; image i has ``seed + i``.
        init_image: The image to edit.
        mask: Where to edit it: a PNG of mode L, 255 = change.
        references: Reference images.
        options: Values by the name of the option; ``auto`` and empty are the provider's default.
        previews: How many previews of each image to show while it is made, 0 to 3. OpenAI reportedly bills for them.
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
