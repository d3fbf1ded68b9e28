"""The images in ``docs/images/``, made by the demo."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile

from PIL import Image

from invokeai_external.cli.entry_point import main

from .layout import ROOT

__all__ = ["DEMO_IMAGES", "IMAGES", "STRIP", "make_images"]

IMAGES = ROOT / "docs" / "images"
DEMO_IMAGES = ("gemini.jpg", "openai.jpg", "references.jpg", "transparent.png", "mask.jpg")
"""The file names of the demo's images, in the demo's order."""

STRIP = "strip.jpg"
"""The file name of the image that shows all of the demo's images in a row."""

_WIDTH = 480
_STRIP_HEIGHT = 200
_GAP = 8


def make_images() -> None:
    """Run the demo and save its images, scaled down, in ``docs/images/``."""
    with tempfile.TemporaryDirectory() as folder:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            main(["demo", "--out", folder, "--json"])
        for row, name in zip(json.loads(printed.getvalue()), DEMO_IMAGES, strict=True):
            with Image.open(row["path"]) as image:
                height = round(image.height * _WIDTH / image.width)
                small = image.resize((_WIDTH, height), Image.Resampling.LANCZOS)
            small.info = {}  # otherwise Pillow writes the metadata into the small image as well
            small.save(IMAGES / name, quality=88, optimize=True)
    make_strip()


def make_strip() -> None:
    """Put the small images of the demo in a row on white."""
    images = []
    for name in DEMO_IMAGES:
        with Image.open(IMAGES / name) as file:
            image = file.convert("RGBA")
        images.append(image.resize((round(image.width * _STRIP_HEIGHT / image.height), _STRIP_HEIGHT)))
    width = sum(image.width for image in images) + _GAP * (len(images) - 1)
    strip = Image.new("RGB", (width, _STRIP_HEIGHT), "white")
    left = 0
    for image in images:
        strip.paste(image, (left, 0), image)
        left += image.width + _GAP
    strip.save(IMAGES / STRIP, quality=85, optimize=True)
