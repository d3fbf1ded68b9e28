"""The image sizes that a model supports, and the nearest of them to any other size.

There are four kinds of models: those with a fixed list of sizes, those with an aspect ratio and a named image size
(``16:9`` at ``2K``) whose pixels are known, those with such names only, and those with any size that follows a rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from ..sizing import DEFAULT_EDGE, AspectRatio, Size, SizeChoice, SizeRequest, image_size_edge, size_of
from .frozen import Frozen

__all__ = ["FixedSizing", "FlexiblePresets", "FlexibleSizing", "NamedSizing", "PresetSizing", "SizeText", "Sizing"]


def _parsed(kind: type[Size] | type[AspectRatio]) -> Any:
    """A pydantic annotation for a value that is written as text in YAML."""

    def read(value: object) -> object:
        if isinstance(value, kind):
            return value
        if not isinstance(value, str):
            example = "1024x1024" if kind is Size else "'16:9'"
            raise ValueError(f"this must be text, such as {example}")
        return kind.parse(value)

    return BeforeValidator(read)


SizeText = Annotated[Size, _parsed(Size), PlainSerializer(str)]
AspectRatioText = Annotated[AspectRatio, _parsed(AspectRatio), PlainSerializer(str)]


def _nearest_choices(choices: tuple[SizeChoice, ...], target: Size) -> tuple[SizeChoice, ...]:
    """The choices with the nearest ratio, and of these the one with the nearest area first."""

    def distances(choice: SizeChoice) -> tuple[float, float]:
        assert choice.size is not None
        ratio = abs(math.log(choice.size.ratio / target.ratio))
        return round(ratio, 9), abs(math.log(choice.size.pixels / target.pixels))

    ordered = sorted(choices, key=distances)
    # Edges are rounded to pixels, so that the same ratio differs a little from size to size.
    return tuple(choice for choice in ordered if distances(choice)[0] <= distances(ordered[0])[0] + 0.005)


class _Sizing(Frozen):
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
        required: True if a size must be sent: the first one if no size is requested, or with an image to edit the one
            nearest to its ratio.
    """

    kind: Literal["fixed"]
    sizes: tuple[SizeText, ...] = Field(min_length=1)
    required: bool = False

    def presets(self) -> tuple[SizeChoice, ...]:
        return tuple(SizeChoice(size) for size in self.sizes)

    def nearest(self, request: SizeRequest) -> tuple[SizeChoice, ...]:
        if not (request.is_open and self.required):
            return super().nearest(request)
        return self._nearest(request) if request.natural_ratio else self.presets()[:1]

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
    image_sizes: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)

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


class _NamedSizes(Frozen):
    """Ratios, and named image sizes such as ``2K``."""

    ratios: tuple[AspectRatioText, ...] = ()
    image_sizes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _names_are_valid(self) -> Self:
        for image_size in self.image_sizes:
            image_size_edge(image_size)
        return self


class NamedSizing(_NamedSizes, _Sizing):
    """The sizes of a model whose provider names ratios and image sizes, and does not publish their pixels.

    Attributes:
        ratios: The ratios; empty for a model without them.
        image_sizes: The named image sizes; empty for a model without them. If both are empty, the model chooses.
    """

    kind: Literal["named"]

    def presets(self) -> tuple[SizeChoice, ...]:
        return tuple(_named(ratio, name) for name in self.image_sizes or (None,) for ratio in self.ratios or (None,))

    def _nearest(self, request: SizeRequest) -> tuple[SizeChoice, ...]:
        wanted = request.size.ratio if request.size else request.aspect_ratio and request.aspect_ratio.value
        edge = math.sqrt(request.size.pixels) if request.size else request.edge
        ratio = wanted and min(self.ratios, key=lambda each: abs(math.log(each.value / wanted)), default=None)
        names = sorted(self.image_sizes, key=lambda name: abs(math.log(image_size_edge(name) / edge)))
        if not ratio and not names:
            return (SizeChoice(),)
        return tuple(_named(ratio or None, name) for name in names or (None,))


def _named(ratio: AspectRatio | None, image_size: str | None) -> SizeChoice:
    edge = image_size_edge(image_size) if image_size else DEFAULT_EDGE
    # Without a ratio, an edit has that of its image.
    about = size_of(ratio.value, edge**2) if ratio else None
    return SizeChoice(aspect_ratio=str(ratio) if ratio else None, image_size=image_size, about=about)


class FlexiblePresets(_NamedSizes):
    """The sizes to offer by name for a model with a rule."""


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
        self.at(1.0, DEFAULT_EDGE**2)
        return self

    def presets(self) -> tuple[SizeChoice, ...]:
        return _offered_by(self)

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
            return (SizeChoice(self.at(request.ratio, request.edge**2)),)
        return (SizeChoice(size if self.allows(size) else self.at(size.ratio, size.pixels)),)

    def at(self, ratio: float, pixels: float) -> Size:
        """The allowed size nearest to a ratio and an area, which are first limited to the rule and then rounded.

        Raises:
            ValueError: No size follows the rule.
        """
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


@lru_cache(maxsize=64)
def _offered_by(rule: FlexibleSizing) -> tuple[SizeChoice, ...]:
    """The sizes to offer; each takes thousands of steps to find, and the models of a provider share a few rules."""
    offered = rule.offered
    return tuple(
        SizeChoice(rule.at(ratio.value, image_size_edge(image_size) ** 2))
        for image_size in offered.image_sizes
        for ratio in offered.ratios
    )


Sizing = Annotated[FixedSizing | PresetSizing | NamedSizing | FlexibleSizing, Field(discriminator="kind")]
