"""``undelivered`` and what the doctor says of it: images that were paid for and are not in the gallery."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from shutil import copytree

import pytest
from PIL import Image

from invokeai_external.cli.commands.undelivered import undelivered_images
from invokeai_external.cli.entry_point import main
from invokeai_external.images import metadata_files
from invokeai_external.root_folder import RESCUED_FOLDER

FIXTURE = Path(__file__).parents[1] / "fixtures" / "root_0_1"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return copytree(FIXTURE, tmp_path / "root")


def test_images_are_listed_with_what_is_known_about_them(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["undelivered", "--root", str(root), "--json"]) == 0
    images = json.loads(capsys.readouterr().out)["images"]
    places = [Path(image["path"]).relative_to(root).parts[0] for image in images]
    assert sorted(places) == ["invokeai_external_kept"] * 3 + ["invokeai_external_rescued"]
    for image in images:
        assert Path(image["path"]).stat().st_size == image["bytes"]
        assert image["provider"] in ("openai", "gemini")
        assert image["model"]
        assert image["created"].startswith("2026-11-29T")
        assert image["cost_usd"] > 0
        assert "prompt" not in json.dumps(image)


def test_without_json_each_image_is_a_line(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["undelivered", "--root", str(root)]) == 0
    out, err = capsys.readouterr()
    assert [str(root) in line for line in out.splitlines()] == [True] * 4
    assert "4 images are" in err


def test_a_root_without_any_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "invokeai.yaml").touch()
    assert main(["undelivered", "--root", str(tmp_path)]) == 0
    assert capsys.readouterr().out == ""
    assert main(["undelivered", "--root", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"images": []}


def test_a_folder_without_any_that_is_not_an_invoke_root_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["undelivered", "--root", ".", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert str(tmp_path) in error["message"]
    assert "--root" in error["hint"]


def test_a_root_that_does_not_exist_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["undelivered", "--root", str(tmp_path / "mistyped"), "--json"]) == 2
    assert "mistyped" in json.loads(capsys.readouterr().out)["error"]["message"]


def test_an_image_that_cannot_be_read_is_listed(tmp_path: Path) -> None:
    kept, rescued = tmp_path / "invokeai_external_kept" / "a-000000", tmp_path / "invokeai_external_rescued"
    unfinished = tmp_path / "invokeai_external_kept" / ".unfinished-x"
    for folder in (kept, rescued, unfinished):
        folder.mkdir(parents=True)
    (kept / "picture-1.png").write_bytes(b"no image")
    (kept / "result.json").write_text('{"images": 3}', encoding="utf-8")
    (unfinished / "picture-1.webp").write_bytes(b"half an image")
    (rescued / "picture-\x1b[31m.png").write_bytes(b"")
    found = undelivered_images(tmp_path)
    assert sorted(Path(image.path).name for image in found) == [
        "picture-\x1b[31m.png",
        "picture-1.png",
        "picture-1.webp",
    ]
    assert {(image.model, image.cost_usd) for image in found} == {(None, None)}


@pytest.mark.parametrize("cost", [f"1{'0' * 400}", "NaN", "-Infinity", "true", '"1"'])
def test_a_cost_that_is_not_an_amount_is_unknown(cost: str, tmp_path: Path) -> None:
    kept = tmp_path / "invokeai_external_kept" / "a-000000"
    kept.mkdir(parents=True)
    (kept / "picture-1.png").write_bytes(b"no image")
    said = f'{{"images": [{{"metadata": {{"external": {{"model": "m", "cost_usd": {cost}}}}}}}]}}'
    (kept / "result.json").write_text(said, encoding="utf-8")
    assert [(image.model, image.cost_usd) for image in undelivered_images(tmp_path)] == [("m", None)]


def test_nothing_of_a_file_s_name_acts_on_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "invokeai_external_rescued"
    folder.mkdir()
    (folder / "picture-\x1b[31m.png").write_bytes(b"")
    assert main(["undelivered", "--root", str(tmp_path)]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_those_of_one_of_several_users_are_listed(tmp_path: Path) -> None:
    folder = tmp_path / "invokeai_external_rescued" / "1b4e28ba"
    folder.mkdir(parents=True)
    (folder / "picture-1.png").write_bytes(b"")
    assert [Path(image.path).name for image in undelivered_images(tmp_path)] == ["picture-1.png"]


def test_the_doctor_counts_them(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "--root", str(root)])
    [line] = [line for line in capsys.readouterr().out.splitlines() if "undelivered" in line]
    assert line.startswith("ok ")
    assert "gallery: 4;" in line


SIZE = 10_000_000


@pytest.mark.parametrize("begins_as", ["png", "jpeg", "webp", "nothing"])
def test_the_pixels_of_an_image_are_not_read(begins_as: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = root / RESCUED_FOLDER / "large.png"
    with path.open("wb") as file:
        file.write(large(begins_as))
        file.truncate(SIZE)
    monkeypatch.setattr(Path, "read_bytes", None)
    [found] = [image for image in undelivered_images(root) if image.path == str(path)]
    assert found.bytes == SIZE
    assert found.model == (None if begins_as == "nothing" else "m")


def large(kind: str) -> bytes:
    """The beginning of an image whose pixels would be very many, with metadata wherever they can be before those."""
    if kind == "nothing":
        return b""
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).convert("RGB").save(buffer, kind)
    data = metadata_files.embed(buffer.getvalue(), {"external": {"model": "m"}})
    match kind:
        case "png":
            start = data.index(b"IDAT") - 4
            return data[:start] + struct.pack(">I", SIZE - start - 12) + b"IDAT"
        case "jpeg":
            return data[: data.index(b"\xff\xda") + 40]
        case _:
            # The texts of a WebP follow its pixels; what follows its end is not looked at.
            return data
