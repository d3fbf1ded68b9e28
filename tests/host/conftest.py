"""A real Invoke with our plugin on the sandbox, shared by all host tests, and separate ones for tests that need one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from . import acme, environment, packing
from .acme import Acme
from .invoke import PROVIDERS, Invoke
from .sandbox import Sandbox
from .users import Users, signed_in_users

# Before the tests change it.
_ENVIRON = dict(os.environ)

NewInvoke = Callable[..., Invoke]


@pytest.fixture(autouse=True)
def _on_the_day_of_the_facts() -> None:
    """Use the real date, like the running Invoke."""


@pytest.fixture(scope="session")
def host_python(pytestconfig: pytest.Config) -> Path:
    """The interpreter of an environment with a real Invoke."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    with capture.global_and_fixture_disabled():
        return environment.python_of(_ENVIRON)


@pytest.fixture(scope="session")
def host_sandbox(_sandbox_server: Any) -> Iterator[Sandbox]:
    """The sandbox that every Invoke of the tests uses."""
    sandbox = Sandbox(_sandbox_server.url)
    yield sandbox
    sandbox.close()


@pytest.fixture
def sandbox(host_sandbox: Sandbox) -> Sandbox:
    """The sandbox, without the faults and calls of other tests."""
    host_sandbox.clear()
    return host_sandbox


@pytest.fixture(scope="session")
def clone_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository with our plugin, for the node manager."""
    return packing.clone_source(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def new_invoke(
    host_python: Path, host_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NewInvoke]:
    """Makes an Invoke with its own root, which is not started yet: ``new_invoke(keys=["openai"], pack=True)``.

    ``settings`` are written to its ``invokeai.yaml``.
    """
    made: list[Invoke] = []

    def make(*, keys: tuple[str, ...] = (), pack: bool = True, settings: Mapping[str, object] | None = None) -> Invoke:
        invoke = _new(host_python, host_sandbox, tmp_path_factory, keys=keys, pack=pack)
        invoke.configure(settings or {})
        made.append(invoke)
        return invoke

    yield make
    _close(made)


@pytest.fixture(scope="module")
def own_invoke(new_invoke: NewInvoke) -> Invoke:
    """An Invoke of the module's own, which it may stop and change: keys for both providers, and all models."""
    invoke = new_invoke(keys=PROVIDERS)
    invoke.start_with_models()
    return invoke


@pytest.fixture(scope="session")
def invoke(host_python: Path, host_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Invoke]:
    """The Invoke that most tests share, with our plugin and keys for both providers."""
    made = _new(host_python, host_sandbox, tmp_path_factory, keys=PROVIDERS, pack=True)
    try:
        made.start_with_models()
        yield made
    finally:
        _close([made])


@pytest.fixture(scope="session")
def users(host_python: Path, host_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Users]:
    """An Invoke with several users, which the tests of it share; both providers have a key."""
    made = _new(host_python, host_sandbox, tmp_path_factory, keys=(), pack=True)
    made.configure({"multiuser": True})
    try:
        made.start()
        with signed_in_users(made, *PROVIDERS) as users:
            yield users
    finally:
        _close([made])


def _new(
    python: Path, sandbox: Sandbox, folders: pytest.TempPathFactory, *, keys: tuple[str, ...], pack: bool
) -> Invoke:
    invoke = Invoke(python, folders.mktemp("host") / "root", sandbox.url, keys)
    if pack:
        packing.copy_to(invoke.root / "nodes")
    return invoke


def _close(made: list[Invoke]) -> None:
    """Stop all of them, and then report those that did not stop properly."""
    problems = []
    for invoke in made:
        try:
            invoke.close()
        except AssertionError as error:
            problems.append(error)
    if problems:
        raise ExceptionGroup("not every Invoke stopped properly", problems)


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Acme, str]]:
    """A provider that Invoke does not know, and the URL of its server."""
    with acme.serving() as found:
        yield found


@pytest.fixture
def provider(server: tuple[Acme, str]) -> Acme:
    """That provider, without the calls of other tests."""
    server[0].clear()
    return server[0]


@pytest.fixture
def gpt(invoke: Invoke) -> dict[str, Any]:
    """A model of OpenAI that supports any size."""
    return invoke.model("openai/gpt-image-2.5-flare")


@pytest.fixture
def banana(invoke: Invoke) -> dict[str, Any]:
    """The newest model of Gemini."""
    return invoke.model("gemini/gemini-nano-banana-2.1")


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    """An image of a size that no model makes."""
    ramp = Image.linear_gradient("L")
    bands = (ramp, ramp.rotate(90), Image.radial_gradient("L"))
    return Image.merge("RGB", [band.resize((1000, 700)) for band in bands])


@pytest.fixture(scope="session")
def hole() -> Image.Image:
    """A mask for the photo, as Invoke makes it: black, which means change, in the box 200, 100 to 600, 500."""
    mask = Image.new("L", (1000, 700), 255)
    mask.paste(0, (200, 100, 600, 500))
    return mask
