"""The walls between the rooms of the house, held by reading the imports of every file."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Set
from importlib.util import resolve_name
from pathlib import Path

import pytest

import invokeai_external

PACKAGE = Path(invokeai_external.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
PURE = ("errors", "models", "planner", "pricing", "redaction", "request", "retry", "sizing")
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
        if (inside is None or room(path) in inside) and room(path) not in outside
        for name in sorted(names)
        if any(name == module or name.startswith(f"{module}.") for module in forbidden)
    ]


def test_the_test_sees_imports_of_every_form() -> None:
    source = "import os.path\ndef f():\n    from a.b import c, d as e\nif x:\n    import g as h\n"
    assert set(imported_by(source)) == {"os.path", "a.b", "a.b.c", "a.b.d", "g"}
    assert set(imported_by("from ..b import c\nfrom . import d", "a.e")) == {"a.b", "a.b.c", "a.e", "a.e.d"}
    assert {room(path) for path in FILES} >= {*PURE, "cli", "providers", "transport", "settings", "__main__"}
    assert "transport.py imports httpx" in breaches({"httpx"})
    assert "settings.py imports os" in breaches({"os"}, inside={"settings"})


@pytest.mark.parametrize("name", [*PURE, "providers"])
def test_the_pure_core_knows_no_client_no_disk_and_no_command_line(name: str) -> None:
    assert breaches(OUTSIDE | DISK, inside={name}) == []
    assert (
        breaches({f"invokeai_external.{r}" for r in ("transport", "service", "settings", "cli")}, inside={name}) == []
    )


def test_pictures_are_bytes_that_never_touch_the_disk() -> None:
    assert breaches((OUTSIDE | DISK) - {"io"}, inside={"images", "blobs"}) == []


@pytest.mark.parametrize("path", [p for p in FILES if room(p) in (*PURE, "providers")], ids=lambda p: p.stem)
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


def test_invoke_is_imported_in_its_own_room_alone() -> None:
    assert breaches({"invokeai"}, outside={"invoke"}) == []


def test_the_command_line_is_imported_by_itself_and_by_main_alone() -> None:
    assert breaches({"invokeai_external.cli"}, outside={"cli", "__main__"}) == []
    assert breaches({"typer", "rich"}, outside={"cli", "__main__"}) == []


def test_no_software_kit_of_a_vendor_is_used() -> None:
    assert breaches({"openai", "google"}) == []


def test_the_http_client_is_met_in_the_transport_alone() -> None:
    assert breaches({"httpx"}, outside={"transport"}) == []


def test_providers_and_planner_do_not_know_each_other_s_users() -> None:
    assert breaches({"invokeai_external.providers"}, inside={"planner", "retry", "pricing", "catalog", "images"}) == []
    assert breaches({"invokeai_external.sandbox"}, outside={"sandbox", "cli", "service"}) == []


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_the_package_imports_itself_relatively(path: Path) -> None:
    """Inside Invoke its name is that of the folder that the repository was cloned into."""
    absolute = imported_by(path.read_text(encoding="utf-8"), package="relative.relative.relative")
    assert [name for name in absolute if name.split(".")[0] == "invokeai_external"] == []
