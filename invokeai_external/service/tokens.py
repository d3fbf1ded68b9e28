"""Tokens in the place of keys: those that a command prints, and those of this machine's account with Google Cloud.

A token is kept until it expires. All calls that need another one wait for the same one.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import anyio
import anyio.to_thread

from ..errors import NotConfiguredError
from ..providers.authentication import CommandToken, GoogleToken
from ..providers.provider_config import ProviderConfig
from ..root_folder import USER_FILE
from ..untrusted_number import number, number_in_text
from .access import Access

__all__ = ["Token", "Tokens", "check_token_can_be_made", "make_token", "read_token"]

_COMMAND_S = 30.0
"""How long a command may take."""

_LONGEST_OUTPUT = 1_000_000
"""How many bytes a command may print: a token, or a page of JSON around it."""

_USUAL_LIFE_S = 45 * 60.0
"""How long a token is kept that does not say when it expires; those of Google and Microsoft live for an hour."""

_EARLY_S = 60.0
"""How long before it expires a token is no longer used: it must live until the provider has read it."""

_LONGEST_TOKEN = 20_000
"""In characters; those of Microsoft have about 3,000."""

_CLOUD_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
"""The scope of Vertex AI (Google's documentation)."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token.

    Attributes:
        value: The token.
        life_s: For how many seconds from now it is valid; None if that is not known.
    """

    value: str = field(repr=False)
    life_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Kept:
    value: str = field(repr=False)
    until: float


class Tokens:
    """The tokens of the providers that need one.

    Args:
        clock: Seconds that only go up.
        make: Makes a token; it may take a while, and raises NotConfiguredError.
    """

    def __init__(self, clock: Callable[[], float], make: Callable[[ProviderConfig], Token] | None = None) -> None:
        self._clock, self._make = clock, make or make_token
        self._kept: dict[str, _Kept] = {}
        self._locks: dict[str, anyio.Lock] = {}

    async def completed(self, access: Access) -> Access:
        """The access with a token, if its provider needs one; raises NotConfiguredError if it cannot be made."""
        provider = access.provider
        if not isinstance(provider.auth, CommandToken | GoogleToken):
            return access
        token = await self._token(provider, None)
        return replace(access, api_key=token, another_token=partial(self._token, provider))

    async def _token(self, provider: ProviderConfig, refused: str | None) -> str:
        """The token of a provider, which is another one than the one that was refused."""
        async with self._locks.setdefault(provider.id, anyio.Lock()):
            kept = self._kept.get(provider.id)
            if kept and kept.value != refused and self._clock() < kept.until:
                return kept.value
            made = await anyio.to_thread.run_sync(self._make, provider, abandon_on_cancel=True)
            life_s = _USUAL_LIFE_S if made.life_s is None else made.life_s
            self._kept[provider.id] = _Kept(made.value, self._clock() + life_s - min(_EARLY_S, life_s / 2))
            return made.value


def make_token(provider: ProviderConfig) -> Token:
    """A new token for a provider; raises NotConfiguredError. It never logs what a command prints."""
    if isinstance(provider.auth, CommandToken):
        return _token_of_command(provider, provider.auth.command)
    return _token_of_google(provider)


def _token_of_command(provider: ProviderConfig, command: tuple[str, ...]) -> Token:
    def failed(why: str) -> NotConfiguredError:
        # Its arguments and its output may hold secrets.
        return NotConfiguredError(
            f"The command {command[0]}, which makes the token for {provider.name}, {why}.",
            remedy=f"Run that command in a terminal: it must print a token. It is in {USER_FILE}, in the 'auth' of "
            f"providers.{provider.id}.",
            provider=provider.id,
        )

    started = datetime.now().timestamp()
    try:
        code, output = _run(command)
    except subprocess.TimeoutExpired:
        raise failed(f"did not end within {_COMMAND_S:g} s") from None
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "it is not a valid command"
        raise failed(f"cannot be started: {reason}") from None
    if len(output) > _LONGEST_OUTPUT:
        raise failed(f"printed more than {_LONGEST_OUTPUT:,} bytes")
    if code:
        raise failed(f"ended with exit code {code}")
    try:
        return read_token(output, started)
    except ValueError:
        raise failed("did not print a token") from None


def _run(command: tuple[str, ...]) -> tuple[int, bytes]:
    """The exit code of a command and what it prints; if that is too much, it is ended after one byte more.

    Raises:
        subprocess.TimeoutExpired: It runs for too long; it was ended.
        OSError: It cannot be started.
        ValueError: It is not a valid command.
    """
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
    )
    printed = bytearray()

    def read() -> None:
        assert process.stdout
        with process.stdout as stdout:
            while len(printed) <= _LONGEST_OUTPUT and (piece := stdout.read(_LONGEST_OUTPUT + 1 - len(printed))):
                printed.extend(piece)

    # A program that the command started may hold the pipe open for longer than the command runs.
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        reader.join(_COMMAND_S)
        if reader.is_alive():
            raise subprocess.TimeoutExpired(command[0], _COMMAND_S)
        if len(printed) > _LONGEST_OUTPUT:
            process.kill()
        return process.wait(_COMMAND_S), bytes(printed)
    except BaseException:
        process.kill()
        process.wait()
        raise


def read_token(output: bytes, now: float) -> Token:
    """The token that a command printed: as one word, or in JSON like that of Azure's and Google's command lines.

    Args:
        output: What it printed.
        now: The time, in seconds since the epoch.

    Raises:
        ValueError: It is not one token.
    """
    text = output.decode("utf-8").strip()
    if not text.startswith("{"):
        return Token(_checked(text))
    found = json.loads(text)
    names = ("accessToken", "access_token", "token")
    return Token(_checked(next((found[name] for name in names if name in found), None)), _life_s(found, now))


def _checked(value: object) -> str:
    if (
        not isinstance(value, str)
        or not 0 < len(value) <= _LONGEST_TOKEN
        or not value.isascii()
        or not value.isprintable()
        or " " in value
    ):
        raise ValueError("not a token")
    return value


def _life_s(found: Mapping[str, Any], now: float) -> float | None:
    """For how many seconds a token is valid, from the fields of Azure's and Google's command lines."""
    if (seconds := _number(found.get("expires_in"))) is not None:
        return seconds
    if (moment := _number(found.get("expires_on"))) is not None:
        return max(0.0, moment - now)
    written = found.get("expiresOn") or found.get("token_expiry")
    try:
        # Without a time zone, it is this machine's (az).
        return max(0.0, datetime.fromisoformat(str(written)).timestamp() - now)
    except (ValueError, OverflowError, OSError):
        return None


def _number(value: object) -> float | None:
    return number(number_in_text(value) if isinstance(value, str) else value, 0, 1e12)


def _token_of_google(provider: ProviderConfig) -> Token:
    try:
        import google.auth
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import Request
    except ImportError:
        raise _no_google_auth(provider) from None
    started = datetime.now().timestamp()
    try:
        credentials, _ = google.auth.default(scopes=[_CLOUD_SCOPE])
        credentials.refresh(Request())  # type: ignore[no-untyped-call]
    except (GoogleAuthError, OSError, ValueError):
        # The messages may quote a file of keys.
        raise NotConfiguredError(
            f"There is no account with Google Cloud on this machine for {provider.name}, or it has no access.",
            remedy="Run: gcloud auth application-default login",
            provider=provider.id,
        ) from None
    # It is in UTC, and does not say so.
    expiry = credentials.expiry and credentials.expiry.replace(tzinfo=UTC).timestamp()
    return Token(str(credentials.token), max(0.0, expiry - started) if expiry else None)


def check_token_can_be_made(provider: ProviderConfig) -> None:
    """Raise NotConfiguredError if what makes the tokens of a provider is not installed. No token is made."""
    if isinstance(provider.auth, GoogleToken):
        try:
            import google.auth  # noqa: F401
        except ImportError:
            raise _no_google_auth(provider) from None
    if isinstance(provider.auth, CommandToken) and shutil.which(provider.auth.command[0]) is None:
        raise NotConfiguredError(
            f"There is no command {provider.auth.command[0]}, which makes the token for {provider.name}.",
            remedy=f"Install it, or correct the 'auth' of providers.{provider.id} in {USER_FILE}.",
            provider=provider.id,
        )


def _no_google_auth(provider: ProviderConfig) -> NotConfiguredError:
    return NotConfiguredError(
        f"The package google-auth, which makes the token for {provider.name}, is not installed.",
        remedy="Install it with: pip install 'invokeai_external[google]'. Or use a command in its place: in "
        f"{USER_FILE}, set the auth of providers.{provider.id} to {{type: command, command: [gcloud, auth, "
        "print-access-token]}.",
        provider=provider.id,
    )
