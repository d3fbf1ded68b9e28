"""A spending record on a fake clock, which stands at noon until a test moves it."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

import pytest

from invokeai_external.spending.record import SpendingRecord

from ..support.clock import Clock

NOON = datetime.datetime(2026, 11, 29, 12, tzinfo=datetime.UTC).timestamp()
DAY_S = 86_400.0


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def record(tmp_path: Path, clock: Clock) -> Iterator[SpendingRecord]:
    made = SpendingRecord(tmp_path / "spending.sqlite3", clock=clock)
    yield made
    made.close()
