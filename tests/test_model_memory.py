"""What is remembered about the models written into Invoke."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from invokeai_external.invoke.models.memory import FILE, ModelMemory

SOURCE, OTHER = "external://openai/gpt-image-2", "external://gemini/x"


def test_it_remembers_until_it_forgets(tmp_path: Path) -> None:
    memory = ModelMemory(tmp_path)
    memory.remember(SOURCE, {"name": "GPT"})
    memory.remember(OTHER, {})
    memory.save()
    content = json.loads((tmp_path / FILE).read_text(encoding="utf-8"))
    assert content == {"format": 1, SOURCE: {"name": "GPT"}, OTHER: {}}
    memory = ModelMemory(tmp_path)
    assert (memory.get(SOURCE), memory.get(OTHER), memory.get("format")) == ({"name": "GPT"}, {}, None)
    memory.forget(SOURCE)
    memory.save()
    assert ModelMemory(tmp_path).get(SOURCE) is None
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_the_file_of_0_1_is_read_and_extended(tmp_path: Path) -> None:
    old = Path(__file__).parent / "fixtures" / "root_0_1" / FILE
    shutil.copyfile(old, tmp_path / FILE)
    content = json.loads(old.read_text(encoding="utf-8"))
    memory = ModelMemory(tmp_path)
    assert {source: memory.get(source) for source in content} == content
    memory.remember(SOURCE, {})
    memory.save()
    assert json.loads((tmp_path / FILE).read_text(encoding="utf-8")) == {"format": 1, **content, SOURCE: {}}


def test_the_file_of_a_newer_version_is_read_but_not_written(tmp_path: Path) -> None:
    text = json.dumps({"format": 2, SOURCE: {"name": "GPT"}, "more": 3})
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    memory = ModelMemory(tmp_path)
    assert memory.get(SOURCE) == {"name": "GPT"}
    memory.remember(OTHER, {})
    memory.save()
    assert (tmp_path / FILE).read_text(encoding="utf-8") == text


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"external://openai/x": 3}', "[" * 100_000])
def test_a_damaged_file_counts_as_empty(text: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    assert ModelMemory(tmp_path).get("external://openai/x") is None


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_other_users_of_the_computer_cannot_read_it(tmp_path: Path) -> None:
    memory = ModelMemory(tmp_path)
    memory.remember(SOURCE, {})
    memory.save()
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
