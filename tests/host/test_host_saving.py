"""If an image cannot be saved, nothing partial stays, the message says so, and the paid image becomes a file."""

from __future__ import annotations

import io
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from invokeai_external.errors import NotSavedError
from invokeai_external.images import metadata_files

from .conftest import NewInvoke
from .failures import message_of
from .graphs import PROMPT, workflow_graph
from .invoke import Invoke, Json, output_names
from .sandbox import Sandbox

_MIB = 1024 * 1024


@pytest.fixture(scope="module")
def saving(new_invoke: NewInvoke) -> Invoke:
    """A separate Invoke, whose folders the tests change."""
    invoke = new_invoke(keys=("openai",))
    invoke.start_with_models()
    return invoke


@dataclass(frozen=True)
class Gallery:
    """The images: their names in the database, and the files."""

    records: set[str]
    files: set[str]


def gallery_of(invoke: Invoke) -> Gallery:
    with closing(sqlite3.connect(f"file:{invoke.root}/databases/invokeai.db?mode=ro", uri=True)) as database:
        records = {name for (name,) in database.execute("SELECT image_name FROM images")}
    outputs = invoke.root / "outputs" / "images"
    return Gallery(records, {str(path.relative_to(outputs)) for path in outputs.rglob("*") if path.is_file()})


def fallback_files(invoke: Invoke) -> set[Path]:
    return set((invoke.root / "invokeai_external_rescued").glob("*"))


def kept_entries(invoke: Invoke) -> set[Path]:
    return set((invoke.root / "invokeai_external_kept").glob("*"))


@pytest.fixture
def large(saving: Invoke) -> Iterator[Json]:
    """An edit of noise, whose image is larger than anything else that Invoke writes."""
    noise = Image.merge("RGB", [Image.effect_noise((2400, 1800), 120) for _ in range(3)])
    mask = Image.new("L", noise.size, 255)
    mask.paste(0, (100, 100, 300, 300))
    images: Json = {
        "init_image": {"image_name": saving.upload(noise, intermediate=True)},
        "mask_image": {"image_name": saving.upload(mask, intermediate=True)},
    }
    yield workflow_graph(saving.model("openai/gpt-image-2.5-flare"), **images)
    saving.limit_files(None)


def fill_up(invoke: Invoke) -> None:
    """Leave room for Invoke's records but not for a large image."""
    written = [invoke.log_file, *(invoke.root / "databases").iterdir()]
    invoke.limit_files(max(path.stat().st_size for path in written) + 3 * _MIB)


def test_a_failed_save_leaves_nothing_partial(saving: Invoke, sandbox: Sandbox, large: Json) -> None:
    before = gallery_of(saving)
    fill_up(saving)
    message = message_of(saving.failure(large), NotSavedError)
    assert "too large" in message
    # Nothing of that size can be written anywhere now.
    assert "1 of 1" in message
    saving.limit_files(None)
    assert gallery_of(saving) == before
    assert fallback_files(saving) == set()
    assert len(sandbox.calls()) == 1


def test_it_works_again_once_there_is_room(saving: Invoke, sandbox: Sandbox, large: Json) -> None:
    before = gallery_of(saving)
    [picture] = saving.run(large)
    assert picture.image.size == (2400, 1800)
    after = gallery_of(saving)
    assert after.records - before.records == {picture.name}
    assert len(after.files - before.files) == 2


def test_of_several_images_the_saved_ones_stay(saving: Invoke, sandbox: Sandbox, large: Json) -> None:
    before, kept = gallery_of(saving), kept_entries(saving)
    large["nodes"]["picture"]["num_images"] = 4
    number = saving.enqueue(large)
    # An image and its thumbnail: the first is complete.
    deadline = time.monotonic() + 60
    while len(gallery_of(saving).files - before.files) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    fill_up(saving)
    item = saving.ended(number)
    saving.limit_files(None)
    assert item["status"] == "completed", item["error_message"]
    names = set(output_names(item))
    assert 1 <= len(names) < 4
    after = gallery_of(saving)
    assert after.records - before.records == names
    assert len(after.files - before.files) == 2 * len(names)
    for name in names:
        assert saving.picture(name).image.size == (2400, 1800)
    [line] = [line for line in saving.log() if line.level == "ERROR" and f"of {4 - len(names)}" in line.text]
    assert "too large" in line.text
    # There was no room for a file of those that are not in the gallery.
    [entry] = kept_entries(saving) - kept
    assert len(list(entry.glob("picture-*"))) == 4


@contextmanager
def blocked_gallery(invoke: Invoke) -> Iterator[None]:
    """In the block, a file replaces the folder of the images."""
    folder = invoke.root / "outputs" / "images"
    folder.rename(folder.with_name("away"))
    folder.write_bytes(b"")
    try:
        yield
    finally:
        folder.unlink()
        folder.with_name("away").rename(folder)


def test_images_that_the_gallery_cannot_save_are_kept_in_one_place_and_a_retry_saves_them(
    saving: Invoke, sandbox: Sandbox
) -> None:
    before, kept = gallery_of(saving), kept_entries(saving)
    graph = workflow_graph(saving.model("openai/gpt-image-2.5-flare"), num_images=2)
    with blocked_gallery(saving):
        message = message_of(saving.failure(graph), NotSavedError)
    [entry] = kept_entries(saving) - kept
    assert len(list(entry.glob("picture-*"))) == 2
    assert str(entry.relative_to(saving.root)) in message
    assert str(saving.root) not in message
    assert fallback_files(saving) == set()
    assert gallery_of(saving).records == before.records
    calls = len(sandbox.calls())
    pictures = saving.run(graph)
    assert {picture.name for picture in pictures} == gallery_of(saving).records - before.records
    assert (len(pictures), kept_entries(saving), fallback_files(saving)) == (2, kept, set())
    assert len(sandbox.calls()) == calls


def test_an_image_that_the_gallery_cannot_save_and_that_is_not_kept_becomes_a_file(
    saving: Invoke, sandbox: Sandbox, canary: str
) -> None:
    records = gallery_of(saving).records
    graph = workflow_graph(saving.model("openai/gpt-image-2.5-flare"), num_images=2)
    kept = saving.root / "invokeai_external_kept"
    kept.rename(kept.with_name("away"))
    kept.write_bytes(b"")
    try:
        with blocked_gallery(saving):
            message = message_of(saving.failure(graph), NotSavedError)
    finally:
        kept.unlink()
        kept.with_name("away").rename(kept)
    files = fallback_files(saving)
    assert len(files) == 2
    for path in files:
        assert str(path.relative_to(saving.root)) in message
        data = path.read_bytes()
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
        found = metadata_files.read(data)
        assert found is not None
        assert found["positive_prompt"] == PROMPT
        assert canary.encode() not in data
    assert str(saving.root) not in message
    assert gallery_of(saving).records == records


def test_a_cached_image_that_cannot_be_saved_again_is_reported(saving: Invoke, sandbox: Sandbox) -> None:
    graph = workflow_graph(saving.model("openai/gpt-image-2.5-flare"), prompt="cached", use_cache=True)
    saving.run(graph)
    thumbnails = saving.root / "outputs" / "images" / "thumbnails"
    thumbnails.rename(thumbnails.with_name("away"))
    thumbnails.write_bytes(b"")
    before = gallery_of(saving)
    try:
        item = saving.failure(graph)
    finally:
        thumbnails.unlink()
        thumbnails.with_name("away").rename(thumbnails)
    assert message_of(item, NotSavedError)
    assert gallery_of(saving).records == before.records
    assert len(sandbox.calls()) == 1


def test_after_all_this_every_record_has_its_file(saving: Invoke) -> None:
    gallery = gallery_of(saving)
    # 6.14.2 may also have a list of what it could not delete, for its next start.
    assert {name for name in gallery.files if name.endswith(".png")} == gallery.records
