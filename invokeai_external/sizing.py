"""The image sizes that a model supports, and the nearest of them to any other size.

There are three kinds of models: those with a fixed list of sizes, those with an aspect ratio and a named image size
(``16:9`` at ``2K``), and those with any size that follows a rule. Sizes are in pixels, ratios are width to height.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from .errors import InvalidRequestError
from .untrusted_text import quoted

__all__ = [
    "AspectRatio",
    "FixedSizing",
    "FlexibleSizing",
    "PresetSizing",
    "Size",
    "SizeChoice",
    "SizeRequest",
    "Sizing",
    "image_size_edge",
]

DEFAULT_EDGE = 1024
"""The edge in pixels of a square image if no size is named: the default of every provider."""

_SAME_IMAGE_SIZE = 1.45
"""By which factor the edge of a size may differ from a named image size and still have its name: 3840x2160 is 4K."""

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


def _parsed(kind: type[Size] | type[AspectRatio]) -> Any:
    """A pydantic annotation for a value that is written as text in YAML."""

    def read(value: object) -> object:
        if isinstance(value, kind):
            return value
        if not isinstance(value, str):
            raise ValueError("this must be text; put it in quotes")
        return kind.parse(value)

    return BeforeValidator(read)


SizeText = Annotated[Size, _parsed(Size), PlainSerializer(str)]
AspectRatioText = Annotated[AspectRatio, _parsed(AspectRatio), PlainSerializer(str)]


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
        return self.size or _size_of(self.ratio, self.edge**2)

    def is_met_by(self, choice: SizeChoice) -> bool:
        """True if a choice is what was requested, so that no notice is needed."""
        if self.size:
            return choice.size == self.size
        return self._ratio_is_met_by(choice) and self._image_size_is_met_by(choice)

    def _ratio_is_met_by(self, choice: SizeChoice) -> bool:
        if self.aspect_ratio is None:
            return True
        if choice.aspect_ratio:
            return AspectRatio.parse(choice.aspect_ratio).value == self.aspect_ratio.value
        return choice.size is not None and abs(math.log(choice.size.ratio / self.aspect_ratio.value)) <= _SAME_RATIO

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
    """

    size: Size | None = None
    _: KW_ONLY
    aspect_ratio: str | None = None
    image_size: str | None = None

    @property
    def edge(self) -> float:
        """The edge in pixels of a square of the same area."""
        if self.image_size:
            return image_size_edge(self.image_size)
        return math.sqrt(self.size.pixels) if self.size else DEFAULT_EDGE

    def __str__(self) -> str:
        if self.size is None:
            return self.image_size or "auto"
        named = " at ".join(part for part in (self.aspect_ratio, self.image_size) if part)
        return f"{self.size} ({named})" if named else str(self.size)


def _size_of(ratio: float, pixels: float) -> Size:
    """The size with a ratio and about this number of pixels."""
    width = math.sqrt(pixels * ratio)
    return Size(max(1, round(width)), max(1, round(width / ratio)))


def _nearest_choices(choices: tuple[SizeChoice, ...], target: Size) -> tuple[SizeChoice, ...]:
    """The choices with the nearest ratio, and of these the one with the nearest area first."""

    def distances(choice: SizeChoice) -> tuple[float, float]:
        assert choice.size is not None
        ratio = abs(math.log(choice.size.ratio / target.ratio))
        return round(ratio, 9), abs(math.log(choice.size.pixels / target.pixels))

    ordered = sorted(choices, key=distances)
    # Edges are rounded to pixels, so that the same ratio differs a little from size to size.
    return tuple(choice for choice in ordered if distances(choice)[0] <= distances(ordered[0])[0] + 0.005)


class _Frozen(BaseModel):
    # Validators take a while to build, so they are built on first use.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class _Sizing(_Frozen):
    """What all sizings have in common."""

    def presets(self) -> tuple[SizeChoice, ...]:
        """All sizes to offer."""
        raise NotImplementedError

    def allows(self, size: Size) -> bool:
        """True if the model supports a size exactly."""
        return any(preset.size == size for preset in self.presets())

    def nearest(self, request: SizeRequest) -> tuple[SizeChoice, ...]:
        """The supported sizes of the ratio nearest to a request, the nearest area first."""
        return (SizeChoice(),) if request.is_open else self._nearest(request)

    def choose(self, request: SizeRequest) -> SizeChoice:
        """The supported size nearest to a request."""
        return self.nearest(request)[0]

    def _nearest(self, request: SizeRequest) -> tuple[SizeChoice, ...]:
        raise NotImplementedError


class FixedSizing(_Sizing):
    """The sizes of a model with a short list of them.

    Attributes:
        sizes: All sizes in pixels.
    """

    kind: Literal["fixed"]
    sizes: tuple[SizeText, ...] = Field(min_length=1)

    def presets(self) -> tuple[SizeChoice, ...]:
        return tuple(SizeChoice(size) for size in self.sizes)

    def _nearest(self, request: SizeRequest) -> tuple[SizeChoice, ...]:
        return _nearest_choices(self.presets(), request.in_pixels())


class PresetSizing(_Sizing):
    """The sizes of a model with an aspect ratio and usually a named image size.

    Attributes:
        ratios: The exact size of each ratio at scale 1.
        image_sizes: The scale of each image size; empty for a model with only a ratio.
    """

    kind: Literal["presets"]
    ratios: dict[str, SizeText] = Field(min_length=1)
    image_sizes: dict[str, Annotated[float, Field(gt=0)]] = {}

    @model_validator(mode="after")
    def _names_are_valid(self) -> Self:
        for ratio in self.ratios:
            AspectRatio.parse(ratio)
        for image_size in self.image_sizes:
            image_size_edge(image_size)
        return self

    def presets(self) -> tuple[SizeChoice, ...]:
        if not self.image_sizes:
            return tuple(SizeChoice(size, aspect_ratio=ratio) for ratio, size in self.ratios.items())
        return tuple(
            SizeChoice(
                Size(round(size.width * scale), round(size.height * scale)), aspect_ratio=ratio, image_size=image_size
            )
            for image_size, scale in self.image_sizes.items()
            for ratio, size in self.ratios.items()
        )

    def _nearest(self, request: SizeRequest) -> tuple[SizeChoice, ...]:
        if request.size:
            return _nearest_choices(self.presets(), request.size)
        named = sorted(self.image_sizes, key=lambda name: abs(math.log(image_size_edge(name) / request.edge)))
        names: Sequence[str | None] = named or (None,)
        if request.aspect_ratio is None:
            # Without a ratio the model uses that of the image to edit, so the size is not known in advance.
            return tuple(SizeChoice(image_size=name) for name in names)
        by_name = {(choice.aspect_ratio, choice.image_size): choice for choice in self.presets()}
        ratio = self._nearest_ratio(request.aspect_ratio.value)
        return tuple(by_name[ratio, name] for name in names)

    def _nearest_ratio(self, ratio: float) -> str:
        return min(self.ratios, key=lambda name: abs(math.log(AspectRatio.parse(name).value / ratio)))


class FlexiblePresets(_Frozen):
    """The sizes to offer by name for a model with a rule.

    Attributes:
        ratios: The ratios to offer.
        image_sizes: The named image sizes to offer, such as ``2K``.
    """

    ratios: tuple[AspectRatioText, ...] = ()
    image_sizes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _names_are_valid(self) -> Self:
        for image_size in self.image_sizes:
            image_size_edge(image_size)
        return self


class FlexibleSizing(_Sizing):
    """The sizes of a model with any size that follows a rule.

    Attributes:
        multiple_of: Both edges must be a multiple of this number of pixels.
        min_ratio: The narrowest ratio.
        max_ratio: The widest ratio.
        max_edge: The longest edge in pixels.
        min_pixels: The smallest area in pixels.
        max_pixels: The largest area in pixels.
        experimental_above: The area in pixels above which the provider calls sizes experimental; None for no such area.
        offered: The sizes to offer by name.
    """

    kind: Literal["flexible"]
    multiple_of: int = Field(ge=1)
    min_ratio: AspectRatioText
    max_ratio: AspectRatioText
    max_edge: int = Field(ge=1, le=100_000)
    min_pixels: int = Field(ge=1)
    max_pixels: int = Field(ge=1)
    experimental_above: int | None = None
    offered: FlexiblePresets = Field(default_factory=FlexiblePresets)

    @model_validator(mode="after")
    def _rule_allows_a_size(self) -> Self:
        self._snap(1.0, DEFAULT_EDGE**2)
        return self

    def presets(self) -> tuple[SizeChoice, ...]:
        return tuple(
            SizeChoice(self._snap(ratio.value, image_size_edge(image_size) ** 2))
            for image_size in self.offered.image_sizes
            for ratio in self.offered.ratios
        )

    def allows(self, size: Size) -> bool:
        return (
            size.width % self.multiple_of == 0
            and size.height % self.multiple_of == 0
            and max(size.width, size.height) <= self.max_edge
            and self.min_pixels <= size.pixels <= self.max_pixels
            # Ratios are compared by cross-multiplying integers, so that exactly 3:1 is allowed.
            and size.width * self.min_ratio.height >= size.height * self.min_ratio.width
            and size.width * self.max_ratio.height <= size.height * self.max_ratio.width
        )

    def _nearest(self, request: SizeRequest) -> tuple[SizeChoice, ...]:
        size = request.size
        if size is None:
            return (SizeChoice(self._snap(request.ratio, request.edge**2)),)
        return (SizeChoice(size if self.allows(size) else self._snap(size.ratio, size.pixels)),)

    def _snap(self, ratio: float, pixels: float) -> Size:
        """The allowed size nearest to a ratio and an area, which are first limited to the rule and then rounded."""
        ratio = min(max(ratio, self.min_ratio.value), self.max_ratio.value)
        pixels = min(max(pixels, self.min_pixels), self.max_pixels)
        width = math.sqrt(pixels * ratio)
        height = width / ratio
        shrink = min(1.0, self.max_edge / max(width, height))
        width, height = width * shrink, height * shrink
        nearest = min(
            self._near(height),
            key=lambda edges: math.hypot(math.log(edges[0] / width), math.log(edges[1] / height)),
            default=None,
        )
        if nearest is None:
            raise ValueError("no size follows this rule")
        return Size(*nearest)

    def _near(self, height: float) -> Iterator[tuple[int, int]]:
        """For every width, the allowed heights nearest to a height, from below and from above."""
        step = self.multiple_of
        for width in range(step, self.max_edge + 1, step):
            lowest = max(
                math.ceil(self.min_pixels / width), math.ceil(width * self.max_ratio.height / self.max_ratio.width)
            )
            highest = min(
                self.max_edge, self.max_pixels // width, width * self.min_ratio.height // self.min_ratio.width
            )
            rows = range(math.ceil(lowest / step) * step, highest + 1, step)
            if rows:
                below = min(max(math.floor((height - rows[0]) / step), 0), len(rows) - 1)
                yield width, rows[below]
                yield width, rows[min(below + 1, len(rows) - 1)]


Sizing = Annotated[FixedSizing | PresetSizing | FlexibleSizing, Field(discriminator="kind")]
