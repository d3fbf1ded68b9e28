"""Reads ``invokeai_external.yaml``: settings, providers, models, and whether Invoke uses the sandbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import InvalidRequestError, Remedy, SettingsError, UnknownProviderError
from ..misspellings import or_nearest
from ..providers.configured import configured_providers
from ..providers.provider_config import PROVIDER_FIELDS, ProviderConfig
from ..providers.registry import Registry
from ..providers.schema import MODEL_FIELDS
from ..spending.limits import Budget, Budgets
from .limits import Limits
from .yaml_file import YamlFile

__all__ = ["UserCatalog", "UserFile", "read_user_file"]

_SECTIONS = ("settings", "providers", "models", "budgets", "sandbox")


@dataclass(frozen=True, slots=True)
class UserCatalog:
    """What ``invokeai_external.yaml`` adds to the catalogue.

    Attributes:
        providers: The raw fields of each provider by its id.
        models: The raw fields of each model by ``provider/id``.
        file: The file, to name it in errors; None without one.
        discovered: The raw fields of each model, by ``provider/id``, that a provider listed itself.
    """

    providers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    file: YamlFile | None = None
    discovered: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def invalid(self, place: Sequence[str], error: ValidationError) -> SettingsError:
        """The error for the first mistake in the fields of a provider or model, with its line."""
        assert self.file is not None
        fields = PROVIDER_FIELDS if place[0] == "providers" else MODEL_FIELDS
        return self.file.error_of(error, tuple(place), fields, _written_place)

    def mistake(self, place: Sequence[str], problem: str, remedy: Remedy | str | None = None) -> SettingsError:
        """The error for what is wrong at a place of the file, with its line."""
        assert self.file is not None
        line, _ = self.file.find(place)
        return self.file.error(line, problem, remedy)


@dataclass(frozen=True, slots=True)
class UserFile:
    """All that ``invokeai_external.yaml`` holds.

    Attributes:
        limits: Its ``settings:``.
        catalog: Its ``providers:`` and ``models:``.
        providers: All providers by id: the built-in ones, as the file changes them, and those that it adds.
        sandbox: True if Invoke uses the sandbox instead of the providers.
        budgets: Its ``budgets:``.
    """

    limits: Limits
    catalog: UserCatalog
    providers: Mapping[str, ProviderConfig]
    sandbox: bool
    budgets: Budgets


def read_user_file(path: Path, text: str | None = None, *, is_written: bool = True) -> UserFile:
    """Read the file, which need not exist. Its models are validated by a ``Registry``.

    Args:
        path: The file.
        text: What to read in the place of what the file holds.
        is_written: False if ``text`` is only to be written.

    Raises:
        SettingsError: The file is broken; the message names the file, the line and the field.
    """
    file = YamlFile(path, text, is_written=is_written)
    file.check_unique()
    sandbox = file.data.pop("sandbox", False)
    if not isinstance(sandbox, bool):
        line, _ = file.find(("sandbox",))
        raise file.error(line, "sandbox must be true or false")
    for section, value in file.data.items():
        line, _ = file.find((str(section),))
        if section not in _SECTIONS:
            *others, last = _SECTIONS
            raise file.error(
                line,
                f"{section} is not a valid section; this file has {', '.join(others)} and {last}",
                f"{or_nearest(str(section), _SECTIONS)}Correct that line, then try again.",
            )
        if value is not None and not isinstance(value, dict):
            raise file.error(line, f"{section} must hold 'name: value' lines")
    catalog = UserCatalog(_entries(file, "providers"), _entries(file, "models"), file)
    for reference in catalog.models:
        if "/" not in reference:
            raise catalog.mistake(("models", reference), f"models.{reference}: the name must be provider/model-id")
    try:
        limits = Limits(**{str(name): value for name, value in (file.data.get("settings") or {}).items()})
    except SettingsError as error:
        if not isinstance(error.__cause__, ValidationError):
            raise
        raise file.error_of(error.__cause__, ("settings",), Limits.model_fields) from None
    providers = configured_providers(catalog)
    for provider_id in catalog.providers:
        _check_adapter(providers[provider_id], catalog)
    named = limits.default_model and providers.get(limits.default_model.partition("/")[0])
    # Which models a provider lists is not in the file.
    if limits.default_model and not (named and named.discover_models):
        registry = Registry(catalog)
        try:
            if not registry.is_awaited(limits.default_model):
                registry.resolve(limits.default_model)
        except (InvalidRequestError, UnknownProviderError) as error:
            problem = f"settings.default_model: {error.message.rstrip('.')}"
            raise catalog.mistake(("settings", "default_model"), problem, error.remedy) from None
    budgets = _budgets(file)
    _check_budgets(budgets, limits, catalog, providers)
    return UserFile(limits, catalog, providers, sandbox, budgets)


def _budgets(file: YamlFile) -> Budgets:
    # YAML may read a user's name or a model's as a number.
    fields = {
        str(name): {str(key): value for key, value in entries.items()} if isinstance(entries, dict) else entries
        for name, entries in (file.data.get("budgets") or {}).items()
    }
    try:
        return Budgets(**fields)
    except ValidationError as error:
        raise file.error_of(error, ("budgets",), {*Budgets.model_fields, *Budget.model_fields}) from None


def _check_budgets(
    budgets: Budgets, limits: Limits, catalog: UserCatalog, providers: Mapping[str, ProviderConfig]
) -> None:
    """Raise SettingsError for a limit that would never apply, or that nothing could hold."""
    for name in budgets.providers:
        if name not in providers:
            problem = f"budgets.providers.{name}: there is no such provider"
            raise catalog.mistake(("budgets", "providers", name), problem, or_nearest(name, providers).strip() or None)
    registry = Registry(catalog) if budgets.models else None
    for name in budgets.models:
        provider_id, _, model_id = name.partition("/")
        found = providers.get(provider_id)
        if registry and not (found and found.discover_models):
            known = {model.id for model in registry.models(provider_id)} if found else set[str]()
            if model_id not in known and not registry.is_awaited(name):
                problem = f"budgets.models.{name}: there is no such model"
                remedy = or_nearest(name, [f"{provider_id}/{each}" for each in known]).strip()
                raise catalog.mistake(("budgets", "models", name), problem, remedy or "Use provider/model-id.")
    if budgets.are_set and limits.spending_record == "off":
        raise catalog.mistake(
            ("settings", "spending_record"),
            "settings.spending_record: off, and a limit is set, which needs the record",
            "Remove that line, or the section budgets.",
        )


def _entries(file: YamlFile, section: str) -> dict[str, Mapping[str, Any]]:
    """The entries of a section, each with its raw fields."""
    entries: dict[str, Mapping[str, Any]] = {}
    for name, fields in (file.data.get(section) or {}).items():
        if fields is not None and not isinstance(fields, dict):
            line, _ = file.find((section, str(name)))
            raise file.error(line, f"{section}.{name} must hold 'name: value' lines")
        entries[str(name)] = {str(field): value for field, value in (fields or {}).items()}
    return entries


def _check_adapter(provider: ProviderConfig, catalog: UserCatalog) -> None:
    """Raise SettingsError if there is no such wire format, or it has no such path."""
    # It loads the wire formats, which most files do not need.
    from ..adapters.find import adapter_names, adapter_of

    place = ("providers", provider.id)
    known = adapter_names()
    if provider.adapter not in known:
        raise catalog.mistake(
            (*place, "adapter"),
            f"providers.{provider.id}.adapter: there is no such wire format",
            f"{or_nearest(provider.adapter, known)}Choose one of: {', '.join(known)}.",
        )
    if provider.discover_models and not adapter_of(provider).can_discover:
        raise catalog.mistake(
            (*place, "discover_models"),
            f"providers.{provider.id}.discover_models: {provider.adapter} has no list that says what models support",
        )
    paths = adapter_of(provider).paths
    for name in provider.paths:
        if name not in paths:
            raise catalog.mistake(
                (*place, "paths", name),
                f"providers.{provider.id}.paths.{name}: {provider.adapter} has no such path",
                f"{or_nearest(name, paths)}Choose one of: {', '.join(paths)}.",
            )


def _written_place(place: tuple[str, ...]) -> tuple[str, ...]:
    """The place in the file of a field of ``ModelConfig``: prices that begin later are in the list ``prices``."""
    if place[:1] != ("later_prices",):
        return place
    index = (str(int(place[1]) + 1),) if len(place) > 1 else ()
    return ("prices", *index, *place[2:])
