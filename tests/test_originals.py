"""Signed images as they arrived: what Invoke's save ends is kept, if that is asked for, and found by its name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from invokeai_external import GeneratedImage, Size
from invokeai_external.cli.undelivered import undelivered_images
from invokeai_external.images import metadata
from invokeai_external.invoke.gallery import fallback
from invokeai_external.invoke.gallery.originals import Originals
from invokeai_external.root_files import ORIGINALS_FOLDER, RESCUED_FOLDER

from .images.pictures import encoded, painted
from .images.signing import signed, validation_state

FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
NAME = "4f0c9d0e-9a3c-4f6e-8f0a-1b2c3d4e5f60.png"


def an_image(kind: str = "PNG", *, is_signed: bool = True) -> GeneratedImage:
    data = encoded(painted("RGB", (32, 24)), kind)
    return GeneratedImage(
        data=signed(data, FORMATS[kind]) if is_signed else data,
        mime_type=FORMATS[kind],
        size=Size(32, 24),
        metadata={"positive_prompt": "a red fox", "external": {"provider": "openai"}},
    )


def external_of(image: GeneratedImage) -> dict[str, Any]:
    external = image.metadata["external"]
    assert isinstance(external, dict)
    return external


def codes_of(image: GeneratedImage) -> list[str]:
    return [notice["code"] for notice in external_of(image).get("notices", [])]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_signed_image_is_kept_as_it_came_and_found_by_its_name(kind: str, tmp_path: Path) -> None:
    image, originals = an_image(kind), Originals(tmp_path, is_kept=True)
    told = originals.keep(image)
    originals.saved(NAME, told)
    found = originals.find(NAME)
    assert found is not None
    sha256 = hashlib.sha256(image.data).hexdigest()
    assert (found.path.stem, found.mime_type) == (sha256, FORMATS[kind])
    assert found.path.read_bytes() == image.data == told.data
    assert validation_state(found.path.read_bytes(), FORMATS[kind]) == "Valid"
    assert external_of(told)["original"] == {"sha256": sha256, "mime_type": FORMATS[kind]}
    assert codes_of(told) == ["credentials_ended"]
    folder = tmp_path / ORIGINALS_FOLDER
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert json.loads((folder / f"{NAME}.json").read_text())["format"] == 1


def test_a_copy_from_the_cache_has_the_same_original_and_the_file_is_there_once(tmp_path: Path) -> None:
    originals = Originals(tmp_path, is_kept=True)
    for name in ("a.png", "b.png"):
        originals.saved(name, originals.keep(an_image(is_signed=True)))
    originals.copied("a.png", "c.png")
    originals.copied("nothing.png", "d.png")
    assert originals.find("a.png") == originals.find("c.png") != originals.find("b.png")
    assert originals.find("d.png") is None
    again = originals.keep(an_image())
    assert originals.keep(again).metadata["external"] != again.metadata["external"]
    assert len(list((tmp_path / ORIGINALS_FOLDER).glob("*.png"))) == 3


def test_without_the_setting_nothing_is_written_and_the_metadata_name_it(tmp_path: Path) -> None:
    told = Originals(tmp_path, is_kept=False).keep(an_image())
    assert list(tmp_path.iterdir()) == []
    assert "original" not in external_of(told)
    [notice] = external_of(told)["notices"]
    assert notice["code"] == "credentials_ended"
    assert "keep_originals: true" in notice["message"]


def test_what_was_kept_is_found_when_the_setting_is_off_again(tmp_path: Path) -> None:
    originals = Originals(tmp_path, is_kept=True)
    originals.saved(NAME, originals.keep(an_image()))
    assert Originals(tmp_path, is_kept=False).find(NAME) == originals.find(NAME) is not None


def test_an_image_without_credentials_is_passed_on_as_it_is(tmp_path: Path) -> None:
    image, originals = an_image(is_signed=False), Originals(tmp_path, is_kept=True)
    assert originals.keep(image) is image
    originals.saved(NAME, image)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_costs_no_image(tmp_path: Path) -> None:
    (tmp_path / ORIGINALS_FOLDER).write_text("in the way")
    originals = Originals(tmp_path, is_kept=True)
    told = originals.keep(an_image())
    originals.saved(NAME, told)
    assert codes_of(told) == ["credentials_ended"]
    assert "original" not in external_of(told)
    assert originals.find(NAME) is None


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "a/b", "a\\b", ".hidden.png", "a\0b", "x" * 300, "a\n"])
def test_a_name_that_is_none_of_invoke_s_finds_nothing(name: str, tmp_path: Path) -> None:
    originals = Originals(tmp_path, is_kept=True)
    originals.saved(NAME, originals.keep(an_image()))
    assert originals.find(name) is None


@pytest.mark.parametrize(
    "noted",
    [
        *("{", "[]", "null", "{}", '{"format": 1, "sha256": "../../etc/passwd", "mime_type": "image/png"}'),
        *(
            '{"sha256": 5, "mime_type": "image/png"}',
            '{"sha256": "a", "mime_type": []}',
            '{"sha256": "a", "mime_type": "x"}',
        ),
        json.dumps({"sha256": "0" * 64, "mime_type": "image/png"}),
        "[" * 100_000,
    ],
)
def test_a_note_that_cannot_be_read_finds_nothing(noted: str, tmp_path: Path) -> None:
    (tmp_path / ORIGINALS_FOLDER).mkdir()
    (tmp_path / ORIGINALS_FOLDER / f"{NAME}.json").write_text(noted)
    assert Originals(tmp_path, is_kept=True).find(NAME) is None


def test_what_the_gallery_does_not_take_stays_signed_in_the_folder_of_rescued_images(tmp_path: Path) -> None:
    image = an_image()
    fallback.keep_elsewhere([image, an_image(is_signed=False)], tmp_path)
    files = list((tmp_path / RESCUED_FOLDER).iterdir())
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    [beside] = [file for file in files if file.suffix == ".json"]
    kept = beside.with_name(beside.name.removesuffix(".json"))
    assert kept.read_bytes() == image.data
    sidecar = metadata.read_sidecar(beside.read_bytes())
    assert sidecar is not None
    assert sidecar.sha256 == hashlib.sha256(image.data).hexdigest()
    assert len(files) == 3
    [listed] = [one for one in undelivered_images(tmp_path) if one.path == str(kept)]
    assert (listed.provider, len(undelivered_images(tmp_path))) == ("openai", 2)
