"""The sizes that Invoke's panel offers for the models of the catalogue."""

from __future__ import annotations

from typing import Any

import pytest

from invokeai_external import Registry
from invokeai_external.invoke.models.panel_sizes import panel_sizes
from invokeai_external.providers.schema import ModelConfig
from invokeai_external.sizing import DEFAULT_EDGE, SizeRequest

from .support.openrouter import discovered

MODELS = {model.reference: model for model in Registry().models()}
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


@every_model
def test_each_offered_size_is_made_exactly(model: ModelConfig) -> None:
    for entry in panel_sizes(model):
        assert model.sizing.choose(SizeRequest(size=entry.size)).size == entry.size, entry


@every_model
def test_each_entry_has_its_own_name(model: ModelConfig) -> None:
    """The panel knows a size by its ratio, or by ratio and name."""
    sizes = panel_sizes(model)
    assert sizes
    assert len({(entry.ratio, entry.image_size) for entry in sizes}) == len(sizes)
    assert len({entry.image_size is None for entry in sizes}) == 1


@every_model
def test_the_first_size_is_a_usual_one_if_there_is_one(model: ModelConfig) -> None:
    usual = [1 / 2 <= entry.size.pixels / DEFAULT_EDGE**2 <= 2 for entry in panel_sizes(model)]
    assert usual == sorted(usual, reverse=True)


@pytest.mark.parametrize("fields", discovered().values(), ids=discovered())
def test_sizes_that_have_only_names_have_their_own_names_too(fields: dict[str, Any]) -> None:
    model = ModelConfig.model_validate({**fields, "id": "x", "provider": "openrouter"})
    sizes = panel_sizes(model)
    assert sizes
    assert len({(entry.ratio, entry.image_size) for entry in sizes}) == len(sizes)
    for entry in sizes if model.sizing.presets()[0].about else ():
        request = SizeRequest(size=entry.size)
        assert request.is_met_by(model.sizing.choose(request)), entry
