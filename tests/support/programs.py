"""Runs the command line in the test's process and as a separate program."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from .guard import CANARY

OPENAI = "openai/gpt-image-2.5-flare"
GEMINI = "gemini/gemini-nano-banana-2.1"


class Result:
    """What a command printed; no command may ever print a key."""

    def __init__(self, code: int, stdout: str, stderr: str) -> None:
        assert CANARY not in stdout + stderr
        self.code, self.stdout, self.stderr = code, stdout, stderr

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


def finished(process: subprocess.Popen[str], timeout: float = 30) -> Result:
    stdout, stderr = process.communicate(timeout=timeout)
    return Result(process.returncode, stdout, stderr)


def program(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "invokeai_external", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def piped(data: bytes) -> io.TextIOWrapper:
    """A standard input that holds these bytes."""
    return io.TextIOWrapper(io.BytesIO(data))


def image_file(path: Path, size: tuple[int, int] = (64, 48), mode: str = "RGB") -> Path:
    Image.new(mode, size, 128 if mode == "L" else None).save(path)
    return path


def png_chunks(data: bytes, kind: bytes) -> bytes:
    """The contents of all chunks of one kind."""
    at, found = 8, b""
    while at < len(data):
        length = int.from_bytes(data[at : at + 4])
        if data[at + 4 : at + 8] == kind:
            found += data[at + 8 : at + 8 + length]
        at += length + 12
    return found
