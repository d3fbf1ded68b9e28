"""Everything that imports Invoke: the nodes, the models in its picker, and how the pack comes and goes.

``activate`` is what the repository's own ``__init__.py`` calls when Invoke loads it as a node pack.
"""

from __future__ import annotations

import logging

__all__ = ["activate"]


def activate(pack_name: str) -> None:
    """Put the nodes and the models into the running Invoke; a second call starts anew.

    An Invoke that is too old, or a second copy of the pack, gets one line in the log and is left as it was.

    Args:
        pack_name: The name under which Invoke loaded the pack: that of its folder.
    """
    try:
        from . import pack
    except ImportError as error:
        logging.getLogger("InvokeAI").error(
            "invokeai_external needs Invoke 6.13 or newer (%s); Invoke goes on without it.", error
        )
        return
    pack.activate(pack_name)
