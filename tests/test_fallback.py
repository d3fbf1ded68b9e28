"""Where an image is saved if Invoke's gallery cannot save it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from PIL import Image

from invokeai_external import GeneratedImage, Size
from invokeai_external.images import metadata_files
from invokeai_external.invoke.gallery.fallback import FallbackFolder, count_images, reason_of, root_cause
from invokeai_external.root_folder import RESCUED_FOLDER

from .support.samples import encoded


@pytest.fixture
def image() -> GeneratedImage:
    data = encoded(Image.new("RGB", (4, 3), "red"), "PNG")
    return GeneratedImage(data=data, mime_type="image/png", size=Size(4, 3), metadata={"positive_prompt": "a red fox"})


def no_folder() -> str:
    raise FileNotFoundError("no usable temporary directory")


def test_images_are_saved_in_the_root_with_their_metadata(image: GeneratedImage, tmp_path: Path) -> None:
    saved = FallbackFolder(tmp_path).save([image, image], None)
    assert saved.not_written == 0
    assert sorted(saved.files) == sorted((tmp_path / RESCUED_FOLDER).iterdir())
    assert [metadata_files.read(file.read_bytes()) for file in saved.files] == [{"positive_prompt": "a red fox"}] * 2
    assert {file.stat().st_mode & 0o777 for file in saved.files} == {0o600}
    # Relative to the root, which a remote user does not know.
    assert all(f" {RESCUED_FOLDER}/{file.name} " in saved.message for file in saved.files)
    assert str(tmp_path) not in saved.message


def test_images_of_one_of_several_users_are_in_a_folder_of_this_user(image: GeneratedImage, tmp_path: Path) -> None:
    [file] = FallbackFolder(tmp_path, "1b4e28ba-2fa1").save([image], None).files
    [other] = FallbackFolder(tmp_path, "../elsewhere").save([image], None).files
    assert file.parent == tmp_path / RESCUED_FOLDER / "1b4e28ba-2fa1"
    # An id that is not one of Invoke's.
    assert other.parent == tmp_path / RESCUED_FOLDER
    assert [count_images(tmp_path, owner) for owner in ("1b4e28ba-2fa1", "2fa1", "../elsewhere", None)] == [1, 0, 0, 2]


def test_the_root_is_used_even_if_there_is_no_temporary_folder(
    image: GeneratedImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", no_folder)
    [file] = FallbackFolder(tmp_path).save([image], None).files
    assert file.parent == tmp_path / RESCUED_FOLDER


def test_the_temporary_folder_is_used_if_the_root_is_not_writable(
    image: GeneratedImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    saved = FallbackFolder(tmp_path / "gone" / "root").save([image], None)
    assert list(saved.files) == list(tmp_path.iterdir())
    assert str(saved.files[0]) in saved.message


def test_an_image_that_cannot_be_saved_anywhere_counts_as_lost(
    image: GeneratedImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", no_folder)
    saved = FallbackFolder(tmp_path / "gone" / "root").save([image], None)
    assert (saved.files, saved.not_written) == ((), 1)
    assert "1 of 1" in saved.message


def test_the_reason_is_the_operating_system_s_message() -> None:
    failure = RuntimeError("Failed to save image")
    failure.__cause__ = OSError(28, "No space left on device", "/somewhere")
    assert reason_of(root_cause(failure)) == "No space left on device"
