"""Thirty runs with random faults, cancels, pauses and clears; ``make soak`` has two hundred."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from .invoke import Invoke
from .sandbox import Sandbox
from .soak import soak


@pytest.fixture
def undisturbed(invoke: Invoke) -> Iterator[Invoke]:
    """The shared Invoke, whose queue is running and empty afterwards."""
    yield invoke
    invoke.send("PUT", "/v1/queue/default/clear")
    invoke.send("PUT", "/v1/queue/default/processor/resume")


def test_every_run_ends_in_a_valid_state_and_every_call_is_accounted_for(undisturbed: Invoke, sandbox: Sandbox) -> None:
    soaked = soak(undisturbed, sandbox, 30, random.Random(20261125))
    assert soaked.wrong == [], soaked.summary()
    assert soaked.ended.total() == 30
    assert soaked.images > 0
