"""Results that wait on disk for who asks for the same."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from invokeai_external import AspectRatio, GeneratedImage, GenerationRequest, GenerationResult, Notice, Size, Usage
from invokeai_external.errors import ContentBlockedError
from invokeai_external.invoke.gallery.result_cache import (
    KEEP_S,
    Destination,
    KeptResults,
    fingerprint,
    told_as_kept,
)
from invokeai_external.invoke.look_ahead.sent_items import Item
from invokeai_external.request import InputImage
from invokeai_external.root_files import KEPT_FOLDER

REQUEST = GenerationRequest(model="gemini/x", prompt="a red fox", seed=7, aspect_ratio=AspectRatio(16, 9))


def png(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 3), colour).save(file, "PNG")
    return file.getvalue()


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
        errors=(ContentBlockedError("It was refused.", remedy="Change it."),),
        elapsed_s=1.5,
    )


def told(result: GenerationResult) -> tuple[object, ...]:
    """All of a result; two errors are equal if they say the same."""
    errors = [(type(error), error.message, error.hint) for error in result.errors]
    return (replace(result, errors=()), errors)


def test_a_result_comes_back_as_it_was(tmp_path: Path) -> None:
    kept = KeptResults(tmp_path)
    entry = kept.keep("name", result_of("red", "blue"))
    read = kept.read(entry)
    assert read is not None
    assert told(read) == told(result_of("red", "blue"))


def due(kept: KeptResults) -> list[Path]:
    return [entry for entry, _ in kept.hold_old(lambda _: False)]


def test_who_writes_it_holds_it_until_it_is_released(tmp_path: Path) -> None:
    kept = KeptResults(tmp_path)
    entry = kept.keep("name", result_of("red"))
    assert kept.hold("name") is None
    kept.release(entry)
    assert kept.hold("other") is None
    assert kept.hold("name") == entry
    assert kept.hold("name") is None


def test_it_is_taken_once_and_the_oldest_first(tmp_path: Path) -> None:
    kept = KeptResults(tmp_path)
    first, second = kept.keep("name", result_of("red")), kept.keep("name", result_of("blue"))
    kept.release(second)
    kept.release(first)
    assert kept.hold("name") == first
    kept.discard(first)
    assert kept.hold("name") == second
    kept.discard(second)
    assert kept.hold("name") is None
    assert list((tmp_path / KEPT_FOLDER).iterdir()) == []


def test_the_next_start_finds_it_and_clears_what_was_half_written(tmp_path: Path) -> None:
    entry = KeptResults(tmp_path).keep("name", result_of("red"))
    (tmp_path / KEPT_FOLDER / ".unfinished-x").mkdir()
    again = KeptResults(tmp_path)
    assert again.hold("name") == entry
    assert [path.name for path in (tmp_path / KEPT_FOLDER).iterdir()] == [entry.name]


def test_after_a_day_it_is_still_there_and_due_for_the_gallery(tmp_path: Path) -> None:
    now = 1_000_000.0
    kept = KeptResults(tmp_path, clock=lambda: now)
    old, held = kept.keep("name", result_of("red")), kept.keep("name", result_of("blue"))
    for entry in (old, held):
        os.utime(entry, (now, now))
    kept.release(old)
    now += KEEP_S - 1
    assert due(kept) == []
    now += 2
    assert due(kept) == [old]
    assert due(kept) == []
    kept.release(old)
    kept.keep("another", result_of("green"))
    assert (old.exists(), held.exists()) == (True, True)
    assert kept.hold("name") == old


def test_what_a_queue_item_waits_for_is_not_held_while_the_old_is_looked_through(tmp_path: Path) -> None:
    """Its turn may come in that very moment, and it would pay again."""
    kept = KeptResults(tmp_path, clock=lambda: KEEP_S)
    waits, gone = Destination("user", item=Item(1, "batch")), Destination("user", item=Item(2, "batch"))
    entries = [kept.keep(name, result_of("red"), whose) for name, whose in (("a", gone), ("b", waits), ("c", gone))]
    for entry in entries:
        os.utime(entry, (0, 0))
        kept.release(entry)
    looking = kept.hold_old(lambda destination: destination == waits)
    assert next(looking) == (entries[0], gone)
    assert kept.hold("b") == entries[1]
    # Who asks for one of the others meanwhile gets it, and it is not delivered as well.
    assert kept.hold("c") == entries[2]
    assert list(looking) == []


def test_whose_it_is_comes_back(tmp_path: Path) -> None:
    kept = KeptResults(tmp_path)
    destination = Destination("user", "board", Item(3, "batch"), Size(4, 3), {"seed": 7}, {"width": 1024})
    assert kept.destination(kept.keep("name", result_of("red"), destination)) == destination
    assert kept.destination(kept.keep("name", result_of("red"), Destination("user"))) == Destination("user")
    # 0.1 wrote none.
    assert kept.destination(kept.keep("name", result_of("red"))) is None


def test_an_image_in_what_was_half_written_is_not_removed(tmp_path: Path) -> None:
    unfinished = tmp_path / KEPT_FOLDER / ".unfinished-x"
    unfinished.mkdir(parents=True)
    (unfinished / "picture-1.png").write_bytes(png("red"))
    kept = KeptResults(tmp_path)
    assert (unfinished / "picture-1.png").exists()
    os.utime(unfinished, (0, 0))
    assert due(kept) == []


def test_what_a_newer_version_wrote_is_not_read(tmp_path: Path) -> None:
    kept = KeptResults(tmp_path)
    entry = kept.keep("name", result_of("red"), Destination("user"))
    for file in ("result.json", "destination.json"):
        held = json.loads((entry / file).read_text(encoding="utf-8"))
        assert held["format"] == 1
        (entry / file).write_text(json.dumps({**held, "format": 2}), encoding="utf-8")
    assert (kept.read(entry), kept.destination(entry)) == (None, None)


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    kept = KeptResults(tmp_path)
    (tmp_path / KEPT_FOLDER).write_text("no folder")
    with pytest.raises(OSError, match=r"(?i)not a directory|exists"):
        kept.keep("name", result_of("red"))
    assert (tmp_path / KEPT_FOLDER).read_text() == "no folder"


@pytest.mark.parametrize("damage", ["{", "[]", '{"images": 3}', '{"images": [{"mime_type": "image/png"}]}'])
def test_what_cannot_be_read_is_as_if_it_were_not_there(damage: str, tmp_path: Path) -> None:
    kept = KeptResults(tmp_path)
    entry = kept.keep("name", result_of("red"))
    (entry / "result.json").write_text(damage)
    assert kept.read(entry) is None


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_others_on_the_machine_cannot_look(tmp_path: Path) -> None:
    KeptResults(tmp_path).keep("name", result_of("red"), Destination("user"))
    assert (tmp_path / KEPT_FOLDER).stat().st_mode & 0o077 == 0
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / KEPT_FOLDER).rglob("*.*")} == {0o600}


PICTURE = InputImage(png("red"), "red.png")


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
        {"previews": 1},
        {"options": {"temperature": 0.5}},
        {"init_image": PICTURE},
        {"references": (PICTURE,)},
        {"references": (InputImage(png("blue"), "red.png"),)},
    ],
    ids=str,
)
def test_another_request_has_another_name(other: dict[str, object]) -> None:
    changed = fingerprint("user", "", replace(REQUEST, **other))  # type: ignore[arg-type]
    assert changed != fingerprint("user", "", REQUEST)
    assert changed == fingerprint("user", "", replace(REQUEST, **other))  # type: ignore[arg-type]


def test_another_user_and_another_address_have_other_names() -> None:
    names = [fingerprint(user, where, REQUEST) for user in ("a", "b") for where in ("", "sandbox")]
    assert len(set(names)) == 4


def test_a_result_for_another_run_says_so_in_its_pictures_too() -> None:
    result = told_as_kept(result_of("red"))
    assert [notice.code for notice in result.notices] == ["size_changed", "kept_result"]
    external = result.images[0].metadata["external"]
    assert isinstance(external, dict)
    assert [notice["code"] for notice in external["notices"]] == ["kept_result"]
    assert external["cost_usd"] == 0.04
