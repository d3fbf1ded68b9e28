"""GIF and SVG files, which are checked as far as that goes and kept as they are."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from invokeai_external.images import metadata_files
from invokeai_external.images.errors import ImageError, TooManyPixelsError
from invokeai_external.images.gif_and_svg import inspect_gif, inspect_svg, is_gif, is_svg
from invokeai_external.sizing import Size

MOST = 1_000_000


def gif(frames: int = 3, size: tuple[int, int] = (40, 30), *, transparent: bool = False) -> bytes:
    file = io.BytesIO()
    first, *others = [Image.new("RGBA", size, (60 * place, 0, 0, 0 if transparent else 255)) for place in range(frames)]
    first.save(file, "GIF", save_all=True, append_images=others, duration=100)
    return file.getvalue()


SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="64" height="48.4px"><g/></svg>\n'


@pytest.mark.parametrize("transparent", [False, True])
def test_the_size_and_alpha_of_a_gif(transparent: bool) -> None:
    info = inspect_gif(gif(transparent=transparent), max_pixels=MOST)
    assert (info.mime_type, info.size, info.has_alpha) == ("image/gif", Size(40, 30), transparent)


def test_a_gif_may_end_with_zeros() -> None:
    assert inspect_gif(gif() + b"\0\0", max_pixels=MOST).size == Size(40, 30)


@pytest.mark.parametrize("cut", [5, 12, 100, -1, -20])
def test_a_gif_that_ends_early_is_an_error(cut: int) -> None:
    with pytest.raises(ImageError):
        inspect_gif(gif()[:cut], max_pixels=MOST)


def test_a_gif_whose_frames_are_damaged_is_an_error() -> None:
    data = gif()
    with pytest.raises(ImageError):
        inspect_gif(data[:13] + b"\xff" * (len(data) - 14) + b"\x3b", max_pixels=MOST)


def test_a_gif_with_too_many_pixels_is_not_decoded() -> None:
    header = b"GIF89a\xff\xff\xff\xff\x00\x00\x00"
    with pytest.raises(TooManyPixelsError):
        inspect_gif(header + b"\x3b", max_pixels=MOST)


@pytest.mark.parametrize(
    ("root", "size"),
    [
        ('width="64" height="48"', Size(64, 48)),
        ("width='64px' height='48.4px'", Size(64, 48)),
        ('viewBox="0 0 100 50"', Size(100, 50)),
        ('width="100%" height="100%" viewBox="0,0, 20 , 10"', Size(20, 10)),
        ('width="64" height="10cm" viewBox="0 0 9 8"', Size(9, 8)),
        ("", Size(7, 5)),
        ('width="0" height="-1" viewBox="x"', Size(7, 5)),
        ('width="999999999" height="5"', Size(7, 5)),
    ],
)
def test_the_size_of_an_svg(root: str, size: Size) -> None:
    data = f"<svg {root}><path d='M0 0'/></svg>".encode()
    info = inspect_svg(data, expected=Size(7, 5))
    assert (info.mime_type, info.size) == ("image/svg+xml", size)


@pytest.mark.parametrize("data", [SVG + b"<!-- made by x --><!----> \n", b"<svg/><!-- x -->", b"<SVG></SVG >"])
def test_comments_may_follow_an_svg(data: bytes) -> None:
    assert inspect_svg(data, expected=Size(7, 5)).mime_type == "image/svg+xml"


def test_an_svg_without_any_size_still_has_one() -> None:
    assert inspect_svg(b"<svg/>", expected=None).size == Size(1, 1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        b"<html></html>",
        SVG[:-10],
        SVG[:-8] + b"<!---->" * 50_000 + b"x",
        b"<svg><g></svg",
        b"<svg>\xff</svg>",
        b"<svg>\0</svg>",
        b"<svgs></svgs>",
        b" " * 70_000 + SVG,
    ],
)
def test_what_is_not_a_whole_svg_is_an_error(data: bytes) -> None:
    with pytest.raises(ImageError):
        inspect_svg(data, expected=None)


def test_entities_of_an_svg_are_not_expanded() -> None:
    bomb = b"<!DOCTYPE svg [" + b"".join(
        b'<!ENTITY a%d "%s">' % (place, b"&a%d;" % (place - 1) * 10) for place in range(1, 30)
    )
    assert inspect_svg(bomb + b"]><svg>&a29;</svg>", expected=Size(3, 2)).size == Size(3, 2)


def test_what_each_is() -> None:
    assert (is_gif(gif()), is_gif(SVG)) == (True, False)
    assert (is_svg(SVG), is_svg(gif())) == (True, False)


@pytest.mark.parametrize("data", [gif(), SVG])
def test_the_metadata_goes_into_a_sidecar_and_no_byte_changes(data: bytes) -> None:
    placed = metadata_files.place(data, {"positive_prompt": "a fox"})
    assert b"".join(placed.parts) == data
    assert placed.sidecar
    found = metadata_files.read_sidecar(placed.sidecar)
    assert found
    assert found.metadata == {"positive_prompt": "a fox"}
