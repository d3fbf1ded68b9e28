"""Google's Gemini image models and OpenAI's GPT Image, for InvokeAI and for the command line.

The public names load when they are first used (PEP 562), so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import (
        AuthenticationError,
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
        RequestError,
        ServiceStateError,
        SettingsError,
        TimedOutError,
        UnavailableError,
        UnknownProviderError,
    )
    from .planning.plan import Plan
    from .providers.registry import Registry
    from .providers.schema import ModelConfig
    from .request import GenerationRequest, InputImage
    from .result import ConnectionCheck, GeneratedImage, GenerationResult, Notice, Preview, Progress, Usage
    from .service.service import Service
    from .settings.settings import Settings, load_settings
    from .sizing import AspectRatio, Size
    from .version import VERSION

__all__ = [
    "VERSION",
    "AspectRatio",
    "AuthenticationError",
    "CancelledError",
    "CapabilityError",
    "ConnectionCheck",
    "ContentBlockedError",
    "ExternalError",
    "GeneratedImage",
    "GenerationRequest",
    "GenerationResult",
    "InputImage",
    "InvalidRequestError",
    "InvalidResponseError",
    "ModelConfig",
    "ModelRetiredError",
    "NetworkError",
    "NotConfiguredError",
    "NotSavedError",
    "Notice",
    "Plan",
    "Preview",
    "Progress",
    "ProviderError",
    "QuotaError",
    "RateLimitedError",
    "Registry",
    "RejectedRequestError",
    "RequestError",
    "Service",
    "ServiceStateError",
    "Settings",
    "SettingsError",
    "Size",
    "TimedOutError",
    "UnavailableError",
    "UnknownProviderError",
    "Usage",
    "load_settings",
]

_HOMES = {
    "providers.schema": ("ModelConfig",),
    "planning.plan": ("Plan",),
    "providers.registry": ("Registry",),
    "request": ("GenerationRequest", "InputImage"),
    "result": (
        "ConnectionCheck",
        "GeneratedImage",
        "GenerationResult",
        "Notice",
        "Preview",
        "Progress",
        "Usage",
    ),
    "service.service": ("Service",),
    "settings.settings": ("Settings", "load_settings"),
    "sizing": ("AspectRatio", "Size"),
    "version": ("VERSION",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Whatever has no other home is an error.
    return getattr(import_module(f"{__name__}.{_HOME_OF.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
