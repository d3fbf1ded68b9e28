"""Graphs as Invoke's tabs and its workflow editor send them."""

from __future__ import annotations

from typing import Any

from .invoke import Json

PROMPT = "a red fox in snow"
QUICK: Json = {"id": "quick", "nodes": {"one": {"id": "one", "type": "integer", "value": 1}}, "edges": []}
"""A graph that ends as soon as the queue takes it."""

_IDENTITY = ("key", "hash", "name", "base", "type")


def identifier(model: Json) -> Json:
    """A model as graphs and metadata name it."""
    return {name: model[name] for name in _IDENTITY}


def workflow_graph(model: Json, *, node: str | None = None, **fields: Any) -> Json:
    """A single node, as in a workflow without metadata; by default the node of the model's provider."""
    node_type = node or f"{model['provider_id']}_image_generation"
    values = {"prompt": PROMPT, "use_cache": False, **fields}
    return {
        "id": "graph",
        "nodes": {"picture": {"id": "picture", "type": node_type, "model": identifier(model), **values}},
        "edges": [],
    }


def panel_graph(model: Json, *, prompt: str = PROMPT, seed: int = 42, **fields: Any) -> Json:
    """What the Generate tab sends (6.14.2): the whole model record, prompt, seed and metadata over edges."""
    node_type = f"{model['provider_id']}_image_generation"
    has_seed = model["capabilities"]["supports_seed"]
    node = {
        "id": "picture",
        "type": node_type,
        "model": model,
        "mode": "txt2img",
        "image_size": None,
        "num_images": 1,
        "width": 1024,
        "height": 1024,
        "is_intermediate": False,
        **fields,
    }
    metadata = {
        "id": "metadata",
        "type": "core_metadata",
        "model": identifier(model),
        "width": node["width"],
        "height": node["height"],
    }
    edges = [
        ("prompt", "value", "picture", "prompt"),
        ("prompt", "value", "metadata", "positive_prompt"),
        ("metadata", "metadata", "picture", "metadata"),
    ]
    nodes: Json = {
        "prompt": {"id": "prompt", "type": "string", "value": prompt},
        "picture": node,
        "metadata": metadata,
    }
    if has_seed:
        nodes["seed"] = {"id": "seed", "type": "integer", "value": seed}
        edges += [("seed", "value", "picture", "seed"), ("seed", "value", "metadata", "seed")]
    return {
        "id": "graph",
        "nodes": nodes,
        "edges": [
            {"source": {"node_id": a, "field": b}, "destination": {"node_id": c, "field": d}} for a, b, c, d in edges
        ],
    }
