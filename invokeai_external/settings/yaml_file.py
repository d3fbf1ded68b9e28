"""Reads a YAML file that a user writes, within limits, and knows the line of each field."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ..errors import Remedy, SettingsError
from ..misspellings import or_nearest
from ..regular_files import read_regular_file
from ..untrusted_text import fit_to_show

__all__ = ["YamlFile", "problem_of"]


_MOST_BYTES = 1_000_000


_MOST_DEPTH = 50


_MOST_VALUES = 20_000
"""More than any settings need, and few enough to be read in a moment."""


_LONGEST_PROBLEM = 500


_TEXT = "tag:yaml.org,2002:str"

_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


_IN_PLAIN_WORDS = {
    "extra_forbidden": "there is no such field",
    "missing": "this field is missing",
    "string_type": "this must be text; put it in quotes",
    "dict_type": "this must hold 'name: value' lines",
    "model_type": "this must hold 'name: value' lines",
    "model_attributes_type": "this must hold 'name: value' lines",
    "union_tag_invalid": "this must be one of {expected_tags}",
    "union_tag_not_found": "this must hold 'name: value' lines, one of them with {discriminator}",
    "list_type": "this must be a list",
    "tuple_type": "this must be a list",
    "int_type": "this must be a whole number",
    "int_parsing": "this must be a whole number",
    "int_from_float": "this must be a whole number",
    "float_type": "this must be a number",
    "float_parsing": "this must be a number",
    "finite_number": "this must be a number",
    "bool_type": "this must be true or false",
    "bool_parsing": "this must be true or false",
    "string_pattern_mismatch": "there is a character that is not valid here",
    "string_too_short": "this must not be empty",
    "too_short": "this must not be empty",
    "date_type": "this must be a date, such as 2026-12-31",
    "date_parsing": "this must be a date, such as 2026-12-31",
    "date_from_datetime_parsing": "this must be a date, such as 2026-12-31",
    "literal_error": "this must be {expected}",
    "greater_than": "this must be more than {gt}",
    "greater_than_equal": "this must be at least {ge}",
    "less_than": "this must be less than {lt}",
    "less_than_equal": "this must be at most {le}",
}
"""Messages for the author of the file, by pydantic's types of errors, with the names of their facts."""


class _ProblemError(yaml.MarkedYAMLError):
    """Something that PyYAML has no words for: more than settings have, or no such value; ``problem`` says what."""


_LOOKS_LIKE = {
    "tag:yaml.org,2002:timestamp": "this looks like a date, and there is no such date",
    "tag:yaml.org,2002:int": "this number is too long, or is not one",
    "tag:yaml.org,2002:float": "this number is too long, or is not one",
}
"""What is wrong with a value of a kind that cannot be read."""


class BoundedLoader(yaml.SafeLoader):
    """The safe loader with limits; also reports the line of a value that looks like a date or number and is not."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._count = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """A node with everything below it; a node that an alias repeats counts each time."""
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        is_alias = self.check_event(yaml.AliasEvent)
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise _ProblemError(problem="this is nested too deeply", problem_mark=mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        if is_alias and id(node) not in self._sizes:
            raise _ProblemError(problem="this repeats itself endlessly", problem_mark=mark)
        self._count += self._sizes[id(node)] if is_alias else 1
        if self._count > _MOST_VALUES:
            raise _ProblemError(problem=f"the file holds more than {_MOST_VALUES:,} values", problem_mark=mark)
        if not is_alias:
            self._sizes[id(node)] = 1 + sum(self._sizes[id(below)] for below in children_of(node))
        return node

    def get_single_node(self) -> yaml.Node | None:
        """The document; raises MarkedYAMLError also for errors that PyYAML does not wrap, such as an invalid escape."""
        try:
            node: yaml.Node | None = super().get_single_node()
        except yaml.YAMLError:
            raise
        except Exception:
            raise yaml.scanner.ScannerError(problem_mark=self.get_mark()) from None
        return node

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> Any:
        """The tag of a node. 1:30 is text: as a number of base 60, it takes a time that is the square of its length."""
        tag = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        return _TEXT if tag in _NUMBERS and kind is yaml.ScalarNode and ":" in value else tag

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if node.tag in _NUMBERS and ":" in node.value:
            raise yaml.constructor.ConstructorError(problem_mark=node.start_mark)
        try:
            return super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        # A tag with a text that does not fit raises ValueError, KeyError, AttributeError and others.
        except Exception:
            problem = _LOOKS_LIKE.get(node.tag, "this value does not fit its tag")
            raise _ProblemError(problem=problem, problem_mark=node.start_mark) from None


def children_of(node: yaml.Node | None) -> Sequence[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [below for entry in node.value for below in entry]
    return node.value if isinstance(node, yaml.SequenceNode) else ()


def state_of(path: Path) -> tuple[int, int] | None:
    """When a file was last written, in nanoseconds, and its size, to see that it has changed; None if it is missing."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def problem_of(mistake: Mapping[str, Any]) -> str:
    """What is wrong, in plain words, according to one of pydantic's errors; without a full stop."""
    message: str = mistake["msg"]
    if words := _IN_PLAIN_WORDS.get(mistake["type"]):
        return words.format_map({name: _plain(fact) for name, fact in mistake.get("ctx", {}).items()})
    return message.removeprefix("Value error, ").rstrip(".")


def _plain(fact: object) -> object:
    """A value as people write it: 3,600 for 3600.0, and true for True."""
    if fact == "True":
        return "true"
    if not isinstance(fact, int | float):
        return fact
    return f"{int(fact):,}" if fact == int(fact) else fact


class YamlFile:
    """A YAML file that is a mapping, and the lines of its fields."""

    def __init__(self, path: Path, text: str | None = None, *, is_written: bool = True) -> None:
        """Read the file; raises SettingsError. A file that does not exist, or is empty, is an empty mapping.

        Args:
            path: The file.
            text: What to read in the place of what the file holds.
            is_written: False if ``text`` is only to be written: errors name no line then, which nobody could look at.
        """
        self.path, self._is_written = path, is_written
        try:
            # The ends of the lines stay as they are.
            self.text = read_regular_file(path, _MOST_BYTES).decode("utf-8") if text is None else text
        except FileNotFoundError:
            self.text = ""
        except (OSError, ValueError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or "it is not UTF-8 text"
            raise SettingsError(
                f"{path} cannot be read: {why}.", remedy="Correct the file or its permissions, then try again."
            ) from None
        try:
            loader = BoundedLoader(self.text)
            self.node = loader.get_single_node()
            data = loader.construct_document(self.node) if self.node else None
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            problem = error.problem if isinstance(error, _ProblemError) else None
            raise self.error(line, problem or "this is not valid YAML") from None
        except yaml.reader.ReaderError as error:
            line = self.text.count("\n", 0, error.position) + 1
            raise self.error(line, "there is a character that YAML does not allow") from None
        if data is not None and not isinstance(data, dict):
            raise self.error(1, "the file must hold 'name: value' lines")
        self.data: dict[str, Any] = data or {}

    def check_unique(self) -> None:
        """Raise SettingsError if a name appears twice in a mapping: YAML forbids that, and PyYAML uses the last one."""
        pending: list[tuple[yaml.Node | None, tuple[str, ...]]] = [(self.node, ())]
        while pending:
            node, place = pending.pop()
            if isinstance(node, yaml.SequenceNode):
                pending.extend((item, place) for item in node.value)
            if not isinstance(node, yaml.MappingNode):
                continue
            first: dict[str, int] = {}
            for key, value in node.value:
                name, line = str(key.value), key.start_mark.line + 1
                if name in first:
                    raise self.error(
                        line,
                        f"{'.'.join((*place, name))} is already in line {first[name]}",
                        remedy="Delete one of the two lines, then try again.",
                    )
                first[name] = line
                pending.append((value, (*place, name)))

    def error(self, line: int, problem: str, remedy: Remedy | str | None = None) -> SettingsError:
        # It may quote characters of the file that are not safe on a terminal.
        shown = fit_to_show(problem, _LONGEST_PROBLEM)
        where = f"{self.path}, line {line}: " if self._is_written else ""
        return SettingsError(f"{where}{shown}.", remedy=remedy or "Correct that line, then try again.")

    def error_of(
        self,
        error: ValidationError,
        under: tuple[str, ...],
        fields: Iterable[str],
        written_place: Callable[[tuple[str, ...]], tuple[str, ...]] = tuple,
    ) -> SettingsError:
        """The error for the first mistake in the file, of those that pydantic found.

        Args:
            error: The mistakes.
            under: The place in the file that was validated.
            fields: The names that a misspelt field there may mean.
            written_place: Where the value of a field is in the file; by default, under its own name.
        """

        def place_of(mistake: Mapping[str, Any]) -> tuple[str, ...]:
            return (*under, *written_place(tuple(str(step) for step in mistake["loc"])))

        mistakes = error.errors(include_url=False, include_input=False)

        def order(mistake: Mapping[str, Any]) -> tuple[bool, int]:
            line, known = self.find(place_of(mistake))
            # What is not in the file is missing, perhaps because another field is misspelt, or of a form not meant.
            return known[-1:] != place_of(mistake)[-1:], line

        first = min(mistakes, key=order)
        place = place_of(first)
        line, known = self.find(place)
        if first["type"] == "missing":
            known = (*known, place[-1])
        remedy, names = None, set(fields)
        # A field that is in the wrong place is not misspelt.
        if first["type"] == "extra_forbidden" and place[-1] not in names and (meant := or_nearest(place[-1], names)):
            remedy = f"{meant}Correct that line, then try again."
        return self.error(line, f"{'.'.join(known)}: {problem_of(first)}", remedy)

    def find(self, place: Sequence[str]) -> tuple[int, tuple[str, ...]]:
        """The line of the deepest field on the path to a place, and the part of the path that the file has."""
        node, line, known = self.node, 1, []
        for step in place:
            below = child_of(node, step)
            # pydantic adds the names of a union's members to the path; the file does not have them.
            if below:
                key, node = below
                line = key.start_mark.line + 1
                known.append(step)
        return line, tuple(known)


def child_of(node: yaml.Node | None, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in node.value if str(key.value) == name), None)
    if isinstance(node, yaml.SequenceNode) and name.isdigit() and int(name) < len(node.value):
        return (node.value[int(name)],) * 2
    return None
