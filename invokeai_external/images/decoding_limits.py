"""How many pixels of an image are decoded, by its format: at most a gigabyte and about four seconds, however noisy."""

from __future__ import annotations

__all__ = ["MAX_PIXELS", "MOST_AT_COST", "MOST_AT_GREAT_COST", "MOST_OF_JPEG_2000"]

MAX_PIXELS = 100_000_000
"""Of a PNG or a JPEG: decoded, and once more turned or scaled, they take 800 MB of memory."""

MOST_AT_COST = 64_000_000
"""Of a progressive JPEG, whose coefficients are all in memory while it is decoded; of a PNG of 16 bits, and of the
formats of Pillow's other plugins, of which some take four bytes and more for each value."""

MOST_AT_GREAT_COST = 36_000_000
"""Of WebP, of which Pillow holds four copies while it decodes, and of AVIF."""

MOST_OF_JPEG_2000 = 8_000_000
"""Also inside an ICNS icon: twice as many take seven seconds."""
