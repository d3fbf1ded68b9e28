"""Nodes, routes and metadata in Invoke stay as 0.1 had them; ``tests/golden/README.md`` says how these files work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from tests.golden.compare import check, shape

from .graphs import panel_graph, workflow_graph
from .invoke import INFO_NODE_TYPE, NODE_TYPES, OWN_NODE_TYPE, PROVIDERS, Invoke, Json

_OF_INVOKE = {"id", "is_intermediate", "use_cache", "type", "metadata", "board"}
"""Fields that Invoke adds to nodes. Only their presence is tested."""


def test_nodes(invoke: Invoke) -> None:
    found = {kind: invoke.schema(kind) for kind in sorted({*NODE_TYPES.values(), OWN_NODE_TYPE, INFO_NODE_TYPE})}
    now = {
        kind: {
            "version": schema["version"],
            "output": schema["output"]["$ref"],
            "fields": {
                name: True if name in _OF_INVOKE else _field(field)
                for name, field in sorted(schema["properties"].items())
            },
        }
        for kind, schema in found.items()
    }
    schemas = invoke.get("/../openapi.json")["components"]["schemas"]
    for kind in (OWN_NODE_TYPE, INFO_NODE_TYPE):
        output = schemas[now[kind]["output"].rpartition("/")[2]]["properties"]
        now[kind]["output fields"] = {name: _field(field) for name, field in sorted(output.items())}
    check("nodes", now, may_grow=True)


def _field(field: Mapping[str, Any]) -> Json:
    """A field's type and default, without texts for people."""
    wordy = {"title", "description", "field_kind", "input", "orig_default", "orig_required", "ui_order", "ui_hidden"}
    return {name: value for name, value in sorted(field.items()) if name not in wordy}


def test_routes(invoke: Invoke) -> None:
    paths = invoke.request("GET", "/../openapi.json").json()["paths"]
    prefix = "/api/v1/external/"
    now = {
        path: {
            method: {
                "operation": route["operationId"],
                "parameters": [
                    {name: parameter[name] for name in ("name", "in", "required")}
                    for parameter in route.get("parameters", [])
                ],
            }
            for method, route in paths[path].items()
        }
        for path in sorted(paths)
        if path.startswith(prefix)
    }
    now[f"{prefix}status"]["answer"] = shape(invoke.get("/v1/external/status"))
    now[f"{prefix}models"]["answer"] = shape(invoke.get("/v1/external/models"))
    now[f"{prefix}test/{{provider}}"]["answer"] = shape(
        [invoke.send("POST", f"/v1/external/test/{provider}") for provider in PROVIDERS]
    )
    check("routes", now, may_grow=True)


def test_metadata(invoke: Invoke, gpt: Json, banana: Json, photo: Image.Image, hole: Image.Image) -> None:
    base, mask = invoke.upload(photo), invoke.upload(hole)
    edit = workflow_graph(
        gpt,
        init_image={"image_name": base},
        mask_image={"image_name": mask},
        reference_images=[{"image_name": base}],
        quality="low",
    )
    graphs = {"a masked edit in a workflow": edit, "from the Generate tab": panel_graph(banana)}
    now = {name: shape(invoke.run(graph)[0].metadata) for name, graph in graphs.items()}
    check("metadata_in_invoke", now, may_grow=True)
