"""How long does it take to load?"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial

from .measuring import Part, Table, interleaved, median
from .processes import run

__all__ = ["TITLE", "measure"]

TITLE = "Loading"

_TEXT = """\
A Python process from its start to its end, with compiled bytecode; medians. *Over bare Python* is without the time of a
process that does nothing. A plain `import pydantic` loads little of pydantic, since its names load at their first use;
so the plugin is compared with importing yaml and the names of pydantic that the plugin itself uses."""

_BARE = "bare Python"
_PYDANTIC = "the names of pydantic that the plugin uses, and yaml"
_NAMES = "BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator"

_USE = "`import invokeai_external`, then `{}`"
_PROGRAMS: Mapping[str, tuple[str, ...]] = {
    _BARE: ("-c", "pass"),
    "`import invokeai_external`": ("-c", "import invokeai_external"),
    "`import pydantic, yaml`": ("-c", "import pydantic, yaml"),
    "`from pydantic import BaseModel; import yaml`": ("-c", "from pydantic import BaseModel; import yaml"),
    _PYDANTIC: ("-c", f"from pydantic import {_NAMES}; import yaml"),
    **{
        _USE.format(name): ("-c", f"import invokeai_external; invokeai_external.{name}")
        for name in ("Size", "ModelConfig", "load_settings", "Registry", "Service")
    },
    "`invokeai-external --help`": ("-m", "invokeai_external", "--help"),
    "`invokeai-external generate --help`": ("-m", "invokeai_external", "generate", "--help"),
    "completion of a command": ("-m", "invokeai_external"),
}
_COMPLETION = {"_INVOKEAI_EXTERNAL_COMPLETE": "complete_bash", "COMP_WORDS": "invokeai-external gen", "COMP_CWORD": "1"}


def measure(rounds: int, report: Callable[[str], None]) -> Part:
    report(TITLE)
    with tempfile.TemporaryDirectory() as compiled:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = compiled

        def time_of(name: str) -> float:
            more = _COMPLETION if name == "completion of a command" else {}
            return run([sys.executable, *_PROGRAMS[name]], environment | more)

        peers = {name: partial(time_of, name) for name in _PROGRAMS}
        interleaved(1, peers)
        times = {name: median(each) for name, each in interleaved(rounds, peers).items()}
    rows = [
        [
            name,
            f"{1e3 * seconds:.0f} ms",
            f"{1e3 * (seconds - times[_BARE]):.0f} ms",
            f"{seconds / times[_PYDANTIC]:.2f}",
        ]
        for name, seconds in times.items()
    ]
    return Part(TITLE, _TEXT, [Table("", ["", "Time", "Over bare Python", "Relative to pydantic and yaml"], rows)])
