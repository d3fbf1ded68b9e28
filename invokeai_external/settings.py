"""Where keys, addresses and limits come from, and which source wins.

Two files in the root folder, both optional:

- ``api_keys.yaml``: Invoke's own, with ``external_<provider>_api_key`` and ``external_<provider>_base_url``.
- ``invokeai_external.yaml``: this project's, with ``settings:`` and ``models:``.

The environment (``INVOKEAI_EXTERNAL_<PROVIDER>_API_KEY``, ``..._BASE_URL``) wins over ``api_keys.yaml``, and that over
the provider's usual variables such as ``OPENAI_API_KEY`` where the caller asks for those. Which key goes to which
address is decided in ``credentials``. No message of this module ever holds a value from ``api_keys.yaml``.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .credentials import (
    Credentials,
    Place,
    check_key,
    environment_place,
    file_place,
    invoke_places,
    pair,
    unquoted,
    usual_place,
    variable_name,
)
from .errors import RequestError, SettingsError
from .locks import LockBusyError, locked, others_can_read
from .request import MAX_PREVIEWS, MetadataMode, Notice

__all__ = [
    "API_KEYS_FILE",
    "USER_FILE",
    "Credentials",
    "Limits",
    "Settings",
    "UserModels",
    "check_key",
    "credentials_in_invoke",
    "load_settings",
    "remove_key",
    "set_key",
    "unpaired_error",
    "variable_name",
    "wants_sandbox",
]

API_KEYS_FILE = "api_keys.yaml"
USER_FILE = "invokeai_external.yaml"

_MOST_BYTES = 1_000_000
_MOST_DEPTH = 50
_MOST_VALUES = 20_000
"""More than any settings need, and little enough to be read at once."""

_LONGEST_PROBLEM = 500

_TEXT_TAG = "tag:yaml.org,2002:str"

_IN_PLAIN_WORDS = {
    "extra_forbidden": "there is no such field",
    "missing": "this field is missing",
    "string_type": "this must be text; put it in quotes",
    "dict_type": "this must hold 'name: value' lines",
    "model_type": "this must hold 'name: value' lines",
}
"""What pydantic says for programmers, said for those who write the file."""


class Limits(BaseModel):
    """How much to do at once and how long to be patient: the ``settings:`` of ``invokeai_external.yaml``.

    Attributes:
        concurrency: The most calls in flight to one provider.
        max_attempts: The most tries of one call, the first included.
        max_wait_s: The most seconds that one call spends waiting between tries.
        timeout_s: The seconds without a sign of life after which a sent call is given up.
        total_timeout_s: The seconds after which a sent call is given up, whatever signs of life there are.
        max_response_bytes: The largest answer that is accepted.
        max_image_pixels: The largest picture that is accepted.
        mask_feather_px: How many pixels an edit takes to fade in, inward from the edge of its mask; 0 for a hard edge.
        previews: How many pictures to be shown of each one while it is made, where a model does that; 0 for none.
        metadata: Where the command line writes an image's settings: into its file, beside it, or not at all.
        keep_originals: In Invoke, keep the files of images that carry Content Credentials, as they arrived.
        look_ahead: In Invoke, start the calls of queued runs before their turn, as far as ``concurrency`` allows.
        freeze_gc: In Invoke, take what is in memory after its start out of the garbage collections between its runs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    concurrency: int = Field(default=8, ge=1, le=64)
    max_attempts: int = Field(default=6, ge=1, le=20)
    max_wait_s: float = Field(default=120, ge=0, le=3600)
    timeout_s: float = Field(default=600, gt=0, le=3600)
    total_timeout_s: float = Field(default=1800, gt=0, le=86_400)
    max_response_bytes: int = Field(default=300_000_000, ge=1_000_000)
    max_image_pixels: int = Field(default=100_000_000, ge=1_000_000)
    mask_feather_px: int = Field(default=8, ge=0, le=64)
    previews: int = Field(default=0, ge=0, le=MAX_PREVIEWS)
    metadata: MetadataMode = "auto"
    keep_originals: bool = False
    look_ahead: bool = True
    freeze_gc: bool = True


@dataclass(frozen=True, slots=True)
class UserModels:
    """The ``models:`` of ``invokeai_external.yaml``: raw fields by ``provider/id``, and the file to name in errors."""

    fields: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    file: YamlFile | None = None

    def error(self, reference: str, error: ValidationError) -> SettingsError:
        """The first mistake that a model's fields hold, with its line."""
        assert self.file is not None
        return self.file.error_of(error, ("models", reference))

    def misnamed(self, reference: str, error: RequestError) -> SettingsError:
        """The error of a model whose name cannot be one, with its line."""
        assert self.file is not None
        line, _ = self.file.find(("models", reference))
        return self.file.error(line, f"models.{reference}: {error.message.rstrip('.')}", hint=error.hint)


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of one root folder.

    Attributes:
        root: The folder.
        credentials: Keys and addresses by provider id.
        limits: See ``Limits``.
        models: What the user adds to the catalogue.
        sandbox: True if Invoke is to use the sandbox in place of the providers.
        notices: What the user should know of the files.
    """

    root: Path
    credentials: Mapping[str, Credentials]
    limits: Limits = field(default_factory=Limits)
    models: UserModels = field(default_factory=UserModels)
    sandbox: bool = False
    notices: tuple[Notice, ...] = ()


def wants_sandbox(environ: Mapping[str, str]) -> bool:
    """True if the environment says that Invoke is to use the sandbox (``INVOKEAI_EXTERNAL_SANDBOX=1``)."""
    return environ.get("INVOKEAI_EXTERNAL_SANDBOX", "").strip().lower() not in ("", "0", "false", "no")


def load_settings(
    root: Path, environ: Mapping[str, str], providers: Sequence[str], *, usual_variables: bool = False
) -> Settings:
    """Read all settings.

    Args:
        root: The folder of the two files; neither need exist.
        environ: The environment.
        providers: The ids of the providers to read keys for.
        usual_variables: True to look into the providers' usual variables last, as the command line does.

    Raises:
        SettingsError: A file is broken; the message names the file, the line and the field.
    """
    keys_path = root / API_KEYS_FILE
    entries = _read_keys(keys_path, providers)
    credentials = {}
    for provider in providers:
        ours = (environment_place(provider, environ), file_place(provider, entries, str(keys_path)))
        usual = usual_place(provider, environ) if usual_variables else None
        credentials[provider] = _paired(provider, ours, usual)
    limits, models, sandbox = _read_user_file(root / USER_FILE)
    return Settings(root, credentials, limits, models, sandbox, tuple(_permission_notices(keys_path)))


def credentials_in_invoke(
    provider: str, key: str | None, base_url: str | None, root: Path, environ: Mapping[str, str]
) -> Credentials:
    """A provider's key and address in a running Invoke.

    Args:
        provider: Its id.
        key: The key that Invoke holds now, wherever from.
        base_url: The address that it holds now.
        root: Invoke's root folder.
        environ: Its environment.
    """

    def stored() -> Mapping[str, str]:
        try:
            return _read_keys(root / API_KEYS_FILE, [provider])
        except SettingsError:
            # Invoke has read it when it was whole; what is hidden in it cannot be used.
            return {}

    return _paired(provider, invoke_places(provider, key, base_url, environ, stored))


def _paired(provider: str, ours: Sequence[Place], usual: Place | None = None) -> Credentials:
    own = None
    if any(place.base_url for place in ours):
        # Hardly anybody names an address, and the catalogue takes longer to read than the settings.
        from . import catalog

        own = next((page.provider.base_url for page in catalog.pages() if page.provider.id == provider), None)
    return pair(ours, usual, own)


def unpaired_error(provider: str, found: Credentials, root: Path) -> SettingsError:
    """The error of a key that stands in one place and an address that stands in another."""
    key, url = variable_name(provider, "api_key"), variable_name(provider, "base_url")
    return SettingsError(
        f"The key for {provider} in {found.unpaired} was not given for the base URL in {found.base_url_source}, so it "
        "is not sent there.",
        hint=f"Give both in the same place: {key} and {url} in the environment, or external_{provider}_api_key and "
        f"external_{provider}_base_url in {root / API_KEYS_FILE}. Without a base URL the key goes to {provider}'s own.",
        provider=provider,
    )


def set_key(root: Path, provider: str, key: str) -> Path:
    """Write a provider's key into ``api_keys.yaml``, keeping every other line; returns the file.

    The file is replaced in one step and readable by its owner alone (mode 0600, where the system has modes).

    Raises:
        NotConfiguredError: The key is empty or holds what no key holds.
        SettingsError: The file is broken.
    """
    key = unquoted(key)
    check_key(provider, key)
    return _edit_keys(root, provider, key)


def remove_key(root: Path, provider: str) -> bool:
    """Take a provider's key out of ``api_keys.yaml``; returns False if there was none."""
    if YamlFile(root / API_KEYS_FILE).data.get(f"external_{provider}_api_key") is None:
        return False
    _edit_keys(root, provider, None)
    return True


class _TooMuchError(yaml.MarkedYAMLError):
    """A file nests or repeats more than settings do; ``problem`` says which, for people."""


class _Loader(yaml.SafeLoader):
    """The safe loader with bounds; it also says where a value stands that looks like a date or a number and is none."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._count = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """A node with all that is below it; one that is repeated by an alias counts each time."""
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        is_alias = self.check_event(yaml.AliasEvent)
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise _TooMuchError(problem="this is nested too deeply", problem_mark=mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        if is_alias and id(node) not in self._sizes:
            raise _TooMuchError(problem="this repeats itself without end", problem_mark=mark)
        self._count += self._sizes[id(node)] if is_alias else 1
        if self._count > _MOST_VALUES:
            raise _TooMuchError(problem=f"the file holds more than {_MOST_VALUES:,} values", problem_mark=mark)
        if not is_alias:
            self._sizes[id(node)] = 1 + sum(self._sizes[id(below)] for below in _children(node))
        return node

    def get_single_node(self) -> yaml.Node | None:
        """The document; a MarkedYAMLError also for what PyYAML lets through, such as an escape beyond Unicode."""
        try:
            node: yaml.Node | None = super().get_single_node()
        except yaml.YAMLError:
            raise
        except Exception:
            raise yaml.scanner.ScannerError(problem_mark=self.get_mark()) from None
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        # What a tag makes of a text that is none of its kind: a ValueError, a KeyError, an AttributeError …
        except Exception:
            raise yaml.constructor.ConstructorError(problem_mark=node.start_mark) from None


def _children(node: yaml.Node | None) -> Sequence[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [below for entry in node.value for below in entry]
    return node.value if isinstance(node, yaml.SequenceNode) else ()


class YamlFile:
    """A YAML file that is a mapping, and the lines on which its fields stand."""

    def __init__(self, path: Path) -> None:
        """Read the file; raises SettingsError. A file that does not exist, or is empty, is an empty mapping."""
        self.path = path
        try:
            self.text = _read_text(path)
        except FileNotFoundError:
            self.text = ""
        except (OSError, ValueError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or "it is not UTF-8 text"
            raise SettingsError(f"{path} cannot be read: {why}.", hint="Mend the file or its permissions.") from None
        try:
            loader = _Loader(self.text)
            self.node = loader.get_single_node()
            data = loader.construct_document(self.node) if self.node else None
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            problem = error.problem if isinstance(error, _TooMuchError) else None
            raise self.error(line, problem or "this is not YAML") from None
        except yaml.reader.ReaderError as error:
            line = self.text.count("\n", 0, error.position) + 1
            raise self.error(line, "a character that YAML does not allow") from None
        if data is not None and not isinstance(data, dict):
            raise self.error(1, "the file must hold 'name: value' lines")
        self.data: dict[str, Any] = data or {}

    def error(self, line: int, problem: str, hint: str | None = None) -> SettingsError:
        # What it quotes of the file may hold what no terminal can show.
        shown = "".join(c if c.isprintable() else "?" for c in problem)
        shown = shown if len(shown) <= _LONGEST_PROBLEM else f"{shown[:_LONGEST_PROBLEM]}…"
        return SettingsError(f"{self.path}, line {line}: {shown}.", hint=hint or "Mend that line and try again.")

    def error_of(self, error: ValidationError, under: tuple[str, ...]) -> SettingsError:
        """The first mistake that pydantic found below a place in the file."""
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = (*under, *(str(step) for step in first["loc"]))
        line, known = self.find(place)
        if first["type"] == "missing":
            known = (*known, place[-1])
        what = _IN_PLAIN_WORDS.get(first["type"], first["msg"].removeprefix("Value error, "))
        return self.error(line, f"{'.'.join(known)}: {what}")

    def find(self, place: Sequence[str]) -> tuple[int, tuple[str, ...]]:
        """The line of the deepest field on the way to a place, and the way as far as the file has it."""
        node, line, known = self.node, 1, []
        for step in place:
            below = _child(node, step)
            # pydantic puts the names of a union's members into the place; the file has no such steps.
            if below:
                key, node = below
                line = key.start_mark.line + 1
                known.append(step)
        return line, tuple(known)


def _child(node: yaml.Node | None, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in node.value if str(key.value) == name), None)
    if isinstance(node, yaml.SequenceNode) and name.isdigit() and int(name) < len(node.value):
        return (node.value[int(name)],) * 2
    return None


def _read_text(path: Path) -> str:
    """A file's text with the ends of its lines as they are; raises OSError and UnicodeDecodeError."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(0, "it is not a regular file")
    # Whatever has taken its place by now, such as a pipe that nobody writes to, does not hold the program.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(0, "it is not a regular file")
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise OSError(0, f"it is larger than {_MOST_BYTES:,} bytes")
    return data.decode("utf-8")


def _read_keys(path: Path, providers: Sequence[str]) -> dict[str, str]:
    """The entries of ``api_keys.yaml`` for these providers; empty ones are left out, all others are Invoke's own."""
    file = YamlFile(path)
    entries = {}
    for name in (f"external_{provider}_{entry}" for provider in providers for entry in ("api_key", "base_url")):
        value = file.data.get(name)
        if value is None:
            continue
        if not isinstance(value, str):
            line, _ = file.find((name,))
            raise file.error(line, f"{name} must be text; put it in quotes")
        entries[name] = value
    return entries


def _read_user_file(path: Path) -> tuple[Limits, UserModels, bool]:
    file = YamlFile(path)
    sandbox = file.data.pop("sandbox", False)
    if not isinstance(sandbox, bool):
        line, _ = file.find(("sandbox",))
        raise file.error(line, "sandbox must be true or false")
    for section, value in file.data.items():
        line, _ = file.find((str(section),))
        if section not in ("settings", "models"):
            raise file.error(line, f"{section} is not a section of this file, which has settings, models and sandbox")
        if value is not None and not isinstance(value, dict):
            raise file.error(line, f"{section} must hold 'name: value' lines")
    models = file.data.get("models") or {}
    for reference, fields in models.items():
        line, _ = file.find(("models", str(reference)))
        if str(reference).count("/") < 1:
            raise file.error(line, f"models.{reference} must be named provider/model-id")
        if fields is not None and not isinstance(fields, dict):
            raise file.error(line, f"models.{reference} must hold 'name: value' lines")
    try:
        limits = Limits.model_validate(file.data.get("settings") or {})
    except ValidationError as error:
        raise file.error_of(error, ("settings",)) from None
    return limits, UserModels({str(reference): fields or {} for reference, fields in models.items()}, file), sandbox


def _permission_notices(path: Path) -> list[Notice]:
    if not path.exists() or not others_can_read(path):
        return []
    return [Notice("keys_readable", f"Others on this machine can read {path}; run: chmod 600 {path}")]


def _edit_keys(root: Path, provider: str, key: str | None) -> Path:
    """Set a key in the file, or take its line out (None), and leave every other character as it is.

    Raises:
        SettingsError: The file is broken, or cannot be changed or locked; or it is such that more than that line would
            have to change, and then the error has the line.
    """
    # A link is followed, so that the file it points to is the one replaced.
    path = Path(os.path.realpath(root / API_KEYS_FILE))
    name = f"external_{provider}_api_key"
    # Before anything is made beside it: it may be broken, or no file at all.
    YamlFile(path)
    with _writing(path):
        file = YamlFile(path)
        text = _edited(file, name, key)
        if not _differs_in_one_entry(file, text, name, key):
            todo = f"delete {name}" if key is None else f"write this one with your key in place of <key>: {name}: <key>"
            raise SettingsError(
                f"{path} cannot be changed line by line, so it was left as it is.",
                hint=f"Open it, give each entry one line of its own, and {todo}",
                provider=provider,
            )
        _write_private(path, text)
    return path


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Be the only one of this program's processes that writes the file, for as long as that takes."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(f".{path.name}.lock")):
            yield
    except LockBusyError:
        raise SettingsError(f"{path} is being written by another process.", hint="Try again.") from None
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be written: {error.strerror}.",
            hint="Mend the permissions of the folder, or name another root.",
        ) from None


def _edited(file: YamlFile, name: str, key: str | None) -> str:
    """The file's text with one entry's line changed, added or (None) taken out, as far as that can be told by lines."""
    text, found = file.text, _child(file.node, name)
    # JSON strings are YAML strings, whatever the key holds.
    entry = f"{name}: {json.dumps(key)}"
    if found is None:
        return f"{text}{'' if not text or text.endswith(chr(10)) else chr(10)}{entry}\n"
    key_node, value_node = found
    start = key_node.start_mark.index
    # The end of a block of text is the start of what follows it.
    end = start + len(text[start : max(value_node.end_mark.index, key_node.end_mark.index + 1)].rstrip())
    if key is not None:
        return f"{text[:start]}{entry}{text[end:]}"
    line_end = text.find("\n", end)
    return text[:start] + ("" if line_end < 0 else text[line_end + 1 :])


def _differs_in_one_entry(file: YamlFile, text: str, name: str, key: str | None) -> bool:
    """True if a text is the file's but for one entry, which is there once with this key, or (None) not at all."""
    try:
        node = _Loader(text).get_single_node()
    except yaml.YAMLError:
        return False
    wanted = [entry for entry in _entries(file.node) if entry[0] != (_TEXT_TAG, name)]
    found = _entries(node)
    if key is not None:
        try:
            found.remove(((_TEXT_TAG, name), (_TEXT_TAG, key)))
        except ValueError:
            return False
    return found == wanted


def _entries(node: yaml.Node | None) -> list[tuple[object, object]]:
    """The entries of a file as they can be compared: each with its tag, as 1 and true and NaN are else alike or not."""

    def plain(node: yaml.Node) -> object:
        below = [plain(child) for child in _children(node)]
        return node.tag, below or node.value

    return [(plain(name), plain(value)) for name, value in node.value] if isinstance(node, yaml.MappingNode) else []


def _write_private(path: Path, text: str) -> None:
    """Replace a file in one step by one that is readable by its owner alone; raises OSError."""
    # Keys are seldom written, and it loads much.
    import tempfile

    # mkstemp makes the file with mode 0600, before a key is in it.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode("utf-8"))
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
