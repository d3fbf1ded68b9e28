"""The names that the package gives to others, and what importing it costs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import invokeai_external

NAMES = """
AspectRatio AuthenticationError BudgetExceededError Call CancelledError CapabilityError ConnectionCheck
ContentBlockedError Credentials ExternalError Failed FilePart GeneratedImage GenerationRequest
GenerationResult HttpRequest InputImage InvalidRequestError InvalidResponseError Limits MetadataMode
ModelConfig ModelRetiredError NetworkError NotConfiguredError NotSavedError Notice OptionValue Payer Plan
Preview Progress ProviderConfig ProviderError Purse QuotaError RateLimitedError Received Registry
RejectedRequestError Remedy RemedyAction RequestError ResolvedModel Retrying Sending Service ServiceStateError
Settings SettingsError Size SpendingRecordError TimedOutError UnavailableError UnknownProviderError Usage
VERSION generate_sync load_settings read_image read_mask
""".split()  # noqa: SIM905 - a list would take a line for each


def test_the_exported_names_are_exactly_these() -> None:
    assert sorted(invokeai_external.__all__) == sorted(NAMES)
    assert dir(invokeai_external) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_loads_and_bears_its_own_name(name: str) -> None:
    found = getattr(invokeai_external, name)
    assert found is not None
    if isinstance(found, type):
        assert (found.__name__, found.__module__.partition(".")[0]) == (name, "invokeai_external")


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'invokeai_external' has no attribute 'Painter'$"):
        invokeai_external.Painter  # noqa: B018 - the look at it is the test


def loaded_after(statement: str) -> set[str]:
    """The modules that a fresh Python has loaded after a statement."""
    program = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


@pytest.mark.slow
def test_importing_the_package_loads_nothing_that_takes_time() -> None:
    loaded = loaded_after("import invokeai_external")
    assert "invokeai_external" in loaded
    assert not {"pydantic", "httpx", "yaml", "PIL", "anyio", "fastapi"} & loaded
    assert [name for name in loaded if name.startswith("invokeai_external.")] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Registry", "Service", "load_settings"])
def test_a_name_loads_no_client_and_no_pixels_before_they_are_needed(name: str) -> None:
    assert not {"httpx", "PIL", "fastapi", "typer", "rich"} & loaded_after(f"from invokeai_external import {name}")


@pytest.mark.slow
def test_the_pure_core_loads_no_client_no_server_and_no_command_line() -> None:
    pure = ("providers.registry", "transport.retry_policy", "metadata_keys")
    loaded = loaded_after("; ".join(f"import invokeai_external.{name}" for name in pure))
    assert "pydantic" in loaded
    assert not {"httpx", "fastapi", "uvicorn", "typer", "rich", "openai", "google.genai", "invokeai"} & loaded
