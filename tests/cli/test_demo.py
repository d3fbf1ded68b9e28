"""``demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ..support.providers import IN_INVOKE


@pytest.mark.slow
def test_the_demo_makes_images_with_both_providers(run: Any, out: Path) -> None:
    rows = run("demo", "--out", out, "--json").json
    assert {row["model"].split("/")[0] for row in rows} == set(IN_INVOKE)
    assert sorted(Path(row["path"]) for row in rows) == sorted(out.iterdir())
    table = run("demo", "--out", out).stdout
    assert "$" in table
    assert "transparent" in table
