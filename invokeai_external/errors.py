"""All errors, as one tree.

ExternalError
├── RequestError                 nothing was sent and nothing was billed
│   ├── NotConfiguredError       a key or a base URL is missing or not valid
│   ├── SettingsError            a settings file cannot be used
│   ├── UnknownProviderError     there is no provider with that id
│   ├── CapabilityError          the model does not support what was requested
│   ├── InvalidRequestError      the request is not valid for any model
│   ├── ServiceStateError        the Service is closed, or belongs to another event loop
│   ├── SpendingRecordError      a limit is set, and the record of what was spent cannot be used
│   └── BudgetExceededError      a limit does not allow what it could cost
├── ProviderError                a provider or the network failed
│   ├── RejectedRequestError     the provider says that the request is not valid
│   ├── AuthenticationError      the provider refused the key
│   ├── QuotaError               no credit, quota or permission is left: waiting does not help
│   ├── RateLimitedError         too many requests: waiting helps
│   ├── ContentBlockedError      the provider refused the prompt or the image
│   ├── ModelRetiredError        the provider no longer offers the model
│   ├── UnavailableError         the provider is overloaded or broken
│   ├── TimedOutError            no response in time
│   ├── NetworkError             no connection, or the connection was lost
│   ├── InvalidResponseError     the response cannot be used
│   └── CancelledError           you cancelled the request
└── NotSavedError                an image that was made could not be written

The command line adds its own: ``UsageError`` and ``OutputError``.

An error says in one sentence what is wrong (``message``), what to do next (``remedy``), and where it happened. Messages
are safe to show: they contain no key and no response body. Errors are immutable, and can be copied and pickled;
``replace`` returns a changed copy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

if TYPE_CHECKING:
    from .result import Usage

__all__ = [
    "AuthenticationError",
    "BudgetExceededError",
    "CancelledError",
    "CapabilityError",
    "ContentBlockedError",
    "ExternalError",
    "InvalidRequestError",
    "InvalidResponseError",
    "ModelRetiredError",
    "NetworkError",
    "NotConfiguredError",
    "NotSavedError",
    "ProviderError",
    "QuotaError",
    "RateLimitedError",
    "RejectedRequestError",
    "Remedy",
    "RemedyAction",
    "RequestError",
    "ServiceStateError",
    "SettingsError",
    "SpendingRecordError",
    "TimedOutError",
    "UnavailableError",
    "UnknownProviderError",
    "is_variable",
]


RemedyAction = Literal[
    "advice",
    "set_key",
    "replace_key",
    "pair_key",
    "fix_base_url",
    "list_models",
    "check_model",
    "change_setting",
    "raise_limit",
    "set_field",
]
"""What a remedy asks for: see ``Remedy.action``."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to do next.

    Attributes:
        text: One or two sentences, as the command line says it.
        action: What kind of thing to do, for hosts that say it in their own terms:

            - ``advice``: ``text`` is right for every host.
            - ``set_key``: Set the key of ``provider``, or of any provider if that is None.
            - ``replace_key``: Replace the key of ``provider``, which refused it.
            - ``pair_key``: Set the key and the base URL of ``provider`` in the same place.
            - ``fix_base_url``: Correct the base URL of ``provider``; ``url`` is an example of a valid one.
            - ``list_models``: Choose another model.
            - ``check_model``: Choose another model, or correct the base URL of ``provider``.
            - ``change_setting``: Change ``setting`` in ``invokeai_external.yaml``.
            - ``raise_limit``: Raise the limit ``setting`` of what may be spent.
            - ``set_field``: Set a field of the request itself, which is not an option.

        provider: The id of the provider that the remedy is about.
        url: The web page where you do it; for ``fix_base_url``, an example.
        source: Where the key or the base URL in use is from: the name of an environment variable or of a file.
        setting: The name of the setting to change.
        option: The sentence of ``text`` about an option of the model, for hosts that do not always offer it.
    """

    text: str
    action: RemedyAction = "advice"
    provider: str | None = None
    url: str | None = None
    source: str | None = None
    setting: str | None = None
    option: str | None = None

    @property
    def source_is_variable(self) -> bool:
        """True if ``source`` is an environment variable, so that its value must be changed there."""
        return is_variable(self.source)


def is_variable(source: str | None) -> bool:
    """True if the source of a value is an environment variable, and not a file or a program."""
    return re.fullmatch(r"[A-Z][A-Z0-9_]*", source or "") is not None


class ExternalError(Exception):
    """The base class of every error of this package.

    Attributes:
        code: The kind of error, for programs. It is stable across releases.
        former_code: The code of this kind in the last minor version, if it has changed since; else None.
        message: What is wrong, in one sentence.
        remedy: What to do next; None if there is nothing to suggest. A remedy that is only advice may be given as text.
        provider: The provider's id, such as ``openai``; None if no provider was chosen yet.
        model: The model id that was sent to the provider; None if no model was chosen yet.
        status: The HTTP status of the response; None if there was no response.
        request_id: The provider's own id of the request, which its support asks for.
    """

    code: ClassVar[str] = "error"
    former_code: ClassVar[str | None] = None

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
        """The text of the remedy, as the command line says it; None if there is nothing to suggest."""
        return self.remedy.text if self.remedy else None

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some attributes changed."""
        return type(self)(**{**self._facts(), **changes})

    def _facts(self) -> dict[str, Any]:
        """The arguments that make an equal error."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __reduce__(self) -> tuple[Any, ...]:
        # BaseException passes positional arguments only, and then assigns the others, which cannot be changed.
        notes = {name: value for name, value in vars(self).items() if name.startswith("_")}
        return (_restored, (type(self), self._facts()), notes or None)

    def __setattr__(self, name: str, value: object) -> None:
        # Python itself assigns names with an underscore, such as __traceback__.
        if not name.startswith("_") and name in vars(self):
            raise AttributeError(f"{name} of an error cannot be changed; use replace")
        super().__setattr__(name, value)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message


def _restored(kind: type[ExternalError], facts: dict[str, Any]) -> ExternalError:
    """A copied or unpickled error."""
    return kind(**facts)


class RequestError(ExternalError):
    """Nothing was sent and nothing was billed: change the request, the settings or the model first."""


class NotConfiguredError(RequestError):
    """A provider's key or base URL is missing or not valid."""

    code = "not_configured"


class SettingsError(RequestError):
    """A settings file cannot be used; the message names the file, the line and the field."""

    code = "settings"


class UnknownProviderError(RequestError):
    """There is no provider with that id."""

    code = "unknown_provider"


class CapabilityError(RequestError):
    """The model does not support what you asked for, and the image would not be the same without it."""

    code = "capability"


class InvalidRequestError(RequestError, ValueError):
    """The request is not valid for any model, such as an empty prompt or a mask without an image.

    It is a ``ValueError`` too, so that values such as ``Size(0, 1)`` fail as Python's own do.
    """

    code = "invalid_request"


class ServiceStateError(RequestError):
    """The ``Service`` is closed, was entered twice, or belongs to another event loop."""

    code = "service_state"


class SpendingRecordError(RequestError):
    """The record of what was spent cannot be used; without a limit, images are made all the same."""

    code = "spending_record"


class BudgetExceededError(RequestError):
    """The request could cost more than a limit allows.

    Attributes:
        limit: The limit, as ``budget set`` takes it: ``total.day``, ``models.openai/gpt-image-2.month``,
            ``max_per_image``, ``max_cost``.
        limit_usd: What it allows, in USD.
        used_usd: What counts against it: what was charged, what may have been charged, what is in progress.
        unconfirmed_usd: What of that may have been charged.
        in_progress_usd: What of that calls in progress may cost at most.
        could_cost_usd: What the request could cost at most; None if that is unknown.
        resets_at: When the limit starts again, as ISO text; None if it does not.
        cheaper: A choice that would fit, such as ``--quality low``; None without one.
    """

    code = "budget_exceeded"

    def __init__(
        self,
        message: str,
        *,
        remedy: Remedy | str | None = None,
        provider: str | None = None,
        model: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        limit: str = "",
        limit_usd: float = 0.0,
        used_usd: float = 0.0,
        unconfirmed_usd: float = 0.0,
        in_progress_usd: float = 0.0,
        could_cost_usd: float | None = None,
        resets_at: str | None = None,
        cheaper: str | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy, provider=provider, model=model, status=status, request_id=request_id)
        self.limit = limit
        self.limit_usd = limit_usd
        self.used_usd = used_usd
        self.unconfirmed_usd = unconfirmed_usd
        self.in_progress_usd = in_progress_usd
        self.could_cost_usd = could_cost_usd
        self.resets_at = resets_at
        self.cheaper = cheaper


class ProviderError(ExternalError):
    """A provider or the network failed.

    Attributes:
        retry_after: How many seconds the provider asks you to wait; None if it does not say.
        should_retry: Whether the provider says that a retry is useful; None if it does not say.
        never_sent: True if the request did not reach the provider, so that it cannot have been billed.
        may_be_billed: True if the request may have been billed although no image arrived. It is never sent again.
        usage: The tokens that the response reports, which may be billed; None if it does not say.
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
        usage: Usage | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy, provider=provider, model=model, status=status, request_id=request_id)
        self.retry_after = retry_after
        self.should_retry = should_retry
        self.never_sent = never_sent
        self.may_be_billed = may_be_billed
        self.usage = usage


class RejectedRequestError(ProviderError):
    """The provider says that the request is not valid (HTTP 400 and similar)."""

    code = "rejected"
    # The code of InvalidRequestError too, so that programs could not see whether anything was sent.
    former_code = "invalid_request"


class AuthenticationError(ProviderError):
    """The provider refused the key."""

    code = "authentication"


class QuotaError(ProviderError):
    """There is no credit, quota or permission left, and waiting does not help."""

    code = "quota"


class RateLimitedError(ProviderError):
    """There were too many requests; waiting helps."""

    code = "rate_limited"


class ContentBlockedError(ProviderError):
    """The provider refused to make the image; the message quotes its reason."""

    code = "content_blocked"


class ModelRetiredError(ProviderError):
    """The provider no longer offers the model; the remedy names its successor."""

    code = "model_retired"


class UnavailableError(ProviderError):
    """The provider is overloaded or broken."""

    code = "unavailable"


class TimedOutError(ProviderError):
    """No response arrived in time; the request may have been billed."""

    code = "timed_out"


class NetworkError(ProviderError):
    """No connection could be made, or it was lost and the request may have been billed; ``never_sent`` says which."""

    code = "network"


class InvalidResponseError(ProviderError):
    """The response cannot be used: it is not valid JSON, has no image or a broken one, or is too large."""

    code = "invalid_response"


class CancelledError(ProviderError):
    """You cancelled the request."""

    code = "cancelled"


class NotSavedError(ExternalError):
    """An image was made, and could not be written to a file or to Invoke's gallery."""

    code = "not_saved"
