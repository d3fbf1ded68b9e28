"""The catalogue's models in Invoke's types: entries of its starter list, and records of installed models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

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

from ... import clock
from ...planning.plan import MAX_IMAGES
from ...providers.schema import ModelConfig
from ...sizing import Size
from ..host.model_records import StarterModels, delete_model, install_model, model_records
from .carriers import is_ours, key_of, source_of
from .labels import description_of, in_list_order, name_of
from .memory import Fields
from .panel_sizes import panel_sizes

__all__ = ["InvokeModelStore", "capabilities_of", "starter_model"]


class InvokeModelStore:
    """Invoke's installed models, for the sync.

    Args:
        starters: The list of starter models.
        key_is_refused: Whether a provider, by its id, did not accept its key.
    """

    def __init__(self, starters: StarterModels, key_is_refused: Callable[[str], bool]) -> None:
        self._starters, self._key_is_refused = starters, key_is_refused
        self._built_in = {entry.source: entry for entry in starters.built_in}
        self._places: dict[str, int] = {}

    def place_of(self, source: str) -> int:
        """The place of a model in Invoke's lists; that of a model which is not offered is after all others."""
        return self._places.get(source, len(self._places))

    def installed(self) -> Mapping[str, Fields]:
        """The fields of each installed external model, by source."""
        return {record.source: _fields_of(record) for record in model_records()}

    def carried(self) -> set[str]:
        """The sources of the installed models that are carried and that this plugin has installed."""
        return {record.source for record in model_records() if is_ours(record)}

    def offer(self, models: Sequence[ModelConfig]) -> None:
        """Show these models in the list of starter models, in place of those shown before."""
        models = in_list_order(models)
        self._places = {source_of(model): place for place, model in enumerate(models)}
        self._starters.show([starter_model(model) for model in models])

    def desired(self, model: ModelConfig) -> Fields:
        """The fields of a model's record according to the catalogue."""
        day, key_is_refused = clock.utc_today(), self._key_is_refused(model.provider)
        return {
            "name": name_of(model, day),
            "description": description_of(model, day, key_is_refused=key_is_refused),
            "capabilities": capabilities_of(model).model_dump(mode="json"),
            "default_settings": _default_settings(model).model_dump(mode="json"),
        }

    def written_by_invoke(self, model: ModelConfig) -> Sequence[Fields]:
        """The fields that the core and its External Providers page write if nobody has edited anything."""
        source = source_of(model)
        plain = {
            # The provider, a space, and the model.
            "name": source.removeprefix("external://").replace("/", " ", 1),
            "description": None,
            "capabilities": ExternalModelCapabilities().model_dump(mode="json"),
            "default_settings": None,
        }
        # Invoke changes models later, one by one, so what was right for an earlier key may come after a change of keys.
        late = {"description": description_of(model, clock.utc_today(), key_is_refused=True)}
        # The page also sends our own starter entries, without capabilities.
        shown = starter_model(model)
        ours = [late, {"name": shown.name, "description": shown.description}]
        entry = self._built_in.get(source)
        if entry is None:
            return [plain, *ours]
        built_in = {"name": entry.name, "description": entry.description}
        if entry.capabilities:
            built_in["capabilities"] = entry.capabilities.model_dump(mode="json")
        if entry.default_settings:
            built_in["default_settings"] = entry.default_settings.model_dump(mode="json")
        return [plain, built_in, *ours]

    def install(self, model: ModelConfig, fields: Fields) -> None:
        """Install a model, or change the record of an installed one."""
        changes = ModelRecordChanges(
            **fields,
            # An installed model keeps the key that it has.
            key=key_of(model),
            base=BaseModelType.External,
            type=ModelType.ExternalImageGenerator,
            format=ModelFormat.ExternalApi,
        )
        install_model(source_of(model), changes)

    def delete(self, source: str) -> None:
        """Delete an installed model."""
        for record in model_records():
            if record.source == source:
                delete_model(record)


def starter_model(model: ModelConfig) -> StarterModel:
    """The model's entry in the list of starter models.

    Its capabilities stay None, because Invoke lets those of an entry override the record in every response, and the
    user's edits would never show. The panel schema can only be given here, and nobody can edit it.
    """
    panel = ExternalModelPanelSchema(
        prompts=[ExternalModelPanelControl(name="reference_images")] if model.input_images.max_count else [],
        # The panel looks for the seed among the image controls (6.14.2).
        image=[
            ExternalModelPanelControl(name=name) for name in (["dimensions", "seed"] if model.seed else ["dimensions"])
        ],
    )
    return StarterModel(
        name=name_of(model, clock.utc_today()),
        base=BaseModelType.External,
        source=source_of(model),
        description=description_of(model, clock.utc_today()),
        type=ModelType.ExternalImageGenerator,
        format=ModelFormat.ExternalApi,
        panel_schema=panel,
    )


def capabilities_of(model: ModelConfig) -> ExternalModelCapabilities:
    """What Invoke's panel offers for a model."""
    sizes = panel_sizes(model)
    return ExternalModelCapabilities(
        modes=list(model.modes),
        supports_reference_images=model.input_images.max_count > 0,
        supports_negative_prompt=False,
        supports_seed=model.seed,
        max_images_per_request=MAX_IMAGES,
        max_image_size=ExternalImageSize(
            width=max(entry.size.width for entry in sizes), height=max(entry.size.height for entry in sizes)
        ),
        allowed_aspect_ratios=list(dict.fromkeys(entry.ratio for entry in sizes)),
        aspect_ratio_sizes={entry.ratio: _image_size(entry.size) for entry in sizes if not entry.image_size} or None,
        resolution_presets=[
            ExternalResolutionPreset(
                label=f"{entry.ratio} ({entry.image_size})",
                aspect_ratio=entry.ratio,
                image_size=entry.image_size,
                width=entry.size.width,
                height=entry.size.height,
            )
            for entry in sizes
            if entry.image_size
        ]
        or None,
        max_reference_images=model.input_images.max_count or None,
        mask_format="binary" if "inpaint" in model.modes else "none",
    )


def _image_size(size: Size) -> ExternalImageSize:
    return ExternalImageSize(width=size.width, height=size.height)


def _default_settings(model: ModelConfig) -> ExternalApiModelDefaultSettings:
    size = panel_sizes(model)[0].size
    return ExternalApiModelDefaultSettings(width=size.width, height=size.height, num_images=1)


def _fields_of(record: ExternalApiModelConfig) -> Fields:
    settings = record.default_settings
    return {
        "name": record.name,
        "description": record.description,
        "capabilities": record.capabilities.model_dump(mode="json"),
        "default_settings": settings.model_dump(mode="json") if settings else None,
    }
