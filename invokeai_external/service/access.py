"""Access to a provider: its base URL and key, checked, and how its errors are shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar
from urllib.parse import urlsplit

from ..adapters.base import SANDBOX_HOST, SANDBOX_KEY, Adapter
from ..adapters.base_url import is_private_host, normalise_base_url
from ..adapters.find import adapter_of
from ..errors import AuthenticationError, NotConfiguredError, ProviderError, Remedy
from ..providers.authentication import CommandToken, GoogleToken, NoKey
from ..providers.provider_config import ProviderConfig
from ..result import Notice
from ..root_folder import USER_FILE
from ..settings.key_file import key_file_of
from ..settings.settings import Credentials, Settings, check_key, unpaired_error, variable_name
from ..transport.redaction import redacted

__all__ = [
    *("Access", "access_to", "base_url_of", "checked_base_url", "public_access_to"),
    *("shown", "token_source", "with_valid_token"),
]

_Sent = TypeVar("_Sent")


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a provider: checked, with its key.

    Attributes:
        adapter: Speaks the provider's wire format.
        base_url: Where its endpoints are.
        api_key: Its key.
        key_source: Where the key was found, for people.
        notices: What to know about the base URL.
        another_token: Returns another token in the place of one that was refused; None for a key.
    """

    adapter: Adapter
    base_url: str
    api_key: str = field(repr=False)
    key_source: str | None
    notices: tuple[Notice, ...]
    another_token: Callable[[str], Awaitable[str]] | None = None

    @property
    def provider(self) -> ProviderConfig:
        return self.adapter.provider

    @property
    def is_sandbox(self) -> bool:
        """True for the built-in sandbox, and for one on this machine or in a private network, by its key: it bills
        nothing.
        """
        host = urlsplit(self.base_url).hostname or ""
        return host == SANDBOX_HOST or (self.api_key == SANDBOX_KEY and is_private_host(host))


def access_to(provider: ProviderConfig, settings: Settings) -> Access:
    """The access to a provider.

    Raises:
        NotConfiguredError: It has no key, or its base URL cannot be used.
        SettingsError: There is only a key for another base URL.
    """
    credentials = _credentials(provider, settings)
    if not (credentials.base_url or provider.base_url):
        # What asks for the base URL says how to set the key too.
        raise _missing_base_url(provider)
    key = ""
    if provider.needs_key:
        if credentials.api_key is None:
            raise _missing_key(provider, settings)
        key = credentials.api_key.get_secret_value()
        check_key(provider, key, credentials.source)
    base_url, notices = base_url_of(provider, settings)
    source = credentials.source if provider.needs_key else token_source(provider)
    return Access(adapter_of(provider), base_url, key, source, notices)


def public_access_to(provider: ProviderConfig, settings: Settings) -> Access:
    """The access to what a provider shows without a key too: the key is empty if there is no key. Raises like
    ``access_to``.
    """
    if provider.needs_key and _credentials(provider, settings).api_key is None:
        return Access(adapter_of(provider), base_url_of(provider, settings)[0], "", None, ())
    return access_to(provider, settings)


def token_source(provider: ProviderConfig) -> str | None:
    """Where the token of a provider comes from that has no key, for people."""
    match provider.auth:
        case CommandToken(command=command):
            return f"the command {command[0]}"
        case GoogleToken():
            return "this machine's account with Google Cloud"
        case _:
            return None


async def with_valid_token(access: Access, send: Callable[[Access], Awaitable[_Sent]]) -> _Sent:
    """Send with an access, and once more with another token if its token was refused; raises like ``send``."""
    try:
        return await send(access)
    except AuthenticationError as error:
        if access.another_token is None or error.status != 401:
            raise
    renewed = replace(access, api_key=await access.another_token(access.api_key))
    try:
        return await send(renewed)
    except ProviderError as error:
        # Whoever shows it knows the first token only.
        raise redacted(error, renewed.api_key) from None


def base_url_of(provider: ProviderConfig, settings: Settings) -> tuple[str, tuple[Notice, ...]]:
    """A provider's base URL and what to know about it; raises like ``access_to``, but needs no key."""
    adapter = adapter_of(provider)
    base_url = checked_base_url(provider, _credentials(provider, settings))
    host = urlsplit(base_url).hostname or ""
    notices = []
    if base_url.startswith("http:") and is_private_host(host):
        what = f"The connection to {host} is plain http: the key and the prompt are not encrypted."
        notices.append(Notice("plain_http", what))
    return base_url, (*notices, *adapter.doubts_about(base_url))


def checked_base_url(provider: ProviderConfig, found: Credentials) -> str:
    """A provider's base URL in its usual form; raises NotConfiguredError if it is missing or not valid."""
    url = found.base_url or provider.base_url
    if url is None:
        raise _missing_base_url(provider)
    return normalise_base_url(url, adapter_of(provider), found.base_url_source)


def _credentials(provider: ProviderConfig, settings: Settings) -> Credentials:
    found = settings.credentials.get(provider.id, Credentials())
    if found.unpaired:
        raise unpaired_error(provider, found, settings.root)
    return found


def shown(error: ProviderError, access: Access) -> ProviderError:
    """An error fit to be shown. That of a refused key or token says where it came from."""
    return redacted(_with_source(error, access) if isinstance(error, AuthenticationError) else error, access.api_key)


def _with_source(error: ProviderError, access: Access) -> ProviderError:
    """The error of a refused key with what to change: a new key elsewhere than the one in use changes nothing."""
    provider, source = access.provider, access.key_source
    match provider.auth:
        case NoKey():
            refused = "wants a key, and no key is sent"
            remedy = Remedy(f"Change the auth of providers.{provider.id} in {USER_FILE}, then set the key.")
        case CommandToken() | GoogleToken():
            refused = "refused the token"
            todo = "Sign in with it again, and check that the account may use this service."
            remedy = Remedy(f"The token is from {source}. {todo}")
        case _:
            return _with_key_source(error, access)
    # Any other status quotes what the account may not do.
    return error.replace(message=f"{provider.name} {refused}." if error.status == 401 else error.message, remedy=remedy)


def _with_key_source(error: ProviderError, access: Access) -> ProviderError:
    if not access.key_source or not error.remedy:
        return error
    remedy = replace(error.remedy, source=access.key_source)
    todo = remedy.text
    # Otherwise the key is valid, and lacks a permission.
    if remedy.action == "replace_key":
        set_it = f"invokeai-external keys set {access.provider.id}"
        todo = f"Create a key {access.provider.key_place}, then "
        todo += f"set {remedy.source} to it." if remedy.source_is_variable else f"run: {set_it}"
    return error.replace(remedy=replace(remedy, text=f"The key in use is from {remedy.source}. {todo}"))


def _missing_key(info: ProviderConfig, settings: Settings) -> NotConfiguredError:
    return NotConfiguredError(
        f"There is no key for {info.name}.",
        remedy=Remedy(
            f"Create one {info.key_place}, then run 'invokeai-external keys set {info.id}', or set "
            f"{variable_name(info.id, 'api_key')}, or add external_{info.id}_api_key to "
            f"{settings.root / key_file_of(info)}.",
            action="set_key",
            provider=info.id,
            url=info.key_url,
        ),
        provider=info.id,
    )


def _missing_base_url(provider: ProviderConfig) -> NotConfiguredError:
    return NotConfiguredError(
        f"{provider.name} has no base URL: every account has another one.",
        remedy=Remedy(
            f"Run 'invokeai-external providers add {provider.id}', or set "
            f"{variable_name(provider.id, 'base_url')} to it.",
            action="fix_base_url",
            provider=provider.id,
        ),
        provider=provider.id,
    )
