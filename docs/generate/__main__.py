"""The command: rewrites the generated parts, and with ``--images`` makes the demo's images again."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from . import option_flags
from .layout import ROOT


def main(arguments: Sequence[str]) -> None:
    _write(option_flags.FILE, option_flags.module())
    # The help texts in the pages show the flags that were just written.
    from .demo_images import make_images
    from .pages import pages, rewritten

    if "--images" in arguments:
        make_images()
    for page in pages():
        _write(page, rewritten(page.read_text(encoding="utf-8")))


def _write(file: Path, text: str) -> None:
    if text != file.read_text(encoding="utf-8"):
        file.write_text(text, encoding="utf-8")
        print(f"Updated {file.relative_to(ROOT)}")


if __name__ == "__main__":
    main(sys.argv[1:])
