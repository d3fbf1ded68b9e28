"""Every size that Invoke's panel offers for any model of the catalogue is made exactly."""

from __future__ import annotations

import pytest

from invokeai_external.providers.registry import Registry

from .graphs import panel_graph
from .invoke import Invoke, Json, output_names
from .sandbox import Sandbox

MODELS = [model.reference for model in Registry().models() if model.lifecycle.status != "retired"]

Offered = tuple[int, int, str | None]


def test_every_model_of_the_catalogue_is_tested(invoke: Invoke) -> None:
    installed = {f"{model['provider_id']}/{model['provider_model_id']}" for model in invoke.models()}
    assert installed == set(MODELS)


@pytest.mark.parametrize("reference", MODELS)
def test_every_size_of_the_panel_is_made_exactly(invoke: Invoke, sandbox: Sandbox, reference: str) -> None:
    model = invoke.model(reference)
    offered = offered_sizes(model)
    assert len(offered) >= 3
    # The panel takes the first one when the model is chosen.
    width, height, _ = offered[0]
    assert 1 / 2 <= width * height / 1024**2 <= 2
    numbers = {
        size: invoke.enqueue(panel_graph(model, width=size[0], height=size[1], image_size=size[2])) for size in offered
    }
    came = {size: received_size(invoke, invoke.ended(number, 300)) for size, number in numbers.items()}
    assert {size: what for size, what in came.items() if what != size[:2]} == {}
    assert len(sandbox.calls()) == len(offered)


def offered_sizes(model: Json) -> list[Offered]:
    """Width, height and name of each size in a model's record."""
    can = model["capabilities"]
    presets = [(size["width"], size["height"], size["image_size"]) for size in can["resolution_presets"] or []]
    return [*presets, *((size["width"], size["height"], None) for size in (can["aspect_ratio_sizes"] or {}).values())]


def received_size(invoke: Invoke, item: Json) -> tuple[int, int] | str:
    """The size of the image that a run saved, or the message of its failure."""
    if item["status"] != "completed":
        return str(item["error_message"])
    [name] = output_names(item)
    record = invoke.get(f"/v1/images/i/{name}")
    return record["width"], record["height"]
