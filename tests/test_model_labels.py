"""What Invoke's lists show of a model: its place, its name, its price, its end and its successor."""

from __future__ import annotations

import datetime

import pytest

from invokeai_external.clock import utc_today
from invokeai_external.invoke.models.labels import description_of, in_list_order, name_of, price_of
from invokeai_external.invoke.remedies import PAGE
from invokeai_external.providers.lifecycle import Lifecycle
from invokeai_external.providers.registry import Registry
from invokeai_external.providers.schema import ModelConfig

from .support.providers import IN_INVOKE


def model_on(reference: str, day: datetime.date) -> ModelConfig:
    return Registry(today=lambda: day).resolve(reference).model


@pytest.mark.parametrize(
    ("day", "name"),
    [
        (datetime.date(2026, 10, 31), "GPT Image 1.5"),
        (datetime.date(2026, 11, 1), "GPT Image 1.5 (ends 2026-12-01)"),
        (datetime.date(2026, 12, 1), "GPT Image 1.5 (ends 2026-12-01)"),
        (datetime.date(2026, 12, 2), "GPT Image 1.5 (retired)"),
    ],
)
def test_the_name_has_the_end_from_thirty_days_before_it(day: datetime.date, name: str) -> None:
    assert name_of(model_on("openai/gpt-image-1.5", day), day) == name


def test_an_end_that_is_not_confirmed_is_only_in_the_description() -> None:
    day = datetime.date(2026, 10, 28)
    model = model_on("gemini/gemini-3.1-flash-image", day)
    assert name_of(model, day) == model.name
    assert "Ends on 2026-10-29 (not confirmed)" in description_of(model, day)
    # On the last day it has not ended.
    assert "Ends on 2026-10-29 (not confirmed)" in description_of(model, datetime.date(2026, 10, 29))
    over = description_of(model, datetime.date(2026, 10, 30))
    assert "Reportedly ended on 2026-10-29; use" in over
    assert "confirmed" not in over


def test_the_name_has_the_provider_that_invoke_does_not_show() -> None:
    day = datetime.date(2026, 12, 10)
    assert name_of(model_on("azure/gpt-image-2", day), day) == "GPT Image 2 (Azure OpenAI)"
    assert name_of(model_on("azure/gpt-image-1.5", datetime.date(2026, 12, 18)), datetime.date(2026, 12, 18)) == (
        "GPT Image 1.5 (Azure OpenAI, retired)"
    )


def test_the_successor_has_its_name() -> None:
    day = datetime.date(2026, 11, 29)
    model = model_on("openai/gpt-image-1-mini", day)
    assert "Ends on 2026-12-01; use GPT Image 2 instead." in description_of(model, day)
    assert "instead" not in description_of(model_on("openai/gpt-image-2", day), day)


def test_the_newest_model_of_a_provider_is_first_and_one_with_an_end_comes_after_all_others() -> None:
    models = in_list_order(Registry().models())
    assert list(dict.fromkeys(model.provider for model in models))[:2] == list(IN_INVOKE)
    assert len(models) == len(Registry().models())
    for provider in IN_INVOKE:
        of_one = [model for model in models if model.provider == provider]
        newest = Registry().models(provider)[0]
        assert of_one[0].id == newest.id
        states = [model.lifecycle.status != "active" for model in of_one]
        assert states == sorted(states)
    assert [m.id for m in models if m.lifecycle.status == "active" and m.provider == "openai"] == [
        m.id for m in Registry().models("openai") if m.lifecycle.status == "active"
    ]


@pytest.mark.parametrize("model", Registry().models(), ids=lambda model: model.id)
def test_every_description_has_one_price(model: ModelConfig) -> None:
    described = description_of(model, utc_today())
    assert PAGE in described
    assert described.count(price_of(model)) == 1
    assert "bills every" not in described


def test_a_price_is_a_range_over_sizes_and_qualities() -> None:
    base = {"id": "x", "provider": "openai", "name": "X", "description": "X.", "modes": ["txt2img"], "seed": False}
    fields = {
        **base,
        "max_images_per_call": 1,
        "max_prompt_characters": 10,
        "sizing": {"kind": "fixed", "sizes": ["1024x1024"]},
        "options": {"quality": {"values": ["auto", "low", "high"]}},
        "lifecycle": Lifecycle(status="active"),
    }
    tokens = {"low 1024x1024": 100, "high 1024x1024": 1000}
    known = ModelConfig.model_validate({**fields, "prices": {"image_out": 40}, "image_tokens": tokens})
    assert price_of(known) == "About $0.004 to $0.04 an image."
    per_token = ModelConfig.model_validate({**fields, "prices": {"image_out": 40}})
    assert price_of(per_token) == "$40 per million image tokens."
    assert "$" not in price_of(ModelConfig.model_validate(fields))
