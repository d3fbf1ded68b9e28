"""The settings of a running program follow their file; a file that was changed and is broken changes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from invokeai_external.errors import SettingsError
from invokeai_external.root_folder import USER_FILE
from invokeai_external.settings.budget_edit import set_limit
from invokeai_external.settings.live_settings import LiveSettings
from invokeai_external.settings.user_file_edit import set_setting


class Followed:
    """Settings that are followed.

    Attributes:
        changes: How often they have changed.
        problems: What was reported.
        meanwhile: What other programs do in the next pauses.
    """

    def __init__(self, root: Path) -> None:
        self.file = root / USER_FILE
        self.meanwhile: list[Callable[[], object]] = []
        self.changes = 0
        self.problems: list[str] = []
        self.now = LiveSettings(
            root, self._changed, lambda error: self.problems.append(error.message), pause=self._pause
        )

    def _pause(self) -> None:
        if self.meanwhile:
            self.meanwhile.pop(0)()

    def _changed(self) -> None:
        self.changes += 1

    def write(self, text: str) -> None:
        """Write the file, a second later than before: the clock of the disk may be coarse."""
        at = self.file.stat().st_mtime_ns if self.file.exists() else 0
        self.file.write_text(text, encoding="utf-8")
        os.utime(self.file, ns=(at + 10**9, at + 10**9))


@pytest.fixture
def followed(tmp_path: Path) -> Followed:
    return Followed(tmp_path)


def test_a_changed_file_counts_at_once(followed: Followed) -> None:
    assert followed.now().limits.previews == 0
    assert followed.now() is followed.now()
    followed.write("settings: {previews: 2}\n")
    assert (followed.now().limits.previews, followed.changes) == (2, 1)
    followed.write("models: {openai/gpt-image-2: {name: Mine}}\n")
    assert (followed.now().limits.previews, followed.changes) == (0, 2)
    assert "openai/gpt-image-2" in followed.now().catalog.models
    followed.file.unlink()
    assert (followed.now().catalog.models, followed.changes) == ({}, 3)


@pytest.mark.parametrize("broken", ["settings: {previews: 9}\n", "models: {openai/gpt-image-2: {nmae: 1}}\n", "- 1\n"])
def test_a_file_that_becomes_broken_is_reported_once_and_nothing_changes(followed: Followed, broken: str) -> None:
    followed.write("settings: {previews: 2}\n")
    before = followed.now()
    followed.write(broken)
    for _ in range(3):
        assert followed.now() is before
    assert len(followed.problems) == 1
    assert str(followed.file) in followed.problems[0]
    followed.write("settings: {previews: 3}\n")
    assert (followed.now().limits.previews, followed.changes) == (3, 1)


MINE = "models: {openai/gpt-image-2: {name: Mine}}\n"


@pytest.mark.parametrize("half", ["", "models: {openai/gpt-ima", None])
def test_a_file_that_is_being_saved_changes_nothing_until_it_is_saved(followed: Followed, half: str | None) -> None:
    followed.write(MINE)
    before = followed.now()
    if half is None:
        followed.file.unlink()
    else:
        followed.write(half)
    followed.meanwhile.append(partial(followed.write, MINE + "settings: {previews: 2}\n"))
    assert followed.now() is before
    assert (followed.changes, followed.problems) == (0, [])
    after = followed.now()
    assert (after.limits.previews, after.catalog.models) == (2, before.catalog.models)
    assert (followed.changes, followed.problems) == (1, [])


def test_what_is_written_by_us_counts_at_once(followed: Followed, tmp_path: Path) -> None:
    followed.write(MINE)
    followed.now()
    set_setting(tmp_path, "previews", 3)
    assert (followed.now().limits.previews, followed.changes) == (3, 1)


def test_a_file_that_never_was_valid_is_an_error_until_it_is(followed: Followed) -> None:
    followed.write("settings: {previews: 9}\n")
    for _ in range(2):
        with pytest.raises(SettingsError):
            followed.now()
    followed.write("settings: {previews: 1}\n")
    assert followed.now().limits.previews == 1
    assert (followed.changes, followed.problems) == (0, [])


def test_a_limit_on_what_is_spent_does_not_change_the_settings(followed: Followed, tmp_path: Path) -> None:
    followed.write("models: {openai/gpt-image-2: {name: Mine}}\n")
    before = followed.now()
    set_limit(tmp_path, "total.day", 5)
    assert followed.now() is before
    assert followed.changes == 0


def test_a_setting_is_written_and_every_other_line_stays(tmp_path: Path) -> None:
    file = tmp_path / USER_FILE
    set_setting(tmp_path, "previews", 2)
    assert file.read_text(encoding="utf-8") == "settings:\n  previews: 2\n"
    file.write_text("# mine\nsettings:\n  look_ahead: true   # fast\n  tag: a\nbudgets: {}\n", encoding="utf-8")
    set_setting(tmp_path, "look_ahead", False)
    set_setting(tmp_path, "concurrency", 3)
    assert file.read_text(encoding="utf-8") == (
        "# mine\nsettings:\n  look_ahead: false   # fast\n  tag: a\n  concurrency: 3\nbudgets: {}\n"
    )
    with pytest.raises(SettingsError) as caught:
        set_setting(tmp_path, "concurrency", 65)
    assert "Nothing was written" in (caught.value.hint or "")
    assert "concurrency: 3\n" in file.read_text(encoding="utf-8")
