"""Collects every text that a user or a reader of the code sees, and finds the words that the glossary replaces.

``python -m tests.wording [PATH ...]`` prints them below some paths, or everywhere; with ``--user`` only what a user
sees.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

ROOT = Path(__file__).resolve().parent.parent

Kind = Literal["user", "code"]
"""Who reads a text: a user, or somebody who reads the code (docstrings, comments, names of tests)."""


@dataclass(frozen=True, slots=True)
class Text:
    """One text and where it stands."""

    path: str
    line: int
    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A word of the glossary, what to write instead, and where it is."""

    path: str
    line: int
    kind: Kind
    found: str
    instead: str
    around: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.kind}: {self.found!r} ({self.instead}): … {self.around} …"


GLOSSARY: dict[str, str] = {
    r"pictur(?:e|es|ed|ing)": "image",
    r"mend(?:s|ed|ing)?": "fix",
    r"anew": "again, or new",
    r"(?<!there )(?<!here )(?:is|was) no(?! longer| more| different| better)": "is not a valid …, is not a …",
    r"what (?:came|comes)": "what it is: the response, the images",
    r"as ever": "nothing, or as before",
    r"(?:left|leaves?|leaving) out": "was not sent, ignores, without",
    r"(?:takes?|took|taking) no": "does not support",
    r"(?:tells?|told|telling)": "report, say, show",
    r"of (?:one's|its|their|our|your|his|her|my) own": "own, separate",
    r"for nothing": "free of charge, without a key, in vain",
    r"(?-i:none)|none of": "no …, not any",
    r"alone": "only",
    r"(?:in|as|own|some|other|few|these|those|the|of|for) words|words to": "prompt, text, message",
    r"where (?:that|this) is": "if …",
    r"to no purpose": "in vain",
    r"(?:stands?|stood|standing) (?:in|on|beside|there)": "is in",
    r"(?:lies?|lay|lying) in": "is in",
    r"surely": "certainly, or nothing",
    r"(?:an?|the|no|every|any|each|its|their|whose|one|this|that|broken|first|last|failed|JSON) answers?": "response",
    r"answers? (?:of|from|by)": "response",
    r"(?<!ip )(?<!mail )(?<!memory )address(?:es)?": "URL, base URL",
    r"lets? (?:alone|be)": "nothing",
    r"heed(?:s|ed)?": "use, follow",
    r"wherefore|whence|thereof|whereof|hitherto|thereby|whereupon": "plain English",
}
"""What is never written, as a pattern between word boundaries, and what is written instead."""

_PATTERNS = {
    re.compile(rf"\b(?:{pattern})\b".replace(" ", r"[ \n]"), re.IGNORECASE): instead
    for pattern, instead in GLOSSARY.items()
}

# What looks like a hit and is frozen: names of files, folders, fields and programs, and what is quoted from others.
FROZEN = re.compile(
    r"demo-pictures"
    r"|text-to-picture(?:\.json)?"
    r"|\baddress already in use\b|\blistening address\b"
    r"|\bstand-?alone\b"
    # A value, of the setting ``metadata`` and of faults of the sandbox.
    r"|(?<=[,;:|] )none(?=[,;:])|\|none\b|[\"']none[\"']"
    # The sentence that Gemini is sent with a mask.
    r"|\b(?:first|second) picture\b"
    r"|\b[\w.]+@[\w.]+\b|https?://\S+"
    r"|\S+/\S*\.\w+\b"
    r"|\b\w+\.(?:py|md|yaml|json|png|jpe?g|webp)\b",
    re.IGNORECASE,
)

QUOTING = {
    # They say what the providers say.
    "invokeai_external/sandbox/errors.py",
    "invokeai_external/sandbox/gemini.py",
    "invokeai_external/sandbox/gemini_faults.py",
    "invokeai_external/sandbox/gemini_request.py",
    "invokeai_external/sandbox/openai.py",
    "invokeai_external/sandbox/openai_errors.py",
    "invokeai_external/sandbox/openai_faults.py",
    "invokeai_external/sandbox/openai_request.py",
}
"""Files whose texts, not their comments, are quotations of providers."""

NOT_READ = ("tests/fixtures/", "tests/golden/", "tests/fuzz/examples/", "tests/wording.py", "tests/test_wording.py")


def hits(texts: Iterable[Text]) -> list[Hit]:
    """Every word of the glossary in some texts."""
    return [hit for text in texts for hit in _hits_in(text)]


def _hits_in(text: Text) -> Iterator[Hit]:
    prose = _prose(text.text)
    for pattern, instead in _PATTERNS.items():
        for found in pattern.finditer(prose):
            line = text.line + prose.count("\n", 0, found.start())
            around = " ".join(prose[max(0, found.start() - 50) : found.end() + 50].split())
            yield Hit(text.path, line, text.kind, " ".join(found[0].split()), instead, around)


def _prose(text: str) -> str:
    """A text without what is code, quoted or a frozen name, its lines without their indentation."""
    text = re.sub(r"``.+?``|`[^`\n]+`", "…", text)
    return re.sub(r"[ \t]*\n[ \t]*", "\n", FROZEN.sub("…", text))


def every_text(below: Iterable[str] = ()) -> Iterator[Text]:
    """All texts of the repository, or of the files below some paths."""
    prefixes = tuple(below)
    for path in _files():
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(NOT_READ) or (prefixes and not name.startswith(prefixes)):
            continue
        for line, kind, text in _texts_of(path, name):
            yield Text(name, line, kind, text)


def _files() -> list[Path]:
    patterns = [
        "*.py",
        "*.md",
        "*.yaml",
        "Makefile",
        "pyproject.toml",
        ".ci/run",
        ".pre-commit-config.yaml",
        "invokeai_external/**/*.py",
        "invokeai_external/**/*.yaml",
        "invokeai_external/**/*.txt",
        "docs/*.md",
        "docs/**/*.py",
        "benchmarks/*.py",
        "tests/**/*.py",
        "workflows/*.json",
    ]
    return sorted({path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()})


def _texts_of(path: Path, name: str) -> Iterator[tuple[int, Kind, str]]:
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        yield from _python(source, name)
    elif path.suffix == ".md":
        yield from _markdown(source, "code" if name.startswith("tests/") else "user")
    elif path.suffix in (".yaml", ".yml"):
        yield from ((line, "user", text) for line, text in _yaml(source))
    elif path.suffix == ".json":
        yield from ((1, "user", text) for text in _json_texts(json.loads(source)))
    elif path.suffix == ".txt":
        yield from ((line, "user", text) for line, text in enumerate(source.splitlines(), 1))
    else:
        yield from ((line, "code", text) for line, text in enumerate(source.splitlines(), 1))


def _python(source: str, name: str) -> Iterator[tuple[int, Kind, str]]:
    tree = ast.parse(source)
    docstrings = list(_docstrings(tree))
    inside = name.startswith("invokeai_external/") or name.startswith("docs/generate/")
    for docstring in docstrings:
        # Python's None may begin a sentence.
        yield docstring.lineno, "code", re.sub(r"\bNone\b", "null", str(docstring.value))
    yield from _comments(source)
    if inside and name not in QUOTING:
        yield from ((line, "user", text) for line, text in _strings(tree, docstrings))
    if name.startswith("tests/"):
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                yield node.lineno, "code", node.name.replace("_", " ")


def _docstrings(tree: ast.AST) -> Iterator[ast.Constant]:
    """The strings that are statements: docstrings, and what is written below an attribute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value


def _comments(source: str) -> Iterator[tuple[int, Kind, str]]:
    """The comments, one text for lines that follow each other: a sentence may go over several."""
    begun: list[tuple[int, str]] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        if begun and token.start[0] != begun[-1][0] + 1:
            yield begun[0][0], "code", "\n".join(text for _, text in begun)
            begun = []
        begun.append((token.start[0], token.string.lstrip("#: ")))
    if begun:
        yield begun[0][0], "code", "\n".join(text for _, text in begun)


def _strings(tree: ast.AST, docstrings: Iterable[ast.AST]) -> Iterator[tuple[int, str]]:
    """The strings of a module that are prose, with … for what an f-string inserts."""
    skipped: set[ast.AST] = set(docstrings)
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("re."):
            skipped.update(inner for argument in node.args for inner in ast.walk(argument))
        elif isinstance(node, ast.JoinedStr):
            skipped.update(ast.walk(node))
            parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
            yield node.lineno, "".join(str(part) for part in parts)
            # What is inserted may hold texts in turn: {"an image" if … else "images"}.
            for part in node.values:
                if isinstance(part, ast.FormattedValue):
                    yield from _strings(part.value, docstrings)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and not _is_a_name(node.value):
            yield node.lineno, node.value


def _is_a_name(text: str) -> bool:
    """Whether a string is a name for programs: one word without a capital at its beginning, or a path."""
    return bool(re.fullmatch(r"[a-z_\W][^\s]*|[A-Z_0-9]+|", text))


def _markdown(source: str, kind: Kind) -> Iterator[tuple[int, Kind, str]]:
    """The paragraphs of a page; of code blocks only what looks like what a command prints."""
    source = re.sub(r"<!--.*?-->", lambda found: "\n" * found[0].count("\n"), source, flags=re.DOTALL)
    source = re.sub(r"\]\([^)\s]*\)", "]", source)
    source = re.sub(r"(?:src|href|srcset|id|name)=\"[^\"]*\"", "", source)
    begun: list[str] = []
    start, in_code = 1, False
    for line, text in enumerate([*source.splitlines(), ""], 1):
        if text.startswith("```"):
            in_code = not in_code and not text.startswith("```text")
            text = ""
        if in_code:
            text = ""
        if text.strip():
            start = start if begun else line
            begun.append(text)
        elif begun:
            yield start, kind, "\n".join(begun)
            begun = []


def _yaml(source: str) -> Iterator[tuple[int, str]]:
    for line, text in enumerate(source.splitlines(), 1):
        if found := re.search(r"(?:^|\s)#\s*(.*)", text):
            yield line, found[1]
    root = yaml.compose(source)
    if root is not None:
        yield from _yaml_scalars(root)


def _yaml_scalars(node: Any) -> Iterator[tuple[int, str]]:
    if isinstance(node, yaml.ScalarNode):
        if " " in node.value:
            yield node.start_mark.line + 1, node.value
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _yaml_scalars(item)
    elif isinstance(node, yaml.MappingNode):
        for _, item in node.value:
            yield from _yaml_scalars(item)


def _json_texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if " " in value:
            yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _json_texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _json_texts(item)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.wording", description=__doc__)
    parser.add_argument("paths", nargs="*", metavar="PATH", help="files or folders, from the top of the repository")
    parser.add_argument("--user", action="store_true", help="print only what a user sees")
    arguments = parser.parse_args()
    found = [hit for hit in hits(every_text(arguments.paths)) if hit.kind == "user" or not arguments.user]
    for hit in found:
        print(hit)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
