"""The cache of paid results that no node has fetched."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from invokeai_external import AspectRatio, GeneratedImage, GenerationRequest, GenerationResult, Notice, Size, Usage
from invokeai_external.errors import ContentBlockedError
from invokeai_external.invoke.gallery.result_cache import (
    MAX_AGE_S,
    Destination,
    ResultCache,
    fingerprint,
    with_cache_notice,
)
from invokeai_external.invoke.queue_items import ItemId
from invokeai_external.request import InputImage
from invokeai_external.root_folder import KEPT_FOLDER

from .support.samples import encoded

REQUEST = GenerationRequest(model="gemini/x", prompt="a red fox", seed=7, aspect_ratio=AspectRatio(16, 9))


def png(colour: str) -> bytes:
    return encoded(Image.new("RGB", (4, 3), colour), "PNG")


def result_of(*colours: str) -> GenerationResult:
    images = tuple(
        GeneratedImage(
            data=png(colour),
            mime_type="image/png",
            size=Size(4, 3),
            metadata={"positive_prompt": "a red fox", "external": {"cost_usd": 0.04, "notices": []}},
            seed=7,
            cost_usd=0.04,
        )
        for colour in colours
    )
    return GenerationResult(
        provider="gemini",
        model="x",
        images=images,
        notices=(Notice("size_changed", "Another size."),),
        usage=Usage(input_text_tokens=3, total_tokens=5),
        cost_usd=0.08,
        request_ids=("r1",),
        errors=(ContentBlockedError("Refused.", remedy="Change the prompt."),),
        elapsed_s=1.5,
    )


def content(result: GenerationResult) -> tuple[object, ...]:
    """A result with comparable errors."""
    errors = [(type(error), error.message, error.hint) for error in result.errors]
    return (replace(result, errors=()), errors)


def test_a_stored_result_is_read_back_equal(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path)
    entry = cache.store("name", result_of("red", "blue"))
    read = cache.read(entry)
    assert read is not None
    assert content(read) == content(result_of("red", "blue"))


def expired(cache: ResultCache) -> list[Path]:
    return [entry for entry, _ in cache.acquire_expired(lambda _: False)]


def test_the_writer_has_the_entry_until_it_releases_it(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path)
    entry = cache.store("name", result_of("red"))
    assert cache.acquire("name") is None
    cache.release(entry)
    assert cache.acquire("other") is None
    assert cache.acquire("name") == entry
    assert cache.acquire("name") is None


def test_each_entry_is_acquired_once_and_the_oldest_first(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path)
    first, second = cache.store("name", result_of("red")), cache.store("name", result_of("blue"))
    cache.release(second)
    cache.release(first)
    assert cache.acquire("name") == first
    cache.remove(first)
    assert cache.acquire("name") == second
    cache.remove(second)
    assert cache.acquire("name") is None
    assert list((tmp_path / KEPT_FOLDER).iterdir()) == []


def test_the_next_start_finds_it_and_deletes_partial_entries(tmp_path: Path) -> None:
    entry = ResultCache(tmp_path).store("name", result_of("red"))
    (tmp_path / KEPT_FOLDER / ".unfinished-x").mkdir()
    again = ResultCache(tmp_path)
    assert again.acquire("name") == entry
    assert [path.name for path in (tmp_path / KEPT_FOLDER).iterdir()] == [entry.name]


def test_after_a_day_a_free_entry_is_expired_but_not_deleted(tmp_path: Path) -> None:
    now = 1_000_000.0
    cache = ResultCache(tmp_path, clock=lambda: now)
    old, acquired = cache.store("name", result_of("red")), cache.store("name", result_of("blue"))
    for entry in (old, acquired):
        os.utime(entry, (now, now))
    cache.release(old)
    now += MAX_AGE_S - 1
    assert expired(cache) == []
    now += 2
    assert expired(cache) == [old]
    assert expired(cache) == []
    cache.release(old)
    cache.store("another", result_of("green"))
    assert (old.exists(), acquired.exists()) == (True, True)
    assert cache.acquire("name") == old


def test_entries_stay_free_while_expired_ones_are_listed(tmp_path: Path) -> None:
    """A queue item whose turn comes at that moment must find its result, or would pay again."""
    cache = ResultCache(tmp_path, clock=lambda: MAX_AGE_S)
    waits, gone = Destination("user", item=ItemId(1, "batch")), Destination("user", item=ItemId(2, "batch"))
    entries = [cache.store(name, result_of("red"), whose) for name, whose in (("a", gone), ("b", waits), ("c", gone))]
    for entry in entries:
        os.utime(entry, (0, 0))
        cache.release(entry)
    looking = cache.acquire_expired(lambda destination: destination == waits)
    assert next(looking) == (entries[0], gone)
    assert cache.acquire("b") == entries[1]
    # A request for an entry that is not reached yet gets it, and it is not delivered too.
    assert cache.acquire("c") == entries[2]
    assert list(looking) == []


def test_the_destination_is_read_back_equal(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path)
    destination = Destination("user", "board", ItemId(3, "batch"), Size(4, 3), {"seed": 7}, {"width": 1024})
    assert cache.destination(cache.store("name", result_of("red"), destination)) == destination
    assert cache.destination(cache.store("name", result_of("red"), Destination("user"))) == Destination("user")
    # As version 0.1 stored it.
    assert cache.destination(cache.store("name", result_of("red"))) is None


def test_a_partial_entry_with_an_image_is_not_deleted(tmp_path: Path) -> None:
    unfinished = tmp_path / KEPT_FOLDER / ".unfinished-x"
    unfinished.mkdir(parents=True)
    (unfinished / "picture-1.png").write_bytes(png("red"))
    cache = ResultCache(tmp_path)
    assert (unfinished / "picture-1.png").exists()
    os.utime(unfinished, (0, 0))
    assert expired(cache) == []


def test_an_entry_of_a_newer_version_is_not_read(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path)
    entry = cache.store("name", result_of("red"), Destination("user"))
    for file in ("result.json", "destination.json"):
        stored = json.loads((entry / file).read_text(encoding="utf-8"))
        assert stored["format"] == 1
        (entry / file).write_text(json.dumps({**stored, "format": 2}), encoding="utf-8")
    assert (cache.read(entry), cache.destination(entry)) == (None, None)


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path)
    (tmp_path / KEPT_FOLDER).write_text("no folder")
    with pytest.raises(FileExistsError):
        cache.store("name", result_of("red"))
    assert (tmp_path / KEPT_FOLDER).read_text() == "no folder"


@pytest.mark.parametrize("damage", ["{", "[]", '{"images": 3}', '{"images": [{"mime_type": "image/png"}]}'])
def test_a_damaged_entry_is_not_read(damage: str, tmp_path: Path) -> None:
    cache = ResultCache(tmp_path)
    entry = cache.store("name", result_of("red"))
    (entry / "result.json").write_text(damage)
    assert cache.read(entry) is None


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_other_users_of_the_computer_cannot_read_it(tmp_path: Path) -> None:
    ResultCache(tmp_path).store("name", result_of("red"), Destination("user"))
    assert (tmp_path / KEPT_FOLDER).stat().st_mode & 0o077 == 0
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / KEPT_FOLDER).rglob("*.*")} == {0o600}


IMAGE = InputImage(png("red"), "red.png")


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "a blue fox"},
        {"model": "gemini/y"},
        {"n": 2},
        {"seed": 8},
        {"seed": None},
        {"aspect_ratio": AspectRatio(4, 3)},
        {"image_size": "2K"},
        {"options": {"temperature": 0.5}},
        {"init_image": IMAGE},
        {"references": (IMAGE,)},
        {"references": (InputImage(png("blue"), "red.png"),)},
    ],
    ids=str,
)
def test_a_different_request_has_a_different_fingerprint(other: dict[str, object]) -> None:
    changed = fingerprint("user", "", replace(REQUEST, **other))  # type: ignore[arg-type]
    assert changed != fingerprint("user", "", REQUEST)
    assert changed == fingerprint("user", "", replace(REQUEST, **other))  # type: ignore[arg-type]


def test_previews_change_nothing_of_a_result() -> None:
    assert fingerprint("user", "", replace(REQUEST, previews=2)) == fingerprint("user", "", REQUEST)


def test_a_different_user_or_base_url_has_a_different_fingerprint() -> None:
    names = [fingerprint(user, where, REQUEST) for user in ("a", "b") for where in ("", "sandbox")]
    assert len(set(names)) == 4


def test_a_cached_result_has_a_notice_in_its_images_too() -> None:
    result = with_cache_notice(result_of("red"))
    assert [notice.code for notice in result.notices] == ["size_changed", "kept_result"]
    external = result.images[0].metadata["external"]
    assert isinstance(external, dict)
    assert [notice["code"] for notice in external["notices"]] == ["kept_result"]
    assert external["cost_usd"] == 0.04
