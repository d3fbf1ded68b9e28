"""``install`` and ``doctor`` on an Invoke root, without an Invoke."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from invokeai_external.cli import main
from invokeai_external.version import VERSION

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / "invokeai.yaml").write_text("schema_version: 4.0.2\n")
    return folder


def test_the_pack_is_copied_in_the_shape_of_a_clone(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["install", "--root", str(root)]) == 0
    pack = root / "nodes" / "invokeai_external"
    assert (pack / "__init__.py").read_text() == (REPOSITORY / "__init__.py").read_text()
    ours = {path.relative_to(REPOSITORY) for path in (REPOSITORY / "invokeai_external").rglob("*.*") if path.is_file()}
    copied = {path.relative_to(pack) for path in pack.rglob("*.*") if path.is_file()}
    assert copied == {path for path in ours if "__pycache__" not in path.parts} | {Path("__init__.py")}
    assert [path.name for path in (root / "nodes").iterdir()] == ["invokeai_external"]
    assert str(pack) in capsys.readouterr().err


def test_an_older_copy_is_replaced_whole(root: Path) -> None:
    stale = root / "nodes" / "invokeai_external" / "invokeai_external" / "stale.py"
    stale.parent.mkdir(parents=True)
    stale.write_text("raise SystemExit")
    assert main(["install", "--root", str(root)]) == 0
    assert not stale.exists()
    assert runpy.run_path(str(stale.parent / "version.py"))["VERSION"] == VERSION


def test_a_git_clone_is_left_alone(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "nodes" / "invokeai_external" / ".git").mkdir(parents=True)
    assert main(["install", "--root", str(root)]) == 2
    assert "is a git clone" in capsys.readouterr().err


def test_what_is_no_root_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["install", "--root", str(tmp_path)]) == 2
    assert "is no Invoke root" in capsys.readouterr().err


def test_the_doctor_finds_a_good_root_good(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["install", "--root", str(root)])
    assert main(["doctor", "--root", str(root)]) == 0
    told = capsys.readouterr().out
    assert "WRONG" not in told
    assert f"the pack {VERSION} is in" in told
    assert "openai: key from INVOKEAI_EXTERNAL_OPENAI_API_KEY; https://api.openai.com/v1" in told


def test_the_doctor_says_what_is_wrong_and_how_to_mend_it(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for provider in ("OPENAI", "GEMINI"):
        monkeypatch.delenv(f"INVOKEAI_EXTERNAL_{provider}_API_KEY")
    assert main(["doctor", "--root", str(root)]) == 2
    told = capsys.readouterr().out
    assert f"WRONG  the pack is not installed; run: invokeai-external install --root {root}" in told
    assert "WRONG  no provider has a key" in told
    (root / "invokeai_external.yaml").write_text("settings: {concurrency: 0}\n")
    (root / "nodes" / "invokeai_external" / "invokeai_external").mkdir(parents=True)
    (root / "nodes" / "invokeai_external" / "invokeai_external" / "version.py").write_text('VERSION = "0.0.1"\n')
    assert main(["doctor", "--root", str(root)]) == 2
    told = capsys.readouterr().out
    assert "is 0.0.1, not" in told
    assert "invokeai_external.yaml, line 1: settings.concurrency" in told


def test_the_doctor_knows_what_is_no_root(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--root", str(tmp_path)]) == 2
    assert "WRONG  no invokeai.yaml" in capsys.readouterr().out
