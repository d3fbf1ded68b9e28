"""Tokens in the place of keys: made by a command or for a Google account, kept, renewed once, and never shown."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from invokeai_external.errors import AuthenticationError, NotConfiguredError, TimedOutError
from invokeai_external.service import tokens
from invokeai_external.service.service import Service
from invokeai_external.service.tokens import Token, read_token
from invokeai_external.settings.settings import Settings, load_settings

from ..support.clock import Clock
from ..support.servers import LocalServer
from .common import PNG_1X1, generate

pytestmark = pytest.mark.anyio

MODEL = "acme/acme-image-1"


@dataclass
class Gateway:
    """A server with OpenAI's API that accepts some tokens.

    Attributes:
        accepted: What the header Authorization may be; None for anything, also nothing.
        received: What it was.
        wait_s: How long an image takes.
        most: The most requests that were there at once.
    """

    accepted: set[str] | None = None
    received: list[str | None] = field(default_factory=list)
    wait_s: float = 0
    most: int = 0
    url: str = ""

    def app(self) -> FastAPI:
        app, here = FastAPI(), 0

        def refusal(request: Request) -> Response | None:
            given = request.headers.get("authorization")
            self.received.append(given)
            if self.accepted is None or given in self.accepted:
                return None
            return JSONResponse({"error": {"message": f"The token {given} has expired."}}, 401)

        @app.post("/v1/images/generations")
        async def generations(request: Request) -> Response:
            nonlocal here
            here += 1
            self.most = max(self.most, here)
            await asyncio.sleep(self.wait_s)
            here -= 1
            return refusal(request) or JSONResponse({"data": [{"b64_json": PNG_1X1}]})

        @app.get("/v1/models")
        async def models(request: Request) -> Response:
            return refusal(request) or JSONResponse({"data": [{"id": "acme-image-1"}]})

        return app


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    found = Gateway()
    with LocalServer(found.app()) as server:
        found.url = server.url
        yield found


def settings_of(tmp_path: Path, gateway: Gateway, auth: str, more: str = "") -> Settings:
    (tmp_path / "invokeai_external.yaml").write_text(
        f"providers:\n  acme:\n    adapter: openai_images\n    name: Acme\n    base_url: {gateway.url}\n"
        f"    auth: {auth}\n{more}models:\n  {MODEL}: {{sizing: {{kind: fixed, sizes: [1024x1024]}}}}\n"
    )
    return load_settings(tmp_path, {})


def printing(tmp_path: Path, program: str) -> str:
    """The authentication by a command that appends a line to the file ``runs`` and then runs a program; it may use
    ``n``, the number of its run.
    """
    script = tmp_path / "make_token.py"
    script.write_text(
        f"from pathlib import Path\nimport json, sys, time\nruns = Path({str(tmp_path / 'runs')!r})\n"
        "with runs.open('a') as file: file.write('x')\nn = len(runs.read_text())\n" + program
    )
    return json.dumps({"type": "command", "command": [sys.executable, str(script), "an argument"]})


def runs(tmp_path: Path) -> int:
    return len((tmp_path / "runs").read_text())


async def test_one_run_serves_all_calls_that_wait(tmp_path: Path, gateway: Gateway) -> None:
    settings = settings_of(tmp_path, gateway, printing(tmp_path, "time.sleep(0.2); print(f'token-{n}')"))
    result = await generate(settings, MODEL, n=4)
    assert len(result.images) == 4
    assert (runs(tmp_path), gateway.received) == (1, ["Bearer token-1"] * 4)


async def test_a_refused_token_is_made_again_once_for_all_calls(tmp_path: Path, gateway: Gateway) -> None:
    gateway.accepted = {"Bearer token-2"}
    settings = settings_of(tmp_path, gateway, printing(tmp_path, "print(f'token-{n}')"))
    result = await generate(settings, MODEL, n=4)
    assert (len(result.images), runs(tmp_path)) == (4, 2)
    assert sorted(map(str, gateway.received)) == ["Bearer token-1"] * 4 + ["Bearer token-2"] * 4


async def test_a_token_that_is_refused_again_is_an_error_that_shows_neither(tmp_path: Path, gateway: Gateway) -> None:
    gateway.accepted = set()
    settings = settings_of(tmp_path, gateway, printing(tmp_path, "print(f'secret-token-{n}')"))
    with pytest.raises(AuthenticationError) as caught:
        await generate(settings, MODEL)
    assert (runs(tmp_path), len(gateway.received)) == (2, 2)
    assert "secret-token" not in f"{caught.value} {caught.value!r}"
    assert "keys set" not in str(caught.value)
    assert sys.executable in str(caught.value)


async def test_a_token_is_kept_until_shortly_before_it_expires(tmp_path: Path, gateway: Gateway) -> None:
    clock = Clock()
    auth = printing(tmp_path, "print(json.dumps({'accessToken': f'token-{n}', 'expires_in': 600}))")
    async with Service(settings_of(tmp_path, gateway, auth), clock=clock, sleep=clock.sleep) as service:
        for wait_s, expected in ((0, 1), (500, 1), (50, 2), (530, 2), (20, 3)):
            clock.now += wait_s
            await service.check_connection("acme")
            assert runs(tmp_path) == expected
    assert set(gateway.received) == {"Bearer token-1", "Bearer token-2", "Bearer token-3"}


async def test_the_list_of_models_renews_a_refused_token_too(tmp_path: Path, gateway: Gateway) -> None:
    gateway.accepted = {"Bearer token-2"}
    async with Service(settings_of(tmp_path, gateway, printing(tmp_path, "print(f'token-{n}')"))) as service:
        assert (await service.check_connection("acme")).listed == ("acme-image-1",)


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("print('secret'); sys.exit(3)", "exit code 3"),
        ("", "did not print a token"),
        ("print('two secret words')", "did not print a token"),
        ('print(\'{"error": "secret"}\')', "did not print a token"),
        ("print('{secret')", "did not print a token"),
        ("sys.stdout.buffer.write(b'\\xffsecret')", "did not print a token"),
        ("print('secret' * 10_000)", "did not print a token"),
        ("while True: print('secret' * 1000)", "printed more than 1,000,000 bytes"),
        ("time.sleep(30)", "did not end within 0.5 s"),
    ],
)
async def test_a_command_that_fails_is_one_sentence_without_its_output(
    program: str,
    why: str,
    tmp_path: Path,
    gateway: Gateway,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if "sleep" in program:
        monkeypatch.setattr(tokens, "_COMMAND_S", 0.5)
    caplog.set_level(logging.DEBUG)
    with pytest.raises(NotConfiguredError) as caught:
        await generate(settings_of(tmp_path, gateway, printing(tmp_path, program)), MODEL)
    assert why in caught.value.message
    assert "secret" not in f"{caught.value}{caplog.text}"
    assert "an argument" not in str(caught.value)
    assert gateway.received == []


async def test_a_command_that_does_not_exist_is_one_sentence(tmp_path: Path, gateway: Gateway) -> None:
    auth = '{type: command, command: ["no-such-program-of-this-machine", "secret"]}'
    with pytest.raises(NotConfiguredError, match="cannot be started: No such file") as caught:
        await generate(settings_of(tmp_path, gateway, auth), MODEL)
    assert "secret" not in str(caught.value)


NOW = 1_764_500_000.0


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (b"ya29.abc\n", Token("ya29.abc")),
        (b'{"accessToken": "a", "expires_on": 1764500600, "expiresOn": "2000-01-01 00:00:00"}', Token("a", 600)),
        (b'{"access_token": "a", "expires_in": "3599"}', Token("a", 3599)),
        (b'{"token": "a", "token_expiry": "2025-11-30T11:03:20+00:00"}', Token("a", 600)),
        (b'{"token": "a", "token_expiry": "soon"}', Token("a")),
        (b'{"token": "a", "expires_in": true, "expires_on": NaN}', Token("a")),
        (b'{"token": "a", "expires_on": 5}', Token("a", 0)),
    ],
)
def test_the_forms_in_which_commands_print_a_token(output: bytes, expected: Token) -> None:
    assert read_token(output, NOW) == expected


async def test_without_a_key_nothing_is_sent_in_its_place(tmp_path: Path, gateway: Gateway) -> None:
    settings = settings_of(tmp_path, gateway, "{type: none}")
    assert settings.is_ready("acme")
    await generate(settings, MODEL)
    assert gateway.received == [None]


async def test_a_server_that_wants_a_key_after_all_says_what_to_change(tmp_path: Path, gateway: Gateway) -> None:
    gateway.accepted = set()
    with pytest.raises(AuthenticationError) as caught:
        await generate(settings_of(tmp_path, gateway, "{type: none}"), MODEL)
    assert "auth of providers.acme" in str(caught.value)
    assert "keys set" not in str(caught.value)


async def test_a_provider_without_a_list_says_so_and_is_not_asked(tmp_path: Path, gateway: Gateway) -> None:
    settings = settings_of(tmp_path, gateway, "{type: none}", "    list_models: false\n")
    async with Service(settings) as service:
        with pytest.raises(NotConfiguredError, match="Acme has no list of models"):
            await service.check_connection("acme")
    assert gateway.received == []


async def test_the_limits_of_a_provider_are_its_own(tmp_path: Path, gateway: Gateway) -> None:
    gateway.wait_s = 0.05
    await generate(settings_of(tmp_path, gateway, "{type: none}"), MODEL, n=4)
    assert gateway.most == 4
    gateway.most = 0
    await generate(settings_of(tmp_path, gateway, "{type: none}", "    limits: {concurrency: 1}\n"), MODEL, n=4)
    assert gateway.most == 1
    gateway.wait_s = 5
    with pytest.raises(TimedOutError):
        await generate(settings_of(tmp_path, gateway, "{type: none}", "    limits: {timeout_s: 0.3}\n"), MODEL)


async def test_the_account_of_this_machine_with_google(
    tmp_path: Path, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer, asked = FastAPI(), []

    @issuer.post("/token")
    async def token(request: Request) -> JSONResponse:
        asked.append((await request.body()).decode())
        return JSONResponse({"access_token": f"ya29.{len(asked)}", "expires_in": 3600, "token_type": "Bearer"})

    with LocalServer(issuer) as server:
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        account = {
            "type": "service_account",
            "project_id": "p",
            "private_key": private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ).decode(),
            "client_email": "artist@p.example",
            "token_uri": f"{server.url}/token",
        }
        file = tmp_path / "account.json"
        file.write_text(json.dumps(account))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
        await generate(settings_of(tmp_path, gateway, "{type: google}"), MODEL, n=3)
    assert (len(asked), gateway.received) == (1, ["Bearer ya29.1"] * 3)


async def test_a_machine_without_such_an_account_says_what_to_run(
    tmp_path: Path, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "account.json"
    file.write_text('{"type": "service_account", "private_key": "secret"}')
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    with pytest.raises(NotConfiguredError, match="application-default login") as caught:
        await generate(settings_of(tmp_path, gateway, "{type: google}"), MODEL)
    assert "secret" not in str(caught.value)


async def test_without_the_package_a_command_is_offered(
    tmp_path: Path, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "google.auth", None)
    with pytest.raises(NotConfiguredError) as caught:
        await generate(settings_of(tmp_path, gateway, "{type: google}"), MODEL)
    assert "type: command, command: [gcloud" in str(caught.value)
