"""A node pack for the contract test: looks in the running Invoke for what ``uses.json`` beside it names.

It is copied into a root's ``nodes`` folder as an ``__init__.py``. What is missing goes into ``missing.json`` beside it,
as pairs of a use's number and what is the matter with it.
"""

from __future__ import annotations

import importlib
import inspect
import json
from functools import partial
from pathlib import Path
from typing import Any


class Unknown:
    """What is there and cannot be looked into: a field of a class, without a type that could be."""


def live_objects() -> dict[str, Any]:
    """Objects of the classes that our functions are given, as they are while a node runs."""
    from invokeai.app.api.dependencies import ApiDependencies
    from invokeai.app.invocations.baseinvocation import BaseInvocation
    from invokeai.app.services.session_queue.session_queue_common import SessionQueueItem
    from invokeai.app.services.shared.invocation_context import InvocationContextData, build_invocation_context

    services = ApiDependencies.invoker.services
    # The classes stand for their objects: what is looked for is only whether they have a field.
    data = InvocationContextData(queue_item=SessionQueueItem, invocation=BaseInvocation, source_invocation_id="")
    context = build_invocation_context(services=services, data=data, is_canceled=lambda: False)
    return {"InvocationServices": services, "InvocationContext": context}


def beginning(root: str, instance: bool, objects: dict[str, Any]) -> Any:
    module, _, name = root.partition(":")
    if instance and name in objects:
        return objects[name]
    found = importlib.import_module(module)
    if not hasattr(found, name):
        return importlib.import_module(f"{module}.{name}")
    return getattr(found, name)


def step(where: Any, name: str) -> Any:
    """An attribute; of a class also a field that only its objects have. Raises AttributeError."""
    if isinstance(where, Unknown) or hasattr(where, name):
        return Unknown() if isinstance(where, Unknown) else getattr(where, name)
    if isinstance(where, type):
        for base in where.__mro__:
            if name in {**getattr(base, "model_fields", {}), **vars(base).get("__annotations__", {})}:
                return Unknown()
    raise AttributeError(name)


def what_is_wrong(use: dict[str, Any], objects: dict[str, Any]) -> str | None:
    try:
        owner = found = beginning(use["root"], use["instance"], objects)
        for name in use["chain"]:
            owner, found = found, step(found, name)
    except (ImportError, AttributeError):
        return "is gone"
    if use["arguments"] is None or isinstance(found, Unknown):
        return None
    if use["instance"] and isinstance(owner, type) and inspect.isfunction(found):
        # Of an object it is called without the object.
        found = partial(found, None)
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):
        return None
    count, names = use["arguments"]
    try:
        signature.bind(*range(count), **dict.fromkeys(names))
    except TypeError as error:
        return f"is called in another way ({error})"
    return None


here = Path(__file__).parent
uses = json.loads((here / "uses.json").read_text(encoding="utf-8"))
objects = live_objects()
missing = [[number, wrong] for number, use in enumerate(uses) if (wrong := what_is_wrong(use, objects))]
(here / "missing.new").write_text(json.dumps(missing), encoding="utf-8")
(here / "missing.new").rename(here / "missing.json")
