"""Single limits are changed in the settings file, and every other line stays."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from invokeai_external.errors import InvalidRequestError, SettingsError
from invokeai_external.root_folder import USER_FILE
from invokeai_external.settings.budget_edit import place_of_limit, set_limit
from invokeai_external.settings.settings import load_settings
from invokeai_external.settings.spending import LiveBudgets
from invokeai_external.settings.user_file import read_user_file


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("total.day", ("total", "day_usd")),
        ("providers.openai.month", ("providers", "openai", "month_usd")),
        ("models.openai/gpt-image-2.6-sunburst.day", ("models", "openai/gpt-image-2.6-sunburst", "day_usd")),
        ("users.artist@example.org.day", ("users", "artist@example.org", "day_usd")),
        ("max_per_image", ("max_per_image_usd",)),
    ],
)
def test_the_name_of_a_limit_says_where_it_is(name: str, place: tuple[str, ...]) -> None:
    assert place_of_limit(name) == place


@pytest.mark.parametrize(
    "name", ["", "total", "total.year", "total.openai.day", "users.day", "timezone", "other.a.day"]
)
def test_what_is_not_the_name_of_a_limit_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidRequestError):
        set_limit(tmp_path, name, 5)
    assert not (tmp_path / USER_FILE).exists()


def text_after(root: Path, before: str, *changes: tuple[str, float | None]) -> str:
    file = root / USER_FILE
    file.write_text(before, encoding="utf-8")
    for name, usd in changes:
        set_limit(root, name, usd)
    read_user_file(file)
    return file.read_text(encoding="utf-8")


def test_a_limit_is_added_changed_and_removed_and_the_comments_stay(tmp_path: Path) -> None:
    before = "# mine\nbudgets:\n  total:\n    day_usd: 5 # a day\nsettings:\n  tag: a\n"
    assert text_after(tmp_path, before, ("total.day", 7.5)) == before.replace("5 #", "7.5 #")
    after = text_after(tmp_path, before, ("users.anna@example.org.day", 2), ("max_per_image", 0.5))
    assert "# mine" in after
    assert "# a day" in after
    budgets = read_user_file(tmp_path / USER_FILE).budgets
    assert budgets.users["anna@example.org"].day_usd == 2
    assert budgets.max_per_image_usd == 0.5
    assert text_after(tmp_path, before, ("users.anna.day", 2), ("users.anna.day", None)) == before
    assert text_after(tmp_path, before, ("users.anna.day", None)) == before


def test_the_first_limit_makes_the_file(tmp_path: Path) -> None:
    set_limit(tmp_path, "total.month", 60)
    assert (tmp_path / USER_FILE).read_text(encoding="utf-8") == "budgets:\n  total:\n    month_usd: 60\n"


def test_what_would_be_empty_is_removed_with_the_last_limit(tmp_path: Path) -> None:
    before = (
        "budgets:\n  total:\n    day_usd: 5\n  users:\n    anna:\n      day_usd: 1\n    default:\n      day_usd: 2\n"
    )
    after = text_after(tmp_path, before, ("users.anna.day", None), ("users.default.day", None))
    assert after == "budgets:\n  total:\n    day_usd: 5\n"
    assert text_after(tmp_path, after, ("total.day", None), ("max_per_image", 1))
    assert read_user_file(tmp_path / USER_FILE).budgets.total is None


def test_a_limit_is_raised_until_a_day(tmp_path: Path) -> None:
    until = datetime.date(2026, 12, 5)
    set_limit(tmp_path, "total.day", 5)
    set_limit(tmp_path, "total.day", 20, until=until)
    set_limit(tmp_path, "total.month", 80, until=until)
    total = read_user_file(tmp_path / USER_FILE).budgets.total
    assert total
    assert total.day_usd == 5
    assert total.raised
    assert (total.raised.day_usd, total.raised.month_usd, total.raised.until) == (20, 80, until)
    set_limit(tmp_path, "total.day", None, until=until)
    assert "raised:\n      until: 2026-12-05\n      month_usd: 80\n" in (tmp_path / USER_FILE).read_text(
        encoding="utf-8"
    )
    set_limit(tmp_path, "total.month", None, until=until)
    assert "raised" not in (tmp_path / USER_FILE).read_text(encoding="utf-8")
    with pytest.raises(InvalidRequestError):
        set_limit(tmp_path, "max_per_image", 1, until=until)


@pytest.mark.parametrize(("name", "usd"), [("total.day", -1), ("providers.nobody.day", 5), ("models.openai/x.day", 5)])
def test_what_is_not_valid_is_not_written(tmp_path: Path, name: str, usd: float) -> None:
    with pytest.raises(SettingsError):
        set_limit(tmp_path, name, usd)
    assert not (tmp_path / USER_FILE).exists()


def test_a_limit_in_one_line_with_others_can_be_changed(tmp_path: Path) -> None:
    text = text_after(tmp_path, "budgets: {total: {day_usd: 5, month_usd: 60}}\n", ("total.day", 6))
    assert text == "budgets: {total: {day_usd: 6, month_usd: 60}}\n"
    text = text_after(tmp_path, text, ("users.anna.day", 1), ("total.day", None))
    assert text == "budgets: {total: {month_usd: 60}, users: {anna: {day_usd: 1}}}\n"
    assert text_after(tmp_path, text, ("users.anna.day", None)) == "budgets: {total: {month_usd: 60}}\n"


def test_a_limit_in_braces_over_several_lines_is_left_to_the_user(tmp_path: Path) -> None:
    file = tmp_path / USER_FILE
    file.write_text("budgets: {total: {day_usd: 5,  # a day\n  month_usd: 60}}\n", encoding="utf-8")
    before = file.read_text(encoding="utf-8")
    with pytest.raises(SettingsError, match="line by line") as caught:
        set_limit(tmp_path, "total.day", 9, until=datetime.date(2099, 12, 5))
    assert str(caught.value.hint).endswith(
        "budgets:\n  total:\n    raised:\n      day_usd: 9\n      until: 2099-12-05\n"
    )
    assert file.read_text(encoding="utf-8") == before


def test_a_limit_that_is_set_for_good_ends_what_was_set_for_a_while(tmp_path: Path) -> None:
    until = datetime.date(2099, 12, 5)
    set_limit(tmp_path, "providers.openai.day", 5)
    set_limit(tmp_path, "providers.openai.day", 20, until=until)
    set_limit(tmp_path, "providers.openai.month", 80, until=until)
    set_limit(tmp_path, "providers.openai.day", 7)
    budget = read_user_file(tmp_path / USER_FILE).budgets.providers["openai"]
    assert budget.raised
    assert (budget.day_usd, budget.raised.day_usd, budget.raised.month_usd) == (7, None, 80)
    set_limit(tmp_path, "providers.openai.month", None)
    set_limit(tmp_path, "providers.openai.day", None)
    assert not read_user_file(tmp_path / USER_FILE).budgets.are_set


def test_two_limits_are_not_set_until_different_days(tmp_path: Path) -> None:
    first, second = datetime.date(2099, 12, 5), datetime.date(2099, 12, 9)
    set_limit(tmp_path, "total.day", 20, until=first)
    with pytest.raises(InvalidRequestError, match="2099-12-05"):
        set_limit(tmp_path, "total.month", 80, until=second)
    set_limit(tmp_path, "total.day", 20, until=second)
    # What is over is forgotten.
    set_limit(tmp_path, "total.day", 20, until=datetime.date(2020, 1, 1))
    set_limit(tmp_path, "total.month", 80, until=second)
    total = read_user_file(tmp_path / USER_FILE).budgets.total
    assert total
    assert total.raised
    assert (total.raised.day_usd, total.raised.month_usd, total.raised.until) == (None, 80, second)


def test_limits_hold_that_were_written_between_the_read_of_the_settings_and_the_first_run(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, environ={})
    set_limit(tmp_path, "total.day", 5)
    budgets = LiveBudgets(settings)
    total = budgets().total
    assert total
    assert total.day_usd == 5
    set_limit(tmp_path, "total.day", 12.5)
    total = budgets().total
    assert total
    assert total.day_usd == 12.5
    (tmp_path / USER_FILE).unlink()
    assert not budgets().are_set


def test_a_file_that_is_broken_is_waited_for_once(tmp_path: Path) -> None:
    set_limit(tmp_path, "total.day", 5)
    pauses: list[str] = []
    budgets = LiveBudgets(load_settings(tmp_path, environ={}), pause=lambda: pauses.append("pause"))
    assert budgets.unchanged() is None
    assert budgets() is budgets.unchanged()
    (tmp_path / USER_FILE).write_text("budgets: {total: {day_u", encoding="utf-8")
    for _ in range(3):
        assert budgets.unchanged() is None
        with pytest.raises(SettingsError):
            budgets()
    assert pauses == ["pause"]


@pytest.mark.parametrize("half", ["", "budgets: {total: {day_u", None])
def test_limits_hold_while_their_file_is_being_saved(tmp_path: Path, half: str | None) -> None:
    """Editors may empty or remove a file before they write it."""
    file = tmp_path / USER_FILE
    set_limit(tmp_path, "total.day", 5)
    texts = ["budgets: {total: {day_usd: 12.5}}"]

    def pause() -> None:
        if texts:
            file.write_text(texts.pop(), encoding="utf-8")

    budgets = LiveBudgets(load_settings(tmp_path, environ={}), pause=pause)
    before = budgets()
    if half is None:
        file.unlink()
    else:
        file.write_text(half, encoding="utf-8")
    assert budgets() is before
    total = budgets().total
    assert total
    assert total.day_usd == 12.5
