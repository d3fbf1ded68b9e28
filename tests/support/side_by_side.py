"""Providers of every kind side by side in one root folder, each with its server on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from invokeai_external.sandbox import create_app

from .clock import TODAY
from .provider_servers import LoggedServer, ProviderServer

__all__ = ["SECRETS", "SIDES", "Side", "servers"]


@dataclass(frozen=True)
class Side:
    """One of the providers.

    Attributes:
        model: The model that is used, without its provider.
        name: The name that sentences show.
        server: Makes its server.
        add: The arguments of ``providers add``, with ``{url}`` for the URL of the server and ``{token}`` for the
            command that prints the token. Empty for one that Invoke knows.
        base_url: Its base URL below that of the server.
        generate: The path of the endpoint for a prompt.
        edit: That for an edit.
        query: What is behind both.
        sent: The name of the model in the request; None if it is in the path only.
        cost_usd: What one image costs.
        lists: True if it has a list of models.
        has_key: False if it has a token in the place of a key.
        sends_files: False if the images of an edit are in its JSON.
    """

    model: str
    name: str
    server: Callable[[], LoggedServer]
    base_url: str
    generate: str = "/images/generations"
    edit: str = "/images/edits"
    add: tuple[str, ...] = ()
    query: str = ""
    sent: str | None = None
    cost_usd: float | None = None
    lists: bool = False
    has_key: bool = True
    sends_files: bool = True


SECRETS: Mapping[str, str] = {
    name: f"secret-of-{name}-0123456789abcdef"
    for name in ("openai", "gemini", "acme", "azure", "azure_east", "vertex", "litellm", "openrouter")
}
"""The key or the token of each provider."""


def _sandbox() -> LoggedServer:
    return LoggedServer(create_app(today=lambda: TODAY))


_GOOGLE_PATH = "/v1beta1/projects/p-1/locations/global/publishers/google"
_BLOCKED_BY_AZURE = {"error": {"code": "content_policy_violation", "message": "Your prompt was filtered."}}


def _azure(path: str, key: str, query: str = "") -> Callable[[], LoggedServer]:
    return lambda: ProviderServer(
        paths=(f"{path}/generations", f"{path}/edits"),
        header="api-key",
        key=key,
        query=query,
        refused=(400, _BLOCKED_BY_AZURE),
    )


def _compatible(key: str, *models: str, more: Mapping[str, str] | None = None) -> Callable[[], LoggedServer]:
    refusal = {"error": {"code": "moderation_blocked", "message": "The prompt was refused."}}
    return lambda: ProviderServer(
        paths=("/v1/images/generations", "/v1/images/edits"),
        header="authorization",
        key=f"Bearer {key}",
        models=models,
        more=more,
        refused=(400, refusal),
    )


SIDES: Mapping[str, Side] = {
    "openai": Side(
        model="gpt-image-2",
        name="OpenAI",
        server=_sandbox,
        base_url="/openai/v1",
        sent="gpt-image-2",
        lists=True,
    ),
    "gemini": Side(
        model="gemini-2.5-flash-image",
        name="Google Gemini",
        server=_sandbox,
        base_url="/gemini/v1beta",
        generate="/models/gemini-2.5-flash-image:generateContent",
        edit="/models/gemini-2.5-flash-image:generateContent",
        lists=True,
    ),
    "acme": Side(
        model="gpt-image-2",
        name="Acme Gateway",
        server=_compatible(SECRETS["acme"], "acme-image-1"),
        add=(
            "--adapter",
            "openai_images",
            "--base-url",
            "{url}",
            "--name",
            "Acme Gateway",
            "--model",
            "gpt-image-2=acme-image-1",
        ),
        base_url="/v1",
        sent="acme-image-1",
        lists=True,
    ),
    "azure": Side(
        model="gpt-image-2",
        name="Azure OpenAI",
        server=_azure("/openai/v1/images", SECRETS["azure"]),
        add=("--base-url", "{url}", "--model", "gpt-image-2=my-deployment"),
        base_url="/openai/v1",
        sent="my-deployment",
    ),
    "azure_east": Side(
        model="gpt-image-1.5",
        name="Azure East",
        server=_azure("/openai/deployments/east%201.5/images", SECRETS["azure_east"], "api-version=2025-04-01-preview"),
        add=(
            *("--like", "azure", "--way", "classic", "--base-url", "{url}", "--name", "Azure East"),
            *("--model", "gpt-image-1.5=east 1.5"),
        ),
        base_url="/openai",
        generate="/deployments/east%201.5/images/generations",
        edit="/deployments/east%201.5/images/edits",
        query="api-version=2025-04-01-preview",
        sent="east 1.5",
    ),
    "vertex": Side(
        model="gemini-2.5-flash-image",
        name="Vertex AI",
        server=lambda: ProviderServer(
            paths=(f"{_GOOGLE_PATH}/models/gemini-2.5-flash-image:generateContent",),
            header="authorization",
            key=f"Bearer {SECRETS['vertex']}",
            refused=(200, {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}),
        ),
        add=("--base-url", f"{{url}}{_GOOGLE_PATH}", "--auth", "command:{token}"),
        base_url=_GOOGLE_PATH,
        generate="/models/gemini-2.5-flash-image:generateContent",
        edit="/models/gemini-2.5-flash-image:generateContent",
        has_key=False,
    ),
    "litellm": Side(
        model="gpt-image-2",
        name="LiteLLM proxy",
        server=_compatible(SECRETS["litellm"], "gpt-image-2", more={"x-litellm-response-cost": "0.0123"}),
        add=("--base-url", "{url}", "--model", "gpt-image-2"),
        base_url="/v1",
        sent="gpt-image-2",
        cost_usd=0.0123,
        lists=True,
    ),
    "openrouter": Side(
        model="gpt-image-2",
        name="OpenRouter",
        server=lambda: ProviderServer(
            paths=("/api/v1/images",),
            header="authorization",
            key=f"Bearer {SECRETS['openrouter']}",
            models=("openai/gpt-image-2",),
            refused=(403, {"error": {"code": 403, "message": "Flagged.", "metadata": {"reasons": ["violence"]}}}),
        ),
        add=("--base-url", "{url}", "--model", "gpt-image-2=openai/gpt-image-2"),
        base_url="/api/v1",
        generate="/images",
        edit="/images",
        sent="openai/gpt-image-2",
        cost_usd=0.04,
        lists=True,
        sends_files=False,
    ),
}
"""The providers by their ids."""


@contextmanager
def servers() -> Iterator[Mapping[str, LoggedServer]]:
    """The server of each provider."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(side.server()) for name, side in SIDES.items()}
