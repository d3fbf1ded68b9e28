"""Providers of the user's own: what the file may say, which key goes where, and what is sent."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from invokeai_external import GenerationRequest, NotConfiguredError, Registry, Service, Settings, SettingsError
from invokeai_external.providers import catalog
from invokeai_external.providers.built_in import built_in_ids
from invokeai_external.settings.key_file import remove_key, set_key
from invokeai_external.settings.settings import load_settings

ACME = """
  acme:
    adapter: openai_images
    name: Acme Gateway
    base_url: https://img.acme.example
    key_env: ACME_API_KEY
    limits: {concurrency: 2, timeout_s: 900}
"""
MODEL = "  acme/acme-image-1: {sizing: {kind: fixed, sizes: [1024x1024]}, prices: {per_image: 0.02}}\n"
CLASSIC = """
  azure_east:
    adapter: openai_images
    base_url: https://name.openai.azure.com/openai
    auth: {type: header, name: api-key}
    query: {api-version: 2025-04-01-preview}
    paths: {generate: "deployments/{model}/images/generations", edit: "deployments/{model}/images/edits"}
    headers: {x-team: art}
"""
DEPLOYMENT = (
    "  azure_east/gpt-image-2: {extends: openai/gpt-image-2, api_model: my deployment, options: {moderation: null}}\n"
)


def root_with(folder: Path, providers: str = "", models: str = "", more: str = "") -> Path:
    sections = f"providers:{providers or ' {}'}\nmodels:\n{models}" if models else f"providers:{providers or ' {}'}\n"
    (folder / "invokeai_external.yaml").write_text(sections + more)
    return folder


def loaded(folder: Path, **environ: str) -> Settings:
    return load_settings(folder, environ)


def sent_to(settings: Settings, model: str, **options: Any) -> Any:
    return Service(settings).dry_run(GenerationRequest(prompt="a fox", model=model, **options))[1][0]


def test_a_provider_is_a_few_lines(tmp_path: Path) -> None:
    settings = loaded(root_with(tmp_path, ACME, MODEL), ACME_API_KEY="sk-acme")
    assert settings.providers["acme"].name == "Acme Gateway"
    assert settings.is_ready("acme")
    registry = Registry(settings.catalog)
    assert registry.provider_ids[-1] == "acme"
    model = registry.resolve("acme-image-1").model
    assert (model.reference, model.name, model.provider_name) == ("acme/acme-image-1", "acme-image-1", "Acme Gateway")
    assert sent_to(settings, "acme/acme-image-1").url == "https://img.acme.example/v1/images/generations"


def test_a_path_query_header_and_name_may_be_other_ones(tmp_path: Path) -> None:
    settings = loaded(root_with(tmp_path, CLASSIC, DEPLOYMENT))
    request = sent_to(settings, "azure_east/gpt-image-2", options={"moderation": "low"})
    assert request.url == (
        "https://name.openai.azure.com/openai/deployments/my%20deployment/images/generations"
        "?api-version=2025-04-01-preview"
    )
    assert request.json["model"] == "my deployment"
    assert "moderation" not in request.json
    assert request.headers == {"x-team": "art"}
    model = Registry(settings.catalog).resolve("azure_east/gpt-image-2").model
    assert (model.extends, model.lifecycle.shutdown, "quality" in model.options) == ("openai/gpt-image-2", None, True)


@pytest.mark.parametrize(
    ("written", "line", "problem"),
    [
        ("\n  acme: {base_url: https://a.example}\n", 2, "providers.acme.adapter: this field is missing"),
        ("\n  acme: {adapter: openai_images}\n", 2, "providers.acme.base_url: this field is missing"),
        ("\n  acme: {adapter: openai_image, base_url: https://a.example}\n", 2, "there is no such wire format"),
        ("\n  Acme: {adapter: gemini, base_url: https://a.example}\n", 2, "providers.Acme"),
        ("\n  openai:\n    base_url: https://a.example\n", 3, "providers.openai.base_url: Invoke has a setting for it"),
        ("\n  seedream: {adapter: gemini, base_url: https://a.example}\n", 2, "providers.seedream"),
        (f"{ACME}    colour: red\n", 8, "providers.acme.colour: there is no such field"),
        (f"{ACME}    in_invoke: true\n", 8, "providers.acme.in_invoke: there is no such field"),
        (f"{ACME}    headers: {{Authorization: Bearer abc}}\n", 8, "looks like a key"),
        (f"{ACME}    headers: {{x-note: sk-abcdefghij}}\n", 8, "looks like a key"),
        (f"{ACME}    headers: {{Host: other.example}}\n", 8, "Host is set by this program"),
        (f"{ACME}    query: {{api-key: abc}}\n", 8, "looks like a key"),
        (f"{ACME}    paths: {{generat: x}}\n", 8, "providers.acme.paths.generat: openai_images has no such path"),
        (f"{ACME}    paths: {{generate: '/x?y'}}\n", 8, "the path generate must be like"),
        (f"{ACME}    auth: {{type: command, command: []}}\n", 8, "providers.acme.auth.command"),
        (f"{ACME}    auth: {{type: magic}}\n", 8, "providers.acme.auth: this must be one of 'bearer', 'header'"),
        (f"{ACME}    auth: bearer\n", 8, "providers.acme.auth: this must hold 'name: value' lines"),
        (f"{ACME}    auth: {{type: header, name: api key}}\n", 8, "providers.acme.auth.name"),
        (ACME.replace("concurrency: 2", "concurrency: 0"), 7, "limits.concurrency: this must be at least"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_line(tmp_path: Path, written: str, line: int, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        loaded(root_with(tmp_path, written))
    assert f"line {line}: " in caught.value.message
    assert problem in caught.value.message
    assert "abc" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("  acme/x: {}\n", "models.acme/x.sizing: this field is missing"),
        ("  acme/x: {extends: openai/gpt-image-9}\n", "extends: there is no model"),
        ("  acme/x: {extends: acme/x}\n", "it extends itself"),
        ("  acme/x: {extends: openai/gpt-image-2, options: {moderaton: null}}\n", "no such option to take out"),
        ("  acme/x: {extends: acme/y}\n  acme/y: {extends: acme/x}\n", "it extends itself"),
        ("  other/x: {extends: openai/gpt-image-2}\n", "There is no provider"),
        ("  acme/x: {extends: openai/gpt-image-2, provider_name: Y, sizing: null}\n", "sizing: this field is missing"),
    ],
)
def test_a_mistake_in_a_model_too(tmp_path: Path, written: str, problem: str) -> None:
    settings = loaded(root_with(tmp_path, ACME, written))
    with pytest.raises(SettingsError) as caught:
        Registry(settings.catalog)
    assert problem in caught.value.message


def test_a_model_may_extend_one_that_is_written_below(tmp_path: Path) -> None:
    models = (
        "  acme/a: {extends: acme/b, name: A}\n  acme/b: {extends: openai/gpt-image-2, options: {background: null}}\n"
    )
    registry = Registry(loaded(root_with(tmp_path, ACME, models)).catalog)
    first, second = registry.models("acme")
    assert {first.id, second.id} == {"a", "b"}
    assert all("background" not in model.options and "quality" in model.options for model in (first, second))
    # A bare id means the model that has everything itself.
    assert registry.resolve("gpt-image-2").model.reference == "openai/gpt-image-2"


def test_a_long_chain_of_models_is_read(tmp_path: Path) -> None:
    models = "".join(f"  acme/m{i}: {{extends: acme/m{i + 1}}}\n" for i in range(1500))
    registry = Registry(
        loaded(root_with(tmp_path, ACME, f"{models}  acme/m1500: {{extends: openai/gpt-image-2}}\n")).catalog
    )
    assert registry.resolve("acme/m0").model.sizing == registry.resolve("openai/gpt-image-2").model.sizing


def test_each_key_is_in_the_file_of_its_provider(tmp_path: Path) -> None:
    root = root_with(tmp_path, ACME)
    providers = loaded(root).providers
    set_key(root, providers["acme"], "sk-acme")
    set_key(root, providers["openai"], "sk-openai")
    ours, invokes = root / "invokeai_external_keys.yaml", root / "api_keys.yaml"
    assert ours.read_text() == 'format: 1\nexternal_acme_api_key: "sk-acme"\n'
    assert invokes.read_text() == 'external_openai_api_key: "sk-openai"\n'
    assert ours.stat().st_mode & 0o777 == 0o600
    found = loaded(root).credentials
    assert {name: key.source for name, key in found.items() if key.api_key} == {
        "openai": str(invokes),
        "acme": str(ours),
    }
    assert remove_key(root, providers["acme"])
    assert ours.read_text() == "format: 1\n"


def test_a_file_of_keys_of_a_later_version_is_read_and_not_written(tmp_path: Path) -> None:
    root = root_with(tmp_path, ACME)
    ours = root / "invokeai_external_keys.yaml"
    ours.write_text("format: 2\nexternal_acme_api_key: sk-acme\n")
    settings = loaded(root)
    assert settings.is_ready("acme")
    with pytest.raises(SettingsError, match="later version"):
        set_key(root, settings.providers["acme"], "sk-new")
    assert "sk-new" not in ours.read_text()


def test_a_provider_without_a_key_or_a_base_url_is_off(tmp_path: Path) -> None:
    settings = loaded(
        root_with(tmp_path, '\n  local: {adapter: openai_images, base_url: "http://127.0.0.1:9", auth: {type: none}}\n')
    )
    assert settings.is_ready("local")
    assert [name for name in built_in_ids() if settings.is_ready(name)] == []
    off = [provider.id for provider in catalog.providers() if provider.base_url is None]
    assert {"azure", "vertex", "litellm"} == set(off)
    assert {model.provider for model in Registry().models()}.isdisjoint(off)
    with pytest.raises(NotConfiguredError, match="has no base URL"):
        sent_to(settings, "azure/gpt-image-2")


GEMINI_LIKE = "  gemini/mine: {extends: gemini/gemini-3-pro-image, options: {negative_prompt: {text: true}}}\n"


def test_an_option_that_the_wire_format_does_not_have_is_not_sent_and_a_notice_says_so(tmp_path: Path) -> None:
    settings = loaded(root_with(tmp_path, models=GEMINI_LIKE))
    options: Any = {"negative_prompt": "blur", "temperature": 0.5}
    plan, [sent] = Service(settings).dry_run(GenerationRequest(prompt="a fox", model="gemini/mine", options=options))
    assert plan.calls[0].options == {"temperature": 0.5}
    assert "blur" not in str(sent.json)
    [notice] = [notice for notice in plan.notices if notice.code == "option_dropped"]
    assert "negative prompt" in notice.message
    # OpenAI's wire format has every option by its name.
    like_openai = "  acme/x: {extends: openai/gpt-image-2, options: {negative_prompt: {text: true}}}\n"
    settings = loaded(root_with(tmp_path, ACME, like_openai))
    assert sent_to(settings, "acme/x", options={"negative_prompt": "blur"}).json["negative_prompt"] == "blur"


ELSEWHERE = "\n  openrouter: {base_url: https://other.example/api/v1}\n"


def test_the_usual_variable_of_a_built_in_provider_does_not_follow_it_to_another_server(tmp_path: Path) -> None:
    ours = loaded(root_with(tmp_path), OPENROUTER_API_KEY="sk-or-v1-mine")
    assert (ours.is_on("openrouter"), ours.is_ready("openrouter")) == (True, True)
    elsewhere = loaded(root_with(tmp_path, ELSEWHERE), OPENROUTER_API_KEY="sk-or-v1-mine")
    assert elsewhere.providers["openrouter"].base_url == "https://other.example/api/v1"
    assert elsewhere.credentials["openrouter"].api_key is None
    assert (elsewhere.is_on("openrouter"), elsewhere.is_ready("openrouter")) == (True, False)
    # Nor with a base URL from the environment.
    url = {"INVOKEAI_EXTERNAL_OPENROUTER_BASE_URL": "https://other.example/api/v1"}
    moved = loaded(root_with(tmp_path), OPENROUTER_API_KEY="sk-or-v1-mine", **url)
    assert moved.credentials["openrouter"].api_key is None
    # A key that was given for it is sent there.
    given = loaded(root_with(tmp_path, ELSEWHERE), INVOKEAI_EXTERNAL_OPENROUTER_API_KEY="sk-theirs")
    assert given.is_ready("openrouter")


def test_a_ready_provider_is_off_until_it_has_a_key(tmp_path: Path) -> None:
    settings = loaded(root_with(tmp_path))
    assert [name for name in built_in_ids() if settings.is_on(name)] == ["gemini", "openai"]


def test_built_in_files_name_no_command() -> None:
    assert all(provider.auth is None or provider.auth.type != "command" for provider in catalog.providers())


def test_a_dry_run_runs_no_command(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    command = json.dumps([sys.executable, "-c", f"open({str(witness)!r}, 'w')"])
    providers = f"{ACME}    auth: {{type: command, command: {command}}}\n"
    settings = loaded(root_with(tmp_path, providers, MODEL))
    sent_to(settings, "acme/acme-image-1")
    assert not witness.exists()
