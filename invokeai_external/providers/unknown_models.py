"""The errors for models that are not known, and what to do about each. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..errors import InvalidRequestError, NotConfiguredError, Remedy
from ..misspellings import meant_model, or_nearest
from ..root_folder import USER_FILE
from ..untrusted_text import ID, fit_to_show, quoted
from .provider_config import ProviderConfig
from .schema import ModelConfig

__all__ = [
    "assert_not_misspelt",
    "not_discovered",
    "without_default",
    "without_key",
    "without_models",
    "without_provider",
]


def assert_not_misspelt(model_id: str, models: Sequence[ModelConfig]) -> None:
    """Raise InvalidRequestError if an unknown id is a misspelling of a known one."""
    names = {name: model.provider for model in reversed(models) for name in (*model.aliases, model.id)}
    if (meant := meant_model(model_id, names)) is None:
        return
    provider = names.get(meant) or next(names[name] for name in names if meant.startswith(name))
    raise InvalidRequestError(
        f"There is no model {quoted(model_id)}.",
        remedy=f"Did you mean {provider}/{meant}? If {model_id} is a different model, add {provider}/{model_id} with a "
        f"name to models: in {USER_FILE}.",
    )


def without_provider(model_id: str, models: Iterable[ModelConfig], providers: Iterable[str]) -> InvalidRequestError:
    """The error for an unknown model that was named without its provider."""
    family = model_id.partition("-")[0]
    likely = next((m.provider for m in models if m.id.partition("-")[0] == family), None)
    if likely:
        remedy = f"or, if it is a new model, write {likely}/{fit_to_show(model_id, ID)}."
    else:
        remedy = f"or write any other as provider/model-id, with one of the providers {', '.join(providers)}."
    return InvalidRequestError(
        f"There is no known model {quoted(model_id)}.",
        remedy=Remedy(f"List the known models with 'invokeai-external models', {remedy}", action="list_models"),
    )


def without_models(provider_id: str, model_id: str) -> InvalidRequestError:
    """The error for a model of a provider of which no model is known."""
    return InvalidRequestError(
        f"Nothing is known of {quoted(model_id)}, since {provider_id} has no models yet.",
        remedy=f"Add {provider_id}/{fit_to_show(model_id, ID)} to models: in {USER_FILE}, at least with its sizing, or "
        "with 'extends' and the model that it is like.",
    )


def not_discovered(provider: ProviderConfig, model_id: str, models: Sequence[ModelConfig]) -> InvalidRequestError:
    """The error for a model that a provider did not list; without ``models``, it was not asked yet."""
    listing = f"invokeai-external models --provider {provider.id}"
    if models:
        what = f"{provider.name} does not list an image model {quoted(model_id)}."
        todo = f"{or_nearest(model_id, [model.id for model in models])}List those that it has with: {listing}"
    else:
        what = f"Nothing is known of {quoted(model_id)}, since {provider.name} was not asked for its models yet."
        todo = f"Ask it, which is free, with: {listing}"
    return InvalidRequestError(what, remedy=Remedy(todo, action="list_models", provider=provider.id))


def without_default(provider: ProviderConfig) -> InvalidRequestError:
    """The error for no model at a provider that lists its models itself."""
    return InvalidRequestError(
        f"{provider.name} has models of many makers, and no default model.",
        remedy=Remedy(
            f"List them with 'invokeai-external models --provider {provider.id}', then name one with --model, or as "
            f"default_model in the settings of {USER_FILE}.",
            action="list_models",
            provider=provider.id,
        ),
    )


def without_key(providers: Iterable[ProviderConfig]) -> NotConfiguredError:
    """The error for no model while no provider has a key."""
    *others, first = (provider.id for provider in providers if provider.in_invoke)
    return NotConfiguredError(
        "No provider has a key yet.",
        remedy=Remedy(
            f"Set one with 'invokeai-external keys set {first}' (or {' or '.join(others)}), "
            "or try everything for free with --sandbox.",
            action="set_key",
        ),
    )
