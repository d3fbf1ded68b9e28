"""Errors: a complete tree, immutable, copied and pickled whole."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from invokeai_external import errors
from invokeai_external.cli import report
from invokeai_external.cli.streams import OutputError
from invokeai_external.errors import ExternalError, InvalidRequestError, ProviderError, RejectedRequestError, Remedy
from invokeai_external.invoke.gallery.result_cache import ResultCache
from invokeai_external.invoke.remedies import text_in_invoke
from invokeai_external.result import GenerationResult, Usage

REMEDY = Remedy("Set the key.", action="set_key", provider="openai", url="https://a.example", source="OPENAI_API_KEY")
FACTS: dict[str, Any] = {
    "message": "OpenAI refused the key.",
    "remedy": REMEDY,
    "provider": "openai",
    "model": "gpt-image-2",
    "status": 401,
    "request_id": "req-1",
}
MORE_FACTS: dict[str, Any] = {
    "retry_after": 1.5,
    "should_retry": False,
    "never_sent": True,
    "may_be_billed": True,
    "usage": Usage(input_text_tokens=3),
}
KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ExternalError)]
OF_HOSTS = [OutputError, report.UsageError]


def an_error(kind: type[ExternalError]) -> ExternalError:
    return kind(**FACTS, **(MORE_FACTS if issubclass(kind, ProviderError) else {}))


def facts_of(error: ExternalError) -> dict[str, Any]:
    return {name: value for name, value in vars(error).items() if not name.startswith("_")}


def drawn() -> Iterator[tuple[str, int]]:
    """The names of the tree in the docstring, each with its depth."""
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"([│├└─ ]*)(\w+Error)\b", line):
            yield match[2], len(match[1]) // 4


def depth_first(kind: type[ExternalError], depth: int = 0) -> Iterator[tuple[str, int]]:
    yield kind.__name__, depth
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from depth_first(child, depth + 1)


def test_the_tree_in_the_docstring_is_complete() -> None:
    assert list(drawn()) == list(depth_first(ExternalError))


def test_every_public_class_of_the_module_is_exported() -> None:
    public = {
        name for name, value in vars(errors).items() if inspect.isclass(value) and value.__module__ == errors.__name__
    }
    assert public <= set(errors.__all__)


def test_no_two_kinds_share_a_code() -> None:
    codes = [kind.code for kind in KINDS if "code" in vars(kind)]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
@pytest.mark.parametrize("kind", [*KINDS, *OF_HOSTS], ids=lambda kind: kind.__name__)
def test_an_error_survives_being_copied_and_pickled(
    kind: type[ExternalError], again: Callable[[ExternalError], ExternalError]
) -> None:
    error = an_error(kind)
    error.add_note("seen in a test")
    found = again(error)
    assert type(found) is kind
    assert facts_of(found) == facts_of(error)
    assert (found.args, found.__notes__) == (error.args, ["seen in a test"])
    with pytest.raises(AttributeError):
        found.message = "changed"


def test_replace_returns_a_changed_copy() -> None:
    error = an_error(RejectedRequestError)
    found = error.replace(status=429, remedy="Wait.")
    assert facts_of(found) == {**facts_of(error), "status": 429, "remedy": Remedy("Wait.")}
    assert facts_of(error) == {**FACTS, **MORE_FACTS}


@pytest.mark.parametrize("name", [*FACTS, *MORE_FACTS])
def test_an_attribute_cannot_be_assigned(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(an_error(RejectedRequestError), name, None)


def test_the_context_of_an_error_can_be_assigned() -> None:
    cause = ValueError("a cause")
    with pytest.raises(ProviderError) as caught:
        raise an_error(ProviderError) from cause
    assert caught.value.__cause__ is cause


def test_the_text_is_the_message_and_the_remedy() -> None:
    assert str(an_error(ProviderError)) == f"{FACTS['message']} {REMEDY.text}"
    assert str(ProviderError("Broken.")) == "Broken."
    assert ProviderError("Broken.").hint is None


def test_a_changed_code_has_its_former_one_beside_it() -> None:
    assert (RejectedRequestError.code, RejectedRequestError.former_code) == ("rejected", InvalidRequestError.code)
    assert [kind for kind in KINDS if kind.former_code] == [RejectedRequestError]


def test_the_json_has_a_former_code_only_where_there_is_one() -> None:
    assert report.error_object(an_error(RejectedRequestError)) == {
        "code": "rejected",
        "former_code": "invalid_request",
        "message": FACTS["message"],
        "hint": REMEDY.text,
        "provider": "openai",
        "status": 401,
        "request_id": "req-1",
    }
    assert "former_code" not in report.error_object(an_error(InvalidRequestError))


@pytest.mark.parametrize("code", ["rejected", "invalid_request"])
def test_the_result_cache_of_invoke_reads_both_codes(tmp_path: Path, code: str) -> None:
    remedy = Remedy("See: invokeai-external models", action="list_models")
    result = GenerationResult(
        provider="openai",
        model="gpt-image-2",
        images=(),
        notices=(),
        usage=None,
        cost_usd=None,
        request_ids=(),
        errors=(RejectedRequestError("OpenAI refused the request.", remedy=remedy),),
        elapsed_s=1.0,
    )
    cache = ResultCache(tmp_path)
    entry = cache.store("name", result)
    file = entry / "result.json"
    written = json.loads(file.read_text(encoding="utf-8"))
    assert written["errors"][0]["code"] == "rejected"
    written["errors"][0]["code"] = code
    file.write_text(json.dumps(written), encoding="utf-8")
    found = cache.read(entry)
    assert found
    (error,) = found.errors
    assert type(error) is RejectedRequestError
    # It is read in Invoke only, so it is written as Invoke says it.
    assert error.remedy == Remedy(text_in_invoke(remedy))
