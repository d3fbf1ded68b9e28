"""How a node's images are saved in the gallery, with a dictionary in place of Invoke's."""

from __future__ import annotations

import logging
from collections.abc import Container
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from invokeai_external import GeneratedImage, Size
from invokeai_external.errors import NotSavedError
from invokeai_external.invoke.gallery.fallback import FallbackFolder
from invokeai_external.invoke.gallery.originals import Originals
from invokeai_external.invoke.gallery.result_cache import Destination, Handover
from invokeai_external.invoke.gallery.saving import GalleryImage, Saver
from invokeai_external.root_folder import KEPT_FOLDER, RESCUED_FOLDER

from .support.samples import encoded, painted
from .support.signing import signed

LOG = logging.getLogger("test_saving")


class Gallery:
    """A gallery that refuses some colours, on a full disk or for a board that does not exist."""

    def __init__(self) -> None:
        self.saved: dict[str, dict[str, Any]] = {}
        self.sizes: list[tuple[int, int]] = []
        self.refused: set[str] = set()
        self.board: str | None = None
        self.before: list[list[str]] = []

    def save(self, image: Image.Image, metadata: dict[str, Any], *, before: Container[str]) -> str:
        assert isinstance(before, list)
        self.before.append(list(before))
        if metadata.get("colour") in self.refused:
            raise RuntimeError("cannot save") from OSError(28, "No space left on device")
        if self.board:
            raise ValueError("no such board")
        name = f"{len(self.saved) + 1}.png"
        self.saved[name] = metadata
        self.sizes.append(image.size)
        return name

    def leave_board(self) -> bool:
        had, self.board = self.board is not None, None
        return had


@pytest.fixture
def gallery() -> Gallery:
    return Gallery()


@pytest.fixture
def originals(tmp_path: Path) -> Originals:
    return Originals(tmp_path, is_enabled=True)


@pytest.fixture
def saver(gallery: Gallery, originals: Originals) -> Saver:
    return Saver(gallery, originals, LOG)


@pytest.fixture
def folder(tmp_path: Path) -> FallbackFolder:
    return FallbackFolder(tmp_path)


def image(colour: str) -> GeneratedImage:
    data = encoded(Image.new("RGB", (4, 3), colour), "PNG")
    return GeneratedImage(data=data, mime_type="image/png", size=Size(4, 3), metadata={"colour": colour})


def signed_image() -> GeneratedImage:
    data = signed(encoded(painted("RGB", (32, 24)), "PNG"), "image/png")
    return GeneratedImage(data=data, mime_type="image/png", size=Size(32, 24), metadata={"external": {}})


def test_all_images_are_saved_with_the_destination_s_metadata(
    saver: Saver, gallery: Gallery, folder: FallbackFolder
) -> None:
    destination = Destination("user", panel={"seed": 7}, recalled={"width": 1024})
    assert saver.save([image("red"), image("blue")], destination, folder, Handover(None)) == ["1.png", "2.png"]
    assert gallery.saved["1.png"] == {"seed": 7, "colour": "red", "width": 1024}
    # A failed save is cleaned up by looking for images that are not among these.
    assert gallery.before == [[], ["1.png"]]


def test_an_edit_is_saved_at_the_size_of_its_image(saver: Saver, gallery: Gallery, folder: FallbackFolder) -> None:
    saver.save([image("red")], Destination("user", size=Size(8, 6)), folder, Handover(None))
    assert gallery.sizes == [(8, 6)]


def test_an_image_that_fails_becomes_a_file_and_the_others_are_saved(
    saver: Saver, gallery: Gallery, folder: FallbackFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gallery.refused = {"red"}
    assert saver.save([image("red"), image("blue")], Destination("user"), folder, Handover(None)) == ["1.png"]
    [file] = (tmp_path / RESCUED_FOLDER).iterdir()
    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert file.name in record.message


def test_the_run_fails_if_no_image_can_be_saved(
    saver: Saver, gallery: Gallery, folder: FallbackFolder, tmp_path: Path
) -> None:
    gallery.refused = {"red"}
    # A full disk has nothing to do with the board.
    gallery.board = "board"
    with pytest.raises(NotSavedError) as caught:
        saver.save([image("red")], Destination("user"), folder, Handover(None))
    [file] = (tmp_path / RESCUED_FOLDER).iterdir()
    assert "No space left on device" in caught.value.message
    assert file.name in str(caught.value.hint)
    assert gallery.board == "board"


@pytest.fixture
def handover(tmp_path: Path) -> Handover:
    """The images are in the result cache."""
    return Handover(tmp_path / KEPT_FOLDER / "entry")


def test_images_that_are_in_the_cache_and_that_the_gallery_cannot_save_now_are_not_written_again(
    saver: Saver, gallery: Gallery, folder: FallbackFolder, handover: Handover, tmp_path: Path
) -> None:
    gallery.refused = {"red"}
    with pytest.raises(NotSavedError) as caught:
        saver.save([image("red")], Destination("user"), folder, handover)
    assert not handover.is_done
    assert not (tmp_path / RESCUED_FOLDER).exists()
    assert f"{KEPT_FOLDER}/entry" in str(caught.value.remedy)


def test_images_leave_the_cache_once_each_is_in_the_gallery_or_a_file(
    saver: Saver, gallery: Gallery, folder: FallbackFolder, handover: Handover, tmp_path: Path
) -> None:
    gallery.refused = {"red"}
    assert saver.save([image("red"), image("blue")], Destination("user"), folder, handover) == ["1.png"]
    assert len(list((tmp_path / RESCUED_FOLDER).iterdir())) == 1
    assert handover.is_done


def test_an_image_that_can_be_written_nowhere_else_stays_in_the_cache(
    saver: Saver,
    gallery: Gallery,
    folder: FallbackFolder,
    handover: Handover,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    gallery.refused = {"red"}
    (tmp_path / RESCUED_FOLDER).write_bytes(b"")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    assert saver.save([image("red"), image("blue")], Destination("user"), folder, handover) == ["1.png"]
    assert not handover.is_done
    assert f"{KEPT_FOLDER}/entry" in caplog.text
    assert "lost" not in caplog.text


def test_a_file_that_the_gallery_never_can_save_leaves_the_cache_as_a_file(
    saver: Saver, folder: FallbackFolder, handover: Handover, tmp_path: Path
) -> None:
    """Otherwise, each equal request would get it again, and fail."""
    svg = GeneratedImage(data=b"<svg/>", mime_type="image/svg+xml", size=Size(1, 1), metadata={})
    with pytest.raises(NotSavedError):
        saver.save([svg], Destination("user"), folder, handover)
    [file] = (tmp_path / RESCUED_FOLDER).glob("*.svg")
    assert file.read_bytes() == b"<svg/>"
    assert handover.is_done


def test_an_image_that_a_board_refuses_is_saved_without_it(
    saver: Saver, gallery: Gallery, folder: FallbackFolder, caplog: pytest.LogCaptureFixture
) -> None:
    gallery.board = "gone"
    assert saver.save([image("red"), image("blue")], Destination("user"), folder, Handover(None)) == ["1.png", "2.png"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_broken_file_becomes_a_file_as_received(
    saver: Saver, gallery: Gallery, folder: FallbackFolder, tmp_path: Path
) -> None:
    broken = GeneratedImage(data=b"no image", mime_type="image/png", size=Size(4, 3), metadata={})
    with pytest.raises(NotSavedError):
        saver.save([broken], Destination("user"), folder, Handover(None))
    [file] = (tmp_path / RESCUED_FOLDER).glob("*.png")
    assert file.read_bytes() == b"no image"


def test_a_copy_of_a_cached_image_is_marked_and_costs_nothing(saver: Saver, gallery: Gallery) -> None:
    cost = {"cost_usd": 0.04, "cost_from": "provider"}
    cached = GalleryImage("old.png", image("red").data, {"seed": 7, "external": {"model": "x", **cost}})
    assert saver.save_copies([cached]) == ["1.png"]
    assert gallery.saved["1.png"] == {"seed": 7, "external": {"cost_usd": 0, "model": "x", "from_cache": True}}


def test_the_original_is_found_by_the_saved_image_and_by_its_copy(
    saver: Saver, originals: Originals, folder: FallbackFolder
) -> None:
    [name] = saver.save([signed_image()], Destination("user"), folder, Handover(None))
    found = originals.find(name)
    assert found is not None
    *_, copy = saver.save_copies([GalleryImage(name, image("red").data, {})])
    assert originals.find(copy) == found


@pytest.mark.parametrize("kind", ["GIF", "AVIF", "TIFF", "BMP", "ICO", "JPEG2000"])
def test_another_format_is_saved_as_its_pixels(
    kind: str, saver: Saver, gallery: Gallery, folder: FallbackFolder, tmp_path: Path
) -> None:
    data = encoded(Image.new("RGB", (32, 16), "red").resize((32, 32)), kind)
    received = GeneratedImage(data=data, mime_type="image/bmp", size=Size(32, 32), metadata={"colour": "red"})
    assert saver.save([received], Destination("user"), folder, Handover(None)) == ["1.png"]
    assert gallery.sizes == [(32, 32)]
    assert not (tmp_path / RESCUED_FOLDER).exists()


def test_a_format_that_cannot_be_read_becomes_a_file_as_received_though_there_is_a_board(
    saver: Saver, gallery: Gallery, folder: FallbackFolder, tmp_path: Path
) -> None:
    gallery.board = "foxes"
    data = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
    received = GeneratedImage(data=data, mime_type="image/heic", size=Size(1, 1), metadata={"colour": "red"})
    with pytest.raises(NotSavedError) as caught:
        saver.save([received], Destination("user"), folder, Handover(None))
    image, sidecar = sorted((tmp_path / RESCUED_FOLDER).iterdir())
    assert (image.suffix, image.read_bytes(), sidecar.name) == (".heic", data, f"{image.name}.json")
    assert image.name in str(caught.value.remedy)
    assert gallery.board == "foxes"
