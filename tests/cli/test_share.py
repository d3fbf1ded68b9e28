"""``share``: copies show the same pixels and say nothing of how they were made; Content Credentials stay."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from invokeai_external.images.metadata_files import embed
from invokeai_external.images.sharing import to_share

from ..support.programs import GEMINI, OPENAI, image_file
from ..support.samples import encoded, exif, painted
from ..support.signing import signed, validation_state

FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
SECRETS = (b"fox", b"client", b"cost", b"invokeai", b"gpt-image", b"gemini-nano")


def pixels(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGBA").tobytes()


def says_nothing(data: bytes) -> bool:
    # JPEG and EXIF may hold texts in two bytes a letter.
    return not any(secret in data or secret.decode().encode("utf-16-le") in data for secret in SECRETS)


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp", "gif"])
def test_a_copy_says_nothing_of_how_it_was_made(
    run: Any, out: Path, tmp_path: Path, output_format: str, root: Path
) -> None:
    made = run(
        *("generate", "a secret fox", "--model", "openai/gpt-image-2.5-flare", "--output-format", output_format),
        *("--ref", image_file(tmp_path / "client.png"), "--size", "1024x1024"),
        *("--out", out, "--sandbox", "--json"),
    )
    (image,) = made.json["images"]
    result = run("share", image["path"], "--out", tmp_path / "shared")
    (path,) = map(Path, result.stdout.splitlines())
    assert result.code == 0
    assert list((tmp_path / "shared").iterdir()) == [path]
    assert "fox" not in path.name
    original = Path(image["path"]).read_bytes()
    assert says_nothing(path.read_bytes())
    assert pixels(path.read_bytes()) == pixels(original)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / "invokeai_external.yaml").write_text("settings: {experimental: true}", encoding="utf-8")
    return folder


@pytest.mark.parametrize("kind", FORMATS)
def test_a_signed_image_is_copied_byte_for_byte(
    run: Any, out: Path, tmp_path: Path, sandbox_url: str, kind: str
) -> None:
    file = signed(encoded(painted("RGB", (64, 48)), kind), FORMATS[kind])
    order = {"provider": "openai", "fault": "served_file", "file": base64.b64encode(file).decode()}
    httpx.post(f"{sandbox_url}/sandbox/faults", json=order).raise_for_status()
    (image,) = run("generate", "a fox", "--model", OPENAI, "--out", out, "--json").json["images"]
    (path,) = map(Path, run("share", image["path"], "--out", tmp_path / "shared").stdout.splitlines())
    assert path.read_bytes() == file
    assert validation_state(path.read_bytes(), FORMATS[kind]) == "Valid"
    assert list((tmp_path / "shared").iterdir()) == [path]


@pytest.mark.parametrize("kind", FORMATS)
def test_what_was_written_into_a_signed_image_is_taken_out(run: Any, tmp_path: Path, kind: str) -> None:
    file = signed(encoded(painted("RGB", (64, 48)), kind), FORMATS[kind])
    written = embed(file, {"positive_prompt": "a fox", "external": {"cost_usd": 0.04}})
    assert validation_state(written, FORMATS[kind]) == "Invalid"
    (tmp_path / "a").write_bytes(written)
    result = run("share", tmp_path / "a", "--out", tmp_path / "shared")
    data = Path(result.stdout.strip()).read_bytes()
    assert b"fox" not in data
    assert pixels(data) == pixels(file)
    if kind == "PNG":
        assert data == file
    else:
        assert validation_state(data, FORMATS[kind]) == ""
        assert "not valid any more" in result.stderr


def test_a_photo_stays_upright() -> None:
    photo = encoded(painted("RGB", (64, 48)), "JPEG", exif=exif(orientation=6))
    shared = to_share(photo)
    with Image.open(io.BytesIO(shared.data)) as image:
        assert (image.size, len(image.getexif())) == ((48, 64), 0)


def test_several_images_have_different_names(run: Any, out: Path, tmp_path: Path) -> None:
    made = run("generate", "a fox", "--model", GEMINI, "-n", 2, "--out", out, "--sandbox", "--json").json["images"]
    shared = run("share", *(image["path"] for image in made), "--out", tmp_path / "shared").stdout.splitlines()
    assert [Path(path).name for path in shared] == ["image.jpg", "image-2.jpg"]
    assert [pixels(Path(path).read_bytes()) for path in shared] == [
        pixels(Path(image["path"]).read_bytes()) for image in made
    ]


@pytest.mark.parametrize(
    "content", [None, b"no image", b"\x89PNG\r\n\x1a\nbroken", b"BM" + bytes(60), b"<svg>a fox</svg>"]
)
def test_what_cannot_be_shared(run: Any, tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    result = run("share", tmp_path / "a.png", "--out", tmp_path / "shared")
    assert (result.code, result.stdout) == (2, "")
    assert "a.png" in result.stderr
    assert not list((tmp_path / "shared").iterdir())
