"""The schema of a provider: where its API is, how a key is sent, and what differs from the usual. Frozen values.

The values come from the YAML files beside this module, and from the ``providers:`` of the user's
``invokeai_external.yaml``: both have exactly these fields.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, StringConstraints, field_validator

from ..untrusted_text import quoted, without_keys
from .authentication import HEADER_NAME, Authentication, BearerKey, CommandToken, HeaderKey
from .frozen import Frozen

__all__ = ["NOT_IN_A_FILE", "PROVIDER_FIELDS", "PROVIDER_ID", "ProviderConfig", "ProviderLimits"]

PROVIDER_ID = re.compile(r"[a-z][a-z0-9_]{0,39}")
"""What the id of a provider may be: part of the names of settings, variables and models."""


class ProviderLimits(Frozen):
    """What is different with one provider from the ``settings:``; None for what is the same.

    Attributes:
        concurrency: The most calls in flight.
        timeout_s: A call ends with an error if nothing arrives for this many seconds.
        total_timeout_s: A call ends with an error after this many seconds, whatever has arrived.
    """

    concurrency: Annotated[int, Field(ge=1, le=64)] | None = None
    timeout_s: Annotated[float, Field(gt=0, le=3600)] | None = None
    total_timeout_s: Annotated[float, Field(gt=0, le=86_400)] | None = None


class ProviderConfig(Frozen):
    """One provider.

    Attributes:
        id: Its id, as in ``--model`` and in the names of settings.
        adapter: Its wire format: the name of a module in ``adapters/``, such as ``openai_images``.
        name: The name to show.
        base_url: The URL of its API; None if every user has another one, so that the provider is off until it is set.
        api_version: The path to append to a base URL without a path; None for the usual one of the wire format.
        auth: How the key is sent; None for the usual way of the wire format.
        headers: Further headers of every request. They hold no key.
        query: What every URL has behind its path. It holds no key.
        paths: Other paths than the usual ones of the wire format, by what they are for; ``{model}`` stands for the
            model's id.
        list_models: False if it has no list of models.
        discover_models: True if its models, with their sizes, options and prices, are those that it lists itself.
        limits: What is different from the settings.
        key_url: The web page where you create a key.
        billing_url: The web page with credit and limits.
        limits_url: The web page with your limits, if that is another one.
        verification_url: The web page where an organisation is verified.
        key_env: The environment variables of the key that the provider's own tools read; the first that is set is used,
            and only after all other places of a key.
        base_url_env: That of the base URL; it is used only with a key from ``key_env``.
        base_url_env_version: What the provider's tools append to a path in that URL; may be empty.
        cost_from: Where the cost of a call comes from: ``tokens``, from the prices of the model; or from the response:
            ``usage.FIELD``, a field beside its tokens, or ``header:NAME``, one of its headers, each in USD. If it is
            missing, the prices count.
        in_invoke: True if Invoke has settings for its key and base URL.
    """

    id: Annotated[str, StringConstraints(pattern=rf"^{PROVIDER_ID.pattern}$")]
    adapter: str
    name: str = Field(min_length=1, max_length=60)
    base_url: str | None = Field(default=None, min_length=1)
    api_version: str | None = None
    auth: Authentication | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    query: dict[str, str] = Field(default_factory=dict)
    paths: dict[str, str] = Field(default_factory=dict)
    list_models: bool = True
    discover_models: bool = False
    limits: ProviderLimits = Field(default_factory=ProviderLimits)
    key_url: str | None = None
    billing_url: str | None = None
    limits_url: str | None = None
    verification_url: str | None = None
    key_env: tuple[str, ...] = ()
    base_url_env: str | None = None
    base_url_env_version: str = ""
    cost_from: str = "tokens"
    in_invoke: bool = False

    def __hash__(self) -> int:
        return hash((self.id, self.adapter, self.base_url))

    @property
    def needs_key(self) -> bool:
        """False if a token is sent in its place, or nothing."""
        return self.auth is None or self.auth.type in ("bearer", "header")

    @property
    def key_place(self) -> str:
        """Where you create a key, as a sentence ends."""
        return self._place(self.key_url)

    @property
    def billing_place(self) -> str:
        """Where you see your credit and limits, as a sentence ends."""
        return self._place(self.billing_url)

    @property
    def limits_place(self) -> str:
        """Where you see your limits, as a sentence ends."""
        return self._place(self.limits_url or self.billing_url)

    def _place(self, url: str | None) -> str:
        return f"at {url}" if url else f"with {self.name}"

    @field_validator("key_env", mode="before")
    @classmethod
    def _one_variable_needs_no_list(cls, names: object) -> object:
        return (names,) if isinstance(names, str) else names

    @field_validator("cost_from")
    @classmethod
    def _cost_is_from_a_known_place(cls, place: str) -> str:
        if not _COST_FROM.fullmatch(place):
            raise ValueError("must be tokens, usage.FIELD or header:NAME, such as usage.cost or header:x-cost")
        return place

    @field_validator("headers")
    @classmethod
    def _headers_are_valid(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not HEADER_NAME.fullmatch(name):
                raise ValueError(f"{quoted(name)} is not a valid name of a header")
            if not value.isascii() or not value.isprintable():
                raise ValueError(f"the value of {name} must have printable ASCII characters only")
            if name.lower() in _HEADERS_OF_HTTP:
                raise ValueError(f"{name} is set by this program")
        return _without_secrets(headers)

    @field_validator("query")
    @classmethod
    def _query_is_valid(cls, query: dict[str, str]) -> dict[str, str]:
        return _without_secrets(query)

    @field_validator("paths")
    @classmethod
    def _paths_are_valid(cls, paths: dict[str, str]) -> dict[str, str]:
        for name, path in paths.items():
            if not _PATH.fullmatch(path.replace("{model}", "")):
                raise ValueError(
                    f"the path {name} must be like deployments/{{model}}/images: it is appended to the base URL, and "
                    "{model} is its only placeholder"
                )
        return paths


_COST_FROM = re.compile(rf"tokens|usage\.[A-Za-z_][A-Za-z0-9_]*|header:{HEADER_NAME.pattern}")

_PATH = re.compile(r"(?!/)[\w./:~%@!$&'()*+,;=-]*")

_HEADERS_OF_HTTP = frozenset(
    {
        *("host", "content-length", "content-type", "transfer-encoding", "connection", "accept-encoding"),
        *("expect", "upgrade", "te", "trailer", "keep-alive", "proxy-connection"),
    }
)
"""The headers that follow from a request and its connection."""

_NAMES_OF_KEYS = re.compile(
    r"auth|cookie|(?:^|[-_])(?:key|token|secret|password|signature|sig)$|api[-_]?key", re.IGNORECASE
)
"""How names of headers and of query parameters look whose values are keys."""


def _without_secrets(values: dict[str, str]) -> dict[str, str]:
    """The same values; raises ValueError if one of them looks like a key: keys belong into the file of keys."""
    for name, value in values.items():
        if _NAMES_OF_KEYS.search(name) or without_keys(value) != value:
            raise ValueError(
                f"{quoted(name)} looks like a key; delete it, say in 'auth' how the key is sent, and set the key with "
                "'keys set'"
            )
    return values


NOT_IN_A_FILE = frozenset({"id", "in_invoke"})
"""The fields that the user's file cannot decide."""

PROVIDER_FIELDS = (
    frozenset(
        name
        for part in (ProviderConfig, ProviderLimits, BearerKey, HeaderKey, CommandToken)
        for name in part.model_fields
    )
    - NOT_IN_A_FILE
)
"""The names of all fields that a provider and its parts can have in the user's file."""
