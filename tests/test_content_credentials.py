"""Content Credentials survive: a signed image stays as it is, its settings are beside it, and are found."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shlex
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, get_args

import httpx
import pytest
from PIL import Image

from invokeai_external.cli import app
from invokeai_external.cli.entry_point import main
from invokeai_external.images import metadata_files
from invokeai_external.request import MetadataMode

from .support.samples import EXIF_IFD, MAKER_NOTE, encoded, painted, png_of
from .support.signing import signed, validation_state

MODELS = {"openai": "openai/gpt-image-2.5-flare", "gemini": "gemini/gemini-nano-banana-2.1"}
FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
SIGNED = {kind: signed(encoded(painted("RGB", (64, 48)), kind), mime_type) for kind, mime_type in FORMATS.items()}
PLAIN = png_of("RGB", (64, 48))


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def image(self) -> dict[str, Any]:
        """The one image of a ``generate --json``."""
        assert self.code == 0, self.out + self.err
        [image] = self.json["images"]
        return dict(image)

    @property
    def notices(self) -> list[str]:
        return [notice["code"] for notice in self.json["notices"]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    def run_main(*arguments: object) -> Done:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Done(code, *capsys.readouterr())

    return run_main


@pytest.fixture
def generate(run: Callable[..., Done], sandbox_url: str, tmp_path: Path) -> Callable[..., Done]:
    """Run ``generate`` with the sandbox serving a file in the place of its image."""

    def generate_one(file: bytes, *more: object, provider: str = "openai") -> Done:
        order = {"provider": provider, "fault": "served_file", "file": base64.b64encode(file).decode()}
        assert httpx.post(f"{sandbox_url}/sandbox/faults", json=order).status_code == 201
        arguments = ("a red fox", "--model", MODELS[provider], "--out", tmp_path / "out", "--json")
        return run("generate", *arguments, *more)

    return generate_one


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("provider", MODELS)
def test_a_signed_image_stays_byte_for_byte_and_valid(
    kind: str, provider: str, generate: Callable[..., Done], run: Callable[..., Done]
) -> None:
    assert validation_state(SIGNED[kind], FORMATS[kind]) == "Valid"
    done = generate(SIGNED[kind], provider=provider)
    path = Path(done.image["path"])
    assert path.read_bytes() == SIGNED[kind]
    assert validation_state(path.read_bytes(), FORMATS[kind]) == "Valid"
    beside = Path(done.image["metadata_path"])
    assert beside == path.with_name(f"{path.name}.json")
    told = json.loads(beside.read_text("ascii"))
    assert (told["format"], told["sha256"]) == (1, hashlib.sha256(SIGNED[kind]).hexdigest())
    assert told["metadata"]["positive_prompt"] == "a red fox"
    assert run("recall", path, "--json").json == told["metadata"]
    assert "settings_beside" in done.notices
    if os.name == "posix":
        assert stat.S_IMODE(beside.stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", get_args(MetadataMode))
@pytest.mark.parametrize("by", ["flag", "settings"])
@pytest.mark.parametrize("is_signed", [True, False])
def test_each_mode(
    mode: str, by: str, is_signed: bool, generate: Callable[..., Done], run: Callable[..., Done], tmp_path: Path
) -> None:
    file = SIGNED["PNG"] if is_signed else PLAIN
    root = tmp_path / "root"
    root.mkdir()
    # What the flag says wins.
    other = next(one for one in get_args(MetadataMode) if one != mode) if by == "flag" else mode
    (root / "invokeai_external.yaml").write_text(f"settings:\n  metadata: {other}\n")
    done = generate(file, "--root", root, *(["--metadata", mode] if by == "flag" else []))
    image = done.image
    embeds = mode == "embed" or (mode == "auto" and not is_signed)
    is_beside = mode == "sidecar" or (mode == "auto" and is_signed)
    assert (Path(image["path"]).read_bytes() == file) is not embeds
    assert image["bytes"] == Path(image["path"]).stat().st_size
    assert (image["metadata_path"] is not None) is is_beside
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        Path(path).name for path in (image["path"], image["metadata_path"]) if path
    )
    recalled = run("recall", image["path"])
    assert recalled.code == (2 if mode == "none" else 0)
    about_credentials = {"settings_beside", "credentials_ended"} & set(done.notices)
    if not is_signed or mode in ("sidecar", "none"):
        assert about_credentials == set()
    else:
        assert about_credentials == {"credentials_ended" if embeds else "settings_beside"}


def test_the_command_line_offers_the_modes_that_the_settings_have() -> None:
    assert get_args(app.MetadataChoice) == get_args(MetadataMode)


def test_a_signed_png_names_what_makes_invoke_s_gallery_recall_it(generate: Callable[..., Done]) -> None:
    def told(done: Done) -> str:
        return " ".join(notice["message"] for notice in done.json["notices"] if notice["code"] == "settings_beside")

    assert "metadata: embed" in told(generate(SIGNED["PNG"]))
    # It reads settings in no JPEG.
    assert "embed" not in told(generate(SIGNED["JPEG"]))


def test_a_notice_on_several_images_is_reported_once(generate: Callable[..., Done], sandbox_url: str) -> None:
    done = generate(SIGNED["PNG"], "-n", 2)
    assert len(done.json["images"]) == 2
    assert done.notices.count("settings_beside") == 1


def test_image_and_sidecar_are_numbered_together_and_nothing_is_overwritten(
    generate: Callable[..., Done], tmp_path: Path
) -> None:
    first = Path(generate(SIGNED["PNG"]).image["path"])
    # The first's place becomes free, its sidecar stays; of the second, only the sidecar's name is taken.
    kept = first.with_name(f"{first.name}.json")
    first.unlink()
    taken = first.with_name(f"{first.stem}-2.png.json")
    taken.write_text("mine")
    before = kept.read_bytes()
    image = generate(SIGNED["PNG"]).image
    assert Path(image["path"]).name == f"{first.stem}-3.png"
    assert Path(image["metadata_path"]).name == f"{first.stem}-3.png.json"
    assert (kept.read_bytes(), taken.read_text()) == (before, "mine")
    assert len(list((tmp_path / "out").iterdir())) == 4


@pytest.mark.parametrize("name", ["renamed.png", "elsewhere/renamed.png"])
def test_a_renamed_image_is_found_by_its_hash(
    name: str, generate: Callable[..., Done], run: Callable[..., Done], tmp_path: Path
) -> None:
    image = generate(SIGNED["PNG"]).image
    moved = tmp_path / "out" / name
    moved.parent.mkdir(exist_ok=True)
    (tmp_path / "out" / "other.json").write_text("{}")
    Path(image["path"]).rename(moved)
    if moved.parent != tmp_path / "out":
        assert run("recall", moved).code == 2
        shutil.move(image["metadata_path"], moved.parent / "any name.json")
    assert "a red fox" in shlex.split(run("recall", moved).out)


def test_the_sidecar_of_another_file_is_not_taken_for_this_one_s(
    generate: Callable[..., Done], run: Callable[..., Done]
) -> None:
    path = Path(generate(SIGNED["PNG"]).image["path"])
    path.write_bytes(PLAIN)
    done = run("recall", path)
    assert done.code == 2
    assert f"{path}.json" in done.err


def test_what_is_in_the_folder_cannot_hold_recall_up(
    generate: Callable[..., Done], run: Callable[..., Done], tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    image = generate(SIGNED["PNG"]).image
    moved = Path(image["path"]).rename(folder / "z.png")
    held = Path(image["metadata_path"]).read_bytes()
    (folder / "a.json").write_bytes(b"[" * 100_000)
    (folder / "b.json").mkdir()
    (folder / "c.json").symlink_to("/dev/zero")
    os.mkfifo(folder / "z.png.json")
    with (folder / "d.json").open("wb") as sparse:
        sparse.truncate(17_000_000)
    sha256 = hashlib.sha256(SIGNED["PNG"]).hexdigest()
    (folder / "e.json").write_text(json.dumps({"format": "x", "sha256": sha256, "metadata": [sha256]}))
    assert "a red fox" in shlex.split(run("recall", moved).out)
    newer = {**json.loads(held), "format": 2}
    Path(image["metadata_path"]).write_text(json.dumps(newer))
    done = run("recall", moved)
    assert done.code == 0
    assert image["metadata_path"] in done.err


@pytest.mark.parametrize("path", ["/dev/zero", "fifo", "folder"])
def test_what_is_not_a_regular_file_is_refused(path: str, run: Callable[..., Done], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    assert run("recall", tmp_path / path).code == 2


def test_an_image_whose_sidecar_cannot_be_written_is_saved_all_the_same(
    generate: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.link

    def link(source: Path, target: Path) -> None:
        if str(target).endswith(".json"):
            raise OSError(28, "No space left on device")
        real(source, target)

    def replace(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", link)
    monkeypatch.setattr(Path, "replace", replace)
    done = generate(SIGNED["PNG"])
    path = Path(done.image["path"])
    assert path.read_bytes() == SIGNED["PNG"]
    assert done.image["metadata_path"] is None
    assert "no_metadata" in done.notices
    assert list(path.parent.iterdir()) == [path]


def test_where_there_are_no_links_the_pair_is_written_all_the_same(
    generate: Callable[..., Done], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def link(source: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    names = []
    for _ in range(2):
        image = generate(SIGNED["PNG"]).image
        assert Path(image["path"]).read_bytes() == SIGNED["PNG"]
        assert metadata_files.read_sidecar(Path(image["metadata_path"]).read_bytes()) is not None
        names += [Path(image["path"]), Path(image["metadata_path"])]
    assert sorted((tmp_path / "out").iterdir()) == sorted(names)


def test_settings_that_find_no_room_in_the_file_are_beside_it(
    generate: Callable[..., Done], run: Callable[..., Done]
) -> None:
    exif = Image.Exif()
    exif.get_ifd(EXIF_IFD)[MAKER_NOTE] = b"x" * 65_000
    file = encoded(painted("RGB", (64, 48)), "JPEG", exif=exif)
    image = generate(file).image
    assert Path(image["path"]).read_bytes() == file
    assert "a red fox" in shlex.split(run("recall", image["path"]).out)


def test_what_is_composited_says_that_its_credentials_ended(
    generate: Callable[..., Done], run: Callable[..., Done], tmp_path: Path
) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "base.png")
    mask = Image.new("L", (64, 48))
    mask.paste(255, (10, 10, 40, 40))
    mask.save(tmp_path / "mask.png")
    done = generate(SIGNED["PNG"], "--init", tmp_path / "base.png", "--mask", tmp_path / "mask.png")
    assert "credentials_ended" in done.notices
    assert done.image["metadata_path"] is None
    assert validation_state(Path(done.image["path"]).read_bytes(), "image/png") == ""
    external = run("recall", done.image["path"], "--json").json["external"]
    assert "credentials_ended" in [notice["code"] for notice in external["notices"]]
