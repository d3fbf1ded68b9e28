"""How a node reads its images, with a folder in place of Invoke's gallery."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from invokeai_external.errors import InvalidRequestError
from invokeai_external.images.pixels import rgb_thumbnail
from invokeai_external.invoke.node_inputs import input_size, read_image, read_mask, recallable_reference
from invokeai_external.sizing import Size

from .support.samples import encoded


class Gallery:
    """The images of a node's context, one of which belongs to another user."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.images = self

    def get_path(self, name: str) -> Path:
        if name == "other-user.png":
            raise PermissionError
        return self._folder / name

    def get_dto(self, _: str) -> Any:
        return SimpleNamespace(width=4, height=3)


@pytest.fixture
def context(tmp_path: Path) -> Any:
    mask = Image.new("L", (4, 3), 255)
    mask.putpixel((1, 1), 0)
    (tmp_path / "mask.png").write_bytes(encoded(mask, "PNG"))
    (tmp_path / "image.png").write_bytes(encoded(Image.new("RGBA", (4, 3)), "PNG"))
    (tmp_path / "broken.png").write_bytes(b"no image")
    return Gallery(tmp_path)


def field(name: str) -> Any:
    return SimpleNamespace(image_name=name)


def test_an_image_is_read_byte_for_byte(context: Any, tmp_path: Path) -> None:
    read = read_image(context, field("image.png"), "init image")
    assert (read.data, read.name) == ((tmp_path / "image.png").read_bytes(), "image.png")
    assert input_size(read, "init image") == Size(4, 3)


def test_black_in_a_mask_of_invoke_is_changed(context: Any) -> None:
    mask = read_mask(context, field("mask.png"))
    pixels = rgb_thumbnail(mask.data, longest_px=4).convert("L")
    assert (pixels.getpixel((1, 1)), pixels.getpixel((0, 0))) == (255, 0)
    assert (mask.name, mask.marks) == ("mask.png", "black")


def test_the_hash_of_a_mask_is_that_of_the_file(context: Any, tmp_path: Path) -> None:
    file = (tmp_path / "mask.png").read_bytes()
    assert read_mask(context, field("mask.png")).sha256 == hashlib.sha256(file).hexdigest()


@pytest.mark.parametrize(("color", "is_refused"), [("white", True), ("black", False), ("red", True)])
def test_a_mask_of_invoke_may_mark_the_whole_image_but_not_nothing(
    color: str, is_refused: bool, context: Any, tmp_path: Path
) -> None:
    (tmp_path / "mask.png").write_bytes(encoded(Image.new("RGB", (4, 3), color), "PNG"))
    if is_refused:
        with pytest.raises(InvalidRequestError) as caught:
            read_mask(context, field("mask.png"))
        assert "black" in (caught.value.hint or "")
        assert "--mask-color" not in (caught.value.hint or "")
        assert "mask.png" not in caught.value.message
        # Invoke shows no more of an error.
        assert len(f"InvalidRequestError: {caught.value}") <= 200
    else:
        assert set(rgb_thumbnail(read_mask(context, field("mask.png")).data, longest_px=4).tobytes()) == {255}


@pytest.mark.parametrize("name", ["other-user.png", "deleted.png"])
def test_an_image_that_cannot_be_read_is_named_with_its_role(context: Any, name: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_image(context, field(name), "reference image")
    assert f"reference image {name}" in caught.value.message


def test_a_broken_image_is_named_with_its_role(context: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_mask(context, field("broken.png"))
    assert "mask broken.png" in caught.value.message
    with pytest.raises(InvalidRequestError) as caught:
        input_size(read_image(context, field("broken.png"), "init image"), "init image")
    assert "init image broken.png" in caught.value.message


def test_a_reference_is_recalled_by_its_name_and_size(context: Any) -> None:
    recalled = recallable_reference(context, field("image.png"))
    assert recalled["isEnabled"] is True
    assert recalled["config"]["image"]["original"]["image"] == {"image_name": "image.png", "width": 4, "height": 3}
