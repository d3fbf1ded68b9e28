"""The tables of settings, provider fields, errors and the sandbox's faults, and the mask instruction for Gemini."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any, get_args

from invokeai_external.adapters.find import adapter_names, adapter_of
from invokeai_external.cli import image_files as _files  # noqa: F401 - its error is a leaf of the error tree
from invokeai_external.cli.exit_codes import INTERRUPTED, PROVIDER_FAILED, WRONG_USAGE
from invokeai_external.errors import CancelledError, ExternalError, RequestError
from invokeai_external.planning.plan import MASK_SENTENCE
from invokeai_external.providers.authentication import BearerKey, CommandToken, GoogleToken, HeaderKey, NoKey
from invokeai_external.providers.provider_config import NOT_IN_A_FILE, ProviderConfig, ProviderLimits
from invokeai_external.sandbox.faults import FAULTS, PROVIDERS, FaultKind
from invokeai_external.settings.settings import Limits
from invokeai_external.spending.limits import Budget, Budgets, RaisedBudget

from .markdown import fenced, first_line, table

__all__ = [
    "authentication_table",
    "budgets_table",
    "errors_table",
    "faults_table",
    "leaf_errors",
    "mask_sentence",
    "paths_table",
    "provider_fields_table",
    "settings_table",
]

_TEXT_COLUMNS = 120


def settings_table() -> str:
    """The settings; the meaning of each comes from the docstring of ``Limits``."""
    meanings = _meanings(Limits)
    rows = [
        (f"`{name}`", _value(field["default"]), _range(field), meanings[name])
        for name, field in Limits.model_json_schema()["properties"].items()
    ]
    return table(("Setting", "Default", "Values", "Meaning"), rows)


def budgets_table() -> str:
    """The fields of ``budgets:``, and of a limit in it; the meanings come from the docstrings, in the terms of YAML."""
    rows = [(f"`{name}`", meaning) for name, meaning in _meanings(Budgets).items()]
    rows += [(f"of each limit: `{name}`", meaning) for name, meaning in _meanings(Budget).items()]
    rows += [(f"of `raised`: `{name}`", meaning) for name, meaning in _meanings(RaisedBudget).items()]
    return table(("Field", "Meaning"), [(name, _in_yaml(meaning)) for name, meaning in rows])


def provider_fields_table() -> str:
    """The fields of a provider in the user's file; the meanings come from the docstrings, in the terms of YAML."""
    rows: list[tuple[str, str]] = []
    for name, meaning in _meanings(ProviderConfig).items():
        if name == "limits":
            rows += [(f"`limits`: `{inner}`", of_it) for inner, of_it in _meanings(ProviderLimits).items()]
        elif name not in NOT_IN_A_FILE:
            rows.append((f"`{name}`", meaning))
    return table(("Field", "Meaning"), [(name, _in_yaml(meaning)) for name, meaning in rows])


def _in_yaml(meaning: str) -> str:
    words = {"None": "null", "True": "true", "False": "false"}
    return re.sub(r"\b(None|True|False)\b(?= (?:if|for)\b)", lambda found: f"`{words[found[1]]}`", meaning)


def authentication_table() -> str:
    """The kinds of the field ``auth``."""
    rows = []
    for kind in (BearerKey, HeaderKey, CommandToken, GoogleToken, NoKey):
        (name,) = get_args(kind.model_fields["type"].annotation)
        further = [f"{field}: …" for field in kind.model_fields if field != "type"]
        rows.append((f"`{{{', '.join([f'type: {name}', *further])}}}`", first_line(kind.__doc__)))
    return table(("`auth`", "What is sent"), rows)


def paths_table() -> str:
    """The paths of each wire format."""
    rows = [
        (f"`{name}`", f"`{purpose}`", f"`{path}`")
        for name in adapter_names()
        for purpose, path in adapter_of(ProviderConfig(id="x", adapter=name, name="x")).paths.items()
    ]
    return table(("`adapter`", "Path", "Usual value"), rows)


def _meanings(documented: type) -> dict[str, str]:
    """The meaning of each attribute in the docstring of a class."""
    found = re.findall(r"^    (\w+): (.+(?:\n {5,}.+)*)", inspect.getdoc(documented) or "", re.MULTILINE)
    return {name: " ".join(meaning.replace("``", "`").split()) for name, meaning in found}


def _value(value: bool | float | str | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return f"`{value}`"
    return str(value).lower() if isinstance(value, bool) else f"{value:,}"


def _range(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        return "text"
    if field["type"] == "string":
        return "text"
    if field["type"] == "boolean":
        return "true or false"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "minimum" not in field:
        least = f"more than {field['exclusiveMinimum']:,}"
        return f"{least}, up to {field['maximum']:,}" if "maximum" in field else least
    least = f"{field['minimum']:,}"
    return f"{least} to {field['maximum']:,}" if "maximum" in field else f"{least} or more"


def errors_table() -> str:
    """One row for each error code, in the order of the tree."""
    rows = [
        (f"[`{error.code}`](#{error.code})", _exit_code(error), _class_name(error), first_line(error.__doc__))
        for error in leaf_errors(ExternalError)
    ]
    return table(("Code", "Exit code", "In Python", "Meaning"), rows)


def leaf_errors(error: type[ExternalError]) -> Iterator[type[ExternalError]]:
    """The errors of the tree that are raised: those without a subclass."""
    # Tests define more subclasses, and Invoke's side has one that shares its code with the command line's.
    ours = [kind for kind in error.__subclasses__() if kind.__module__.startswith("invokeai_external.")]
    below = [kind for kind in ours if not kind.__module__.startswith("invokeai_external.invoke.")]
    # The command line's come in the order in which its modules were loaded.
    for kind in sorted(below, key=lambda kind: kind.code if ".cli." in kind.__module__ else ""):
        yield from leaf_errors(kind)
    if not below:
        yield error


def _exit_code(error: type[ExternalError]) -> str:
    if issubclass(error, CancelledError):
        return str(INTERRUPTED)
    return str(WRONG_USAGE if issubclass(error, RequestError) else PROVIDER_FAILED)


def _class_name(error: type[ExternalError]) -> str:
    return "command line only" if error.__module__.startswith("invokeai_external.cli") else f"`{error.__name__}`"


def faults_table() -> str:
    """One row for each fault that the sandbox can produce."""
    rows = [
        (f"`{name}`", ", ".join(kind.providers) if kind.providers != PROVIDERS else "both", kind.summary, _params(kind))
        for name, kind in FAULTS.items()
    ]
    return table(("Fault", "Provider", "What happens", "Parameters, the default first"), rows)


def _params(kind: FaultKind) -> str:
    return (
        "; ".join(
            f"`{name}`: {', '.join(_param_value(value) for value in dict.fromkeys((param.default, *param.choices)))}"
            for name, param in kind.params.items()
        )
        or "-"
    )


def _param_value(value: object) -> str:
    return "unset" if value in (None, "") else f"{value:g}" if isinstance(value, float) else str(value)


def mask_sentence() -> str:
    """The instruction that stands before the prompt of an edit with a mask."""
    return fenced("text", textwrap.wrap(MASK_SENTENCE, _TEXT_COLUMNS))
