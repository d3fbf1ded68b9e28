"""An Invoke with several users, as each of them sees it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from .invoke import Invoke, Json, wait_for

PASSWORD = "Fox-in-5now-and-more"
_FLASH = "openai/gpt-image-2.5-flare"


@dataclass(frozen=True)
class Users:
    """One Invoke as each user sees it.

    Attributes:
        nobody: Someone who is not signed in.
        admin: The administrator.
        anna: A plain user.
        bob: Another plain user.
    """

    nobody: Invoke
    admin: Invoke
    anna: Invoke
    bob: Invoke

    @property
    def model(self) -> Json:
        """A model of OpenAI."""
        return self.admin.model(_FLASH)

    @property
    def is_6_13(self) -> bool:
        """True for Invoke 6.13, where every user sees and may use all images, and sees the settings."""
        version: str = self.admin.get("/v1/app/version")["version"]
        return version.startswith("6.13.")


@contextmanager
def signed_in_users(invoke: Invoke, *providers: str) -> Iterator[Users]:
    """Make the users of a running Invoke with ``multiuser: true``. The administrator sets the providers' keys."""
    account = {"email": "admin@example.com", "display_name": "admin", "password": PASSWORD}
    invoke.send("POST", "/v1/auth/setup", json=account)
    with ExitStack() as stack:

        def sign_in(name: str) -> Invoke:
            user = invoke.signed_in(f"{name}@example.com", PASSWORD)
            stack.callback(user.sign_out)
            return user

        admin = sign_in("admin")
        for name in ("anna", "bob"):
            account = {"email": f"{name}@example.com", "display_name": name, "password": PASSWORD}
            admin.send("POST", "/v1/auth/users", json={**account, "is_admin": False})
        for provider in providers:
            admin.set_key(provider)
            wait_for(partial(admin.models, provider))
        admin.settled_models()
        yield Users(invoke, admin, sign_in("anna"), sign_in("bob"))
