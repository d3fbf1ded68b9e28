"""Where a picture goes that Invoke's gallery does not take."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import pytest
from PIL import Image

from invokeai_external import GeneratedImage, Size
from invokeai_external.images import metadata
from invokeai_external.invoke.gallery import fallback
from invokeai_external.root_files import RESCUED_FOLDER


@pytest.fixture
def picture() -> GeneratedImage:
    file = io.BytesIO()
    Image.new("RGB", (4, 3), "red").save(file, "PNG")
    return GeneratedImage(
        data=file.getvalue(), mime_type="image/png", size=Size(4, 3), metadata={"positive_prompt": "a red fox"}
    )


def no_folder() -> str:
    raise FileNotFoundError("no usable temporary directory")


def test_it_is_kept_below_the_root_with_its_settings(picture: GeneratedImage, tmp_path: Path) -> None:
    told, lost = fallback.keep_elsewhere([picture, picture], tmp_path)
    assert lost == 0
    files = sorted((tmp_path / RESCUED_FOLDER).iterdir())
    assert [metadata.read(file.read_bytes()) for file in files] == [{"positive_prompt": "a red fox"}] * 2
    assert all(f"{RESCUED_FOLDER}/{file.name} (below Invoke's root folder)" in told for file in files)
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_the_root_is_tried_where_no_temporary_folder_can_be_found(
    picture: GeneratedImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", no_folder)
    assert RESCUED_FOLDER in fallback.keep_elsewhere([picture], tmp_path).told


def test_a_root_that_takes_nothing_is_followed_by_the_temporary_folder(
    picture: GeneratedImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    told = fallback.keep_elsewhere([picture], tmp_path / "gone" / "root").told
    [file] = tmp_path.iterdir()
    assert f": {file}." in told
    assert "root folder" not in told


def test_a_picture_that_no_folder_takes_is_said_to_be_lost(
    picture: GeneratedImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", no_folder)
    told, lost = fallback.keep_elsewhere([picture], tmp_path / "gone" / "root")
    assert lost == 1
    assert "1 of 1 is lost" in told


def test_a_failure_is_told_in_the_words_of_the_system() -> None:
    failure = RuntimeError("Failed to save image")
    failure.__cause__ = OSError(28, "No space left on device", "/somewhere")
    assert fallback.reason_of(fallback.cause_of(failure)) == "No space left on device"
