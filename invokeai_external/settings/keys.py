"""Decides which key goes to which base URL, from wherever the two come.

A place is the environment (``INVOKEAI_EXTERNAL_<PROVIDER>_API_KEY``, ``..._BASE_URL``), the file ``api_keys.yaml``, or
the variables that the provider's own tools read, which its YAML file names. A key goes only to the base
URL that it was given for: the one in the same place, or the provider's own if that place has no base URL.

The base URL comes from the first of the environment and the file that has one. The key comes from the first place that
has one for this base URL. If there is only a key for another base URL, nothing is sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from pydantic import SecretStr

from ..errors import NotConfiguredError, Remedy, is_variable
from ..providers.provider_config import ProviderConfig

__all__ = [
    "Credentials",
    "Given",
    "Place",
    "check_key",
    "environment_place",
    "file_place",
    "invoke_places",
    "is_plausible_key",
    "origin",
    "pair",
    "unquoted",
    "usual_place",
    "variable_name",
]


_VERSION_AT_END = re.compile(r"/v\d\w*/*$")

_PLACEHOLDER = re.compile(
    r"""
    <.*> | \[.*\] | \{.*\}                              # <key>
    | \$\{?\w+\}? | %\w+%                               # $OPENAI_API_KEY, which nothing has replaced
    | .*(\.\.\.|…).*                                    # sk-..., or what a web page shows of a key
    | (your|insert|paste|replace)[-_ ].*                # your-openai-key
    | .*[-_ ]here                                       # api-key-goes-here
    | (sk-|AIza)?[x*]{3,}
    | ((openai|gemini|google)[-_ ])?api[-_ ]?key | change[-_ ]?me | placeholder
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
"""What examples have instead of a key."""


@dataclass(frozen=True, slots=True)
class Given:
    """A key or a base URL as the user wrote it, without surrounding spaces and quotes, and the name of its source."""

    value: str = field(repr=False)
    source: str


@dataclass(frozen=True, slots=True)
class Place:
    """What one place holds for a provider."""

    key: Given | None = None
    base_url: Given | None = None

    @property
    def given(self) -> tuple[Given, ...]:
        return tuple(given for given in (self.key, self.base_url) if given)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A provider's key and base URL.

    Attributes:
        api_key: The key, or None; it is not shown when printed.
        base_url: The base URL as the user wrote it; None for the provider's own.
        source: The name of the variable or file that the key came from.
        base_url_source: The name of the variable or file that the base URL came from; None for the provider's own.
        unpaired: The source of a key for another base URL than this one; there is no other key then.
        unused: The sources of keys and base URLs that are not used, each once.
    """

    api_key: SecretStr | None = None
    base_url: str | None = None
    source: str | None = None
    base_url_source: str | None = None
    unpaired: str | None = None
    unused: tuple[str, ...] = ()


def pair(ours: Sequence[Place], usual: Place | None = None, own: str | None = None) -> Credentials:
    """Pair a key with its base URL.

    Args:
        ours: The places of this program, in order of priority.
        usual: The place of the provider's own tools; its base URL is used only together with its key.
        own: The provider's own base URL; None if it is not known.
    """
    places = [*ours, usual] if usual else [*ours]
    keyed = [place for place in places if place.key]
    named = next((place.base_url for place in ours if place.base_url), None)
    if named:
        fitting = [place for place in keyed if _is_for(place, named.value, own)]
    else:
        fitting = keyed
        named = keyed[0].base_url if keyed else None
    key = fitting[0].key if fitting else None
    sources = [given.source for place in places for given in place.given]
    used = {given.source for given in (key, named) if given}
    return Credentials(
        SecretStr(key.value) if key else None,
        named.value if named else None,
        key.source if key else None,
        named.source if named else None,
        unpaired=keyed[0].key.source if keyed and keyed[0].key and not key else None,
        unused=tuple(source for source in dict.fromkeys(sources) if source not in used),
    )


def _is_for(place: Place, base_url: str, own: str | None) -> bool:
    """True if the key of a place is for this base URL."""
    if place.base_url:
        return place.base_url.value.rstrip("/") == base_url.rstrip("/")
    try:
        return own is not None and origin(base_url) == origin(own)
    except ValueError:
        return False


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port (RFC 6454); raises ValueError for a text that cannot be read as a URL."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def variable_name(provider: str, entry: str) -> str:
    """The environment variable of an entry (``api_key`` or ``base_url``) of a provider."""
    return f"INVOKEAI_EXTERNAL_{provider}_{entry}".upper()


def environment_place(provider: str, environ: Mapping[str, str]) -> Place:
    """The values of this program's own variables."""
    key, url = variable_name(provider, "api_key"), variable_name(provider, "base_url")
    return Place(_given(environ.get(key), key), _given(environ.get(url), url))


def file_place(provider: str, entries: Mapping[str, str], source: str) -> Place:
    """The values of the entries of a file of keys; ``source`` names the file."""
    key, url = (entries.get(f"external_{provider}_{entry}") for entry in ("api_key", "base_url"))
    return Place(_given(key, source), _given(url, source))


def usual_place(provider: ProviderConfig, environ: Mapping[str, str]) -> Place:
    """The values of the variables of the provider's own tools, read as those tools read them."""
    keys = (_given(environ.get(name), name) for name in provider.key_env)
    url = _given(environ.get(provider.base_url_env), provider.base_url_env) if provider.base_url_env else None
    version = provider.base_url_env_version
    if url and version and _has_path(url.value) and not _VERSION_AT_END.search(url.value):
        url = replace(url, value=f"{url.value.rstrip('/')}/{version}")
    return Place(next(filter(None, keys), None), url)


def invoke_places(
    provider: str,
    key: str | None,
    base_url: str | None,
    environ: Mapping[str, str],
    stored: Callable[[], Mapping[str, str]],
) -> tuple[Place, Place]:
    """The two places in a running Invoke, whose settings hold one key and one base URL and not their sources.

    A value that equals the environment's came from there, since the environment has priority when Invoke starts.
    Everything else is from Invoke's files and its settings page, which writes to them.

    Args:
        provider: Its id.
        key: The key that Invoke holds now.
        base_url: The base URL that it holds now.
        environ: Invoke's environment; Invoke reads names in upper and lower case.
        stored: Reads the entries of ``api_keys.yaml``; called only if the environment overrides one.
    """
    outside = environment_place(provider, {name.upper(): value for name, value in environ.items()})
    live = Place(_given(key, "Invoke"), _given(base_url, "Invoke"))
    hides_key, hides_url = _is_same(outside.key, live.key), _is_same(outside.base_url, live.base_url)
    hidden = file_place(provider, stored(), "Invoke") if hides_key or hides_url else Place()
    return (
        Place(outside.key if hides_key else None, outside.base_url if hides_url else None),
        Place(hidden.key if hides_key else live.key, hidden.base_url if hides_url else live.base_url),
    )


def unquoted(value: str | None) -> str:
    """A value without surrounding spaces and one pair of quotes, which some .env files pass on."""
    text = (value or "").strip()
    return text[1:-1].strip() if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def check_key(provider: ProviderConfig, key: str, source: str | None = None) -> None:
    """Raise NotConfiguredError if a key is not valid.

    Args:
        provider: The provider that the key is for.
        key: The key; it is never in the error.
        source: The name of its source; the error names it if it is a variable.
    """
    problem = _problem_of(key)
    if problem is None:
        return
    text = f"Copy the whole key, then run: invokeai-external keys set {provider.id}"
    where, remedy = "", Remedy(text, action="set_key", provider=provider.id)
    if is_variable(source):
        text = f"Set {source} to the whole key and nothing else."
        where, remedy = f" in {source}", Remedy(text, action="set_key", provider=provider.id, source=source)
    raise NotConfiguredError(f"The key for {provider.name}{where} {problem}.", remedy=remedy, provider=provider.id)


def is_plausible_key(key: str) -> bool:
    """False for a text that no provider could accept as a key, such as a placeholder."""
    return _problem_of(key) is None


def _problem_of(key: str) -> str | None:
    if not key:
        return "is empty"
    if _PLACEHOLDER.fullmatch(key):
        return "is a placeholder"
    if "\n" in key or "\r" in key:
        return "has more than one line"
    if key[0] in "\"'" or key[-1] in "\"'":
        return "has a quotation mark at one end"
    if not key.isascii() or not key.isprintable() or " " in key:
        return "contains spaces or characters that no key has"
    return None


def _given(value: str | None, source: str) -> Given | None:
    text = unquoted(value)
    return Given(text, source) if text else None


def _is_same(one: Given | None, other: Given | None) -> bool:
    return one is not None and other is not None and one.value == other.value


def _has_path(url: str) -> bool:
    try:
        return bool(urlsplit(url).path.strip("/"))
    except ValueError:
        return False
