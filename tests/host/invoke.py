"""A real Invoke with its own root folder: started, used over REST, stopped."""

from __future__ import annotations

import copy
import io
import json
import os
import re
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import httpx
import yaml
from PIL import Image

from ..support.guard import CANARY

PROVIDERS = ("openai", "gemini")
NODE_TYPES = {provider: f"{provider}_image_generation" for provider in PROVIDERS}
OWN_NODE_TYPE = "external_image"
INFO_NODE_TYPE = "external_image_info"

ENDING_WITH_US = ("setpriv", "--pdeathsig", "TERM")
"""The prefix of a command that the kernel ends together with the process that started it (Linux).

Ctrl-C kills the workers of the tests, and their child processes would go on.
"""

_START_S = 180.0
_STOP_S = 30.0
_MAY_CONTAIN_A_KEY = {"api_keys.yaml", "invokeai_external_keys.yaml", "canary.py"}
_ENDED = ("completed", "failed", "canceled")

Json = dict[str, Any]
Found = TypeVar("Found")


class LogLine(NamedTuple):
    """A line of Invoke's log, with the lines after it that have no time, such as a traceback."""

    at: datetime
    level: str
    text: str


class Picture(NamedTuple):
    """An image of the gallery: its record, its metadata, its file."""

    name: str
    record: Json
    metadata: Json
    data: bytes

    @property
    def image(self) -> Image.Image:
        """The decoded image."""
        image = Image.open(io.BytesIO(self.data))
        image.load()
        return image


class Invoke:
    """An Invoke with its own root folder, which can be stopped and started again.

    Args:
        python: The interpreter of Invoke's environment.
        root: The root folder, which is created.
        sandbox_url: The sandbox that both base URLs point to.
        keys: The providers that have a key before the first start.

    Attributes:
        base_urls: The base URLs of the next start, in the same file as the keys, because a key is sent only to a base
            URL that was set with it.
    """

    def __init__(self, python: Path, root: Path, sandbox_url: str, keys: Sequence[str] = ()) -> None:
        self.root = root
        self.log_file = root.parent / f"{root.name}.log"
        self.base_urls = {"openai": f"{sandbox_url}/openai/v1", "gemini": f"{sandbox_url}/gemini"}
        self._python = python
        self._process: subprocess.Popen[bytes] | None = None
        self._port = _free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        # Requests to this computer need no certificates, and loading them takes longer than most requests.
        self._http = httpx.Client(base_url=self.url, timeout=60, verify=False)
        self.root.mkdir(parents=True)
        settings = {"schema_version": "4.0.2", "host": "127.0.0.1", "port": self._port}
        (root / "invokeai.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        if keys:
            self._write_keys({f"external_{provider}_api_key": CANARY for provider in keys})

    def configure(self, settings: Mapping[str, object]) -> None:
        """Write settings to ``invokeai.yaml`` for the next start."""
        path = self.root / "invokeai.yaml"
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        path.write_text(yaml.safe_dump({**content, **settings}), encoding="utf-8")

    def _write_keys(self, entries: Mapping[str, str]) -> None:
        """Write keys and base URLs to Invoke's file of keys."""
        path = self.root / "api_keys.yaml"
        content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
        path.write_text(yaml.safe_dump({**content, **entries}), encoding="utf-8")

    @property
    def threads(self) -> int:
        """The number of threads of the running process (Linux)."""
        assert self._process is not None
        return len(list(Path(f"/proc/{self._process.pid}/task").iterdir()))

    @property
    def memory(self) -> int:
        """The memory of the running process in bytes (Linux)."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmRSS:"))

    def limit_files(self, size: int | None) -> None:
        """Limit the size of the files that the running process writes, as on a full disk; None removes the limit."""
        assert self._process is not None
        _, hard = resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))

    # Start and stop

    def start(self) -> None:
        """Start it and wait until it responds; raises AssertionError with the end of its log if it does not."""
        self._write_keys({f"external_{provider}_base_url": url for provider, url in self.base_urls.items()})
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [*ENDING_WITH_US, self._python.parent / "invokeai-web", "--root", self.root],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C in the terminal ends the tests, which end this process.
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_S
        while not self._responds():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"Invoke did not start:\n{self.log_text()[-4000:]}")
            time.sleep(0.1)

    def start_with_models(self) -> None:
        """Start it and wait until the models of its keys are installed."""
        self.start()
        wait_for(self.models)
        self.settled_models()

    def stop(self) -> None:
        """Stop it like Ctrl-C, and assert that it ends soon, leaves no thread, and has written no key to a file."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            # Python's fault handler then writes into the log where each thread is.
            self._process.send_signal(signal.SIGABRT)
            self._process.wait()
            raise AssertionError(
                f"Invoke was still running {_STOP_S:g} s after Ctrl-C:\n{self.log_text()[-12_000:]}"
            ) from None
        self._process = None
        # The web server's own workers may not have ended yet. One that never ends would have kept the process running.
        alive = set(re.findall(r"still alive after shutdown: '([^']+)'", self.log_text()))
        assert alive <= {"AnyIO worker thread"}, self.log_text()[-4000:]
        assert self.files_with_key() == []

    def kill(self) -> None:
        """Kill it."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Stop it if it is running, at the end of a fixture."""
        try:
            if self._process:
                self.stop()
        finally:
            self.kill()
            self._http.close()

    def _environment(self) -> dict[str, str]:
        """The environment without the settings of the person who runs the tests; the guard is in ``PYTHONPATH``."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("INVOKEAI_", "OPENAI_", "GEMINI_", "GOOGLE_", "COVERAGE_"))
            and not name.lower().endswith("_proxy")
        }
        return {
            **inherited,
            "HOME": str(self.root.parent),
            "NO_COLOR": "1",
            "PYTHONFAULTHANDLER": "1",
        }

    def _responds(self) -> bool:
        try:
            return self._http.get("/api/v1/app/version").status_code == 200
        except httpx.TransportError:
            return False

    # Logs and files

    def log_text(self) -> str:
        """Everything that it printed since the first start."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def log(self) -> list[LogLine]:
        """The lines of its log since the first start."""
        head = re.compile(r"(?:\x1b\[[\d;]*m)?\[([\d-]+ [\d:]+,\d+)\]::\[[^\]]+\]::(\w+) --> ")
        parts = head.split(self.log_text())
        return [
            LogLine(datetime.strptime(at, "%Y-%m-%d %H:%M:%S,%f"), level, re.sub(r"\x1b\[[\d;]*m", "", text).strip())
            for at, level, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
        ]

    def files_with_key(self) -> list[str]:
        """The files with a key that must not have one, the log included, except our tests, which are in the plugin."""
        return [
            str(path)
            for path in [self.log_file, *self.root.rglob("*")]
            if path.is_file() and path.name not in _MAY_CONTAIN_A_KEY and CANARY.encode() in path.read_bytes()
        ]

    # REST

    def signed_in(self, email: str, password: str) -> Invoke:
        """This Invoke as one of its users sees it; call ``sign_out`` at the end."""
        other = copy.copy(self)
        other._http = httpx.Client(base_url=self.url, timeout=60, verify=False)
        token = other.send("POST", "/v1/auth/login", json={"email": email, "password": password})["token"]
        other._http.headers["Authorization"] = f"Bearer {token}"
        return other

    def sign_out(self) -> None:
        self._http.close()

    def get(self, path: str, **parameters: Any) -> Any:
        """Get the JSON at a path below ``/api``; raises httpx.HTTPStatusError."""
        return self._json(self._http.get(f"/api{path}", params=parameters))

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send any request below ``/api`` and return the response."""
        return self._http.request(method, f"/api{path}", **options)

    def send(self, method: str, path: str, **options: Any) -> Any:
        """Send any request below ``/api`` and return the JSON of the response; raises httpx.HTTPStatusError."""
        return self._json(self.request(method, path, **options))

    @staticmethod
    def _json(response: httpx.Response) -> Any:
        response.raise_for_status()
        if not response.content:
            return None
        # An unknown path returns Invoke's web page, with 200.
        assert "json" in response.headers["content-type"], f"no JSON at {response.url}"
        return response.json()

    def set_key(self, provider: str, key: str = CANARY) -> None:
        """Set a key like the External Providers page, without what its JavaScript does afterwards.

        The base URL is set too, because ``remove_key`` removes both.
        """
        entries = {"api_key": key, "base_url": self.base_urls[provider]}
        self.send("POST", f"/v1/app/external_providers/config/{provider}", json=entries)

    def remove_key(self, provider: str) -> None:
        self.send("DELETE", f"/v1/app/external_providers/config/{provider}")

    def models(self, provider: str | None = None) -> list[Json]:
        """The installed external models, of one provider or of all."""
        found: list[Json] = self.get("/v2/models/", base_models="external")["models"]
        return [model for model in found if provider in (None, model["provider_id"])]

    def model(self, reference: str) -> Json:
        """The installed model with a reference such as ``openai/gpt-image-2``; raises LookupError."""
        provider, _, model_id = reference.partition("/")
        found = [model for model in self.models(provider) if model["provider_model_id"] == model_id]
        if len(found) != 1:
            raise LookupError(f"{reference} is installed {len(found)} times")
        return found[0]

    def install_model(self, reference: str, config: Mapping[str, Any] | None = None) -> Json:
        """Install a model like the page does, and wait for it."""
        source = f"external://{reference}"
        self.send("POST", "/v2/models/install", params={"source": source}, json=dict(config or {}))
        return wait_for(lambda: self._installed(reference))

    def settled_models(self) -> list[Json]:
        """Wait until no external model was installed or deleted for a second; return the installed ones."""
        models, since = self.models(), time.monotonic()
        while time.monotonic() - since < 1:
            time.sleep(0.1)
            if (now := self.models()) != models:
                models, since = now, time.monotonic()
        return models

    def _installed(self, reference: str) -> Json | None:
        try:
            return self.model(reference)
        except LookupError:
            return None

    def delete_model(self, key: str) -> None:
        self.send("DELETE", f"/v2/models/i/{key}")

    def starter_models(self, provider: str) -> list[Json]:
        """The provider's entries in the list of starter models."""
        found: list[Json] = self.get("/v2/models/starter_models")["starter_models"]
        return [model for model in found if model["source"].startswith(f"external://{provider}/")]

    def schema(self, node_type: str) -> Json:
        """The schema of a node type on Invoke's API page."""
        schemas = self._json(self._http.get("/openapi.json"))["components"]["schemas"]
        found: list[Json] = [
            schema
            for schema in schemas.values()
            if schema.get("class") == "invocation" and schema["properties"]["type"].get("const") == node_type
        ]
        assert len(found) == 1, f"{len(found)} nodes of the type {node_type}"
        return found[0]

    def upload(self, image: Image.Image, *, intermediate: bool = False, metadata: Json | None = None) -> str:
        """Upload an image to the gallery, with any metadata; return its name."""
        file = io.BytesIO()
        image.save(file, "PNG")
        answer = self.send(
            "POST",
            "/v1/images/upload",
            params={"image_category": "user", "is_intermediate": intermediate},
            files={"file": ("picture.png", file.getvalue(), "image/png")},
            data={"metadata": json.dumps(metadata)} if metadata else None,
        )
        name: str = answer["image_name"]
        return name

    def picture(self, name: str) -> Picture:
        """An image of the gallery. Waits for its file, because Invoke lists an image just before it writes the file."""
        path = f"/v1/images/i/{name}"

        def file() -> httpx.Response | None:
            response = self.request("GET", f"{path}/full")
            return None if response.status_code == httpx.codes.NOT_FOUND else response

        response = wait_for(file)
        response.raise_for_status()
        return Picture(name, self.get(path), self.get(f"{path}/metadata") or {}, response.content)

    def gallery(self) -> list[str]:
        """The names of the images in the gallery that are not intermediate."""
        found = self.get("/v1/images/names", is_intermediate=False)
        names: list[str] = found["image_names"]
        return names

    # Runs

    def enqueue(self, graph: Json, **batch: Any) -> int:
        """Put a graph into the queue; return the number of its item."""
        answer = self.send("POST", "/v1/queue/default/enqueue_batch", json={"batch": {"graph": graph, **batch}})
        number: int = answer["item_ids"][0]
        return number

    def item(self, number: int) -> Json:
        found: Json = self.get(f"/v1/queue/default/i/{number}")
        return found

    def cancel(self, number: int) -> None:
        self.send("PUT", f"/v1/queue/default/i/{number}/cancel")

    def ended(self, number: int, timeout_s: float = 60) -> Json:
        """Wait for any end of a queue item; return the item."""
        return wait_for(lambda: item if (item := self.item(number))["status"] in _ENDED else None, timeout_s)

    def run(self, graph: Json, **batch: Any) -> list[Picture]:
        """Run a graph that must complete; return the images of its external nodes."""
        item = self.ended(self.enqueue(graph, **batch))
        assert item["status"] == "completed", item["error_message"]
        return [self.picture(name) for name in output_names(item)]

    def failure(self, graph: Json) -> Json:
        """Run a graph that must fail; return its queue item."""
        item = self.ended(self.enqueue(graph))
        assert item["status"] == "failed", item["status"]
        return item


def output_names(item: Json) -> Iterator[str]:
    """The names of the images that the external nodes of a queue item output."""
    for output in item["session"]["results"].values():
        if output["type"] in ("image_collection_output", "external_image_output"):
            yield from (field["image_name"] for field in output["collection"])


def wait_for(look: Callable[[], Found | None], timeout_s: float = 30) -> Found:
    """Call ``look`` ten times a second until it returns something."""
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"nothing found within {timeout_s:g} s"
        time.sleep(0.1)
    return found


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
