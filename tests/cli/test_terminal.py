"""What fits in a terminal: lines are broken between words, commands stay whole, and tables become paragraphs."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from invokeai_external.cli import terminal
from invokeai_external.cli.terminal import fitted, table_lines
from invokeai_external.root_folder import SPENDING_FILE, USER_FILE

from ..support import made_up_spending

COMMAND = "invokeai-external keys set openai --root '/my root'"


@pytest.mark.parametrize(
    ("text", "width", "broken"),
    [
        ("one two three", None, "one two three"),
        ("one two three", 13, "one two three"),
        ("one two three", 12, "one two\n  three"),
        ("ok     one two three", 13, "ok     one\n  two three"),
        ("    one two", 9, "    one\n  two"),
        ("狐狐 狐狐", 8, "狐狐\n  狐狐"),
        ("one\ntwo three", 6, "one\ntwo\n  three"),
        (f"To set it, run: {COMMAND}", 20, f"To set it, run:\n  {COMMAND}"),
        (f"Run '{COMMAND[:33]}' now.", 20, f"Run\n  '{COMMAND[:33]}'\n  now."),
        ("Run: pip install 'a[b]'. Or do not.", 20, "Run:\n  pip install 'a[b]'.\n  Or do not."),
        ("It is open. Run: chmod 600 '/my root/a.yaml'", 20, "It is open. Run:\n  chmod 600 '/my root/a.yaml'"),
        ("Raise it (ulimit -n 256), or not.", 20, "Raise it\n  (ulimit -n 256),\n  or not."),
        ("  export A_BASE_URL=http://127.0.0.1:9393/a", 20, "  export A_BASE_URL=http://127.0.0.1:9393/a"),
        ("", 9, ""),
    ],
)
def test_a_line_is_broken_between_words_and_not_in_a_command(text: str, width: int | None, broken: str) -> None:
    assert fitted(text, width, indent=2) == broken


@pytest.mark.parametrize(
    "command",
    [
        *("models", "models --provider openai", "models --all", "models show gpt-image-2", "providers", "spend show"),
        *(
            "spend --by model --since 2020-01",
            "spend --by user --since 2020-01",
            "spend confirm",
            "budget list",
            "demo --out {out}",
        ),
    ],
)
def test_a_table_shows_all_of_every_cell_at_every_width(
    command: str, run: Any, root: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / USER_FILE).write_text(
        "budgets: {total: {month_usd: 5}, users: {default: {day_usd: 1}}, max_per_image_usd: 1}"
    )
    made_up_spending.fill(root / SPENDING_FILE, made_up_spending.many_calls(40, time.time(), ("ann", None)))
    tables: list[Sequence[dict[str, str]]] = []

    def noted(rows: Sequence[dict[str, str]], width: int | None) -> Any:
        tables.append(rows)
        return table_lines(rows, width)

    monkeypatch.setattr(terminal, "table_lines", noted)
    assert run(*command.format(out=out).split()).code == 0
    [rows] = tables
    for width in range(40, 241):
        lines = list(table_lines(rows, width))
        assert [line for line in lines if len(line) > width and len(line.split()) > 2] == []
        printed = Counter(" ".join(lines).split())
        for row in rows:
            assert Counter(" ".join(row.values()).split()) <= printed
            printed -= Counter(" ".join(row.values()).split())


def words(text: str) -> set[str]:
    return {word.strip(":,.'\"") for word in text.split()}


def shown(width: int, command: list[str], columns: str | None = None) -> list[str]:
    """The lines that a command prints in a terminal of this width, and with this value of ``COLUMNS``."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    environment = {**os.environ, "TERM": "xterm"}
    environment.pop("COLUMNS", None)
    if columns is not None:
        environment["COLUMNS"] = columns
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True):
        os.close(theirs)
        printed = b""
        # Linux ends the output of a terminal with an error.
        with suppress(OSError):
            while data := os.read(ours, 65536):
                printed += data
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed.decode()).splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("width", [40, 80])
@pytest.mark.parametrize(
    "command",
    [
        "models",
        "models show gpt-image-2",
        "models check openai --sandbox",
        "keys list",
        "doctor",
        "generate x --size big",
        "demo --out {out}",
        "keys test openai",
    ],
)
def test_no_word_is_broken(width: int, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INVOKEAI_EXTERNAL_OPENAI_API_KEY")
    monkeypatch.chdir(tmp_path)
    program = [sys.executable, "-m", "invokeai_external", *command.format(out="out").split()]
    lines = shown(width, program)
    assert lines
    # A word may be longer than the terminal is wide; it has a separate line then.
    assert [
        line for line in lines if len(line) > width and len(line.split()) > 2 and "invokeai-external" not in line
    ] == []
    assert [line for line in lines if "…" in line] == []
    if not command.startswith("demo"):  # It shows times.
        whole = subprocess.run(program, capture_output=True, text=True, check=False)
        assert words("\n".join(lines)) <= words(whole.stdout + whole.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["models", "providers --help"])
@pytest.mark.parametrize(("columns", "widest"), [("40", 40), ("0", 78), ("wide", 78)])
def test_columns_says_the_width_of_a_terminal(command: str, columns: str, widest: int) -> None:
    lines = shown(78, [sys.executable, "-m", "invokeai_external", *command.split()], columns)
    wide = [len(line) for line in lines if len(line.split()) > 2]
    assert 0.75 * widest < max(wide) <= widest


def test_columns_says_nothing_of_what_programs_read(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run("models").stdout
    monkeypatch.setenv("COLUMNS", "40")
    assert run("models").stdout == whole


@pytest.mark.parametrize("columns", ["1", "2", "7"])
def test_help_can_be_read_in_a_terminal_without_room(columns: str, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert "--mask-color" in run("generate", "--help").stdout


@pytest.mark.parametrize("command", ["--help", "generate --help", "budget set --help"])
def test_help_fits_a_narrow_terminal(command: str, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    lines = run(*command.split()).stdout.splitlines()
    assert [line for line in lines if len(line) > 40 and len(line.split()) > 1] == []


@pytest.mark.slow
def test_a_reader_that_has_enough_is_not_an_error() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "invokeai_external", "models", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        assert program.stdout
        assert program.stderr
        program.stdout.readline()
        program.stdout.close()
        assert program.stderr.read() == b""
        assert program.wait() == 1
