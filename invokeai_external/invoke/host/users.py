"""The users of Invoke: who asks, and who there is."""

from __future__ import annotations

from invokeai.app.api.dependencies import ApiDependencies
from invokeai.app.services.auth.token_service import TokenData
from invokeai.app.services.invocation_services import InvocationServices

from ..spending_page.viewer import Viewer
from .gallery import user_name

__all__ = ["is_admin", "user_names", "viewer_of"]

_MOST_USERS = 1000

_SYSTEM = "system"
"""The id of the user who had everything before Invoke had several users, and who cannot sign in."""


def viewer_of(user: TokenData) -> Viewer:
    """The user who asks, as Invoke's own check found out; without several users, that is an administrator."""
    return Viewer(user.user_id, user_name(user.user_id), user.is_admin)


def is_admin(user: str) -> bool:
    """True if a user, by the id, is an administrator, or the only user."""
    services: InvocationServices = ApiDependencies.invoker.services
    if not services.configuration.multiuser:
        return True
    found = services.users.get(user)
    return found is not None and bool(found.is_admin)


def user_names() -> list[str]:
    """The names of all users who can sign in; nobody if Invoke has a single user."""
    services: InvocationServices = ApiDependencies.invoker.services
    if not services.configuration.multiuser:
        return []
    return sorted(user.email for user in services.users.list_users(_MOST_USERS) if user.user_id != _SYSTEM)
