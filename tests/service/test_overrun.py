"""A call that costs more than the most that was expected: it counts in full, and a notice says so."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
import respx

from invokeai_external.request import GenerationRequest
from invokeai_external.service.service import Service
from invokeai_external.settings.settings import load_settings
from invokeai_external.sizing import Size
from invokeai_external.spending.amounts import NANO
from invokeai_external.spending.record import SpendingRecord
from invokeai_external.spending.rows import row_of

from .common import OPENAI, PNG_1X1, URL

pytestmark = pytest.mark.anyio

SQUARE = GenerationRequest(model=OPENAI, prompt="a red fox", size=Size(1024, 1024), options={"quality": "low"})
"""196 output tokens at 30 USD per million; the bound of its prompt is 109 tokens at 5."""

AT_MOST = 196 * 30 + 109 * 5


@pytest.mark.parametrize(
    ("output_tokens", "settings", "is_above"),
    [(196, "", False), (213, "", False), (214, "", True), (7024, "", True), (7024, "spending_record: off", True)],
)
async def test_a_cost_above_the_estimate_is_said(
    output_tokens: int, settings: str, is_above: bool, tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    usage = {
        "input_tokens": 3,
        "input_tokens_details": {"text_tokens": 3, "image_tokens": 0},
        "output_tokens": output_tokens,
    }
    respx_mock.post(URL).mock(return_value=httpx.Response(200, json={"data": [{"b64_json": PNG_1X1}], "usage": usage}))
    if settings:
        (tmp_path / "invokeai_external.yaml").write_text(f"settings: {{{settings}}}\n", encoding="utf-8")
    async with Service(load_settings(tmp_path)) as service:
        result = await service.generate(SQUARE)
    cost = 3 * 5 + output_tokens * 30
    assert (cost > AT_MOST) == is_above
    said = [notice.message for notice in result.notices if notice.code == "cost_overrun"]
    assert len(said) == is_above
    assert all(OPENAI in message for message in said)
    if not settings:
        record = SpendingRecord(tmp_path / "invokeai_external_spending.sqlite3")
        with record.reading() as db:
            row = row_of(db.execute("SELECT * FROM calls").fetchone())
        record.close()
        assert (row.call.at_most, row.end.cost) == (AT_MOST * NANO // 10**6, cost * NANO // 10**6)
