"""The sizes that Invoke's panel offers for a model. All of them work."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...providers.schema import ModelConfig
from ...providers.sizings import FlexibleSizing
from ...sizing import DEFAULT_EDGE, AspectRatio, Size, SizeChoice, SizeRequest

__all__ = ["PanelSize", "panel_sizes"]

_PANEL_RATIOS = (
    *("1:1", "16:9", "9:16", "21:9", "9:21", "3:2", "2:3", "4:3", "3:4", "5:4", "4:5"),
    *("4:1", "1:4", "8:1", "1:8"),
)
"""The aspect ratios that Invoke's panel knows (6.14.2)."""


@dataclass(frozen=True)
class PanelSize:
    """A size that the panel offers.

    Attributes:
        ratio: The panel's name of its aspect ratio, such as ``16:9``.
        size: The size in pixels.
        image_size: Its name, such as ``2K``; None for a model without named sizes.
    """

    ratio: str
    size: Size
    image_size: str | None


def panel_sizes(model: ModelConfig) -> list[PanelSize]:
    """The sizes that the panel offers for a model, at least one.

    The panel selects the first one when the user chooses the model. So sizes close to the usual resolution come first,
    before much smaller and much larger ones.
    """
    sizing = model.sizing
    if isinstance(sizing, FlexibleSizing):
        sizes = _named_sizes(sizing) or _sizes_by_rule(sizing)
    else:
        offered = sizing.presets()
        known = [choice for choice in offered if choice.aspect_ratio in _PANEL_RATIOS]
        if any(choice.image_size for choice in known):
            # A ratio that the panel does not know would have the name of one that is there.
            offered = tuple(known)
        sizes = [_panel_size(choice, _closest_ratio(choice), choice.image_size) for choice in offered]
        if not any(size.image_size for size in sizes) and len({size.ratio for size in sizes}) < len(sizes):
            # Without names, the panel has room for one size per ratio.
            sizes = [PanelSize(size.ratio, size.size, str(size.size)) for size in sizes]
    return sorted(sizes, key=lambda size: abs(math.log2(size.size.pixels / DEFAULT_EDGE**2)) > 1)


def _named_sizes(sizing: FlexibleSizing) -> list[PanelSize]:
    """The named sizes of a model, as far as the panel knows their ratios."""
    names = [(str(ratio), name) for name in sizing.offered.image_sizes for ratio in sizing.offered.ratios]
    return [
        _panel_size(choice, ratio, name)
        for (ratio, name), choice in zip(names, sizing.presets(), strict=True)
        if ratio in _PANEL_RATIOS
    ]


def _sizes_by_rule(sizing: FlexibleSizing) -> list[PanelSize]:
    """One size for each of the panel's ratios that a model without named sizes supports, such as a user's own."""
    requests = {ratio: SizeRequest(aspect_ratio=AspectRatio.parse(ratio), image_size="1K") for ratio in _PANEL_RATIOS}
    choices = {ratio: sizing.choose(request) for ratio, request in requests.items()}
    exact = [_panel_size(choice, ratio, "1K") for ratio, choice in choices.items() if requests[ratio].is_met_by(choice)]
    square = choices["1:1"]
    return exact or [_panel_size(square, _closest_ratio(square), square.image_size)]


def _panel_size(choice: SizeChoice, ratio: str, image_size: str | None) -> PanelSize:
    return PanelSize(ratio, _size_of(choice), image_size)


def _size_of(choice: SizeChoice) -> Size:
    """The size in pixels, or about that; that of a model that chooses the size itself is about the usual one."""
    return choice.nominal or Size(round(choice.edge), round(choice.edge))


def _closest_ratio(choice: SizeChoice) -> str:
    if choice.aspect_ratio in _PANEL_RATIOS:
        return choice.aspect_ratio
    ratio = _size_of(choice).ratio
    return min(_PANEL_RATIOS, key=lambda name: abs(AspectRatio.parse(name).value / ratio - 1))
