"""``demo``: makes five images with the sandbox and prints a table of them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image, ImageDraw

from ...request import GenerationRequest, InputImage
from ...result import GenerationResult
from ...settings.settings import load_settings
from ...sizing import AspectRatio, Size
from .. import event_loop, report
from ..exit_codes import INTERRUPTED
from ..image_files import ImageFolder, SavedImage
from ..progress_line import live_line
from ..terminal import print_table
from .generate import Run, make_images

__all__ = ["run"]


@dataclass(frozen=True, slots=True)
class _Row:
    what: str
    result: GenerationResult
    saved: SavedImage


def run(out: Path, *, as_json: bool) -> int:
    """Make the images, print the table and return the exit code."""
    folder = ImageFolder(out)
    rows: list[_Row] = []
    try:
        event_loop.run(partial(_make, folder, rows))
    except KeyboardInterrupt:
        return INTERRUPTED
    if as_json:
        report.print_json([_row_object(row) for row in rows])
        return 0
    report.show("Images from the sandbox: nothing was sent to a provider, and they cost nothing.")
    print_table([_cells(row) for row in rows])
    return 0


async def _make(folder: ImageFolder, rows: list[_Row]) -> None:
    """Make an image with each provider, edit them, make a transparent image, and edit inside a mask."""

    async def one(what: str, request: GenerationRequest) -> InputImage:
        done = Run()
        with live_line(request.n) as on_progress:
            # Without your own settings, so that the demo is the same for everybody.
            settings = load_settings(Path(), {})
            await make_images(settings, request, folder, done, on_progress, sandbox=True)
        assert done.result is not None
        if done.not_saved:
            raise done.not_saved[0]
        rows.extend(_Row(what, done.result, saved) for saved in done.saved)
        return InputImage(done.saved[0].image.data, done.saved[0].path.name)

    fox = await one(
        "from a prompt, with Gemini",
        GenerationRequest(
            model="gemini/gemini-nano-banana-2.1",
            prompt="a red fox in snow, first light over the hills",
            aspect_ratio=AspectRatio(16, 9),
            image_size="1K",
            seed=7,
        ),
    )
    harbour = await one(
        "from a prompt, with OpenAI",
        GenerationRequest(
            model="openai/gpt-image-2.5-flare", prompt="a quiet harbour at dusk, lanterns lit", size=Size(1536, 864)
        ),
    )
    await one(
        "edit with two references",
        GenerationRequest(
            model="gemini/gemini-3-pro-image",
            prompt="the fox walks along the harbour",
            aspect_ratio=AspectRatio(3, 2),
            references=(fox, harbour),
            seed=11,
        ),
    )
    await one(
        "transparent",
        GenerationRequest(
            model="openai/gpt-image-2.6-sunburst",
            prompt="a paper lantern, sticker",
            size=Size(1024, 1024),
            options={"background": "transparent", "quality": "high"},
        ),
    )
    await one(
        "inside a mask",
        GenerationRequest(
            model="openai/gpt-image-2.5-flare",
            prompt="a full moon over the water",
            size=Size(1536, 864),
            init_image=harbour,
            mask=InputImage(_round_mask(Size(1536, 864)), "mask.png"),
        ),
    )


def _round_mask(size: Size) -> bytes:
    """A mask that changes a disc in the upper right: white on black, as a grayscale PNG."""
    mask = Image.new("L", (size.width, size.height))
    centre, radius = (size.width * 0.75, size.height * 0.35), size.height * 0.25
    ImageDraw.Draw(mask).ellipse(
        (centre[0] - radius, centre[1] - radius, centre[0] + radius, centre[1] + radius), fill=255
    )
    buffer = io.BytesIO()
    mask.save(buffer, "PNG")
    return buffer.getvalue()


def _cells(row: _Row) -> dict[str, str]:
    cost = row.result.cost_usd
    return {
        "What": row.what,
        "Model": f"{row.result.provider}/{row.result.model}",
        "Size": str(row.saved.image.size),
        "Time": f"{row.result.elapsed_s:.1f} s",
        "Would cost": "unknown" if cost is None else f"${cost:.4f}",
        "File": str(row.saved.path),
    }


def _row_object(row: _Row) -> dict[str, object]:
    return {
        "what": row.what,
        "model": f"{row.result.provider}/{row.result.model}",
        "size": str(row.saved.image.size),
        "elapsed_s": round(row.result.elapsed_s, 3),
        "cost_usd": row.result.cost_usd,
        "path": str(row.saved.path),
    }
