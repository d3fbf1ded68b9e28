"""The catalogue in Invoke's own terms: its starter models, and the records of installed models kept right.

What was installed, and in what form, is remembered (``model_memory``), so that a model that the user deleted stays
deleted, and a record that the user edited stays as edited.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

from invokeai.app.services.model_records.model_records_base import ModelRecordChanges
from invokeai.backend.model_manager.configs.external_api import (
    ExternalApiModelConfig,
    ExternalApiModelDefaultSettings,
    ExternalImageSize,
    ExternalModelCapabilities,
    ExternalModelPanelControl,
    ExternalModelPanelSchema,
    ExternalResolutionPreset,
)
from invokeai.backend.model_manager.starter_models import StarterModel
from invokeai.backend.model_manager.taxonomy import BaseModelType, ModelFormat, ModelType

from ..errors import ExternalError
from ..planning.plan import MAX_IMAGES
from ..providers.registry import PROVIDER_IDS, Registry
from ..providers.schema import ModelConfig
from ..sizing import DEFAULT_EDGE, AspectRatio, FlexibleSizing, SizeChoice, SizeRequest
from .host.config import invoke_root, log
from .host.model_records import delete_model, install_model, model_records
from .model_memory import Fields, ModelMemory

__all__ = ["ModelSync", "capabilities_of", "starter_model"]

_PANEL_RATIOS = (
    *("1:1", "16:9", "9:16", "21:9", "9:21", "3:2", "2:3", "4:3", "3:4", "5:4", "4:5"),
    *("4:1", "1:4", "8:1", "1:8"),
)
"""The ratios that Invoke's panel knows (6.14.2)."""


def source_of(model: ModelConfig) -> str:
    """The name by which Invoke installs a model."""
    return f"external://{model.provider}/{model.id}"


def capabilities_of(model: ModelConfig) -> ExternalModelCapabilities:
    """What Invoke's panel offers for a model: sizes out of its own ratios, so that every offered one works."""
    presets = _panel_presets(model)
    named = [(ratio, choice) for ratio, choice in presets if choice.image_size]
    plain = [(ratio, choice) for ratio, choice in presets if not choice.image_size]
    widest = max((choice.size.width for _, choice in presets if choice.size), default=None)
    highest = max((choice.size.height for _, choice in presets if choice.size), default=None)
    return ExternalModelCapabilities(
        modes=list(model.modes),
        supports_reference_images=model.input_images.max_count > 0,
        supports_negative_prompt=False,
        supports_seed=model.seed,
        max_images_per_request=MAX_IMAGES,
        max_image_size=ExternalImageSize(width=widest, height=highest) if widest and highest else None,
        allowed_aspect_ratios=list(dict.fromkeys(ratio for ratio, _ in presets)),
        aspect_ratio_sizes={ratio: _image_size(choice) for ratio, choice in plain} or None,
        resolution_presets=[
            ExternalResolutionPreset(
                label=f"{ratio} ({choice.image_size})",
                aspect_ratio=ratio,
                image_size=choice.image_size,
                width=choice.size.width,
                height=choice.size.height,
            )
            for ratio, choice in named
            if choice.size and choice.image_size
        ]
        or None,
        max_reference_images=model.input_images.max_count or None,
        mask_format="binary" if "inpaint" in model.modes else "none",
    )


def _image_size(choice: SizeChoice) -> ExternalImageSize:
    assert choice.size is not None
    return ExternalImageSize(width=choice.size.width, height=choice.size.height)


def _panel_presets(model: ModelConfig) -> list[tuple[str, SizeChoice]]:
    """The sizes of a model under the panel's names of their ratios, at least one.

    The panel takes the first one when the model is chosen, so those that are about as large as models are by default
    come before the smaller and the larger ones.
    """
    sizing = model.sizing
    if isinstance(sizing, FlexibleSizing):
        found = _offered(sizing) or _usual(sizing)
    else:
        found = [(_panel_ratio(choice), choice) for choice in sizing.presets()]
        if not any(choice.image_size for _, choice in found) and len(dict(found)) < len(found):
            # The panel holds one size to a ratio, unless the sizes have names.
            found = [(ratio, SizeChoice(choice.size, ratio, str(choice.size))) for ratio, choice in found]
    return sorted(found, key=lambda preset: _is_unusually_large_or_small(preset[1]))


def _offered(sizing: FlexibleSizing) -> list[tuple[str, SizeChoice]]:
    """What a model offers by name, as far as the panel knows the ratios."""
    names = [(str(ratio), name) for name in sizing.offered.image_sizes for ratio in sizing.offered.ratios]
    return [
        (ratio, SizeChoice(choice.size, ratio, name))
        for (ratio, name), choice in zip(names, sizing.presets(), strict=True)
        if ratio in _PANEL_RATIOS
    ]


def _usual(sizing: FlexibleSizing) -> list[tuple[str, SizeChoice]]:
    """What its rule makes of the panel's ratios, for a model of the user's own that offers nothing by name."""
    asked = {ratio: SizeRequest(aspect_ratio=AspectRatio.parse(ratio), image_size="1K") for ratio in _PANEL_RATIOS}
    made = {ratio: sizing.choose(request) for ratio, request in asked.items()}
    met = [(name, SizeChoice(made[name].size, name, "1K")) for name in made if asked[name].is_met_by(made[name])]
    return met or [(_panel_ratio(made["1:1"]), made["1:1"])]


def _is_unusually_large_or_small(choice: SizeChoice) -> bool:
    assert choice.size is not None
    return abs(math.log2(choice.size.pixels / DEFAULT_EDGE**2)) > 1


def _panel_ratio(choice: SizeChoice) -> str:
    if choice.aspect_ratio in _PANEL_RATIOS:
        return choice.aspect_ratio
    assert choice.size is not None
    ratio = choice.size.ratio
    return min(_PANEL_RATIOS, key=lambda name: abs(AspectRatio.parse(name).value / ratio - 1))


def _default_settings(model: ModelConfig) -> ExternalApiModelDefaultSettings:
    first = next(choice.size for _, choice in _panel_presets(model) if choice.size)
    return ExternalApiModelDefaultSettings(width=first.width, height=first.height, num_images=1)


def _description(model: ModelConfig) -> str:
    life = model.lifecycle
    if life.status == "active":
        return model.description
    day = f" on {life.shutdown}" if life.shutdown else ""
    doubt = "" if life.shutdown_confirmed else ", which is not confirmed"
    instead = f", use {life.successor} instead" if life.successor else ""
    end = "Retired" if life.status == "retired" else "Ends" if day else "Deprecated"
    return f"{model.description} {end}{day}{doubt}{instead}."


def starter_model(model: ModelConfig) -> StarterModel:
    """The entry in the list of starter models.

    Its capabilities stay None: Invoke lays those of an entry over every answer, so that the user's edits would never
    show. The panel schema has no other way in, and nobody can edit it.
    """
    panel = ExternalModelPanelSchema(
        prompts=[ExternalModelPanelControl(name="reference_images")] if model.input_images.max_count else [],
        # The panel looks for the seed among the controls of the image (6.14.2).
        image=[
            ExternalModelPanelControl(name=name) for name in (["dimensions", "seed"] if model.seed else ["dimensions"])
        ],
    )
    return StarterModel(
        name=model.name,
        base=BaseModelType.External,
        source=source_of(model),
        description=_description(model),
        type=ModelType.ExternalImageGenerator,
        format=ModelFormat.ExternalApi,
        panel_schema=panel,
    )


class ModelSync:
    """Keeps the installed models what they should be: those of the providers with a key, as the catalogue has them.

    Args:
        registry: Gives the models; called at each sync.
        providers: Gives the providers that can be used; called at each sync.
        built_in: The entries of the core's starter list, whose records are taken over.
    """

    def __init__(
        self, registry: Callable[[], Registry], providers: Callable[[], set[str]], built_in: list[StarterModel]
    ) -> None:
        self._registry = registry
        self._providers = providers
        self._built_in = {entry.source: entry for entry in built_in}
        # Who deletes a model in a sync is called back on it.
        self._lock = threading.RLock()
        self._closed = threading.Event()
        # What is not there yet is not remembered: if Invoke is stopped now, it would pass for deleted by the user.
        self._awaited: set[str] = set()

    def run(self) -> None:
        """Install, correct and remove; says in the log what went wrong, and never raises."""
        self._safely(self._sync)

    def deleted(self, source: str) -> None:
        """Note that a model was deleted; if its provider has a key, somebody did that by hand. Never raises."""
        self._safely(lambda: self._note_deleted(source))

    def close(self) -> None:
        """Let a sync that is under way end after its current model, and wait for that; none comes after it."""
        self._closed.set()
        with self._lock:
            pass

    def _safely(self, work: Callable[[], None]) -> None:
        try:
            with self._lock:
                if not self._closed.is_set():
                    work()
        except ExternalError as error:
            log.error("invokeai_external: %s", error)
        except OSError as error:
            log.error("invokeai_external could not note which models it installed: %s.", error.strerror)
        except Exception as error:
            log.exception("invokeai_external could not bring the models up to date: %s", error)

    def _sync(self) -> None:
        registry, usable, memory = self._registry(), self._providers(), ModelMemory(invoke_root())
        records = {record.source: record for record in model_records()}
        for provider in PROVIDER_IDS:
            sources = [source_of(model) for model in registry.models(provider)]
            if not any(source in records for source in sources):
                # All gone, and not noted one by one: they went with their key, maybe while the pack was away.
                for source in filter(memory.get, sources):
                    memory.forget(source)
            for model in registry.models(provider):
                if self._closed.is_set():
                    break
                source = source_of(model)
                record, known, is_awaited = records.get(source), memory.get(source), source in self._awaited
                if record:
                    self._awaited.discard(source)
                if provider not in usable:
                    if record and (known is not None or is_awaited):
                        delete_model(record)
                    memory.forget(source)
                elif record is None:
                    if known is None and not is_awaited and model.lifecycle.status != "retired":
                        _install(model, _wanted(model))
                        self._awaited.add(source)
                else:
                    merged = self._merged(record, model, known)
                    if merged != _fields_of(record):
                        _install(model, merged)
                    memory.remember(source, _wanted(model))
        memory.save()

    def _note_deleted(self, source: str) -> None:
        provider = source.removeprefix("external://").partition("/")[0]
        if provider in self._providers():
            memory = ModelMemory(invoke_root())
            memory.remember(source, {})
            memory.save()

    def _merged(self, record: ExternalApiModelConfig, model: ModelConfig, known: Fields | None) -> Fields:
        """The catalogue's fields, but for those that the user has edited."""
        current, wanted = _fields_of(record), _wanted(model)
        ours = [known or {}, *_written_by_others(self._built_in.get(source_of(model)), model)]
        return {
            name: wanted[name] if any(name in by and by[name] == value for by in ours) else value
            for name, value in current.items()
        }


def _install(model: ModelConfig, fields: Fields) -> None:
    changes = ModelRecordChanges(
        **fields,
        base=BaseModelType.External,
        type=ModelType.ExternalImageGenerator,
        format=ModelFormat.ExternalApi,
    )
    install_model(source_of(model), changes)


def _wanted(model: ModelConfig) -> Fields:
    return {
        "name": model.name,
        "description": _description(model),
        "capabilities": capabilities_of(model).model_dump(mode="json"),
        "default_settings": _default_settings(model).model_dump(mode="json"),
    }


def _fields_of(record: ExternalApiModelConfig) -> Fields:
    settings = record.default_settings
    return {
        "name": record.name,
        "description": record.description,
        "capabilities": record.capabilities.model_dump(mode="json"),
        "default_settings": settings.model_dump(mode="json") if settings else None,
    }


def _written_by_others(entry: StarterModel | None, model: ModelConfig) -> list[Fields]:
    """What the core and its External Providers page write when nobody has edited anything."""
    plain = {
        "name": f"{model.provider} {model.id}",
        "description": None,
        "capabilities": ExternalModelCapabilities().model_dump(mode="json"),
        "default_settings": None,
    }
    if entry is None:
        return [plain]
    built_in = {"name": entry.name, "description": entry.description}
    if entry.capabilities:
        built_in["capabilities"] = entry.capabilities.model_dump(mode="json")
    if entry.default_settings:
        built_in["default_settings"] = entry.default_settings.model_dump(mode="json")
    # The page sends our own starter entries as well, without capabilities.
    return [plain, built_in, {"name": model.name, "description": _description(model)}]
