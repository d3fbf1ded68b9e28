"""What the picker remembers of the models that it wrote into Invoke."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from invokeai_external.invoke.model_memory import FILE, ModelMemory

SOURCE, OTHER = "external://openai/gpt-image-2", "external://gemini/x"


def test_it_remembers_until_it_forgets(tmp_path: Path) -> None:
    memory = ModelMemory(tmp_path)
    memory.remember(SOURCE, {"name": "GPT"})
    memory.remember(OTHER, {})
    memory.save()
    held = json.loads((tmp_path / FILE).read_text(encoding="utf-8"))
    assert held == {"format": 1, SOURCE: {"name": "GPT"}, OTHER: {}}
    memory = ModelMemory(tmp_path)
    assert (memory.get(SOURCE), memory.get(OTHER), memory.get("format")) == ({"name": "GPT"}, {}, None)
    memory.forget(SOURCE)
    memory.save()
    assert ModelMemory(tmp_path).get(SOURCE) is None
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_that_of_0_1_is_read_and_written_on(tmp_path: Path) -> None:
    old = Path(__file__).parent / "fixtures" / "root_0_1" / FILE
    shutil.copyfile(old, tmp_path / FILE)
    held = json.loads(old.read_text(encoding="utf-8"))
    memory = ModelMemory(tmp_path)
    assert {source: memory.get(source) for source in held} == held
    memory.remember(SOURCE, {})
    memory.save()
    assert json.loads((tmp_path / FILE).read_text(encoding="utf-8")) == {"format": 1, **held, SOURCE: {}}


def test_that_of_a_newer_version_is_left_as_it_is(tmp_path: Path) -> None:
    text = json.dumps({"format": 2, SOURCE: {"name": "GPT"}, "more": 3})
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    memory = ModelMemory(tmp_path)
    assert memory.get(SOURCE) == {"name": "GPT"}
    memory.remember(OTHER, {})
    memory.save()
    assert (tmp_path / FILE).read_text(encoding="utf-8") == text


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"external://openai/x": 3}', "[" * 100_000])
def test_one_that_cannot_be_read_is_as_none(text: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    assert ModelMemory(tmp_path).get("external://openai/x") is None


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_others_on_the_machine_cannot_read_it(tmp_path: Path) -> None:
    memory = ModelMemory(tmp_path)
    memory.remember(SOURCE, {})
    memory.save()
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
