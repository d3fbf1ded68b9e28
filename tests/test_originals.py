"""The originals of signed images: stored if the setting asks for it, and found by the gallery image's name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from invokeai_external import GeneratedImage, Size
from invokeai_external.cli.commands.undelivered import undelivered_images
from invokeai_external.images import metadata_files
from invokeai_external.invoke.gallery.fallback import FallbackFolder
from invokeai_external.invoke.gallery.originals import Originals
from invokeai_external.root_folder import ORIGINALS_FOLDER, RESCUED_FOLDER

from .support.samples import encoded, painted
from .support.signing import signed, validation_state

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
def test_a_signed_image_is_stored_as_received_and_found_by_its_name(kind: str, tmp_path: Path) -> None:
    image, originals = an_image(kind), Originals(tmp_path, is_enabled=True)
    stored = originals.store(image)
    originals.link(NAME, stored)
    found = originals.find(NAME)
    assert found is not None
    sha256 = hashlib.sha256(image.data).hexdigest()
    assert (found.path.stem, found.mime_type) == (sha256, FORMATS[kind])
    assert found.path.read_bytes() == image.data == stored.data
    assert validation_state(found.path.read_bytes(), FORMATS[kind]) == "Valid"
    assert external_of(stored)["original"] == {"sha256": sha256, "mime_type": FORMATS[kind]}
    assert codes_of(stored) == ["credentials_ended"]
    folder = tmp_path / ORIGINALS_FOLDER
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert json.loads((folder / f"{NAME}.json").read_text())["format"] == 1


def test_a_copy_shares_the_original_of_its_source(tmp_path: Path) -> None:
    originals = Originals(tmp_path, is_enabled=True)
    for name in ("a.png", "b.png"):
        originals.link(name, originals.store(an_image(is_signed=True)))
    originals.link_copy("a.png", "c.png")
    originals.link_copy("missing.png", "d.png")
    assert originals.find("a.png") == originals.find("c.png") != originals.find("b.png")
    assert originals.find("d.png") is None
    again = originals.store(an_image())
    assert originals.store(again).metadata["external"] != again.metadata["external"]
    assert len(list((tmp_path / ORIGINALS_FOLDER).glob("*.png"))) == 3


def test_without_the_setting_nothing_is_written_and_a_notice_names_it(tmp_path: Path) -> None:
    stored = Originals(tmp_path, is_enabled=False).store(an_image())
    assert list(tmp_path.iterdir()) == []
    assert "original" not in external_of(stored)
    [notice] = external_of(stored)["notices"]
    assert notice["code"] == "credentials_ended"
    assert "keep_originals" in notice["message"]


def test_a_stored_original_is_found_after_the_setting_is_turned_off(tmp_path: Path) -> None:
    originals = Originals(tmp_path, is_enabled=True)
    originals.link(NAME, originals.store(an_image()))
    assert Originals(tmp_path, is_enabled=False).find(NAME) == originals.find(NAME) is not None


def test_an_unsigned_image_is_returned_unchanged(tmp_path: Path) -> None:
    image, originals = an_image(is_signed=False), Originals(tmp_path, is_enabled=True)
    assert originals.store(image) is image
    originals.link(NAME, image)
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_folder_does_not_lose_the_image(tmp_path: Path) -> None:
    (tmp_path / ORIGINALS_FOLDER).write_text("in the way")
    originals = Originals(tmp_path, is_enabled=True)
    stored = originals.store(an_image())
    originals.link(NAME, stored)
    assert codes_of(stored) == ["credentials_ended"]
    assert "original" not in external_of(stored)
    assert originals.find(NAME) is None


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "a/b", "a\\b", ".hidden.png", "a\0b", "x" * 300, "a\n"])
def test_a_name_that_invoke_never_gives_finds_nothing(name: str, tmp_path: Path) -> None:
    originals = Originals(tmp_path, is_enabled=True)
    originals.link(NAME, originals.store(an_image()))
    assert originals.find(name) is None


@pytest.mark.parametrize(
    "link",
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
def test_an_unreadable_link_finds_nothing(link: str, tmp_path: Path) -> None:
    (tmp_path / ORIGINALS_FOLDER).mkdir()
    (tmp_path / ORIGINALS_FOLDER / f"{NAME}.json").write_text(link)
    assert Originals(tmp_path, is_enabled=True).find(NAME) is None


def test_a_signed_image_stays_signed_in_the_fallback_folder(tmp_path: Path) -> None:
    image = an_image()
    FallbackFolder(tmp_path).save([image, an_image(is_signed=False)], None)
    files = list((tmp_path / RESCUED_FOLDER).iterdir())
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    [beside] = [file for file in files if file.suffix == ".json"]
    saved = beside.with_name(beside.name.removesuffix(".json"))
    assert saved.read_bytes() == image.data
    sidecar = metadata_files.read_sidecar(beside.read_bytes())
    assert sidecar is not None
    assert sidecar.sha256 == hashlib.sha256(image.data).hexdigest()
    assert len(files) == 3
    [listed] = [one for one in undelivered_images(tmp_path) if one.path == str(saved)]
    assert (listed.provider, len(undelivered_images(tmp_path))) == ("openai", 2)
