"""``generate``: what it prints, and the images that it makes."""

from __future__ import annotations

import base64
import io
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from invokeai_external.cli.image_files import ImageFolder, SavedImage
from invokeai_external.result import GeneratedImage
from invokeai_external.root_folder import SPENDING_FILE

from ..service.common import received_calls
from ..support.programs import GEMINI, OPENAI, image_file, png_chunks


@pytest.mark.parametrize("model", [OPENAI, GEMINI])
def test_generate_prints_the_paths_and_reports_the_cost(model: str, run: Any, out: Path) -> None:
    result = run("generate", "a red fox in snow", "--model", model, "--out", out, "--sandbox", "-n", 2)
    assert result.code == 0
    paths = [Path(line) for line in result.stdout.splitlines()]
    assert sorted(paths) == sorted(out.iterdir())
    assert len(paths) == 2
    assert all(Image.open(io.BytesIO(path.read_bytes())).size[0] >= 512 for path in paths)
    assert re.search(rf"{model}: 2 images in \d+\.\d s, would cost \$\d\.\d{{4}}", result.stderr)


def test_generate_as_json_prints_one_object(run: Any, out: Path) -> None:
    result = run(
        *("generate", "a fox", "--model", GEMINI, "--out", out, "--sandbox", "--json"),
        *("-n", 2, "--seed", 7, "--size", "1000x1000", "--quality", "high"),
    )
    shown = result.json
    assert list(shown) == [
        *("model", "provider", "images", "notices", "usage", "cost_usd", "request_ids", "elapsed_s"),
    ]
    assert (shown["model"], shown["provider"]) == ("gemini-nano-banana-2.1", "gemini")
    fields = ["path", "width", "height", "mime_type", "bytes", "seed", "metadata_path"]
    assert [list(image) for image in shown["images"]] == [fields] * 2
    assert [image["seed"] for image in shown["images"]] == [7, 8]
    for image in shown["images"]:
        data = Path(image["path"]).read_bytes()
        assert (image["width"], image["height"], image["bytes"]) == (1024, 1024, len(data))
    assert [notice["code"] for notice in shown["notices"]] == ["size_changed", "option_dropped", "sandbox"]
    assert shown["usage"]["output_image_tokens"] == 2240
    assert shown["cost_usd"] == pytest.approx(2240 * 30 / 1e6, rel=0.3)
    assert len(shown["request_ids"]) == 2


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("left", [None, b"", b"no database" * 1000])
def test_generate_says_that_its_cost_was_not_recorded(
    left: bytes | None,
    as_json: bool,
    run: Any,
    root: Path,
    out: Path,
    sandbox_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The root folder is deleted during the call, or its record is emptied or overwritten."""
    save = ImageFolder.save

    def destroy_and_save(folder: ImageFolder, image: GeneratedImage) -> SavedImage:
        if left is None:
            shutil.rmtree(root)
        else:
            (root / SPENDING_FILE).write_bytes(left)
        return save(folder, image)

    (root / "invokeai_external.yaml").write_text("budgets: {total: {day_usd: 5}}")
    arguments = ("generate", "a fox", "--model", OPENAI, "--out", out, *["--json"] * as_json)
    assert str(root) not in run(*arguments).stderr
    monkeypatch.setattr(ImageFolder, "save", destroy_and_save)
    result = run(*arguments)
    assert (result.code, len(list(out.iterdir()))) == (0, 2)
    if as_json:
        assert "not_recorded" in [notice["code"] for notice in result.json["notices"]]
        assert "today_usd" not in result.json
    else:
        assert str(root / SPENDING_FILE) in result.stderr


def test_generate_says_that_its_root_folder_does_not_exist(
    run: Any, out: Path, tmp_path: Path, sandbox_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVOKEAI_ROOT", f"{tmp_path / 'typo'} ")
    result = run("generate", "a fox", "--model", OPENAI, "--out", out, "--json")
    [notice] = [notice for notice in result.json["notices"] if notice["code"] == "not_recorded"]
    assert str(tmp_path / "typo") in notice["message"]
    assert result.code == 0


@pytest.mark.parametrize("command", [("generate", "a fox", "--model", OPENAI), ("keys", "set", "openai"), ("models",)])
def test_a_root_folder_that_is_named_and_does_not_exist_is_refused(
    run: Any, tmp_path: Path, sandbox_url: str, command: tuple[str, ...]
) -> None:
    """Its name may be mistyped, and then no limit would hold."""
    result = run(*command, "--root", tmp_path / "typo")
    assert (result.code, received_calls(sandbox_url)) == (2, [])
    assert str(tmp_path / "typo") in result.stderr
    assert not (tmp_path / "typo").exists()


def test_paths_are_printed_in_the_order_of_their_numbers_and_json_has_that_of_the_seeds(
    run: Any, out: Path, sandbox_url: str
) -> None:
    """The first call is answered last."""
    httpx.post(f"{sandbox_url}/sandbox/faults", json={"provider": "gemini", "fault": "slow", "seconds": 0.5})
    arguments = ("generate", "a fox", "--model", GEMINI, "--out", out, "-n", 3, "--seed", 7)
    paths = run(*arguments).stdout.splitlines()
    assert [Path(path).stem.rpartition("fox")[2] for path in paths] == ["", "-2", "-3"]
    httpx.post(f"{sandbox_url}/sandbox/faults", json={"provider": "gemini", "fault": "slow", "seconds": 0.5})
    assert [image["seed"] for image in run(*arguments, "--json").json["images"]] == [7, 8, 9]


def test_generate_reports_a_partial_success(run: Any, out: Path, sandbox_url: str) -> None:
    httpx.post(f"{sandbox_url}/sandbox/faults", json={"provider": "gemini", "fault": "refusal_text"})
    arguments = ("generate", "a fox", "--model", GEMINI, "--out", out, "-n", 3)
    result = run(*arguments, "--json")
    assert result.code == 1
    assert len(result.json["images"]) == 2
    (error,) = result.json["errors"]
    assert list(error) == ["code", "message", "hint", "provider", "status", "request_id"]
    assert error["code"] == "content_blocked"
    httpx.post(f"{sandbox_url}/sandbox/faults", json={"provider": "gemini", "fault": "refusal_text"})
    result = run(*arguments)
    assert result.code == 1
    assert len(result.stdout.splitlines()) == 2
    assert result.stderr.count("Error: ") == 1
    assert ": 2 of 3 images, 1 failed, in " in result.stderr.splitlines()[-1]


@pytest.mark.parametrize("model", [OPENAI, GEMINI])
@pytest.mark.parametrize("fault", ["sloppy_mask", "jpeg_answer"])
def test_an_edit_with_a_mask_changes_only_what_is_inside_it(
    model: str, fault: str, run: Any, out: Path, tmp_path: Path, sandbox_url: str
) -> None:
    base = Image.merge("RGB", [Image.linear_gradient("L").rotate(turn).resize((900, 600)) for turn in (0, 90, 180)])
    base.save(tmp_path / "base.png")
    mask = Image.new("L", base.size)
    mask.paste(255, (300, 200, 500, 400))
    mask.save(tmp_path / "mask.png")
    ref = image_file(tmp_path / "ref.jpg")
    httpx.post(f"{sandbox_url}/sandbox/faults", json={"provider": model.partition("/")[0], "fault": fault})
    result = run(
        *("generate", "a fox", "--model", model, "--out", out, "--json"),
        *("--init", tmp_path / "base.png", "--mask", tmp_path / "mask.png", "--ref", ref, "--ref", ref),
    )
    assert result.code == 0, result.stdout
    (shown,) = result.json["images"]
    assert (shown["width"], shown["height"], shown["mime_type"]) == (900, 600, "image/png")
    made = Image.open(shown["path"])
    assert (made.format, made.mode) == ("PNG", "RGB")
    black = Image.new("RGB", base.size)
    keep = mask.point([255 * (value == 0) for value in range(256)])
    assert Image.composite(made, black, keep).tobytes() == Image.composite(base, black, keep).tobytes()
    inner = (320, 220, 480, 380)
    assert made.crop(inner).tobytes() != base.crop(inner).tobytes()
    recalled = run("recall", shown["path"]).stdout
    assert "--init base.png --mask mask.png --ref ref.jpg --ref ref.jpg" in recalled
    assert run("recall", shown["path"], "--json").json["external"]["composited"] is True


def test_a_transparent_image_keeps_its_alpha_and_its_data_byte_for_byte(run: Any, out: Path, sandbox_url: str) -> None:
    arguments = ("a lantern", "--model", OPENAI, "--size", "1024x1024", "--background", "transparent")
    result = run("generate", *arguments, "--out", out, "--json")
    path = Path(result.json["images"][0]["path"])
    sent = httpx.post(
        f"{sandbox_url}/openai/v1/images/generations",
        headers={"Authorization": "Bearer any"},
        json={
            "model": "gpt-image-2.5-flare",
            "prompt": "a lantern",
            "n": 1,
            "size": "1024x1024",
            "background": "transparent",
        },
    ).json()
    original = base64.b64decode(sent["data"][0]["b64_json"])
    assert png_chunks(path.read_bytes(), b"IDAT") == png_chunks(original, b"IDAT") != b""
    with Image.open(path) as image:
        assert image.mode == "RGBA"
        assert image.getchannel("A").getextrema()[0] == 0
    recalled = run("recall", path, "--json").json
    assert recalled["openai_background"] == "transparent"
    assert recalled["external"]["received"] == {"width": 1024, "height": 1024, "mime_type": "image/png"}


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_every_output_format_can_be_recalled(output_format: str, run: Any, out: Path) -> None:
    command = ["generate", 'a fox, "quoted" & naïve 狐', "--model", OPENAI, "--size", "1536x864", "--quality", "high"]
    result = run(*command, "--output-format", output_format, "--out", out, "--sandbox", "--json")
    path = result.json["images"][0]["path"]
    assert path.endswith("jpg" if output_format == "jpeg" else output_format)
    recalled = shlex.split(run("recall", path).stdout)
    assert recalled == ["invokeai-external", *command, "--output-format", output_format, "--sandbox"]


def test_the_recalled_command_makes_the_same_image(run: Any, out: Path) -> None:
    first = run(
        *("generate", "a fox", "--model", GEMINI, "--aspect-ratio", "16:9", "--image-size", "1K", "--seed", 5),
        *("--temperature", 0.5, "--thinking-level", "high", "--out", out, "--sandbox", "--json"),
    ).json["images"][0]["path"]
    command = shlex.split(run("recall", first).stdout)
    second = run(*command[1:], "--out", out, "--sandbox", "--json").json["images"][0]["path"]
    assert Image.open(first).tobytes() == Image.open(second).tobytes()


def test_images_that_are_too_large_together_are_refused_before_they_are_read(
    run: Any, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("invokeai_external.cli.generate_arguments.read_image", None)
    large = tmp_path / "large.png"
    large.touch()
    os.truncate(large, 200_000_000)
    result = run("generate", "a fox", "--init", large, "--ref", large, "--out", out, "--sandbox", "--json")
    assert (result.code, result.json["error"]["code"]) == (2, "invalid_request")
    assert "400,000,000" in result.json["error"]["message"]


def test_a_failure_of_the_provider_exits_with_1(run: Any, out: Path, sandbox_url: str) -> None:
    httpx.post(f"{sandbox_url}/sandbox/faults", json={"provider": "openai", "fault": "quota"})
    result = run("generate", "a fox", "--model", OPENAI, "--out", out, "--json")
    assert result.code == 1
    error = result.json["error"]
    assert (error["code"], error["provider"], error["status"]) == ("quota", "openai", 429)
    assert error["hint"]


def test_the_sources_of_a_web_search_are_reported_and_recorded_and_its_cost_is_unknown(run: Any, out: Path) -> None:
    arguments = (
        "generate",
        "the weather in Oslo",
        "--model",
        GEMINI,
        "--out",
        out,
        "--sandbox",
        "--web-search",
        "image",
    )
    shown = run(*arguments, "--json").json
    (image,) = shown["images"]
    assert [source["url"].startswith("https://example.com/") for source in image["sources"]] == [True] * 3
    assert shown["cost_usd"] is None
    assert {"search_billed", "web_search"} <= {notice["code"] for notice in shown["notices"]}
    external = run("recall", image["path"], "--json").json["external"]
    assert external["sources"] == image["sources"]
    assert external["searches"] == ["the weather in Oslo"] * 2
    assert "cost_usd" not in external
    assert "--web-search image" in run("recall", image["path"]).stdout
    result = run(*arguments)
    assert image["sources"][0]["url"] in result.stderr
    assert "would cost is unknown" in result.stderr
    assert "the cost shown" not in result.stderr


def test_without_a_search_no_source_is_reported(run: Any, out: Path) -> None:
    result = run("generate", "a fox", "--model", GEMINI, "--out", out, "--sandbox", "--web-search", "off", "--json")
    assert "sources" not in result.json["images"][0]
    assert result.json["cost_usd"] > 0


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("openai/gpt-image-2.6-flare", "--output-format jpeg --output-compression 40 --complexity low"),
        ("openai/gpt-image-2.6-flare", "--moderation low --output-format webp --output-compression 0"),
        (GEMINI, "--safety block_none"),
    ],
)
def test_options_reach_the_provider_and_can_be_recalled(model: str, options: str, run: Any, out: Path) -> None:
    command = ["generate", "a fox", "--model", model, *options.split()]
    result = run(*command, "--out", out, "--sandbox", "--json")
    assert [notice["code"] for notice in result.json["notices"]] == ["sandbox"]
    path = result.json["images"][0]["path"]
    recalled = shlex.split(run("recall", path).stdout)
    assert [word for word in recalled if word not in ("--size", "1024x1024")] == [
        "invokeai-external",
        *command,
        "--sandbox",
    ]


def test_moderation_and_a_mask_reach_the_provider_as_json(
    run: Any, out: Path, tmp_path: Path, sandbox_url: str
) -> None:
    base = image_file(tmp_path / "base.png")
    with Image.open(base) as image:
        size = image.size
    mask = Image.new("L", size)
    mask.paste(255, (0, 0, size[0] // 2, size[1]))
    mask.save(tmp_path / "mask.png")
    httpx.delete(f"{sandbox_url}/sandbox/requests")
    edit = ("--init", base, "--mask", tmp_path / "mask.png", "--moderation", "low")
    result = run("generate", "a hat", "--model", OPENAI, *edit, "--out", out, "--json")
    assert result.code == 0, result.stdout
    [sent] = httpx.get(f"{sandbox_url}/sandbox/requests").json()["requests"]
    assert sent["json"]["moderation"] == "low"
    assert (len(sent["json"]["images"]), set(sent["json"]["mask"])) == (1, {"image_url"})
    dry = run("generate", "a hat", "--model", OPENAI, *edit, "--dry-run")
    assert "characters of base64" in dry.stdout
    assert "data:image" not in dry.stdout


def test_markup_reaches_the_provider_and_can_be_recalled(run: Any, out: Path, tmp_path: Path, sandbox_url: str) -> None:
    base = image_file(tmp_path / "base.png")
    with Image.open(base) as image:
        notes = Image.new("RGBA", image.size)
    notes.paste((255, 0, 0, 255), (2, 2, 6, 6))
    notes.save(tmp_path / "notes.png")
    httpx.delete(f"{sandbox_url}/sandbox/requests")
    edit = ("--init", base, "--markup", tmp_path / "notes.png")
    result = run("generate", "as drawn", "--model", OPENAI, *edit, "--out", out, "--json")
    assert result.code == 0, result.stdout
    [sent] = httpx.get(f"{sandbox_url}/sandbox/requests").json()["requests"]
    assert [field["name"] for field in sent["fields"]][-2:] == ["image", "markup"]
    path = result.json["images"][0]["path"]
    assert "--init base.png --markup notes.png" in run("recall", path).stdout
    assert run("recall", path, "--json").json["external"]["markup"]["name"] == "notes.png"


@pytest.fixture
def experimental_root(tmp_path: Path) -> Path:
    """A root folder in which gif and svg are allowed."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "invokeai_external.yaml").write_text("settings: {experimental: true}")
    return root


@pytest.mark.parametrize("output_format", ["gif", "svg"])
def test_gif_and_svg_need_a_setting(output_format: str, run: Any, out: Path) -> None:
    arguments = ("--model", OPENAI, "--out", out, "--sandbox", "--json", "--output-format", output_format)
    result = run("generate", "a fox", *arguments)
    assert (result.code, result.json["error"]["code"]) == (2, "capability")
    assert "experimental" in result.json["error"]["hint"]


def test_a_gif_is_saved_as_it_was_received_with_its_settings_beside_it(
    run: Any, out: Path, experimental_root: Path
) -> None:
    options = ["--size", "1024x1024", "--output-format", "gif", "--frame-count", "4", "--frame-duration-ms", "100"]
    command = ["generate", "a fox", "--model", OPENAI, *options]
    result = run(*command, "--out", out, "--sandbox", "--json", "--root", experimental_root)
    assert result.code == 0, result.stdout
    (shown,) = result.json["images"]
    assert (shown["mime_type"], shown["width"], shown["height"]) == ("image/gif", 1024, 1024)
    path = Path(shown["path"])
    assert path.suffix == ".gif"
    with Image.open(path) as image:
        assert (image.format, getattr(image, "n_frames", 1), image.info["duration"]) == ("GIF", 4, 100)
    assert Path(shown["metadata_path"]) == path.with_name(f"{path.name}.json")
    assert shlex.split(run("recall", path).stdout) == ["invokeai-external", *command, "--sandbox"]
    renamed = path.rename(out / "renamed.gif")
    assert shlex.split(run("recall", renamed).stdout) == ["invokeai-external", *command, "--sandbox"]


def test_an_svg_is_saved_as_it_was_received_and_a_notice_says_that_it_was_not_checked(
    run: Any, out: Path, experimental_root: Path
) -> None:
    arguments = ("--model", OPENAI, "--output-format", "svg", "-n", 2, "--size", "1024x768")
    result = run(
        "generate", "a <fox> & more", *arguments, "--out", out, "--sandbox", "--json", "--root", experimental_root
    )
    assert result.code == 0, result.stdout
    assert [image["mime_type"] for image in result.json["images"]] == ["image/svg+xml"] * 2
    assert "svg_unchecked" in [notice["code"] for notice in result.json["notices"]]
    for image in result.json["images"]:
        text = Path(image["path"]).read_text(encoding="utf-8")
        assert text.startswith("<svg")
        assert (image["width"], image["height"]) == (1024, 768)
        assert run("recall", image["path"], "--json").json["openai_output_format"] == "svg"
