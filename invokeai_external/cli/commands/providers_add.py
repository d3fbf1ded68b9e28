"""``providers add``: asks for what a provider needs, and writes it into ``invokeai_external.yaml``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from ...adapters.base_url import normalise_base_url
from ...adapters.find import adapter_names, adapter_of
from ...errors import NotConfiguredError, RequestError
from ...misspellings import or_nearest
from ...pricing.estimate import price_range
from ...providers.authentication import TYPES_WITHOUT_MORE
from ...providers.built_in import RESERVED_IDS, built_in_ids
from ...providers.catalog import page
from ...providers.provider_config import PROVIDER_ID, ProviderConfig
from ...providers.registry import Registry
from ...providers.schema import ModelConfig
from ...providers.setup import Setup, SetupWay
from ...root_folder import USER_FILE
from ...settings.new_provider import NewProvider, checked_lines, save_provider
from ...settings.settings import Settings
from ...untrusted_text import quoted
from .. import report
from ..common import open_root, settings
from ..remedies import command_line
from ..terminal import fitted_question, is_terminal

__all__ = ["Answers", "add"]


@dataclass(frozen=True, slots=True)
class Answers:
    """What the flags of ``providers add`` say; None for what is asked, or is as usual.

    Attributes:
        adapter: The wire format.
        base_url: The base URL.
        name: The name to show.
        auth: How requests are authenticated, such as ``header:api-key``.
        way: One of the ways of a ready provider.
        like: The ready provider whose file to start from.
        models: Models, each as ``ID`` or ``ID=NAME THERE``.
    """

    adapter: str | None = None
    base_url: str | None = None
    name: str | None = None
    auth: str | None = None
    way: str | None = None
    like: str | None = None
    models: Sequence[str] = ()


def add(provider_id: str, answers: Answers, *, only_print: bool, root: Path | None) -> None:
    """Ask for what is missing, and write the provider into the file, or print the lines to write."""
    folder = open_root(root)
    _check_id(provider_id)
    current = settings(root)
    registry = Registry(current.catalog)
    ready = _ready_file(provider_id, answers, root)
    known = current.providers.get(provider_id)
    if known is None and not answers.like:
        report.say(f"{provider_id} is a new provider. {or_nearest(provider_id, current.providers)}".rstrip())
    if answers.models:
        # What is misspelt is said before anything is asked.
        _models(answers.models, provider_id, registry, ready.id if ready else None)
    fields = _fields_of_server(provider_id, answers, ready, known)
    question = ready.setup.models if ready else "A model, as MODEL, or as MODEL=NAME if the server has another name"
    texts = answers.models or (_asked_models(question) if _asks(answers) else ())
    models = _models(texts, provider_id, registry, ready.id if ready else None)
    new = NewProvider(provider_id, fields, models)
    if only_print:
        print(checked_lines(folder, new), end="")
        return
    report.say(f"Saved {provider_id} in {save_provider(folder, new)}")
    _say_next(provider_id, settings(root), root)


def _check_id(provider_id: str) -> None:
    if provider_id in RESERVED_IDS:
        raise report.UsageError(f"InvokeAI itself has a provider {quoted(provider_id)}.", remedy="Choose another name.")
    if not PROVIDER_ID.fullmatch(provider_id):
        raise report.UsageError(
            f"{quoted(provider_id)} cannot be the name of a provider.",
            remedy="Use lower case letters, digits and underscores, with a letter first, such as acme_2.",
        )


@dataclass(frozen=True, slots=True)
class _Ready:
    """A ready provider file: its id, its provider, and what it asks."""

    id: str
    provider: ProviderConfig
    setup: Setup


def _ready_file(provider_id: str, answers: Answers, root: Path | None) -> _Ready | None:
    """The ready file to start from; None for a server that there is no such file for.

    Raises:
        RequestError: The provider has its base URL already, and only that is asked for; or there is no such file.
    """
    like = answers.like
    ready = [name for name in built_in_ids() if page(name).setup]
    if like and like not in ready:
        raise report.UsageError(
            f"There is no ready file of {quoted(like)} to start from.",
            remedy=f"{or_nearest(like, ready)}Choose one of: {', '.join(ready)}.",
        )
    if provider_id in built_in_ids() and provider_id not in ready:
        info = page(provider_id).provider
        if info.in_invoke or answers == Answers():
            raise report.UsageError(
                f"{info.name} has its base URL already, and only needs a key.",
                remedy=f"Run: {command_line('keys', 'set', provider_id, root=root)}",
            )
    start = like or (provider_id if provider_id in ready else None)
    if start is None:
        return None
    setup = page(start).setup
    assert setup is not None
    return _Ready(start, page(start).provider, setup)


_OF_ITS_OWN = {"id", "name", "base_url", "key_env", "base_url_env", "base_url_env_version", "in_invoke"}
"""The fields of a ready file that another server of its kind does not have."""


def _fields_of_server(
    provider_id: str, answers: Answers, ready: _Ready | None, known: ProviderConfig | None
) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    has_url = known is not None and known.base_url is not None
    if ready and (answers.way or not has_url):
        fields |= _fields_of_way(provider_id, answers, ready)
    elif answers.way:
        raise report.UsageError(f"--way is for ready providers, and there is no ready file of {provider_id}.")
    if answers.adapter or not (known or ready):
        choices = adapter_names()
        adapter = answers.adapter or _asked("Wire format", "--adapter", choices=choices)
        fields["adapter"] = _choice(adapter, "--adapter", choices)
    if "base_url" not in fields and (answers.base_url or not has_url):
        example = "such as https://img.example.com/v1"
        url = answers.base_url or _asked(f"Base URL, {example}", "--base-url", example=example)
        adapter = fields.get("adapter") or (known.adapter if known else "")
        fields["base_url"] = _checked_url(provider_id, url, adapter, known.api_version if known else None)
    if answers.auth:
        fields["auth"] = _authentication(answers.auth)
    name = answers.name
    if name is None and known is None and is_terminal() and _asks(answers):
        name = _asked("Name to show", "--name", usual=provider_id)
    if name and name != provider_id:
        fields["name"] = name
    return {field: fields[field] for field in ProviderConfig.model_fields if field in fields}


def _asks(answers: Answers) -> bool:
    """False if the base URL was given with its flag: what is not given then is as usual."""
    return not answers.base_url


def _fields_of_way(provider_id: str, answers: Answers, ready: _Ready) -> dict[str, Any]:
    """The fields that follow from the way to use a ready provider, and None for those of its other ways."""
    ways = ready.setup.ways
    usual = next(iter(ways))
    chosen = answers.way or usual
    if not answers.way and len(ways) > 1 and is_terminal():
        for name, one in ways.items():
            report.say(f"{name}: {one.about}")
        chosen = _asked("Way", "--way", usual=usual, choices=tuple(ways))
    way = ways[_choice(chosen, "--way", tuple(ways))]
    fields: dict[str, Any] = {name: None for other in ways.values() for name in other.provider}
    if any(other.auth for other in ways.values()):
        fields["auth"] = None
    if ready.id != provider_id:
        whole = ready.provider.model_dump(mode="json", exclude_unset=True)
        fields |= {name: value for name, value in whole.items() if name not in _OF_ITS_OWN}
    fields |= way.provider
    version = fields.get("api_version") or ready.provider.api_version
    fields["base_url"] = _checked_url(provider_id, _url_of_way(way, answers.base_url), ready.provider.adapter, version)
    if way.auth and not answers.auth and is_terminal():
        auth = _authentication(_asked(f"Authentication ({', or '.join(way.auth)})", "--auth", usual=way.auth[0]))
        if ready.provider.auth is None or auth != ready.provider.auth.model_dump(mode="json"):
            fields["auth"] = auth
    return fields


def _url_of_way(way: SetupWay, given: str | None) -> str:
    """The base URL as it is given, or with what the user types in the place of each blank."""
    if given or not way.blanks:
        return given or way.base_url
    if not is_terminal():
        raise _missing("--base-url", f"such as {way.base_url}")
    report.say(f"The base URL is {way.base_url}")
    answers = {}
    for blank in way.blanks:
        answer = _asked(f"{blank}, or your whole base URL", "--base-url", usual=way.usual.get(blank))
        if "://" in answer:
            return answer
        answers[blank] = answer
    return way.filled(answers)


def _checked_url(provider_id: str, url: str, adapter: str, version: str | None) -> str:
    """A base URL in its usual form, with the version that it gets if it has no path; raises NotConfiguredError."""
    provider = ProviderConfig(id=provider_id, adapter=adapter, name=provider_id, base_url=url, api_version=version)
    try:
        return normalise_base_url(url, adapter_of(provider))
    except NotConfiguredError as error:
        raise error.replace(
            remedy="Nothing was saved. Specify --base-url with a URL such as https://api.example.com/v1."
        ) from None


def _authentication(text: str) -> dict[str, Any]:
    """The field ``auth`` from ``TYPE``, ``header:NAME`` or ``command:COMMAND``."""
    kind, colon, rest = text.partition(":")
    if kind == "header" and rest:
        return {"type": kind, "name": rest.strip()}
    if kind == "command" and rest.strip():
        try:
            return {"type": kind, "command": shlex.split(rest)}
        except ValueError:
            raise report.UsageError(f"The command in --auth {quoted(text)} has a quotation mark too many.") from None
    if colon or kind not in TYPES_WITHOUT_MORE:
        raise report.UsageError(
            f"--auth {quoted(text)} is not a valid way to authenticate.",
            remedy=f"Choose one of: {', '.join(TYPES_WITHOUT_MORE)}, header:NAME, command:COMMAND.",
        )
    return {"type": kind}


def _asked_models(question: str | None) -> list[str]:
    """The models that a user names at a terminal, one after the other."""
    texts: list[str] = []
    while question and is_terminal() and (text := _asked(f"{question} (Enter to go on)", "--model", usual="")):
        texts.append(text)
    return texts


def _models(texts: Sequence[str], provider_id: str, registry: Registry, like: str | None) -> dict[str, dict[str, Any]]:
    """The entries for models, each given as ``ID`` or as ``ID=NAME THERE``."""
    models: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, equals, sent = (part.strip() for part in text.partition("="))
        if not name or (equals and not sent):
            raise report.UsageError(f"--model {quoted(text)} is not a valid model.", remedy="Write ID or ID=NAME.")
        model = _known_model(name, provider_id, registry, like)
        fields = {} if model.provider == provider_id else {"extends": model.reference}
        if sent and sent != model.id:
            fields["api_model"] = sent
        models[model.id] = fields
    return models


def _known_model(name: str, provider_id: str, registry: Registry, like: str | None) -> ModelConfig:
    """The model that an entry is for, or that it extends: the provider's own, or else any with this name."""
    bare = name.rpartition("/")[2]
    for reference in (f"{provider_id}/{bare}", *([f"{like}/{bare}"] if like else []), name):
        with suppress(RequestError):
            found = registry.resolve(reference)
            if not found.notices:
                return found.model
    raise report.UsageError(
        f"{quoted(name)} is not a model that this program knows, so it cannot say what that model can do.",
        remedy="Write KNOWN=NAME, with the id of the known model that it is like. Or do not give it here, and write it "
        "into models: by hand; docs/providers.md has an example.",
    )


def _say_next(provider_id: str, current: Settings, root: Path | None) -> None:
    provider = current.providers[provider_id]
    report.say(f"Its base URL: {provider.base_url}")
    if not current.is_ready(provider_id):
        report.say(f"Next, set its key: {command_line('keys', 'set', provider_id, root=root)}")
    elif provider.needs_key:
        report.say(f"Its key is from {current.credentials[provider_id].source}.")
    else:
        report.say(f"Next, test it: {command_line('keys', 'test', provider_id, root=root)}")
    if models := Registry(current.catalog).models(provider_id):
        report.say(f"Its models: {command_line('models', '--provider', provider_id, root=root)}")
        borrowed = {model.extends for model in models if model.extends and price_range(model)}
        if provider_id not in built_in_ids() and borrowed:
            report.say(
                f"Note: The prices are those of {', '.join(sorted(borrowed))}. If yours differ, write them into "
                f"models: of {USER_FILE}, or 'prices: null' if you do not know them.",
                indent=6,
            )
    else:
        report.say(
            "It has no models yet. Add one that it has: "
            f"{command_line('providers', 'add', provider_id, '--model', 'MODEL', root=root)}"
        )


def _asked(
    question: str, flag: str, *, usual: str | None = None, choices: Sequence[str] = (), example: str = ""
) -> str:
    """What the user types at the terminal; raises UsageError if there is no terminal."""
    if not is_terminal():
        raise _missing(flag, f"one of: {', '.join(choices)}" if choices else example)
    shown = f"{question} ({', '.join(choices)})" if choices else question
    try:
        answer: str = typer.prompt(fitted_question(shown), default=usual, show_default=bool(usual), err=True)
    except (typer.Abort, KeyboardInterrupt):
        report.say("Nothing was saved.")
        raise
    return answer.strip()


def _missing(flag: str, example: str) -> report.UsageError:
    return report.UsageError(f"{flag} is missing.", remedy=f"Specify {flag}, {example}.")


def _choice(value: str, flag: str, choices: Sequence[str]) -> str:
    if value not in choices:
        raise report.UsageError(
            f"{quoted(value)} is not valid for {flag}.",
            remedy=f"{or_nearest(value, choices)}Choose one of: {', '.join(choices)}.",
        )
    return value
