"""Puts the guard against real requests up, in this process and its children, and names the canary: a key to search for.

Whatever of the tests also runs by itself (``python -m tests....``) imports this, as ``conftest.py`` does.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["CANARY"]

_GUARD = Path(__file__).parents[1] / "guard"
sys.path.insert(0, str(_GUARD))
import sitecustomize  # noqa: E402, F401 - importing it puts the guard up, whatever sitecustomize the machine has
from canary import CANARY  # noqa: E402

os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_GUARD), os.environ.get("PYTHONPATH")]))
