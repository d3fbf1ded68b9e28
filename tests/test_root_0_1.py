"""A root folder of 0.1 is opened, run and recalled; ``fixtures/root_0_1/README.md`` says what is in it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from invokeai_external import Registry, Size, load_settings
from invokeai_external.cli.entry_point import main
from invokeai_external.images import metadata_files
from invokeai_external.invoke.gallery.result_cache import ResultCache
from invokeai_external.root_folder import KEPT_FOLDER, RESCUED_FOLDER

from .golden.compare import FOLDER as GOLDEN
from .golden.compare import check
from .support.providers import IN_INVOKE

FIXTURE = Path(__file__).parent / "fixtures" / "root_0_1"
IMAGES = sorted(
    path.relative_to(FIXTURE).as_posix()
    for path in FIXTURE.rglob("*")
    # What is kept has its settings in result.json, where recall does not look.
    if path.suffix in (".png", ".jpg", ".webp") and KEPT_FOLDER not in path.parts
)
MADE_AT = 1_764_460_800.0
"""When the fixture's results are said to have been kept: git keeps no times, and they are kept for a day."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy, with the modes and the times that git does not keep."""
    copy = tmp_path / "root_0_1"
    shutil.copytree(FIXTURE, copy)
    (copy / "api_keys.yaml").chmod(0o600)
    for entry in (copy / KEPT_FOLDER).iterdir():
        entry.chmod(0o700)
        os.utime(entry, (MADE_AT, MADE_AT))
    for rescued in (copy / RESCUED_FOLDER).iterdir():
        rescued.chmod(0o600)
    return copy


def test_its_settings_are_read(root: Path) -> None:
    settings = load_settings(root, {})
    assert settings.notices == ()
    assert settings.sandbox is True
    assert (
        settings.limits.model_dump()
        | {
            "concurrency": 2,
            "max_wait_s": 300,
            "max_response_bytes": 300_000_000,
            "mask_feather_px": 4,
            "previews": 1,
            "look_ahead": False,
        }
        == settings.limits.model_dump()
    )
    keys = {
        name: found.api_key and found.api_key.get_secret_value()
        for name, found in settings.credentials.items()
        if found.api_key
    }
    assert keys == {
        "openai": "sk-never-a-key-of-openai-0000000000000000",
        "gemini": "AIza-never-a-key-of-gemini-000000000000",
    }


def test_its_base_urls_are_used_as_they_are(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for provider in IN_INVOKE:
        monkeypatch.delenv(f"INVOKEAI_EXTERNAL_{provider.upper()}_API_KEY")
    assert main(["keys", "list", "--json", "--root", str(root)]) == 0
    rows = {row["provider"]: row for row in json.loads(capsys.readouterr().out)["keys"]}
    assert {name: (row["base_url"], row["source"]) for name, row in rows.items()} == {
        "gemini": ("http://127.0.0.1:9393/gemini", str(root / "api_keys.yaml")),
        "openai": ("http://localhost:9393/openai", str(root / "api_keys.yaml")),
    }


def test_its_models_are_known(root: Path) -> None:
    models = {model.reference: model for model in Registry(load_settings(root, {}).catalog).models()}
    flare = models["openai/gpt-image-2.6-flare"]
    assert flare.prices.model_dump(include={"text_in", "image_in", "text_out", "image_out"}) == {
        "text_in": 5,
        "image_in": 8,
        "text_out": None,
        "image_out": 24,
    }
    assert flare.image_tokens == {"low 1024x1024": 272, "medium 1024x1024": 1056, "high 1024x1024": 4160}
    assert models["openai/gpt-image-1"].lifecycle.status == "active"
    own = models["gemini/gemini-4-image"]
    assert (own.aliases, own.prices.image_out, own.input_images.max_count) == (("banana-4",), 60, 20)
    assert own.image_tokens["2K"] == 1680
    assert Size(2048, 2048) in {preset.size for preset in models["openai/gpt-image-1-mini"].sizing.presets()}


@pytest.mark.parametrize("model", ["gemini-nano-banana-2.1", "openai/gpt-image-2.6-flare"])
def test_an_image_is_made_with_it(model: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["generate", "a fox", "--model", model, "--sandbox", "--json"]
    assert main([*arguments, "--root", str(root), "--out", str(root / "pictures")]) == 0
    [made] = json.loads(capsys.readouterr().out)["images"]
    assert Path(made["path"]).parent == root / "pictures"
    with Image.open(made["path"]) as image:
        assert image.size == (made["width"], made["height"])


def test_every_image_in_it_is_recalled(capsys: pytest.CaptureFixture[str]) -> None:
    now: dict[str, Any] = {}
    for name in IMAGES:
        codes = [main(["recall", str(FIXTURE / name), *json_too]) for json_too in ([], ["--json"])]
        assert codes == [0, 0], name
        command, _, found = capsys.readouterr().out.partition("\n")
        now[name] = {"command": command, "json": json.loads(found)}
    assert {Path(name).suffix for name in now} == {".png", ".jpg", ".webp"}
    check("recall_0_1", now, may_grow=False)


def test_its_kept_results_are_handed_out(root: Path) -> None:
    kept = ResultCache(root, clock=lambda: MADE_AT + 60)
    prompts = {}
    for entry in sorted((root / KEPT_FOLDER).iterdir()):
        held = kept.acquire(entry.name.rpartition("-")[0])
        assert held == entry
        result = kept.read(entry)
        assert result is not None
        prompts[result.images[0].metadata["positive_prompt"]] = [image.size for image in result.images]
    assert prompts == {"a lighthouse, kept": [Size(256, 192)] * 2, "a garden, kept": [Size(256, 192)]}


def test_its_rescued_images_hold_their_settings() -> None:
    [rescued] = (FIXTURE / RESCUED_FOLDER).iterdir()
    found = metadata_files.read(rescued.read_bytes())
    assert found is not None
    assert found["positive_prompt"] == "a lighthouse, rescued"


def test_the_nodes_that_its_workflow_and_its_queue_hold_are_still_there() -> None:
    nodes = json.loads((GOLDEN / "nodes.json").read_text(encoding="utf-8"))
    workflow = json.loads((FIXTURE / "workflow.json").read_text(encoding="utf-8"))["workflow"]
    saved = {
        node["data"]["type"]: set(node["data"]["inputs"]) for node in workflow["nodes"] if "inputs" in node["data"]
    }
    session = json.loads((FIXTURE / "queue_item.json").read_text(encoding="utf-8"))["session"]
    queued = {node["type"]: set(node) - {"type", "id"} for node in session["graph"]["nodes"].values()}
    ours = [(kind, fields) for found in (saved, queued) for kind, fields in found.items() if kind in nodes]
    assert {kind for kind, _ in ours} <= set(nodes)
    assert ours
    for kind, fields in ours:
        assert fields <= set(nodes[kind]["fields"]), kind


def test_what_the_picker_remembers_names_models_that_are_known() -> None:
    remembered = json.loads((FIXTURE / "invokeai_external_models.json").read_text(encoding="utf-8"))
    known = {f"external://{model.reference}" for model in Registry().models()}
    assert {source for source in remembered if source != "external://gemini/gemini-4-image"} <= known
    assert {tuple(fields) for fields in remembered.values()} == {
        ("name", "description", "capabilities", "default_settings")
    }
