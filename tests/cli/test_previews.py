"""``generate --previews``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from invokeai_external.progress import Preview

from ..support.programs import GEMINI, OPENAI


@pytest.mark.parametrize(("model", "count"), [(OPENAI, 3), (GEMINI, 1)])
def test_previews_are_saved_in_their_own_folder(model: str, count: int, run: Any, out: Path, tmp_path: Path) -> None:
    folder = tmp_path / "previews"
    arguments = ["generate", "a fox", "--model", model, "--out", out, "--previews", folder, "-n", 2, "--sandbox"]
    # With a lower quality, fewer previews come than were requested.
    arguments += ["--quality", "high"] if model == OPENAI else []
    result = run(*arguments, "--json")
    assert result.code == 0, result.stdout
    suffix = "png" if model == OPENAI else "jpg"
    names = [f"call-{call}-preview-{index}.{suffix}" for call in (1, 2) for index in range(1, count + 1)]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    assert sorted(Path(image["path"]) for image in result.json["images"]) == sorted(out.iterdir())
    for name in names:
        with Image.open(folder / name) as preview:
            assert getattr(preview, "text", {}) == {}
            assert not preview.getexif()
    assert "--previews" not in run("recall", result.json["images"][0]["path"]).stdout
    run(*arguments)
    assert len(list(folder.iterdir())) == 4 * count


def test_the_setting_limits_the_number_of_previews(run: Any, out: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir(exist_ok=True)
    (root / "invokeai_external.yaml").write_text("settings:\n  previews: 1\n")
    folder = tmp_path / "previews"
    arguments = ("generate", "a fox", "--model", OPENAI, "--out", out, "--sandbox", "--root", root)
    assert run(*arguments, "--previews", folder).code == 0
    assert [path.name for path in folder.iterdir()] == ["call-1-preview-1.png"]


def test_previews_that_cannot_be_saved_do_not_stop_the_run(
    run: Any, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder goes away after the check and before the first preview is there."""
    from invokeai_external.cli import image_files

    folder, original = tmp_path / "previews", image_files.PreviewFolder.keep

    def keep_in_nothing(self: image_files.PreviewFolder, preview: Preview) -> None:
        if folder.exists():
            folder.rmdir()
        original(self, preview)

    monkeypatch.setattr(image_files.PreviewFolder, "keep", keep_in_nothing)
    result = run("generate", "a fox", "--model", OPENAI, "--out", out, "--sandbox", "--previews", folder)
    assert result.code == 0
    assert len(list(out.iterdir())) == 1
    assert not folder.exists()


def test_dry_run_shows_the_request_for_a_stream_and_creates_no_folder(
    run: Any, out: Path, tmp_path: Path, sandbox_url: str
) -> None:
    arguments = ("generate", "a fox", "--out", out, "--dry-run", "--json", "--previews", tmp_path / "previews")
    request = run(*arguments, "--model", OPENAI).json["requests"][0]["json"]
    assert (request["stream"], request["partial_images"]) == (True, 3)
    assert run(*arguments, "--model", GEMINI).json["requests"][0]["url"].endswith(":streamGenerateContent?alt=sse")
    planned = run(*arguments, "--model", "gemini/gemini-2.5-flash-image").json
    assert planned["requests"][0]["url"].endswith(":generateContent")
    assert "option_dropped" in [notice["code"] for notice in planned["notices"]]
    assert not (tmp_path / "previews").exists()
    assert httpx.get(f"{sandbox_url}/sandbox/requests").json()["requests"] == []
