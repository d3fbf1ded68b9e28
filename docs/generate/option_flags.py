"""The module with the flags of options, which ``--help`` can load fast: it is written from the catalogue."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from invokeai_external.providers import catalog, option_flags
from invokeai_external.providers.schema import NumberOption, Option

from .layout import ROOT

__all__ = ["FILE", "module"]

FILE = ROOT / "invokeai_external" / "providers" / "option_flags.py"

_HEAD = f'''"""{option_flags.__doc__}"""

from __future__ import annotations

__all__ = ["FLAGS"]

# fmt: off
FLAGS: dict[str, tuple[type[str] | type[int] | type[float], str]] = {{
'''

_COLUMNS = 120


def module() -> str:
    """The text of the module: the flags of all built-in providers, with their types and help texts."""
    pages = catalog.pages()
    options: dict[str, list[Option]] = {}
    for config in (config for page in pages for config in page.configs()):
        for name, option in config.options.items():
            options.setdefault(name, []).append(option)
    help_texts: dict[str, list[str]] = {}
    for name, text in (flag for page in pages for flag in page.flags.items()):
        help_texts.setdefault(name, []).append(text)
    entries = [_entry(name, _type_of(options[name]), " ".join(texts)) for name, texts in help_texts.items()]
    return f"{_HEAD}{''.join(entries)}}}\n"


def _type_of(options: Iterable[Option]) -> str:
    """The type that the values of an option have with every model."""
    kinds = {"str" if not isinstance(one, NumberOption) else "int" if one.whole else "float" for one in options}
    return kinds.pop() if len(kinds) == 1 else "float" if "str" not in kinds else "str"


def _entry(name: str, kind: str, text: str) -> str:
    in_one_line = f"    {_literal(name)}: ({kind}, {_literal(text)}),\n"
    if len(in_one_line) <= _COLUMNS:
        return in_one_line
    # Every part keeps the spaces at its end.
    parts = textwrap.wrap(text, _COLUMNS - 10, drop_whitespace=False)
    lines = "".join(f"        {_literal(part)}\n" for part in parts)
    return f"    {_literal(name)}: (\n        {kind},\n{lines}    ),\n"


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
