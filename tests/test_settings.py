"""Settings: which source wins, what a broken file says of itself, and what writing a key leaves as it was."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from invokeai_external.errors import NotConfiguredError, SettingsError
from invokeai_external.locks import locked
from invokeai_external.providers import catalog
from invokeai_external.providers.built_in import built_in_ids
from invokeai_external.providers.registry import Registry
from invokeai_external.settings.key_file import remove_key, set_key
from invokeai_external.settings.root import own_folder, root_folder
from invokeai_external.settings.settings import (
    Credentials,
    Limits,
    Settings,
    check_key,
    credentials_in_invoke,
    load_settings,
    load_user_file,
)
from invokeai_external.settings.yaml_file import YamlFile

REPOSITORY = Path(__file__).parent.parent
OPENAI_KEY, OPENAI_URL = "INVOKEAI_EXTERNAL_OPENAI_API_KEY", "INVOKEAI_EXTERNAL_OPENAI_BASE_URL"
posix = pytest.mark.skipif(os.name != "posix", reason="this system has no modes of files")

OPENAI, GEMINI = catalog.page("openai").provider, catalog.page("gemini").provider


def load(root: Path, environ: Mapping[str, str] | None = None, *, usual: bool = False) -> Settings:
    return load_settings(root, environ or {}, usual_variables=usual)


def key_of(credentials: Credentials) -> str | None:
    return credentials.api_key.get_secret_value() if credentials.api_key else None


def write(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.write_text(text, encoding="utf-8", newline="")
    path.chmod(0o600)
    return path


def keys_in(root: Path) -> dict[str, object]:
    return yaml.safe_load((root / "api_keys.yaml").read_text(encoding="utf-8")) or {}


# Which source wins.


def test_without_files_and_variables_there_is_nothing_but_the_defaults(tmp_path: Path) -> None:
    found = load(tmp_path / "nowhere")
    assert found.credentials == dict.fromkeys(found.providers, Credentials())
    assert found.limits == Limits(
        concurrency=8,
        max_attempts=6,
        max_wait_s=120,
        timeout_s=600,
        max_response_bytes=300_000_000,
        max_image_pixels=100_000_000,
    )
    assert (found.catalog.models, found.notices) == ({}, ())
    assert not (tmp_path / "nowhere").exists()


def test_without_arguments_the_settings_are_those_of_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INVOKEAI_EXTERNAL_OPENAI_API_KEY")
    monkeypatch.setenv("OPENAI_API_KEY", "of-the-tools")
    found = load_settings()
    assert (found.root, found.credentials["openai"].source) == (tmp_path / "root", "OPENAI_API_KEY")
    assert load_settings(usual_variables=False).credentials["openai"] == Credentials()
    assert load_settings(str(tmp_path)).root == tmp_path


def test_the_user_file_is_read_without_a_look_at_the_keys(tmp_path: Path) -> None:
    write(tmp_path, "api_keys.yaml", "a: [")
    write(tmp_path, "invokeai_external.yaml", "settings: {concurrency: 3}")
    found = load_user_file(tmp_path)
    assert (found.root, found.credentials, found.limits.concurrency) == (tmp_path, {}, 3)


@pytest.mark.parametrize(
    ("platform", "environ", "folder"),
    [
        ("linux", {}, "~/.config"),
        ("linux", {"XDG_CONFIG_HOME": ""}, "~/.config"),
        ("linux", {"XDG_CONFIG_HOME": "/elsewhere"}, "/elsewhere"),
        ("darwin", {"XDG_CONFIG_HOME": "/elsewhere"}, "~/Library/Application Support"),
        ("win32", {"APPDATA": "/roaming"}, "/roaming"),
        ("win32", {}, "~"),
    ],
)
def test_each_system_has_its_folder_for_settings(platform: str, environ: Mapping[str, str], folder: str) -> None:
    expected = Path(folder).expanduser() / "invokeai-external"
    assert own_folder(environ, platform) == expected
    if platform == sys.platform:
        assert root_folder(None, environ) == root_folder(None, {**environ, "INVOKEAI_ROOT": " "}) == expected


def test_the_environment_wins_over_the_file_and_the_usual_variables_come_last(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "api_keys.yaml",
        "external_openai_api_key: of-file\nexternal_openai_base_url: https://file.example\nother: 1\n",
    )
    environ = {OPENAI_KEY: "of-variable", OPENAI_URL: "https://variable.example", "OPENAI_API_KEY": "of-the-tools"}
    openai = load(tmp_path, environ, usual=True).credentials["openai"]
    assert (key_of(openai), openai.base_url, openai.source) == ("of-variable", "https://variable.example", OPENAI_KEY)
    del environ[OPENAI_KEY], environ[OPENAI_URL]
    openai = load(tmp_path, environ, usual=True).credentials["openai"]
    assert (key_of(openai), openai.base_url, openai.source) == ("of-file", "https://file.example", str(path))
    path.unlink()
    openai = load(tmp_path, environ, usual=True).credentials["openai"]
    assert (key_of(openai), openai.base_url, openai.source) == ("of-the-tools", None, "OPENAI_API_KEY")
    assert load(tmp_path, environ).credentials["openai"] == Credentials()


def test_gemini_has_two_usual_variables(tmp_path: Path) -> None:
    both = {"GEMINI_API_KEY": "first", "GOOGLE_API_KEY": "second"}
    assert load(tmp_path, both, usual=True).credentials["gemini"].source == "GEMINI_API_KEY"
    assert key_of(load(tmp_path, {"GOOGLE_API_KEY": "second"}, usual=True).credentials["gemini"]) == "second"


def test_blank_values_are_ignored(tmp_path: Path) -> None:
    write(
        tmp_path, "api_keys.yaml", "external_openai_api_key: ' of-file '\nexternal_openai_base_url: https://f.example\n"
    )
    openai = load(tmp_path, {OPENAI_KEY: "  ", OPENAI_URL: " "}).credentials["openai"]
    assert (key_of(openai), openai.base_url) == ("of-file", "https://f.example")
    write(tmp_path, "api_keys.yaml", "external_openai_api_key: ''\nexternal_openai_base_url:\n")
    assert load(tmp_path).credentials["openai"] == Credentials()


def test_entries_that_are_not_ours_are_not_looked_at(tmp_path: Path) -> None:
    write(tmp_path, "api_keys.yaml", "external_other_api_key: 5\nexternal_openai_timeout: 30\n1: x\n")
    assert load(tmp_path).credentials == dict.fromkeys(built_in_ids(), Credentials())


def test_a_key_does_not_show_when_settings_are_printed(tmp_path: Path, canary: str) -> None:
    found = load(tmp_path, {OPENAI_KEY: canary})
    assert key_of(found.credentials["openai"]) == canary
    assert canary not in f"{found!r} {found}"


def test_the_example_file_holds_the_four_entries_and_loads(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "api_keys.example.yaml", tmp_path / "api_keys.yaml")
    assert keys_in(tmp_path) == {
        "external_gemini_api_key": None,
        "external_gemini_base_url": None,
        "external_openai_api_key": None,
        "external_openai_base_url": None,
    }
    assert load(tmp_path).credentials == dict.fromkeys(built_in_ids(), Credentials())
    before = (tmp_path / "api_keys.yaml").read_text(encoding="utf-8").splitlines()
    set_key(tmp_path, OPENAI, "new-key")
    after = (tmp_path / "api_keys.yaml").read_text(encoding="utf-8").splitlines()
    assert [line for line in after if line not in before] == ['external_openai_api_key: "new-key"']
    assert len(after) == len(before)


@posix
def test_a_file_of_keys_that_others_can_read_gets_a_notice(tmp_path: Path) -> None:
    path = write(tmp_path, "api_keys.yaml", "external_openai_api_key: k\n")
    assert load(tmp_path).notices == ()
    for mode in (0o640, 0o604, 0o620):
        path.chmod(mode)
        (notice,) = load(tmp_path).notices
        assert notice.code == "keys_readable"
        assert notice.message.endswith(f"chmod 600 {path}")


# invokeai_external.yaml


def test_limits_and_models_are_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        "invokeai_external.yaml",
        "settings: {concurrency: 2, max_wait_s: 0.5}\nmodels:\n  openai/gpt-x:\n    name: X\n  openai/gpt-y:\n",
    )
    found = load(tmp_path)
    assert (found.limits.concurrency, found.limits.max_wait_s, found.limits.max_attempts) == (2, 0.5, 6)
    assert found.catalog.models == {"openai/gpt-x": {"name": "X"}, "openai/gpt-y": {}}
    write(tmp_path, "invokeai_external.yaml", "settings:\nmodels:\n")
    assert (load(tmp_path).limits, load(tmp_path).catalog.models) == (Limits(), {})


SECRET = "sk-secret-0123456789"


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("api_keys.yaml", f"external_openai_api_key: {SECRET}\n  x: ][\n", "line 2: "),
        ("api_keys.yaml", f"a: 1\n{SECRET}: [\n", "line 3: "),
        ("api_keys.yaml", f"a: {SECRET}\n---\nb: 1\n", "line 2: "),
        ("api_keys.yaml", f"a: !secret {SECRET}\n", "line 1: "),
        ("api_keys.yaml", f"a: {SECRET}\nb: 2026-13-45\n", "line 2: "),
        ("api_keys.yaml", f"a: {SECRET}\nb: 0x_\n", "line 2: "),
        ("api_keys.yaml", f"a: 1\nb: {SECRET}\x07\n", "line 2: "),
        ("api_keys.yaml", f"- {SECRET}\n", "line 1: "),
        ("api_keys.yaml", f"{SECRET}\n", "line 1: "),
        (
            "api_keys.yaml",
            "# mine\nexternal_openai_api_key: 123456789\n",
            "line 2: external_openai_api_key",
        ),
        (
            "api_keys.yaml",
            f"external_openai_api_key: [{SECRET}]\n",
            "line 1: external_openai_api_key",
        ),
        ("invokeai_external.yaml", "settings:\n  concurrency: [\n", "line 3: "),
        (
            "invokeai_external.yaml",
            "settings: {}\nkeys: 1\n",
            "line 2: keys",
        ),
        ("invokeai_external.yaml", "\nsettings: 5\n", "line 2: settings"),
        ("invokeai_external.yaml", "models: {}\nsettings: {}\nmodels: {}\n", "line 3: models is already in line 1"),
        (
            "invokeai_external.yaml",
            "models:\n  openai/a:\n    limits: [{x: 1}, {y: 1, y: 2}]\n",
            "line 3: models.openai/a.limits.y is already in line 3",
        ),
        ("invokeai_external.yaml", "models: []\n", "line 1: models"),
        (
            "invokeai_external.yaml",
            "settings:\n  concurrency: 4\n  concurency: 8\n",
            "line 3: settings.concurency",
        ),
        (
            "invokeai_external.yaml",
            "settings:\n  max_attempts: many\n",
            "line 2: settings.max_attempts: this must be a whole number",
        ),
        ("invokeai_external.yaml", "settings:\n  previews: 9\n", "line 2: settings.previews: this must be at most 3"),
        (
            "invokeai_external.yaml",
            "settings:\n  max_wait_s: 9999\n",
            "line 2: settings.max_wait_s: this must be at most 3,600",
        ),
        (
            "invokeai_external.yaml",
            "settings:\n  timeout_s: 0\n",
            "line 2: settings.timeout_s: this must be more",
        ),
        (
            "invokeai_external.yaml",
            "settings:\n  look_ahead: 7\n",
            "line 2: settings.look_ahead: this must be true",
        ),
        (
            "invokeai_external.yaml",
            "settings:\n  previews: 9\n  speed: 1\n  concurrency: 0\n",
            "line 2: settings.previews",
        ),
        ("api_keys.yaml", "a: 1\nexternal_openai_baseurl: x\n", "line 2: external_openai_baseurl"),
        (
            "invokeai_external.yaml",
            "settings:\n  # patient\n  concurrency: 65\n",
            "line 3: settings.concurrency",
        ),
        (
            "invokeai_external.yaml",
            "models:\n  openai/gpt-x:\n    prices_as_of: 2026-99-99\n",
            "line 3: this looks like a date",
        ),
        (
            "invokeai_external.yaml",
            f"settings:\n  max_wait_s: {'9' * 200_000}\n",
            "line 2: this number is too long",
        ),
        (
            "invokeai_external.yaml",
            "models:\n  gpt-x:\n    name: X\n",
            "line 2: models.gpt-x",
        ),
        (
            "invokeai_external.yaml",
            "models:\n  openai/gpt-x: new\n",
            "line 2: models.openai/gpt-x",
        ),
    ],
)
def test_a_broken_file_is_reported_with_line_and_field_and_without_its_values(
    tmp_path: Path, name: str, text: str, where: str
) -> None:
    path = write(tmp_path, name, text)
    with pytest.raises(SettingsError) as caught:
        load(tmp_path)
    assert caught.value.message.startswith(f"{path}, {where}")
    assert caught.value.hint
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    path = tmp_path / "api_keys.yaml"
    path.write_bytes(b"external_openai_api_key: \xff\xfe\n")
    with pytest.raises(SettingsError) as caught:
        load(tmp_path)
    assert str(path) in caught.value.message
    assert "UTF-8" in caught.value.message
    path.unlink()
    path.mkdir()
    with pytest.raises(SettingsError, match="not a regular file"):
        load(tmp_path)


# Files that are not settings, or were made to stop their reader.

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in pairwise("abcdefghi")
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 10)}]}}\n" for before, name in pairwise("abcdefghi")
)
HOSTILE = {
    "deep in brackets": "a: " + "[" * 5_000,
    "deep in braces": "{a: " * 5_000,
    "deep in lines": "\n".join(" " * i + "a:" for i in range(1_000)),
    "deep in dashes": "- " * 5_000,
    "aliases of aliases": BOMB,
    "merges of merges": MERGES,
    "an alias of itself": "a: &a [*a]\n",
    "a merge of itself": "a: &a {<<: *a}\n",
    "too many values": "a: [" + "1," * 30_000 + "]\n",
    "too large": "# " + "x" * 1_000_001 + "\n",
    "an escape beyond Unicode": 'a: "\\UFFFFFFFF"\n',
    "a version of 5,000 digits": f"%YAML {'9' * 5_000}.1\n---\na: 1\n",
    "a time that is none": "a: !!timestamp now\n",
    "a truth that is none": "a: !!bool sometimes\n",
    "a number that is none": "a: !!int ''\n",
    "a number of base 60": f"a: !!int {'1:' * 400_000}1\n",
    "a fraction of base 60": f"a: !!float {'1:' * 400_000}1.5\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["api_keys.yaml", "invokeai_external.yaml"])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_file_is_one_sentence(tmp_path: Path, name: str, text: str) -> None:
    path = write(tmp_path, name, text)
    with pytest.raises(SettingsError) as caught:
        load(tmp_path)
    assert str(path) in caught.value.message
    assert len(caught.value.message) < len(str(path)) + 200


@pytest.mark.parametrize("end", ["1", "1.5"])
def test_numbers_of_base_60_are_text(tmp_path: Path, end: str) -> None:
    # As numbers, they would take minutes.
    write(tmp_path, "invokeai_external.yaml", f"settings:\n  concurrency: {'1:' * 400_000}{end}\n")
    with pytest.raises(SettingsError) as caught:
        load(tmp_path)
    assert "line 2: settings.concurrency" in caught.value.message
    assert YamlFile(write(tmp_path, "invokeai_external.yaml", f"a: 16:{end}\nb: 1_0\nc: 1.5\n")).data == {
        "a": f"16:{end}",
        "b": 10,
        "c": 1.5,
    }


def test_what_a_message_quotes_can_be_shown(tmp_path: Path) -> None:
    write(tmp_path, "invokeai_external.yaml", f'"\\ud800\\e[2J{"x" * 900}": 1\n')
    with pytest.raises(SettingsError) as caught:
        load(tmp_path)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < len(str(tmp_path)) + 600


def test_anchors_and_merges_in_reason_are_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        "invokeai_external.yaml",
        "models:\n  openai/a: &a {prices: {image_out: 1}}\n  openai/b: *a\n  openai/c: {<<: *a, name: C}\n",
    )
    assert load(tmp_path).catalog.models["openai/c"] == {"prices": {"image_out": 1}, "name": "C"}


@posix
@pytest.mark.parametrize("name", ["api_keys.yaml", "invokeai_external.yaml"])
@pytest.mark.parametrize("kind", ["pipe", "device", "endless device", "links in a loop", "socket", "folder"])
def test_what_is_not_a_file_is_refused_and_never_replaced(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/null")
        case "endless device":
            path.symlink_to("/dev/zero")
        case "links in a loop":
            (tmp_path / "other").symlink_to(path)
            path.symlink_to(tmp_path / "other")
        case "socket":
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(os.path.relpath(path))
        case "folder":
            path.mkdir()

    def state() -> tuple[int, ...]:
        # Reading a link changes the time of its last access.
        found = path.lstat()
        return (found.st_mode, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    before = state()
    with pytest.raises(SettingsError):
        load(tmp_path)
    if name == "api_keys.yaml":
        for change in (lambda: set_key(tmp_path, OPENAI, "the-key"), lambda: remove_key(tmp_path, OPENAI)):
            with pytest.raises(SettingsError):
                change()
    assert state() == before
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_many_processes_at_once_lose_no_key(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from invokeai_external.settings.key_file import set_key, remove_key\n"
        "from invokeai_external.providers import catalog\n"
        "openai = catalog.page('openai').provider\n"
        "provider = lambda i: openai.model_copy(update={'id': f'p{sys.argv[2]}x{i}'})\n"
        "for i in range(10):\n"
        "    set_key(Path(sys.argv[1]), provider(i), 'k')\n"
        "    if i % 2: remove_key(Path(sys.argv[1]), provider(i))\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(n)]) for n in range(6)]
    assert [writer.wait() for writer in writers] == [0] * 6
    assert keys_in(tmp_path) == {f"external_p{n}x{i}_api_key": "k" for n in range(6) for i in range(0, 10, 2)}


def test_a_file_that_is_being_written_for_long_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "api_keys.yaml", "a: 1\n")
    monkeypatch.setattr("invokeai_external.settings.yaml_edit.locked", partial(locked, wait_s=0))
    with locked(tmp_path / ".api_keys.yaml.lock"), pytest.raises(SettingsError):
        set_key(tmp_path, OPENAI, "the-key")
    assert path.read_text(encoding="utf-8") == "a: 1\n"


# The user's models, whose mistakes only the registry can see.

_OPTION = "models.openai/new.options.zip"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (
            "models:\n  openai/gpt-image-2:\n    quallity: 1\n",
            "line 3: models.openai/gpt-image-2.quallity",
        ),
        (
            "models:\n  openai/gpt-image-2:\n    prices:\n      text_in: 1\n      picture_in: 2\n",
            "line 5: models.openai/gpt-image-2.prices.picture_in",
        ),
        (
            "models:\n  openai/gpt-image-2:\n    options:\n      quality:\n        valuez: [a]\n",
            "line 5: models.openai/gpt-image-2.options.quality.valuez",
        ),
        *[
            (
                f"models:\n  openai/new:\n    name: New\n    options:\n      zip: {option}\n",
                f"line 5: {_OPTION}{mistake}.",
            )
            for option, mistake in (
                ("5", ": this must hold 'name: value' lines"),
                ("{}", ".values: this field is missing"),
                ("{values: []}", ".values: this must not be empty"),
                ("{minimum: 0}", ".maximum: this field is missing"),
                ("{minimum: 0, maximum: many}", ".maximum: this must be a number"),
                ("{text: false}", ".text: this must be true"),
                ("{max_characters: 5}", ".text: this field is missing"),
                ("{text: true, max_characters: many}", ".max_characters: this must be a whole number"),
                ("{text: true, max_characters: 0}", ".max_characters: this must be at least 1"),
                ("{text: true, max_characters: 50000}", ".max_characters: this must be at most 32,000"),
                ("{text: true, modes: [edit]}", ".modes.0: this must be 'txt2img', 'img2img' or 'inpaint'"),
                ("{text: true, values: [a]}", ".values: there is no such field"),
            )
        ],
        *[
            (
                f"models:\n  openai/new:\n    name: New\n    options:\n      {name}: {{text: true}}\n",
                f"line 4: models.openai/new.options: {name} is a part of every request",
            )
            for name in ("model", "n", "prompt", "size")
        ],
        (
            "models:\n  openai/gpt-image-2:\n    aliases:\n      - fine\n      - 7\n",
            "line 5: models.openai/gpt-image-2.aliases.1",
        ),
        (
            "models:\n  gemini/new:\n    sizing:\n      ratios:\n        16: 1376x768\n",
            "line 5: models.gemini/new.sizing.ratios.16",
        ),
        (
            "models:\n  gemini/new:\n    sizing: {kind: fixed}\n",
            "line 3: models.gemini/new.sizing.sizes",
        ),
        (
            "models:\n  gemini/new:\n    sizing:\n      kind: fixed\n      sizes: [8x8, wide]\n",
            "line 5: models.gemini/new.sizing.sizes.1",
        ),
        (
            "models:\n  openai/new:\n    input_images: 5\n",
            "line 3: models.openai/new.input_images",
        ),
        (
            "models:\n  openai/new:\n    modes: [txt2img]\n",
            "line 2: models.openai/new",
        ),
        (
            "models:\n  openai/new:\n    sizing: {max_edge: 512}\n",
            "line 3: models.openai/new.sizing",
        ),
        ("models:\n  mistral/new: {}\n", "line 2: models.mistral/new"),
        ("models:\n  openai/: {}\n", "line 2: models.openai/"),
    ],
)
def test_a_mistake_in_a_model_is_reported_with_line_and_field(tmp_path: Path, text: str, where: str) -> None:
    path = write(tmp_path, "invokeai_external.yaml", text)
    with pytest.raises(SettingsError) as caught:
        Registry(load(tmp_path).catalog)
    assert caught.value.message.startswith(f"{path}, {where}")


@pytest.mark.parametrize(
    ("option", "remedy"),
    [
        ("{text: true, max_chars: 5}", "Did you mean max_characters? Correct that line, then try again."),
        ("{text: true, values: [a]}", "Correct that line, then try again."),
    ],
)
def test_a_field_of_another_kind_is_not_taken_for_a_misspelling(tmp_path: Path, option: str, remedy: str) -> None:
    write(tmp_path, "invokeai_external.yaml", f"models:\n  openai/new: {{name: New, options: {{zip: {option}}}}}\n")
    with pytest.raises(SettingsError) as caught:
        Registry(load(tmp_path).catalog)
    assert caught.value.hint == remedy


# Writing keys.


@posix
def test_a_key_is_readable_only_for_its_owner_and_written_in_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []
    replace = Path.replace

    def watched(self: Path, target: Path) -> Path:
        modes.append(stat.S_IMODE(self.stat().st_mode))
        assert self.parent == target.parent, "only within one folder is replacing a file one step"
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    path = set_key(tmp_path / "new" / "root", OPENAI, "  the-key\n")
    assert path == tmp_path / "new" / "root" / "api_keys.yaml"
    assert path.read_text(encoding="utf-8") == 'external_openai_api_key: "the-key"\n'
    path.chmod(0o644)
    set_key(path.parent, GEMINI, "other-key")
    assert modes == [0o600, 0o600]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(p.name for p in path.parent.iterdir()) == [".api_keys.yaml.lock", "api_keys.yaml"]


@posix
def test_a_link_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "safe").mkdir()
    target = write(tmp_path / "safe", "keys.yaml", "other: 1\n")
    (tmp_path / "api_keys.yaml").symlink_to(target)
    assert set_key(tmp_path, OPENAI, "the-key") == target
    assert (tmp_path / "api_keys.yaml").is_symlink()
    assert keys_in(tmp_path) == {"other": 1, "external_openai_api_key": "the-key"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", 'external_openai_api_key: "new"\n'),
        ("a: 1", 'a: 1\nexternal_openai_api_key: "new"\n'),
        (
            "# mine\na: 1 # one\n\nexternal_openai_api_key: old # work\n# end\n",
            '# mine\na: 1 # one\n\nexternal_openai_api_key: "new" # work\n# end\n',
        ),
        ("external_openai_api_key:\nb: 2\n", 'external_openai_api_key: "new"\nb: 2\n'),
        ("external_openai_api_key:   # none yet\nb: 2\n", 'external_openai_api_key: "new"   # none yet\nb: 2\n'),
        ("'external_openai_api_key' : 'o''ld'\nb: 2\n", 'external_openai_api_key: "new"\nb: 2\n'),
        ("external_openai_api_key: |\n  old\nb: 2 # two\n", 'external_openai_api_key: "new"\nb: 2 # two\n'),
        ("external_openai_api_key: >-\n  old\n\n# end\n", 'external_openai_api_key: "new"\n\n# end\n'),
        ("a: 1\r\nexternal_openai_api_key: old\r\nb: 2\r\n", 'a: 1\r\nexternal_openai_api_key: "new"\r\nb: 2\r\n'),
        ("\ufeffa: 'ä🦊'\nexternal_openai_api_key: x\n", "\ufeffa: 'ä🦊'\nexternal_openai_api_key: \"new\"\n"),
        ("{a: 1, external_openai_api_key: old}\n", '{a: 1, external_openai_api_key: "new"}\n'),
    ],
)
def test_setting_a_key_leaves_every_other_line_as_it_is(tmp_path: Path, before: str, after: str) -> None:
    path = write(tmp_path, "api_keys.yaml", before)
    set_key(tmp_path, OPENAI, "new")
    assert path.read_bytes().decode() == after
    assert key_of(load(tmp_path).credentials["openai"]) == "new"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("# mine\nexternal_openai_api_key: old # work\nb: 2\n", "# mine\nb: 2\n"),
        ("a: 1\nexternal_openai_api_key: old", "a: 1\n"),
        ("external_openai_api_key: |\n  old\nb: 2 # two\n", "b: 2 # two\n"),
        ("external_openai_api_key: old\n", ""),
    ],
)
def test_removing_a_key_leaves_every_other_line_as_it_is(tmp_path: Path, before: str, after: str) -> None:
    path = write(tmp_path, "api_keys.yaml", before)
    assert remove_key(tmp_path, GEMINI) is False
    assert path.read_text(encoding="utf-8") == before
    assert remove_key(tmp_path, OPENAI) is True
    assert path.read_text(encoding="utf-8") == after
    assert remove_key(tmp_path, OPENAI) is False


@pytest.mark.parametrize(
    "text",
    [
        "{a: 1}\n",
        "  a: 1\n",
        "a: 1\n...\n",
        "~\n",
        "external_openai_api_key: 1\na: 2\nexternal_openai_api_key: 3\n",
        "a: &k old\nexternal_openai_api_key: *k\n",
        "external_openai_api_key: &k old\nä: *k\n",
    ],
)
def test_a_file_that_cannot_be_changed_by_lines_is_not_changed_and_the_line_is_shown(tmp_path: Path, text: str) -> None:
    """It would lose its comments. The key is not shown."""
    path = write(tmp_path, "api_keys.yaml", text)
    with pytest.raises(SettingsError) as caught:
        set_key(tmp_path, OPENAI, SECRET)
    assert str(path) in caught.value.message
    assert caught.value.hint is not None
    assert caught.value.hint.endswith("external_openai_api_key: <key>")
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    "text",
    ["{a: 1, external_openai_api_key: old}\n", "external_openai_api_key: x\na: 2\nexternal_openai_api_key: y\n"],
)
def test_a_key_that_cannot_be_removed_by_lines_stays(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, "api_keys.yaml", text)
    with pytest.raises(SettingsError):
        remove_key(tmp_path, OPENAI)
    assert path.read_text(encoding="utf-8") == text


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.dates()
    | st.text(st.characters(exclude_categories=["Cs"]))
)


def could_be_a_key(text: str) -> bool:
    try:
        check_key(OPENAI, text)
    except NotConfiguredError:
        return False
    return True


def refuses(change: Callable[[], object]) -> bool:
    try:
        change()
    except SettingsError:
        return True
    return False


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12) | st.sampled_from(
    ["remote_api_tokens", "external_openai", "null", "1"]
)
keys = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60).filter(could_be_a_key)


@pytest.mark.slow
@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    others=st.dictionaries(names, scalars, max_size=5),
    old=st.none() | keys,
    place=st.integers(0, 5),
    key=keys,
    flow=st.sampled_from([False, True, None]),
    style=st.sampled_from([None, "'", '"', "|", ">"]),
)
@example(others={"\x85": None}, old="0", place=0, key="0", flow=True, style='"')
@example(others={"a": 1}, old=None, place=0, key="#'\"\\{}[]:%@`!&*~", flow=False, style=None)
def test_any_flat_file_gives_the_key_back_and_keeps_its_other_entries(
    tmp_path: Path,
    others: dict[str, object],
    old: str | None,
    place: int,
    key: str,
    flow: bool | None,
    style: str | None,
) -> None:
    entries = list(others.items())
    if old is not None:
        entries.insert(place, ("external_openai_api_key", old))
    text = yaml.safe_dump(
        dict(entries), default_flow_style=flow, default_style=style, allow_unicode=True, sort_keys=False
    )
    write(tmp_path, "api_keys.yaml", text)
    # What the other entries are is what the file says: some styles write null as text.
    others = {name: value for name, value in yaml.safe_load(text).items() if name != "external_openai_api_key"}

    # All on one line, or written in a way that one line cannot change: then it stays as it is.
    if refuses(lambda: set_key(tmp_path, OPENAI, key)):
        assert (tmp_path / "api_keys.yaml").read_bytes().decode() == text
        return
    assert keys_in(tmp_path) == {**others, "external_openai_api_key": key}
    assert key_of(load(tmp_path).credentials["openai"]) == key
    if not refuses(lambda: remove_key(tmp_path, OPENAI)):
        assert keys_in(tmp_path) == others


@pytest.mark.parametrize(
    "key",
    [
        "",
        " \n",
        "two words",
        "schlüssel",
        "“sk-abc”",
        "sk-one\nsk-two\n",
        '"sk-abc',
        "your-openai-key",
        "<key>",
        "sk-...",
        "'sk-…'",
        "sk-...AbCd",
        "YOUR_API_KEY_HERE",
        "sk-xxxxxxxx",
        "${OPENAI_API_KEY}",
        "paste-your-key",
    ],
)
def test_an_invalid_key_is_not_saved(tmp_path: Path, key: str) -> None:
    with pytest.raises(NotConfiguredError) as caught:
        set_key(tmp_path, OPENAI, key)
    assert caught.value.remedy is not None
    assert (caught.value.remedy.action, caught.value.provider) == ("set_key", "openai")
    assert list(tmp_path.iterdir()) == []


def test_a_key_with_a_character_that_no_header_carries_is_refused() -> None:
    with pytest.raises(NotConfiguredError):
        check_key(OPENAI, "sk-abc\ndef")
    for key in ("sk-abc_DEF.123", "sandbox", "AIzaSyXx-here5", "the-key", "sk-1234", "x"):
        check_key(OPENAI, key)


@pytest.mark.parametrize("written", ['"sk-abc"', "'sk-abc'", ' "sk-abc"\n', "sk-abc\r\n"])
def test_a_key_is_taken_out_of_its_quotes_wherever_it_stands(tmp_path: Path, written: str) -> None:
    assert key_of(load(tmp_path, {OPENAI_KEY: written}).credentials["openai"]) == "sk-abc"
    assert key_of(load(tmp_path, {"OPENAI_API_KEY": written}, usual=True).credentials["openai"]) == "sk-abc"
    set_key(tmp_path, OPENAI, written)
    assert keys_in(tmp_path) == {"external_openai_api_key": "sk-abc"}
    write(
        tmp_path, "api_keys.yaml", "external_openai_api_key: '\"sk-abc\"'\nexternal_openai_base_url: '\"https://a\"'\n"
    )
    found = load(tmp_path).credentials["openai"]
    assert (key_of(found), found.base_url) == ("sk-abc", "https://a")


@pytest.mark.parametrize("key", [f"{'sk-secret'}\nsecond", "your-openai-key", "two sk-secret words"])
@pytest.mark.parametrize("variable", [OPENAI_KEY, "OPENAI_API_KEY"])
def test_a_variable_with_an_invalid_key_is_named(tmp_path: Path, key: str, variable: str) -> None:
    found = load(tmp_path, {variable: key}, usual=True).credentials["openai"]
    assert found.api_key is not None
    with pytest.raises(NotConfiguredError) as caught:
        check_key(OPENAI, found.api_key.get_secret_value(), found.source)
    assert variable in caught.value.message
    assert caught.value.hint is not None
    assert variable in caught.value.hint
    assert "keys set" not in str(caught.value)
    assert "sk-secret" not in str(caught.value)


def test_a_broken_file_is_not_overwritten(tmp_path: Path) -> None:
    path = write(tmp_path, "api_keys.yaml", "a: [\n")
    with pytest.raises(SettingsError, match="line 2"):
        set_key(tmp_path, OPENAI, "the-key")
    assert path.read_text(encoding="utf-8") == "a: [\n"


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "api_keys.yaml", "a: 1\n")

    def full(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(SettingsError) as caught:
        set_key(tmp_path, OPENAI, "the-key")
    assert all(fact in caught.value.message for fact in (str(path), "No space left on device"))
    assert sorted(p.name for p in tmp_path.iterdir()) == [".api_keys.yaml.lock", "api_keys.yaml"]
    assert path.read_text(encoding="utf-8") == "a: 1\n"


def test_a_folder_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(SettingsError, match="Not a directory"):
        set_key(tmp_path / "file" / "root", OPENAI, "the-key")


@pytest.mark.parametrize(("text", "expected"), [("sandbox: true\n", True), ("sandbox: false\n", False), ("", False)])
def test_the_sandbox_is_switched_on_in_the_users_file(text: str, expected: bool, tmp_path: Path) -> None:
    (tmp_path / "invokeai_external.yaml").write_text(text)
    assert load_user_file(tmp_path).sandbox is expected


def test_the_sandbox_switch_must_be_true_or_false(tmp_path: Path) -> None:
    (tmp_path / "invokeai_external.yaml").write_text("settings: {}\nsandbox: perhaps\n")
    with pytest.raises(SettingsError, match=r"line 2: "):
        load_user_file(tmp_path)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("external_openai_baseurl", "external_openai_base_url"),
        ("external_opnai_base_url", "external_openai_base_url"),
        ("External_OpenAI_API_Key", "external_openai_api_key"),
        ("external_gemini_key", "external_gemini_api_key"),
        ("openai_base_url", "external_openai_base_url"),
        ("INVOKEAI_EXTERNAL_OPENAI_API_KEY", "external_openai_api_key"),
        ("external_openai_api_base", "external_openai_base_url"),
        ("external_openai_api_key", None),
        ("external_alibabacloud_api_key", None),
        ("external_seedream_base_url", None),
        ("external_openai_timeout", None),
        ("huggingface_token", None),
        ("remote_api_tokens", None),
    ],
)
def test_a_misspelt_entry_of_a_provider_is_refused_and_all_others_belong_to_invoke(
    written: str, meant: str | None, tmp_path: Path
) -> None:
    write(tmp_path, "api_keys.yaml", f"{written}: https://a.example\n")
    if meant is None:
        load_settings(tmp_path, {})
        return
    with pytest.raises(SettingsError) as caught:
        load_settings(tmp_path, {})
    assert f"line 1: {written}" in caught.value.message
    assert f"Did you mean {meant}?" in (caught.value.hint or "")


def test_in_a_running_invoke_a_misspelt_entry_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path, "api_keys.yaml", "external_openai_baseurl: https://a.example\nexternal_openai_api_key: of-file\n")
    environ = {"INVOKEAI_EXTERNAL_OPENAI_API_KEY": "of-environment"}
    found = credentials_in_invoke(OPENAI, "of-environment", None, tmp_path, environ)
    assert found.api_key is not None
    assert found.api_key.get_secret_value() == "of-environment"
    assert found.unused == ("Invoke",)
