"""Writes the generated parts of the README and of the docs: ``python docs/generate.py [--pictures]``.

A generated part stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``. The first word of NAME is a function
in BLOCKS, the other words are its arguments. Everything outside of such parts is written by people and left alone.
With ``--pictures`` the pictures in ``docs/images/`` are made anew from the demo.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import json
import os
import re
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import typer
from PIL import Image

from invokeai_external.cli import image_files as _files  # noqa: F401 - its error is a leaf of the error tree
from invokeai_external.cli.app import app, main
from invokeai_external.cli.exit_codes import INTERRUPTED, PROVIDER_FAILED, WRONG_USAGE
from invokeai_external.cli.models import sizes_of, status_of
from invokeai_external.errors import CancelledError, ExternalError, RequestError
from invokeai_external.planning.plan import MASK_SENTENCE
from invokeai_external.pricing.estimate import image_usd
from invokeai_external.providers import catalog
from invokeai_external.providers.registry import Registry
from invokeai_external.providers.schema import ChoiceOption, ModelConfig, Option
from invokeai_external.sandbox.faults import FAULTS, PROVIDERS, FaultKind
from invokeai_external.settings.settings import Limits
from invokeai_external.sizing import AspectRatio, FixedSizing, FlexibleSizing, SizeRequest

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
DEMO_PICTURES = ("gemini.jpg", "openai.jpg", "references.jpg", "transparent.png", "mask.jpg")
"""The demo's pictures in its own order, as they are called here."""

_PICTURE_WIDTH = 480
_TERMINAL_COLUMNS = 80
_TEXT_COLUMNS = 120
_BLOCK = re.compile(r"<!-- generated: (?P<name>[^\n]+) -->\n.*?<!-- end -->", re.DOTALL)
_UNKNOWN = "unknown"


def pages() -> list[Path]:
    """The files with generated parts, or with room for them."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def rewritten(text: str) -> str:
    """A page with its generated parts as they should be; raises KeyError for a name that is not in BLOCKS."""

    def block(match: re.Match[str]) -> str:
        function, *arguments = match["name"].split()
        return f"<!-- generated: {match['name']} -->\n\n{BLOCKS[function](*arguments)}\n\n<!-- end -->"

    return _BLOCK.sub(block, text)


# The command line


def help_text(*command: str) -> str:
    """What ``--help`` prints on a terminal of 80 columns."""
    printed = io.StringIO()
    with mock.patch.dict(os.environ, COLUMNS=str(_TERMINAL_COLUMNS)), contextlib.redirect_stdout(printed):
        typer.main.get_command(app).main([*command, "--help"], prog_name="invokeai-external", standalone_mode=False)
    lines = [line.rstrip() for line in printed.getvalue().strip().splitlines()]
    return _fenced("text", lines)


# The catalogue


def _models_of(provider: str) -> tuple[ModelConfig, ...]:
    """A provider's models with their status on the day of its catalogue file, so that a page is the same tomorrow."""
    return Registry(today=lambda: catalog.page(provider).as_of).models(provider)


def models_table(provider: str) -> str:
    rows = [
        (
            f"`{model.id}`" + "".join(f", also `{alias}`" for alias in model.aliases),
            status_of(model),
            sizes_of(model),
            {"txt2img": "words", "img2img": "words, pictures", "inpaint": "words, pictures, mask"}[model.modes[-1]],
            str(model.input_images.max_count),
            str(model.max_images_per_call),
            "yes" if model.previews else "-",
            f"{model.max_prompt_characters:,}" if model.max_prompt_characters else _UNKNOWN,
        )
        for model in _models_of(provider)
    ]
    headings = (
        "Model",
        f"Status on {catalog.page(provider).as_of}",
        "Sizes",
        "Made from",
        "Pictures in",
        "Pictures a call",
        "Previews",
        "Longest prompt",
    )
    return _table(headings, rows)


def sizes_table(reference: str) -> str:
    """The exact pixels of a model's named sizes: a line for each ratio, a column for each image size."""
    sizing = Registry().resolve(reference).model.sizing
    if isinstance(sizing, FixedSizing):
        raise ValueError(f"{reference} has a list of sizes, which is in the table of models")
    offered = sizing.offered if isinstance(sizing, FlexibleSizing) else sizing
    ratios = [AspectRatio.parse(str(ratio)) for ratio in offered.ratios]
    image_sizes = tuple(offered.image_sizes) or (None,)
    rows = [
        (
            str(ratio),
            *(str(sizing.choose(SizeRequest(aspect_ratio=ratio, image_size=name)).size) for name in image_sizes),
        )
        for ratio in ratios
    ]
    return _table(("Ratio", *(name or "Pixels" for name in image_sizes)), rows)


def options_table(provider: str) -> str:
    models = _models_of(provider)
    names = list(dict.fromkeys(name for model in models for name in model.options))
    rows = [(f"`{m.id}`", *(_option_values(m.options[n]) if n in m.options else "-" for n in names)) for m in models]
    return _table(("Model", *(f"`--{name.replace('_', '-')}`" for name in names)), rows)


def prices_table(provider: str) -> str:
    rows = [
        (
            f"`{model.id}`",
            *(
                _UNKNOWN if price is None else f"{price:g}"
                for price in (model.prices.text_in, model.prices.image_in, model.prices.text_out)
            ),
            _UNKNOWN if model.prices.image_out is None else f"{model.prices.image_out:g}",
            _picture_prices(model),
        )
        for model in _models_of(provider)
    ]
    return _table(("Model", "Text in", "Pictures in", "Text out", "Pictures out", "One picture, USD"), rows)


def _option_values(option: Option) -> str:
    if isinstance(option, ChoiceOption):
        return ", ".join(f"{value} (preview)" if value in option.preview else value for value in option.values)
    return f"{option.minimum:g} to {option.maximum:g}"


def _picture_prices(model: ModelConfig) -> str:
    costs = {key: image_usd(model, tokens) for key, tokens in model.image_tokens.items()}
    known = [(key, cost) for key, cost in costs.items() if cost is not None]
    return "<br>".join(f"{cost:.3f}" if key == "any" else f"{cost:.3f} {key}" for key, cost in known) or _UNKNOWN


# Settings, errors, faults


def settings_table() -> str:
    """The settings; what each means is read from the docstring of ``Limits``."""
    meanings = dict(re.findall(r"^    (\w+): (.+(?:\n {5,}.+)*)", inspect.getdoc(Limits) or "", re.MULTILINE))
    rows = [
        (f"`{name}`", _value(field["default"]), _range(field), " ".join(meanings[name].replace("``", "`").split()))
        for name, field in Limits.model_json_schema()["properties"].items()
    ]
    return _table(("Setting", "Default", "Range", "Meaning"), rows)


def _value(value: bool | float | str) -> str:
    if isinstance(value, str):
        return f"`{value}`"
    return str(value).lower() if isinstance(value, bool) else f"{value:,}"


def _range(field: dict[str, Any]) -> str:
    if field["type"] == "boolean":
        return "true or false"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    least = f"{field['minimum']:,} or more" if "minimum" in field else f"above {field['exclusiveMinimum']:,}"
    return f"{least}, at most {field['maximum']:,}" if "maximum" in field else least


def errors_table() -> str:
    """A line for each error that can be met, in the order of the tree."""
    rows = [
        (f"[`{error.code}`](#{error.code})", _exit_code(error), _class_name(error), _first_line(error.__doc__))
        for error in _leaves(ExternalError)
    ]
    return _table(("Code", "Exit code", "In Python", "What it means"), rows)


def _leaves(error: type[ExternalError]) -> Iterator[type[ExternalError]]:
    # The one of Invoke's side has the code and the section of the command line's, and is loaded by a test alone.
    ours = [kind for kind in error.__subclasses__() if kind.__module__.startswith("invokeai_external.")]
    below = [kind for kind in ours if not kind.__module__.startswith("invokeai_external.invoke.")]
    # Those of a host come in the order in which its modules were loaded.
    for kind in sorted(below, key=lambda kind: kind.code if ".cli." in kind.__module__ else ""):
        yield from _leaves(kind)
    if not below:
        yield error


def _exit_code(error: type[ExternalError]) -> str:
    if issubclass(error, CancelledError):
        return str(INTERRUPTED)
    return str(WRONG_USAGE if issubclass(error, RequestError) else PROVIDER_FAILED)


def _class_name(error: type[ExternalError]) -> str:
    return "command line only" if error.__module__.startswith("invokeai_external.cli") else f"`{error.__name__}`"


def faults_table() -> str:
    rows = [
        (f"`{name}`", ", ".join(kind.providers) if kind.providers != PROVIDERS else "both", kind.summary, _params(kind))
        for name, kind in FAULTS.items()
    ]
    return _table(("Fault", "At", "What happens", "Parameters, the default first"), rows)


def _params(kind: FaultKind) -> str:
    told = []
    for name, param in kind.params.items():
        values = dict.fromkeys((param.default, *param.choices))
        told.append(f"`{name}`: {', '.join('none' if value is None else str(value) for value in values)}")
    return "; ".join(told) or "-"


# The words that we send


def mask_sentence() -> str:
    return _fenced("text", textwrap.wrap(MASK_SENTENCE, _TEXT_COLUMNS))


# The layout


def layout() -> str:
    """The package's folders and modules, each with the first sentence of its docstring."""
    package = ROOT / "invokeai_external"
    lines = [*_layout_of(package)]
    for folder in sorted(path.parent for path in package.rglob("*/__init__.py")):
        lines += ["", *_layout_of(folder)]
    return _fenced("text", lines)


def _layout_of(folder: Path) -> Iterator[str]:
    yield f"{folder.relative_to(ROOT)}/".ljust(30) + _about(folder / "__init__.py")
    for module in sorted(folder.glob("*.py")):
        if not module.name.startswith("__"):
            yield f"  {module.name}".ljust(30) + _about(module)


def _about(module: Path) -> str:
    first = _first_line(ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))))
    return re.split(r"(?<=\.)\s", first)[0]


# Markdown


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _fenced(language: str, lines: Iterable[str]) -> str:
    return "\n".join([f"```{language}", *lines, "```"])


def _first_line(docstring: str | None) -> str:
    return (docstring or "").strip().partition("\n")[0].replace("``", "`")


BLOCKS: dict[str, Callable[..., str]] = {
    "help": help_text,
    "models": models_table,
    "sizes": sizes_table,
    "options": options_table,
    "prices": prices_table,
    "settings": settings_table,
    "errors": errors_table,
    "faults": faults_table,
    "mask_sentence": mask_sentence,
    "layout": layout,
}


# The pictures


def make_pictures() -> None:
    """Run the demo and save its pictures, scaled down, in ``docs/images/``."""
    with tempfile.TemporaryDirectory() as folder:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            main(["demo", "--out", folder, "--json"])
        for row, name in zip(json.loads(printed.getvalue()), DEMO_PICTURES, strict=True):
            with Image.open(row["path"]) as picture:
                height = round(picture.height * _PICTURE_WIDTH / picture.width)
                small = picture.resize((_PICTURE_WIDTH, height), Image.Resampling.LANCZOS)
            small.info = {}  # the metadata would be written along otherwise
            small.save(IMAGES / name, quality=88, optimize=True)


def write(arguments: Sequence[str]) -> None:
    if "--pictures" in arguments:
        make_pictures()
    for page in pages():
        old = page.read_text(encoding="utf-8")
        new = rewritten(old)
        if new != old:
            page.write_text(new, encoding="utf-8")
            print(f"{page.relative_to(ROOT)} is new")


if __name__ == "__main__":
    write(sys.argv[1:])
