"""Everything that imports Invoke: the nodes, the models in its picker, and how the pack comes and goes.

``activate`` is what the repository's own ``__init__.py`` calls when Invoke loads it as a node pack.
"""

from __future__ import annotations

import logging

__all__ = ["activate"]


def activate(pack_name: str) -> None:
    """Put the nodes and the models into the running Invoke; a second call starts anew.

    An Invoke that is too old or too new, or that has a second copy of the pack, gets one line in its log and is left as
    it was.

    Args:
        pack_name: The name under which Invoke loaded the pack: that of its folder.
    """
    try:
        from . import plugin

        plugin.activate(pack_name)
    # Nothing here may be in the way of Invoke's start, and what is missing where may show as any error.
    except Exception as error:
        # Behind the bracket stands the path of a file.
        reason = str(error).partition(" (")[0]
        log = logging.getLogger("InvokeAI")
        log.error(
            "invokeai_external stays off, since this Invoke lacks something that it needs: %s. It needs Invoke 6.13 or"
            " newer; if yours is, look for a newer invokeai_external. Invoke goes on with its own nodes.",
            reason,
        )
        log.debug("What was missing:", exc_info=True)
