"""Names what of yours uses a model that ends soon: the default model, your own entries, saved workflows. Pure.

Nothing is switched: the notices name a successor and its price. The end dates are those of the provider's own
server. One at another base URL, such as Azure, has different dates, so nothing is said of models there.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import urlsplit

from ..errors import RequestError
from ..pricing.estimate import price_range
from ..providers.registry import Registry
from ..providers.schema import ModelConfig
from ..result import Notice
from ..root_folder import USER_FILE
from ..settings.settings import Credentials, Settings
from ..untrusted_text import fit_to_show

__all__ = ["EXTERNAL_MODEL", "ending_notices"]

EXTERNAL_MODEL = "external:"
"""What the hash of an external model in a saved workflow begins with: ``external:openai:gpt-image-2``."""

_MOST_NAMED = 10
"""More uses of one model are only counted."""

_LONGEST_NAME = 60


def ending_notices(
    settings: Settings, registry: Registry, workflows: Iterable[str], today: datetime.date
) -> list[Notice]:
    """What uses a model that ends within 30 days or has ended: one notice for each model, ended ones first.

    Args:
        settings: The settings, with the base URLs in use.
        registry: The models on that day.
        workflows: The saved workflows of Invoke, as JSON.
        today: The day.
    """
    uses: dict[str, tuple[ModelConfig, list[str]]] = {}
    for reference, where in (*_in_settings(settings), *_in_workflows(workflows, registry)):
        try:
            model = registry.resolve(reference).model
        except RequestError:
            # It is reported where it is used.
            continue
        ends = model.lifecycle.status == "retired" or model.lifecycle.ends_soon(today)
        if ends and _is_own_server(settings, registry, model.provider):
            _, places = uses.setdefault(model.reference, (model, []))
            if where not in places:
                places.append(where)
    found = sorted(uses.values(), key=lambda use: use[0].lifecycle.status != "retired")
    return [_notice(model, places, registry) for model, places in found]


def _in_settings(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.limits.default_model:
        yield settings.limits.default_model, f"default_model in {USER_FILE}"
    for reference in settings.catalog.models:
        yield reference, f"models: in {USER_FILE}"
    for reference in settings.budgets.models:
        yield reference, f"budgets: in {USER_FILE}"


def _in_workflows(workflows: Iterable[str], registry: Registry) -> Iterator[tuple[str, str]]:
    for text in workflows:
        try:
            workflow = json.loads(text)
            name, nodes = workflow["name"], workflow["nodes"]
            is_own = workflow.get("meta", {}).get("category") != "default"
            values = [field.get("value") for node in nodes for field in node["data"].get("inputs", {}).values()]
        # Anybody may have written it, in any form.
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            continue
        for value in values if is_own else ():
            hashed = value.get("hash") if isinstance(value, dict) else None
            if isinstance(hashed, str) and hashed.startswith(EXTERNAL_MODEL):
                provider, _, model_id = hashed.removeprefix(EXTERNAL_MODEL).partition(":")
                # Models of a provider that Invoke's page does not know are installed under one that it knows.
                carried, slash, _ = model_id.partition("/")
                reference = model_id if slash and carried in registry.provider_ids else f"{provider}/{model_id}"
                yield reference, f"the workflow {fit_to_show(name, _LONGEST_NAME) or '?'}"


def _is_own_server(settings: Settings, registry: Registry, provider_id: str) -> bool:
    """True if requests go to the provider itself, one of its regions included."""
    own = registry.provider(provider_id).base_url
    base_url = settings.credentials.get(provider_id, Credentials()).base_url
    if own is None or base_url is None:
        return True
    try:
        host, own_host = urlsplit(base_url).hostname or "", urlsplit(own).hostname
    except ValueError:
        return False
    return host == own_host or host.endswith(f".{own_host}")


def _notice(model: ModelConfig, places: Sequence[str], registry: Registry) -> Notice:
    life = model.lifecycle
    ending = life.ending(registry.provider(model.provider).name)
    named = ", ".join(places[:_MOST_NAMED])
    more = f" and {len(places) - _MOST_NAMED} more" if len(places) > _MOST_NAMED else ""
    code = "model_retired" if life.status == "retired" else "model_deprecated"
    return Notice(code, f"{model.name} {ending}. It is used by {named}{more}.{_instead(model, registry)}")


def _instead(model: ModelConfig, registry: Registry) -> str:
    if not model.lifecycle.successor:
        return ""
    successor = registry.resolve(f"{model.provider}/{model.lifecycle.successor}").model
    price = price_range(successor, usual_sizes=True)
    cost = ""
    if price:
        low, high = f"${price.low_usd:.3f}", f"${price.high_usd:.3f}"
        cost = f", {low if low == high else f'{low} to {high}'} per image"
    return f" Use {successor.name} instead ({successor.reference}{cost})."
