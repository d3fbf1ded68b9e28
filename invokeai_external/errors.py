"""Everything that can go wrong, as one tree.

ExternalError
├── RequestError                 nothing was sent, nothing was paid
│   ├── NotConfiguredError       a key or a base URL is missing or cannot be used
│   ├── SettingsError            a settings file cannot be read
│   ├── UnknownProviderError     no provider of that name
│   ├── CapabilityError          the model cannot do what was asked
│   ├── InvalidRequestError      the request itself makes no sense
│   └── ServiceStateError        a Service that is closed, or belongs to another event loop
└── ProviderError                a provider or the network failed
    ├── RejectedRequestError     the provider found the request wrong
    ├── AuthenticationError      the key was refused
    ├── QuotaError               no money, no quota or no permission left: waiting will not help
    ├── RateLimitedError         too many requests: waiting helps
    ├── ContentBlockedError      the prompt or the picture was refused
    ├── ModelRetiredError        the provider no longer serves the model
    ├── UnavailableError         the provider is overloaded or broken
    ├── TimedOutError            no answer in time
    ├── NetworkError             no connection, or it broke
    ├── InvalidResponseError     an answer that cannot be understood
    └── CancelledError           stopped by the user

Each error is one sentence (``message``), what to do next (``remedy``) and where it happened. Messages are made to be
shown: they never hold a key or a response body. Errors do not change: ``replace`` gives one that differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

__all__ = [
    "AuthenticationError",
    "CancelledError",
    "CapabilityError",
    "ContentBlockedError",
    "ExternalError",
    "InvalidRequestError",
    "InvalidResponseError",
    "ModelRetiredError",
    "NetworkError",
    "NotConfiguredError",
    "ProviderError",
    "QuotaError",
    "RateLimitedError",
    "RejectedRequestError",
    "Remedy",
    "RequestError",
    "ServiceStateError",
    "SettingsError",
    "TimedOutError",
    "UnavailableError",
    "UnknownProviderError",
]


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to do next.

    Attributes:
        text: One sentence in the terms of the command line. A host with other terms makes its own of the facts.
        action: What kind of thing it is; ``advice`` where ``text`` is right for every host.
        provider: The provider's id that it is about.
        url: The page where it is done.
    """

    text: str
    action: Literal["advice", "set_key", "fix_base_url", "list_models"] = "advice"
    provider: str | None = None
    url: str | None = None


class ExternalError(Exception):
    """The root of the tree.

    Attributes:
        code: The kind of error, stable across releases, for programs to read.
        message: One sentence, for people to read.
        remedy: What to do next; None where there is nothing to say. One that is only a sentence may be given as text.
        provider: The provider's id, such as ``openai``; None if none was chosen yet.
        model: The model id that was sent to the provider; None if none was chosen yet.
        status: The HTTP status of the answer; None if there was none.
        request_id: The provider's own name for the request, to quote to its support.
    """

    code: ClassVar[str] = "error"

    def __init__(
        self,
        message: str,
        *,
        remedy: Remedy | str | None = None,
        provider: str | None = None,
        model: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = Remedy(remedy) if isinstance(remedy, str) else remedy
        self.provider = provider
        self.model = model
        self.status = status
        self.request_id = request_id

    @property
    def hint(self) -> str | None:
        """What to do next in one sentence, in the terms of the command line; None where there is nothing to say."""
        return self.remedy.text if self.remedy else None

    def replace(self, **changes: Any) -> Self:
        """The same error with some of its attributes changed."""
        facts = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return type(self)(**{**facts, **changes})

    def __setattr__(self, name: str, value: object) -> None:
        # What Python itself writes, such as __traceback__, and what has no value yet.
        if not name.startswith("_") and name in vars(self):
            raise AttributeError(f"{name} of an error cannot be changed; use replace")
        super().__setattr__(name, value)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message


class RequestError(ExternalError):
    """Nothing was sent and nothing was paid: the request, the settings or the model choice must change first."""


class NotConfiguredError(RequestError):
    """A provider's key is missing, or its base URL cannot be used."""

    code = "not_configured"


class SettingsError(RequestError):
    """A settings file is broken; the message names the file, the line and the field."""

    code = "settings"


class UnknownProviderError(RequestError):
    """No provider has that id."""

    code = "unknown_provider"


class CapabilityError(RequestError):
    """The model cannot do what was asked, and leaving it out would change the picture."""

    code = "capability"


class InvalidRequestError(RequestError):
    """The request makes no sense for any model: an empty prompt, a mask without an image."""

    code = "invalid_request"


class ServiceStateError(RequestError):
    """A Service is used after it was closed, entered twice, or used from another event loop than its own."""

    code = "service_state"


class ProviderError(ExternalError):
    """A provider or the network failed.

    Attributes:
        retry_after: The seconds that the provider asked to wait; None if it named none.
        should_retry: The provider's own word on whether to try again; None if it said nothing.
        never_sent: True if the request surely did not reach the provider, so nothing can have been billed.
        may_be_billed: True if the request may have been billed although no image came: it is never sent again.
    """

    def __init__(
        self,
        message: str,
        *,
        remedy: Remedy | str | None = None,
        provider: str | None = None,
        model: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        should_retry: bool | None = None,
        never_sent: bool = False,
        may_be_billed: bool = False,
    ) -> None:
        super().__init__(message, remedy=remedy, provider=provider, model=model, status=status, request_id=request_id)
        self.retry_after = retry_after
        self.should_retry = should_retry
        self.never_sent = never_sent
        self.may_be_billed = may_be_billed


class RejectedRequestError(ProviderError):
    """The provider found the request wrong (HTTP 400 and its like)."""

    code = "invalid_request"


class AuthenticationError(ProviderError):
    """The provider refused the key."""

    code = "authentication"


class QuotaError(ProviderError):
    """No credit, quota or permission is left; waiting does not help."""

    code = "quota"


class RateLimitedError(ProviderError):
    """Too many requests for now; waiting helps."""

    code = "rate_limited"


class ContentBlockedError(ProviderError):
    """The provider refused to make the picture; the message holds its reason and its own words."""

    code = "content_blocked"


class ModelRetiredError(ProviderError):
    """The provider no longer serves the model; the message names what replaced it."""

    code = "model_retired"


class UnavailableError(ProviderError):
    """The provider is overloaded or broken."""

    code = "unavailable"


class TimedOutError(ProviderError):
    """No answer came in time; the request may still have been billed."""

    code = "timed_out"


class NetworkError(ProviderError):
    """No connection could be made (``never_sent``), or it was lost (the request may have been billed)."""

    code = "network"


class InvalidResponseError(ProviderError):
    """An answer came that is no answer: broken JSON, no image, broken image data, too large."""

    code = "invalid_response"


class CancelledError(ProviderError):
    """The user stopped the run."""

    code = "cancelled"
