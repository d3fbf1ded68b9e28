"""The images in ``docs/images/``, made by the demo."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile

from PIL import Image

from invokeai_external.cli.main import main

from .layout import ROOT

__all__ = ["DEMO_IMAGES", "IMAGES", "make_images"]

IMAGES = ROOT / "docs" / "images"
DEMO_IMAGES = ("gemini.jpg", "openai.jpg", "references.jpg", "transparent.png", "mask.jpg")
"""The file names of the demo's images, in the demo's order."""

_WIDTH = 480


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
