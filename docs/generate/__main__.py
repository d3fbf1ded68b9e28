"""The command: rewrites the generated parts, and with ``--images`` makes the demo's images again."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .demo_images import make_images
from .pages import ROOT, pages, rewritten


def main(arguments: Sequence[str]) -> None:
    if "--images" in arguments:
        make_images()
    for page in pages():
        old = page.read_text(encoding="utf-8")
        new = rewritten(old)
        if new != old:
            page.write_text(new, encoding="utf-8")
            print(f"Updated {page.relative_to(ROOT)}")


if __name__ == "__main__":
    main(sys.argv[1:])
