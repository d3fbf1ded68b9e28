"""The walls between the rooms of the house, held by reading the imports of every file."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator, Set
from importlib.util import resolve_name
from pathlib import Path

import pytest

import invokeai_external
from invokeai_external.providers import catalog
from invokeai_external.providers.built_in import RESERVED_IDS

from .host.contract import PUBLIC_MODULES

PACKAGE = Path(invokeai_external.__file__).parent
TOP_LEVEL = {
    *(".ci", ".gitattributes", ".gitignore", ".pre-commit-config.yaml", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE"),
    *("MANIFEST.in", "Makefile", "README.md", "__init__.py", "api_keys.example.yaml", "benchmarks", "constraints.txt"),
    *("docs", "invokeai_external", "pyproject.toml", "tests", "workflows"),
}
"""What is in the repository's folder. Anything else, such as an image that a command made there, is a mistake."""

FILES = sorted(PACKAGE.rglob("*.py"))
VOCABULARY = (
    "clock",
    "errors",
    "file_systems",
    "locks",
    "metadata_keys",
    "misspellings",
    "progress",
    "regular_files",
    "request",
    "result",
    "root_folder",
    "sizing",
    "sqlite_files",
    "untrusted_number",
    "untrusted_text",
    "version",
)
"""The modules beside the rooms, which every room may import."""

ROOMS = ("images", "providers", "pricing", "planning", "transport", "adapters", "spending", "settings", "service")
"""Each room may import those before it, and not those behind it."""

HOSTS = ("cli", "invoke", "testing")
"""Each may import all rooms, and not the others."""

PURE = (
    *("errors", "metadata_keys", "misspellings", "progress", "request", "result", "sizing"),
    *("untrusted_number", "untrusted_text"),
    *("pricing", "planning", "adapters"),
)
DISK = {"fileinput", "glob", "io", "mmap", "os", "pathlib", "shutil", "tempfile"}
OUTSIDE = {"anyio", "asyncio", "fastapi", "httpx", "requests", "rich", "socket", "ssl", "starlette", "typer", "urllib3"}


def package_of(path: Path) -> str:
    """The package that a file's relative imports start from."""
    return ".".join(path.relative_to(PACKAGE.parent).parts[:-1])


def imported_by(source: str, package: str = "") -> Iterator[str]:
    """The full names of all that a source imports anywhere, of ``from a import b`` both ``a`` and ``a.b``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), package)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def room(path: Path) -> str:
    """The module below the package: ``providers`` for ``providers/openai.py``, ``planner`` for ``planner.py``."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


IMPORTS = {path: set(imported_by(path.read_text(encoding="utf-8"), package_of(path))) for path in FILES}


def breaches(forbidden: Set[str], *, inside: Set[str] | None = None, outside: Set[str] = frozenset()) -> list[str]:
    """Who imports a forbidden module, or anything in one, among the files of some rooms or of all but some."""
    return [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path, names in IMPORTS.items()
        if (inside is None or room(path) in inside)
        and room(path) not in outside
        and str(path.relative_to(PACKAGE)) not in outside
        for name in sorted(names)
        if any(name == module or name.startswith(f"{module}.") for module in forbidden)
    ]


def test_the_test_sees_imports_of_every_form() -> None:
    source = "import os.path\ndef f():\n    from a.b import c, d as e\nif x:\n    import g as h\n"
    assert set(imported_by(source)) == {"os.path", "a.b", "a.b.c", "a.b.d", "g"}
    assert set(imported_by("from ..b import c\nfrom . import d", "a.e")) == {"a.b", "a.b.c", "a.e", "a.e.d"}
    assert "transport/client.py imports httpx" in breaches({"httpx"})
    assert "settings/root.py imports os" in breaches({"os"}, inside={"settings"})


def test_every_file_is_in_a_room() -> None:
    assert {room(path) for path in FILES} == {*VOCABULARY, *ROOMS, *HOSTS, "sandbox", "__init__", "__main__"}


def ours(*rooms: str) -> set[str]:
    return {f"invokeai_external.{name}" for name in rooms}


def test_the_vocabulary_imports_no_room() -> None:
    assert breaches(ours(*ROOMS, *HOSTS, "sandbox"), inside={*VOCABULARY}) == []


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_does_not_import_those_behind_it(name: str) -> None:
    behind = ROOMS[ROOMS.index(name) + 1 :]
    assert breaches(ours(*behind, *HOSTS), inside={name}) == []


def test_the_hosts_do_not_import_each_other() -> None:
    for host in HOSTS:
        assert breaches(ours(*{*HOSTS} - {host}), inside={host}) == []


def test_the_sandbox_shares_models_and_images_with_the_client_and_nothing_of_how_requests_are_made() -> None:
    others = {*ROOMS, *HOSTS} - {"images", "providers"}
    assert breaches(ours(*others), inside={"sandbox"}) == []
    assert breaches(ours("sandbox"), outside={"sandbox", "cli", "service", "testing"}) == []


def imports_at_run_time(path: Path) -> set[str]:
    """The modules of the package that a file imports, those imported inside functions too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = [ast.Pass()]
    names = set(imported_by(ast.unparse(tree), package_of(path)))
    return {name for name in names if name in MODULES} - {module_of(path)}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in FILES}


def test_no_module_imports_itself_by_a_detour() -> None:
    left = {name: imports_at_run_time(path) for name, path in MODULES.items()}
    # A package's own module is imported with each of its parts, and holds no logic.
    while free := {name for name, imports in left.items() if not imports & left.keys()}:
        left = {name: imports for name, imports in left.items() if name not in free}
    assert {name: sorted(imports & left.keys()) for name, imports in left.items()} == {}


LONGEST_MODULE = 450
"""In lines."""


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_module_is_longer_than_one_job_needs(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE


@pytest.mark.parametrize("name", PURE)
def test_the_pure_core_knows_no_client_and_no_disk(name: str) -> None:
    assert breaches(OUTSIDE | DISK, inside={name}) == []


def test_images_are_bytes_that_never_touch_the_disk() -> None:
    assert breaches((OUTSIDE | DISK) - {"io"}, inside={"images"}) == []


@pytest.mark.parametrize("path", [p for p in FILES if room(p) in PURE], ids=lambda p: p.stem)
def test_the_pure_core_opens_no_file_and_reads_no_clock(path: Path) -> None:
    called = {
        node.func.id
        if isinstance(node.func, ast.Name)
        else node.func.attr
        if isinstance(node.func, ast.Attribute)
        else ""
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    }
    assert (
        not {"open", "read_text", "read_bytes", "write_text", "now", "today", "utcnow", "monotonic", "sleep"} & called
    )
    assert not {"time", "random", "secrets"} & IMPORTS[path]


def test_invoke_is_imported_only_in_its_own_room() -> None:
    assert breaches({"invokeai"}, outside={"invoke"}) == []


def test_only_the_host_package_imports_more_of_invoke_than_its_public_node_api() -> None:
    """The host contract test (``tests/host/test_host_contract.py``) holds what of these modules may be used."""
    inside = {path: names for path, names in IMPORTS.items() if PACKAGE / "invoke" / "host" not in path.parents}
    imported = {
        name: str(path.relative_to(PACKAGE))
        for path, names in inside.items()
        for name in names
        if name.startswith(("invokeai.", "fastapi_events", "uvicorn"))
    }
    allowed = tuple(PUBLIC_MODULES)
    assert {name: path for name, path in imported.items() if not name.startswith(allowed)} == {
        "uvicorn": "cli/commands/sandbox.py"
    }


def test_the_command_line_is_imported_only_by_itself_and_by_main() -> None:
    assert breaches({"invokeai_external.cli"}, outside={"cli", "__main__"}) == []
    assert breaches({"typer", "rich"}, outside={"cli", "__main__"}) == []


def test_no_software_kit_of_a_vendor_is_used() -> None:
    assert breaches({"openai", "google.genai"}) == []


def test_the_optional_package_for_tokens_is_imported_in_one_place() -> None:
    assert breaches({"google"}, outside={"service/tokens.py"}) == []


def test_the_http_client_is_imported_only_in_the_transport() -> None:
    assert breaches({"httpx"}, outside={"transport", "testing"}) == []


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_the_package_imports_itself_relatively(path: Path) -> None:
    """Inside Invoke its name is that of the folder that the repository was cloned into."""
    absolute = imported_by(path.read_text(encoding="utf-8"), package="relative.relative.relative")
    assert [name for name in absolute if name.split(".")[0] == "invokeai_external"] == []


def _tracked() -> list[str]:
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=PACKAGE.parent, check=True, stdout=subprocess.PIPE, text=True
    )
    return listing.stdout.split("\0")[:-1]


@pytest.mark.slow
def test_the_repository_s_folder_has_nothing_that_does_not_belong_there() -> None:
    assert {name.partition("/")[0] for name in _tracked()} == TOP_LEVEL


@pytest.mark.slow
def test_no_file_has_the_marks_of_a_merge() -> None:
    marks = (b"<" * 7 + b" ", b">" * 7 + b" ")
    files = [PACKAGE.parent / name for name in _tracked()]
    assert [
        file.name
        for file in files
        if file.is_file() and any(b.startswith(marks) for b in file.read_bytes().splitlines())
    ] == []


MAY_NAME_VENDORS = {
    *("adapters", "providers", "sandbox"),
    *("invoke/nodes.py", "invoke/core_compatibility.py", "invoke/models/carriers.py", "cli/commands/demo.py"),
}
"""What is about a certain vendor: its facts, the nodes with its name and what the core accepts in them, the table of
the carriers, and the demo.
"""


def vendor_strings(source: str) -> list[str]:
    """The strings in a program, without docstrings, that are or begin with the id or the name of a provider."""
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    strings = (
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    )
    names = [name.lower() for provider in catalog.providers() for name in (provider.id, provider.name.split()[0])]
    return [text for text in strings if text.lower().startswith((*names, *RESERVED_IDS))]


def test_the_search_for_vendors_sees_every_form() -> None:
    source = "'openai is a docstring'\na = 'openai'\nb = f'Google {a}'\nc = {'GEMINI_x': 1}\nd = 'an openai'\n"
    assert sorted(vendor_strings(source)) == ["GEMINI_x", "Google ", "openai"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_string_names_a_vendor_outside_of_what_is_about_it(path: Path) -> None:
    if {room(path), path.relative_to(PACKAGE).as_posix()} & MAY_NAME_VENDORS:
        return
    assert vendor_strings(path.read_text(encoding="utf-8")) == []
