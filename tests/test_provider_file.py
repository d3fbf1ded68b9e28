"""A provider with a known wire format is one YAML file: everything else follows from it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .support.samples import png_of

REPOSITORY = Path(__file__).parent.parent
ID = "zephyr"
MODEL = "zephyr-image-1"
FILE = """
as_of: 2026-11-29
sources: ["The test."]
provider:
  id: zephyr
  adapter: openai_images
  name: Zephyr Labs
  base_url: https://api.zephyr.example/v1
  key_url: https://zephyr.example/keys
  billing_url: https://zephyr.example/billing
  key_env: ZEPHYR_API_KEY
models:
  - id: zephyr-image-1
    name: Zephyr Image 1
    description: The image model of the test.
    modes: [txt2img, img2img]
    input_images: {max_count: 2}
    sizing: {kind: fixed, sizes: [1024x1024, 1536x1024]}
    options: {style: {text: true}}
    prices: {per_image: 0.02}
"""


class Program:
    """The command line of a copy of the repository, with a separate root."""

    def __init__(self, copy: Path, root: Path) -> None:
        self.copy, self.root = copy, root

    def __call__(self, *arguments: str, code: int = 0, given: str = "", module: str = "invokeai_external") -> str:
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(self.copy), "HOME": str(self.root)}
        environ |= {"INVOKEAI_ROOT": str(self.root), "PYTHONWARNINGS": "error", "COLUMNS": "100"}
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            input=given,
            capture_output=True,
            text=True,
            env=environ,
            cwd=self.copy,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def generated(self, *arguments: str) -> Any:
        """What ``generate --json`` prints."""
        shown = self("generate", "a fox", "--model", MODEL, *arguments, "--json", "--out", str(self.root))
        return json.loads(shown[shown.index("{") : shown.rindex("}") + 1])


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with the file in it."""
    folder = tmp_path_factory.mktemp("copy") / "repository"
    unneeded = shutil.ignore_patterns(".*", "tests", "benchmarks", "build", "dist", "__pycache__", "*.egg-info")
    shutil.copytree(REPOSITORY, folder, ignore=unneeded)
    (folder / "invokeai_external" / "providers" / f"{ID}.yaml").write_text(FILE)
    return folder


@pytest.fixture
def program(copy: Path, tmp_path: Path) -> Program:
    return Program(copy, tmp_path)


@pytest.mark.slow
def test_it_is_listed_with_its_prices(program: Program) -> None:
    assert f"{ID}/{MODEL}" in program("models")
    shown = program("models", "show", MODEL)
    assert "0.0200" in shown
    # One of the options that have a flag.
    assert "--style" in shown
    assert ID in program("keys", "set", "--help")


@pytest.mark.slow
def test_a_dry_run_shows_its_request(program: Program) -> None:
    shown = program("generate", "a fox", "--model", f"{ID}/{MODEL}", "-o", "style=ink", "--dry-run")
    assert "https://api.zephyr.example/v1/images/generations" in shown
    assert '"style": "ink"' in shown


@pytest.mark.slow
def test_it_works_in_the_sandbox(program: Program) -> None:
    made = program.generated("--sandbox", "-o", "style=ink")
    assert (made["model"], made["provider"]) == (MODEL, ID)
    assert [(image["width"], image["height"]) for image in made["images"]] == [(1024, 1024)]
    start = program.root / "start.png"
    start.write_bytes(png_of("RGB", (64, 64)))
    assert len(program.generated("--sandbox", "--init", str(start))["images"]) == 1


@pytest.mark.slow
def test_its_key_and_its_errors_name_it(program: Program) -> None:
    missing = program("generate", "a fox", "--model", MODEL, code=2)
    assert "There is no key for Zephyr Labs" in missing
    assert f"keys set {ID}" in missing
    assert "invokeai_external_keys.yaml" in program("keys", "set", ID, given="zephyr-test-key-000")
    assert f"{ID}: key from" in program("keys", "list")
    assert f"{ID}: key from" in program("doctor", code=2)
    assert f"Did you mean {ID}?" in program("models", "--provider", "zephir", code=2)
    assert "Removed" in program("keys", "remove", ID)


@pytest.mark.slow
def test_its_id_is_in_no_other_file_but_generated_pages(copy: Path, program: Program) -> None:
    program(module="docs.generate")
    texts = (file for file in copy.rglob("*") if file.suffix in {".py", ".md", ".yaml", ".toml", ".json"})
    named = {file.relative_to(copy).as_posix() for file in texts if ID in file.read_text(encoding="utf-8")}
    assert named == {f"invokeai_external/providers/{ID}.yaml", "docs/command-line.md"}


def recipe(language: str, holding: str) -> str:
    """A block of CONTRIBUTING.md."""
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return next(block for block in blocks if holding in block)


@pytest.mark.slow
def test_the_recipe_for_a_new_wire_format_works(copy: Path, tmp_path: Path) -> None:
    package = tmp_path / "recipe" / "invokeai_external"
    shutil.copytree(copy / "invokeai_external", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "providers" / "acme.yaml").write_text(recipe("yaml", "id: acme"))
    (package / "adapters" / "acme_images.py").write_text(recipe("python", "class AcmeAdapter"))
    program = Program(package.parent, tmp_path)
    (package.parent / "check.py").write_text(f"{recipe('python', 'GoodResponse')}\n\ntest_nothing_is_wrong_with_it()\n")
    assert program(module="check") == ""
    shown = program("generate", "a fox", "--model", "acme/acme-image-1", "--size", "1536x1024", "--dry-run")
    assert "https://api.acme.example/v1/acme-image-1/images" in shown
    assert "1536x1024" in shown
    assert "None" not in program("generate", "a fox", "--model", "acme/acme-image-1", "--dry-run")
