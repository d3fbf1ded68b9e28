"""The files of images: their names, and that each is whole or not there, whatever the disk does."""

from __future__ import annotations

import errno
import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from invokeai_external.cli.image_files import ImageFolder, PreviewFolder
from invokeai_external.errors import NotSavedError
from invokeai_external.progress import Preview
from invokeai_external.result import GeneratedImage
from invokeai_external.sizing import Size


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    return file.getvalue()


def an_image(prompt: str = "a fox", model: str = "gpt-image-2") -> GeneratedImage:
    settings = {"positive_prompt": prompt, "external": {"model": model}}
    return GeneratedImage(data=png(), mime_type="image/png", size=Size(8, 8), metadata=settings)


def is_whole(path: Path) -> bool:
    return Image.open(io.BytesIO(path.read_bytes())).size == (8, 8)


RARE = "\N{CUNEIFORM SIGN A}"
"""A letter of four bytes."""


@pytest.mark.parametrize(
    ("model", "prompt"),
    [
        ("gpt-image-2", RARE * 300),
        ("a-model-of-17-let", "\N{CJK UNIFIED IDEOGRAPH-72D0}" * 60),
        ("x" * 200, "y" * 200),
        (RARE * 200, RARE * 200),
        ("m", "\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}" * 60),
    ],
    ids=["rare letters", "an id of 17 letters", "long", "both rare", "a ligature of 18 letters"],
)
def test_a_name_leaves_room_for_a_number_and_a_sidecar(model: str, prompt: str, tmp_path: Path) -> None:
    folder = ImageFolder(tmp_path)
    paths = [folder.save(an_image(prompt, model)).path for _ in range(3)]
    for path in paths:
        assert path.parent == tmp_path
        assert len(os.fsencode(f"{path.stem}-999999.webp.json")) <= 143
        assert "\N{REPLACEMENT CHARACTER}" not in path.name
        assert path.stem[-1] not in "-."
    assert len(set(paths)) == 3
    assert paths[1].stem == f"{paths[0].stem}-2"


@pytest.mark.parametrize("model", ["../../etc/passwd", "a\0b", "CON:|?*", "\x1b[31m", "..", "\ud800", "\u202egnp"])
def test_no_model_or_prompt_leads_out_of_the_folder(model: str, tmp_path: Path) -> None:
    prompts = ["/etc/passwd", "..", "\0", "\n\n", ". . .", "\udce9"]
    inside = tmp_path / "inside"
    saved = [ImageFolder(inside).save(an_image(prompt, model)) for prompt in prompts]
    assert list(tmp_path.iterdir()) == [inside]
    assert set(inside.iterdir()) == {picture.path for picture in saved}
    assert all(re.fullmatch(r"[\w.-]+\.png", picture.path.name) for picture in saved)
    assert all(is_whole(picture.path) for picture in saved)


DYING = """
import os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_image_files
from invokeai_external.cli.image_files import ImageFolder
folder = ImageFolder(Path({folder!r}))
os.link = os.replace = os.rename = lambda *_, **__: os._exit(9)
folder.save(test_image_files.an_image())
"""


@pytest.mark.slow
def test_a_killed_process_leaves_the_bytes_and_no_empty_file(tmp_path: Path) -> None:
    code = DYING.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".saving-")
    assert is_whole(left)
    # The next one takes its name as if nothing had been.
    assert ImageFolder(tmp_path).save(an_image()).path.stem.endswith("gpt-image-2-a-fox")


def failing(number: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.EACCES, errno.ENOSYS])
def test_images_are_saved_on_a_file_system_without_links(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", failing(number))
    folder = ImageFolder(tmp_path)
    paths = [folder.save(an_image()).path for _ in range(2)]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert all(is_whole(path) for path in paths)


def test_a_failed_rename_leaves_no_empty_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    monkeypatch.setattr(os, "replace", failing(errno.EIO))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(NotSavedError) as raised:
        ImageFolder(tmp_path / "out").save(an_image())
    assert os.strerror(errno.EIO) in raised.value.message
    assert list((tmp_path / "out").iterdir()) == []
    PreviewFolder(tmp_path / "out").keep(Preview(1, 1, 1, 1, png(), "image/png"))
    assert list((tmp_path / "out").iterdir()) == []


def test_an_image_is_lost_if_no_folder_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk has no room for one, and so the caller goes on with the other images."""
    folder = ImageFolder(tmp_path)
    monkeypatch.setattr(tempfile, "mkstemp", failing(errno.ENOSPC))
    monkeypatch.setattr(tempfile, "gettempdir", failing(errno.ENOENT))
    with pytest.raises(NotSavedError):
        folder.save(an_image())


def test_an_image_is_saved_even_if_its_settings_cannot_be(tmp_path: Path) -> None:
    """Such as a text that is not Unicode, in an unexpected place."""
    saved = ImageFolder(tmp_path).save(an_image("\udce9"))
    assert is_whole(saved.path)


def test_names_that_are_taken_are_numbered_and_nothing_is_overwritten(tmp_path: Path) -> None:
    folder = ImageFolder(tmp_path)
    first = folder.save(an_image()).path
    first.write_bytes(b"mine")
    (tmp_path / f"{first.stem}-2.png").symlink_to(tmp_path / "nowhere")
    assert folder.save(an_image()).path.name == f"{first.stem}-3.png"
    assert first.read_bytes() == b"mine"
    assert not (tmp_path / "nowhere").exists()
