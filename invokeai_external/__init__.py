"""Generates images with Google's Gemini and OpenAI's GPT Image: in InvokeAI, on the command line and from Python.

The public names load when they are first used (PEP 562), so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module

# Not that of typing, which takes longer to load than all the rest of this module: Ctrl-C would show where it was.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from .errors import (
        AuthenticationError,
        BudgetExceededError,
        CancelledError,
        CapabilityError,
        ContentBlockedError,
        ExternalError,
        InvalidRequestError,
        InvalidResponseError,
        ModelRetiredError,
        NetworkError,
        NotConfiguredError,
        NotSavedError,
        ProviderError,
        QuotaError,
        RateLimitedError,
        RejectedRequestError,
        Remedy,
        RemedyAction,
        RequestError,
        ServiceStateError,
        SettingsError,
        SpendingRecordError,
        TimedOutError,
        UnavailableError,
        UnknownProviderError,
    )
    from .planning.plan import Call, Plan
    from .progress import Failed, Preview, Progress, Received, Retrying, Sending
    from .providers.provider_config import ProviderConfig
    from .providers.registry import Registry, ResolvedModel
    from .providers.schema import ModelConfig
    from .request import GenerationRequest, InputImage, MetadataMode, OptionValue
    from .result import ConnectionCheck, GeneratedImage, GenerationResult, Notice, Usage
    from .service.generate_sync import generate_sync
    from .service.library_files import read_image, read_mask
    from .service.refusals import Purse
    from .service.service import Service
    from .settings.keys import Credentials
    from .settings.settings import Limits, Settings, load_settings
    from .sizing import AspectRatio, Size
    from .spending.recorded_call import Payer
    from .transport.messages import FilePart, HttpRequest
    from .version import VERSION

__all__ = [
    "VERSION",
    "AspectRatio",
    "AuthenticationError",
    "BudgetExceededError",
    "Call",
    "CancelledError",
    "CapabilityError",
    "ConnectionCheck",
    "ContentBlockedError",
    "Credentials",
    "ExternalError",
    "Failed",
    "FilePart",
    "GeneratedImage",
    "GenerationRequest",
    "GenerationResult",
    "HttpRequest",
    "InputImage",
    "InvalidRequestError",
    "InvalidResponseError",
    "Limits",
    "MetadataMode",
    "ModelConfig",
    "ModelRetiredError",
    "NetworkError",
    "NotConfiguredError",
    "NotSavedError",
    "Notice",
    "OptionValue",
    "Payer",
    "Plan",
    "Preview",
    "Progress",
    "ProviderConfig",
    "ProviderError",
    "Purse",
    "QuotaError",
    "RateLimitedError",
    "Received",
    "Registry",
    "RejectedRequestError",
    "Remedy",
    "RemedyAction",
    "RequestError",
    "ResolvedModel",
    "Retrying",
    "Sending",
    "Service",
    "ServiceStateError",
    "Settings",
    "SettingsError",
    "Size",
    "SpendingRecordError",
    "TimedOutError",
    "UnavailableError",
    "UnknownProviderError",
    "Usage",
    "generate_sync",
    "load_settings",
    "read_image",
    "read_mask",
]

_HOMES = {
    "planning.plan": (
        "Call",
        "Plan",
    ),
    "progress": (
        "Failed",
        "Preview",
        "Progress",
        "Received",
        "Retrying",
        "Sending",
    ),
    "providers.provider_config": ("ProviderConfig",),
    "providers.registry": (
        "Registry",
        "ResolvedModel",
    ),
    "providers.schema": ("ModelConfig",),
    "request": (
        "GenerationRequest",
        "InputImage",
        "MetadataMode",
        "OptionValue",
    ),
    "result": (
        "ConnectionCheck",
        "GeneratedImage",
        "GenerationResult",
        "Notice",
        "Usage",
    ),
    "service.generate_sync": ("generate_sync",),
    "service.library_files": (
        "read_image",
        "read_mask",
    ),
    "service.refusals": ("Purse",),
    "service.service": ("Service",),
    "settings.keys": ("Credentials",),
    "settings.settings": (
        "Limits",
        "Settings",
        "load_settings",
    ),
    "sizing": (
        "AspectRatio",
        "Size",
    ),
    "spending.recorded_call": ("Payer",),
    "transport.messages": (
        "FilePart",
        "HttpRequest",
    ),
    "version": ("VERSION",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Everything that has no other home is an error class.
    return getattr(import_module(f"{__name__}.{_HOME_OF.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
