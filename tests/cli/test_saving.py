"""How ``generate`` saves images, also on a disk that fails."""

from __future__ import annotations

import errno
import os
import re
import stat
import tempfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from invokeai_external.cli.entry_point import main

from ..support.programs import GEMINI, OPENAI


def test_files_are_named_by_day_model_and_prompt_and_never_overwritten(run: Any, out: Path) -> None:
    for _ in range(3):
        run("generate", "A Red Fox: in/snow!", "--model", OPENAI, "--out", out, "--sandbox")
    day = r"\d{4}-\d\d-\d\d"
    names = sorted(path.name for path in out.iterdir())
    assert len(names) == 3
    for name, pattern in zip(names, ["-2", "-3", ""], strict=True):
        assert re.fullmatch(rf"{day}-gpt-image-2\.5-flare-a-red-fox-in-snow{pattern}\.png", name), name


def test_an_image_is_saved_elsewhere_if_its_folder_is_gone(
    run: Any, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder goes away after the check and before the image arrives."""
    from invokeai_external.cli import image_files

    spare = tmp_path / "spare"
    spare.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spare))
    original = image_files.ImageFolder.save

    def save_into_nothing(self: image_files.ImageFolder, image: Any) -> Any:
        out.rmdir()
        return original(self, image)

    monkeypatch.setattr(image_files.ImageFolder, "save", save_into_nothing)
    result = run("generate", "a fox", "--out", out, "--sandbox", "--json")
    assert result.code == 0
    assert [notice["code"] for notice in result.json["notices"]] == ["sandbox", "saved_elsewhere"]
    saved = Path(result.json["images"][0]["path"])
    assert saved.parent == spare
    # Others may read the temporary folder.
    assert os.name != "posix" or stat.S_IMODE(saved.stat().st_mode) == 0o600
    spare.chmod(0o500)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    result = run("generate", "a fox", "--out", out, "--sandbox")
    assert result.code == 1
    assert run("generate", "a fox", "--out", out, "--sandbox", "--json").json["error"]["code"] == "not_saved"


def failing_once(monkeypatch: pytest.MonkeyPatch, error: OSError, times: int = 1) -> None:
    """Make the first images impossible to write, wherever."""
    from invokeai_external.cli import image_files

    original = image_files.ImageFolder.save
    left = [error] * times

    def save(self: image_files.ImageFolder, image: Any) -> Any:
        if left:
            with monkeypatch.context() as patched:
                patched.setattr(tempfile, "mkstemp", lambda *_, **__: (_ for _ in ()).throw(left[-1]))
                try:
                    return original(self, image)
                finally:
                    left.pop()
        return original(self, image)

    monkeypatch.setattr(image_files.ImageFolder, "save", save)


@pytest.mark.parametrize("model", [OPENAI, GEMINI])
def test_an_image_that_cannot_be_saved_does_not_stop_the_others(
    model: str, run: Any, out: Path, monkeypatch: pytest.MonkeyPatch, sandbox_url: str
) -> None:
    order = {"provider": model.partition("/")[0], "fault": "slow", "seconds": 1}
    httpx.post(f"{sandbox_url}/sandbox/faults", json=order).raise_for_status()
    failing_once(monkeypatch, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    result = run("generate", "a fox", "--model", model, "--out", out, "-n", 4, "--json")
    assert result.code == 1
    assert len(list(out.iterdir())) == 3
    assert sorted(Path(image["path"]) for image in result.json["images"]) == sorted(out.iterdir())
    (error,) = result.json["errors"]
    assert error["code"] == "not_saved"
    assert os.strerror(errno.ENOSPC) in error["message"]

    failing_once(monkeypatch, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    before = set(out.iterdir())
    result = run("generate", "a fox", "--model", model, "--out", out, "-n", 4)
    assert result.code == 1
    assert {Path(line) for line in result.stdout.splitlines()} == set(out.iterdir()) - before
    assert result.stderr.count("Error: ") == 1


def test_it_is_an_error_if_no_image_can_be_saved(run: Any, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing_once(monkeypatch, OSError(errno.EROFS, os.strerror(errno.EROFS)), times=2)
    result = run("generate", "a fox", "--model", GEMINI, "--out", out, "--sandbox", "-n", 2, "--json")
    assert result.code == 1
    assert result.json["error"]["code"] == "not_saved"


def test_saved_images_are_reported_after_any_failure(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from invokeai_external.cli.commands import generate

    def fail(*_: object) -> None:
        raise ValueError("a mistake of ours")

    monkeypatch.setattr(generate, "_print_result", fail)
    with pytest.raises(ValueError, match="a mistake of ours"):
        main(["generate", "a fox", "--model", GEMINI, "--out", str(out), "--sandbox"])
    (path,) = out.iterdir()
    assert capsys.readouterr() == ("", f"Saved: {path}\n")


def test_an_image_without_room_for_its_settings_is_saved_without_them(
    run: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a JPEG does whose own EXIF fills all the room there is."""
    from invokeai_external.images import metadata_files
    from invokeai_external.images.errors import ImageError

    def refuse(*_: object) -> bytes:
        raise ImageError("There is no room.", "too_many_bytes")

    monkeypatch.setattr(metadata_files, "_parts_with", refuse)
    result = run("generate", "a fox", "--out", out, "--sandbox", "--metadata", "embed", "--json")
    assert result.code == 0
    assert len(list(out.iterdir())) == 1
    (notice,) = (notice for notice in result.json["notices"] if notice["code"] == "no_metadata")
    assert "There is no room." in notice["message"]
