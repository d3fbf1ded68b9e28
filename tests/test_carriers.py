"""Which provider of Invoke's page carries a model of another provider, and the way back from a record."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from invokeai_external.invoke.models.carriers import (
    carrier_of,
    is_carried,
    is_ours,
    key_of,
    recalled_options,
    reference_of,
    source_of,
)
from invokeai_external.providers.registry import Registry
from invokeai_external.providers.schema import ModelConfig
from invokeai_external.settings.settings import load_user_file

from .support.providers import IN_INVOKE

USER_FILE = """
providers:
  acme: {adapter: openai_images, base_url: "http://127.0.0.1:1/v1"}
models:
  acme/plain: {sizing: {kind: fixed, sizes: [1024x1024]}}
  acme/styles: {sizing: {kind: fixed, sizes: [1024x1024]}, options: {quality: {values: [standard, hd]}}}
  acme/gpt: {extends: openai/gpt-image-2}
  acme/banana: {extends: gemini/gemini-3-pro-image}
  acme/owner/name: {sizing: {kind: fixed, sizes: [1024x1024]}}
  openai/acme/gateway: {name: A gateway's own}
"""
ON = ("gemini", "openai", "acme")


@dataclass(frozen=True)
class Installed:
    """A record of Invoke's."""

    provider_id: str
    provider_model_id: str
    key: str = "some-key"


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    (tmp_path / "invokeai_external.yaml").write_text(USER_FILE)
    return Registry(load_user_file(tmp_path).catalog)


def record_of(model: ModelConfig) -> Installed:
    """The record that we install for a model."""
    provider, _, model_id = source_of(model).removeprefix("external://").partition("/")
    return Installed(provider, model_id, key_of(model) or "some-key")


@pytest.mark.parametrize(
    ("reference", "source"),
    [
        ("acme/plain", "external://alibabacloud/acme/plain"),
        # The panel has other values for it, which would all fail.
        ("acme/styles", "external://alibabacloud/acme/styles"),
        ("acme/owner/name", "external://alibabacloud/acme/owner/name"),
        ("acme/gpt", "external://openai/acme/gpt"),
        ("acme/banana", "external://gemini/acme/banana"),
        ("azure/gpt-image-2", "external://openai/azure/gpt-image-2"),
        ("vertex/gemini-3-pro-image", "external://gemini/vertex/gemini-3-pro-image"),
        ("openai/gpt-image-2", "external://openai/gpt-image-2"),
        ("gemini/gemini-3-pro-image", "external://gemini/gemini-3-pro-image"),
    ],
)
def test_a_model_is_carried_by_the_provider_whose_controls_it_has(
    registry: Registry, reference: str, source: str
) -> None:
    assert source_of(registry.resolve(reference).model) == source


def test_every_model_is_found_by_its_record(registry: Registry) -> None:
    models = [model for provider in registry.provider_ids for model in registry.models(provider)]
    for model in models:
        record = record_of(model)
        assert reference_of(record, registry, ON) == model.reference
        assert is_ours(record) is is_carried(record, registry, ON) is (model.provider not in IN_INVOKE)
        # Also when its provider was removed: nothing may go to the carrier.
        assert reference_of(record, Registry(), ()) == model.reference


def test_a_key_is_the_plain_name_of_a_file_and_only_one_model_has_it(registry: Registry) -> None:
    models = [model for provider in registry.provider_ids for model in registry.models(provider)]
    keys = [key for model in models if (key := key_of(model))]
    assert len(set(keys)) == len(keys) == sum(carrier_of(model) is not None for model in models)
    assert all(re.fullmatch("[a-z0-9-]+", key) for key in keys)


@pytest.mark.parametrize(
    ("record", "reference"),
    [
        # Installed by hand.
        (Installed("alibabacloud", "acme/other"), "acme/other"),
        (Installed("openai", "acme/plain"), "acme/plain"),
        # Invoke's own.
        (Installed("alibabacloud", "qwen-image-2.0"), "alibabacloud/qwen-image-2.0"),
        (Installed("alibabacloud", "acme"), "alibabacloud/acme"),
        (Installed("alibabacloud", "qwen/image"), "alibabacloud/qwen/image"),
        # A gateway's own names.
        (Installed("openai", "acme/gateway"), "openai/acme/gateway"),
        (Installed("openai", "azure/gpt-image-2"), "openai/azure/gpt-image-2"),
    ],
)
def test_a_record_that_others_installed(registry: Registry, record: Installed, reference: str) -> None:
    assert reference_of(record, registry, ON) == reference


def test_the_page_recalls_the_options_of_a_carried_model_as_those_of_its_carrier(registry: Registry) -> None:
    def recalled(reference: str, **options: str) -> object:
        model = registry.resolve(reference).model
        return recalled_options(record_of(model), model, options)

    options = {"quality": "high", "background": "auto", "moderation": "low"}
    assert recalled("acme/gpt", **options) == {"openai_quality": "high"}
    assert recalled("acme/banana", thinking_level="high") == {}
    assert recalled("vertex/gemini-3.1-flash-image", thinking_level="high") == {"gemini_thinking_level": "high"}
    assert recalled("acme/plain", **options) == {}
    assert recalled("openai/gpt-image-2", **options) == {}
