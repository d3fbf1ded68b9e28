"""Where keys, addresses and limits come from, and which source wins.

Two files in the root folder, both optional:

- ``api_keys.yaml``: Invoke's own, with ``external_<provider>_api_key`` and ``external_<provider>_base_url``.
- ``invokeai_external.yaml``: this project's, with ``settings:`` and ``models:``.

A value is taken from the environment (``INVOKEAI_EXTERNAL_<PROVIDER>_API_KEY``, ``..._BASE_URL``) first, then from
``api_keys.yaml``, then, where the caller names them, from the provider's usual variables such as ``OPENAI_API_KEY``.
No message of this module ever holds a value from ``api_keys.yaml``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from .errors import NotConfiguredError, RequestError, SettingsError
from .locks import others_can_read
from .request import MAX_PREVIEWS, MetadataMode, Notice

__all__ = [
    "API_KEYS_FILE",
    "USER_FILE",
    "Credentials",
    "Limits",
    "Settings",
    "UserModels",
    "check_key",
    "load_settings",
    "remove_key",
    "set_key",
    "variable_name",
    "wants_sandbox",
]

API_KEYS_FILE = "api_keys.yaml"
USER_FILE = "invokeai_external.yaml"

USUAL_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "openai": ("OPENAI_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
}
"""The variables that the providers' own tools read."""

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
class Credentials:
    """A provider's key and address.

    Attributes:
        api_key: The key, or None; it does not show when printed.
        base_url: The address as the user wrote it; None for the provider's own.
        source: Where the key came from, for people: a variable or a file.
    """

    api_key: SecretStr | None = None
    base_url: str | None = None
    source: str | None = None


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


def variable_name(provider: str, entry: str) -> str:
    """The environment variable of an entry (``api_key`` or ``base_url``) of a provider."""
    return f"INVOKEAI_EXTERNAL_{provider}_{entry}".upper()


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
        sources = [
            (variable_name(provider, "api_key"), environ.get(variable_name(provider, "api_key"))),
            (str(keys_path), entries.get(f"external_{provider}_api_key")),
        ]
        if usual_variables:
            sources += [(name, environ.get(name)) for name in USUAL_VARIABLES.get(provider, ())]
        source, key = next(((name, value.strip()) for name, value in sources if value and value.strip()), (None, None))
        urls = [environ.get(variable_name(provider, "base_url")), entries.get(f"external_{provider}_base_url")]
        url = next((value.strip() for value in urls if value and value.strip()), None)
        credentials[provider] = Credentials(SecretStr(key) if key else None, url, source)
    limits, models, sandbox = _read_user_file(root / USER_FILE)
    return Settings(root, credentials, limits, models, sandbox, tuple(_permission_notices(keys_path)))


def set_key(root: Path, provider: str, key: str) -> Path:
    """Write a provider's key into ``api_keys.yaml``, keeping every other line; returns the file.

    The file is replaced in one step and readable by its owner alone (mode 0600, where the system has modes).

    Raises:
        NotConfiguredError: The key is empty or holds what no key holds.
        SettingsError: The file is broken.
    """
    key = key.strip()
    check_key(provider, key)
    return _edit_keys(root, provider, key)


def remove_key(root: Path, provider: str) -> bool:
    """Take a provider's key out of ``api_keys.yaml``; returns False if there was none."""
    if YamlFile(root / API_KEYS_FILE).data.get(f"external_{provider}_api_key") is None:
        return False
    _edit_keys(root, provider, None)
    return True


def check_key(provider: str, key: str) -> None:
    """Raise NotConfiguredError if a key is none: empty, or with characters that no HTTP header can carry."""
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise NotConfiguredError(
            f"The key for {provider} {'holds blanks or odd characters' if key else 'is empty'}.",
            hint=f"Copy the whole key and set it with: invokeai-external keys set {provider}",
            provider=provider,
        )


class _Loader(yaml.SafeLoader):
    """The safe loader, which also says where a value stands that looks like a date or a number and is none."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError:
            raise yaml.constructor.ConstructorError(problem_mark=node.start_mark) from None


class YamlFile:
    """A YAML file that is a mapping, and the lines on which its fields stand."""

    def __init__(self, path: Path) -> None:
        """Read the file; raises SettingsError. A file that does not exist, or is empty, is an empty mapping."""
        self.path = path
        try:
            # Not as a text file, so that the ends of lines stay as they are.
            self.text = path.read_bytes().decode("utf-8")
        except FileNotFoundError:
            self.text = ""
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}.",
                hint="Mend the file or its permissions.",
            ) from None
        try:
            self.node = yaml.compose(self.text, Loader=_Loader)
            data = yaml.load(self.text, Loader=_Loader)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise self.error(line, "this is not YAML") from None
        except yaml.reader.ReaderError as error:
            line = self.text.count("\n", 0, error.position) + 1
            raise self.error(line, "a character that YAML does not allow") from None
        if data is not None and not isinstance(data, dict):
            raise self.error(1, "the file must hold 'name: value' lines")
        self.data: dict[str, Any] = data or {}

    def error(self, line: int, problem: str, hint: str | None = None) -> SettingsError:
        return SettingsError(f"{self.path}, line {line}: {problem}.", hint=hint or "Mend that line and try again.")

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

    A file in which that cannot be done (all on one line, say) is written anew: it keeps its entries, not its comments.
    """
    # A link is followed, so that the file it points to is the one replaced.
    path = (root / API_KEYS_FILE).resolve()
    file = YamlFile(path)
    name = f"external_{provider}_api_key"
    wanted = {entry: known for entry, known in file.data.items() if entry != name}
    if key is not None:
        wanted[name] = key
    text = _edited(file, name, key)
    if not _holds(text, wanted):
        # In ASCII, because PyYAML does not read back every other character that it writes (U+0085 for one).
        text = yaml.safe_dump(wanted, sort_keys=False)
    _write_private(path, text)
    return path


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


def _holds(text: str, wanted: Mapping[str, Any]) -> bool:
    """True if a text, as YAML, holds exactly these entries."""
    try:
        return (yaml.load(text, Loader=_Loader) or {}) == wanted
    except yaml.YAMLError:
        return False


def _write_private(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
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
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be written: {error.strerror}.",
            hint="Mend the permissions of the folder, or name another root.",
        ) from None
