"""Every fault of the sandbox in random order through one Service; ``make soak-calls`` sends 500 calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from invokeai_external.sandbox.faults import FAULTS

from .fault_mixture import mix, served

EACH_ONCE = sum(len(kind.providers) for kind in FAULTS.values())


@pytest.mark.slow
def test_each_call_ends_in_the_images_that_were_sent_or_in_one_error(tmp_path: Path) -> None:
    with served() as url:
        mixture = mix(url, tmp_path, calls=EACH_ONCE, seed=1)
    assert mixture.wrong == []
    assert mixture.images + mixture.errors.total() == EACH_ONCE
    assert mixture.left == []
