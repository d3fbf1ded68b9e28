"""The entry point: the top ``__init__.py`` calls ``activate`` when Invoke loads the repository as a node pack."""

from __future__ import annotations

from .log import log

__all__ = ["activate"]


def activate(pack_name: str) -> None:
    """Add the nodes and the models to the running Invoke; a second call replaces the first.

    If this Invoke is too old or too new, or has a second copy of the pack, one line in its log says so, and it is not
    changed.

    Args:
        pack_name: The name under which Invoke loaded the pack, which is that of its folder.
    """
    try:
        from . import plugin

        plugin.activate(pack_name)
    # Invoke must start in any case, and a part of Invoke that is missing may raise any error.
    except Exception as error:
        # The path of a file follows the parenthesis.
        reason = str(error).partition(" (")[0]
        log.error(
            "invokeai_external is off, since this Invoke lacks something that it needs: %s. It needs Invoke 6.13 or"
            " newer. If yours is, look for a newer invokeai_external. Invoke continues with its own nodes.",
            reason,
        )
        log.debug("The error was:", exc_info=True)
