"""The package's folders and modules, with the first sentence of each docstring."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from .markdown import fenced, first_line

__all__ = ["ROOT", "layout"]

ROOT = Path(__file__).resolve().parents[2]
_NAME_COLUMNS = 38


def layout() -> str:
    """A tree of all folders and modules, each with its purpose."""
    package = ROOT / "invokeai_external"
    lines = [*_folder(package)]
    for folder in sorted(path.parent for path in package.rglob("*/__init__.py")):
        lines += ["", *_folder(folder)]
    return fenced("text", lines)


def _folder(folder: Path) -> Iterator[str]:
    yield _row(f"{folder.relative_to(ROOT)}/", folder / "__init__.py")
    for module in sorted(folder.glob("*.py")):
        if not module.name.startswith("__"):
            yield _row(f"  {module.name}", module)


def _row(name: str, module: Path) -> str:
    docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))
    sentence = re.split(r"(?<=\.)\s", first_line(docstring))[0]
    return f"{name:<{_NAME_COLUMNS - 1}} {sentence}"
