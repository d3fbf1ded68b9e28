"""Image sizes in pixels, ratios of width to height, and named image sizes: as requested, and as sent."""

from __future__ import annotations

import math
import re
from dataclasses import KW_ONLY, dataclass
from typing import Self

from .errors import InvalidRequestError
from .untrusted_text import quoted

__all__ = [
    "DEFAULT_EDGE",
    "UNSEEN_STRETCH",
    "AspectRatio",
    "Size",
    "SizeChoice",
    "SizeRequest",
    "image_size_edge",
    "size_of",
]

DEFAULT_EDGE = 1024
"""The edge in pixels of a square image if no size is named: the default of every provider."""

_SAME_IMAGE_SIZE = 1.45
"""By which factor the edge of a size may differ from a named image size and still have its name: 3840x2160 is 4K."""

UNSEEN_STRETCH = 0.03
"""How far the ratios of an edit and its original may differ without a refusal or a notice: the nearest of a model's
ratios are within that of each other."""

_SAME_RATIO = 0.03
"""By how much, as a logarithm, the ratio of a size may differ from a named one and still have its name: 1792x1024 is
16:9."""


def _check_positive(width: object, height: object, problem: str) -> None:
    """Raise InvalidRequestError unless both are whole numbers from 1 up."""
    if not all(type(edge) is int and edge > 0 for edge in (width, height)):
        raise InvalidRequestError(problem)


@dataclass(frozen=True, slots=True)
class Size:
    """The width and height of an image in pixels, both at least 1."""

    width: int
    height: int

    def __post_init__(self) -> None:
        _check_positive(self.width, self.height, f"{self} is not a valid size: both edges must be at least 1 pixel.")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a size such as ``1536x864``.

        Raises:
            InvalidRequestError: The text has another form, which the message says.
        """
        match = re.fullmatch(r"\s*(\d{1,6})\s*[xX\u00d7]\s*(\d{1,6})\s*", text)
        if match is None:
            raise InvalidRequestError(f"{quoted(text)} is not a valid size: write it like 1536x864.")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    @property
    def pixels(self) -> int:
        """The area in pixels."""
        return self.width * self.height

    @property
    def ratio(self) -> float:
        """Width divided by height."""
        return self.width / self.height


@dataclass(frozen=True, slots=True)
class AspectRatio:
    """A ratio of width to height, as providers write it, such as ``16:9``."""

    width: int
    height: int

    def __post_init__(self) -> None:
        _check_positive(self.width, self.height, f"{self} is not a valid aspect ratio: write it like 16:9.")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a ratio such as ``16:9``.

        Raises:
            InvalidRequestError: The text has another form, which the message says.
        """
        match = re.fullmatch(r"\s*(\d{1,4})\s*:\s*(\d{1,4})\s*", text)
        if match is None or not int(match[1]) or not int(match[2]):
            raise InvalidRequestError(f"{quoted(text)} is not a valid aspect ratio: write it like 16:9.")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.width}:{self.height}"

    @property
    def value(self) -> float:
        """Width divided by height."""
        return self.width / self.height


def image_size_edge(image_size: str) -> int:
    """The edge in pixels of a square of a named image size: 512 for ``512``, 2048 for ``2K``.

    Raises:
        InvalidRequestError: The text has another form, which the message says.
    """
    match = re.fullmatch(r"\s*(\d{1,4})\s*([kK]?)\s*", image_size)
    if match is None or not int(match[1]):
        raise InvalidRequestError(f"{quoted(image_size)} is not a valid image size: write it like 1K, 2K or 4K.")
    return int(match[1]) * (1024 if match[2] else 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeRequest:
    """A requested size: exact pixels; or a ratio, an image size or both; or (all None) the model's choice.

    Attributes:
        size: The exact size.
        aspect_ratio: Only the ratio.
        image_size: A named size such as ``2K``.
        natural_ratio: The ratio of the image to edit, which is the default ratio.
    """

    size: Size | None = None
    aspect_ratio: AspectRatio | None = None
    image_size: str | None = None
    natural_ratio: float | None = None

    @property
    def is_open(self) -> bool:
        """True if the model may choose the size."""
        return self.size is None and self.aspect_ratio is None and self.image_size is None

    @property
    def edge(self) -> int:
        """The edge in pixels of a square of the requested area."""
        return image_size_edge(self.image_size) if self.image_size else DEFAULT_EDGE

    @property
    def ratio(self) -> float:
        """The requested ratio, else that of the image to edit, else 1."""
        if self.aspect_ratio:
            return self.aspect_ratio.value
        return self.natural_ratio or 1.0

    def in_pixels(self) -> Size:
        """The requested size in pixels, whether or not a model supports it."""
        return self.size or size_of(self.ratio, self.edge**2)

    def is_met_by(self, choice: SizeChoice) -> bool:
        """True if a choice is what was requested, so that no notice is needed."""
        if self.size:
            return choice.nominal == self.size
        return self._ratio_is_met_by(choice) and self._image_size_is_met_by(choice)

    def keeps_natural_ratio(self, choice: SizeChoice) -> bool:
        """True if a choice has the ratio of the image to edit, or if another is requested or the model chooses."""
        size = choice.nominal
        if self.natural_ratio is None or self.size or self.aspect_ratio or size is None:
            return True
        # The sizes of a ratio such as 3:2 are only about that ratio.
        ratio = AspectRatio.parse(choice.aspect_ratio).value if choice.aspect_ratio else size.ratio
        return min(abs(math.log(each / self.natural_ratio)) for each in (ratio, size.ratio)) <= _SAME_RATIO

    def _ratio_is_met_by(self, choice: SizeChoice) -> bool:
        if self.aspect_ratio is None:
            return True
        if choice.aspect_ratio:
            return AspectRatio.parse(choice.aspect_ratio).value == self.aspect_ratio.value
        size = choice.nominal
        return size is not None and abs(math.log(size.ratio / self.aspect_ratio.value)) <= _SAME_RATIO

    def _image_size_is_met_by(self, choice: SizeChoice) -> bool:
        if self.image_size is None:
            return True
        edges = (choice.edge, self.edge)
        return max(edges) / min(edges) <= (1 if choice.image_size else _SAME_IMAGE_SIZE)

    def __str__(self) -> str:
        return str(self.size) if self.size else " at ".join(str(p) for p in (self.aspect_ratio, self.image_size) if p)


@dataclass(frozen=True, slots=True)
class SizeChoice:
    """The size to send, in the form that the model supports.

    Attributes:
        size: The size in pixels that the image will have; None if the model chooses it.
        aspect_ratio: The ratio to send; None to send no ratio.
        image_size: The named image size to send; None to send no image size.
        about: About the size in pixels, if the provider does not publish what the names mean; never sent.
    """

    size: Size | None = None
    _: KW_ONLY
    aspect_ratio: str | None = None
    image_size: str | None = None
    about: Size | None = None

    @property
    def nominal(self) -> Size | None:
        """The size in pixels, or about that size; None if the model chooses it."""
        return self.size or self.about

    @property
    def edge(self) -> float:
        """The edge in pixels of a square of the same area."""
        if self.image_size:
            return image_size_edge(self.image_size)
        return math.sqrt(self.nominal.pixels) if self.nominal else DEFAULT_EDGE

    def __str__(self) -> str:
        named = " at ".join(part for part in (self.aspect_ratio, self.image_size) if part)
        if self.size is None:
            return named or "auto"
        return f"{self.size} ({named})" if named else str(self.size)


def size_of(ratio: float, pixels: float) -> Size:
    """The size with a ratio and about this number of pixels."""
    width = math.sqrt(pixels * ratio)
    return Size(max(1, round(width)), max(1, round(width / ratio)))
