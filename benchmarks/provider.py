"""Serves prepared responses of both providers in a separate process, so that the time to make them does not count.

``python -m benchmarks.provider FOLDER`` prints its port and serves until its standard input ends. The path selects the
response and its delay: ``/4K/0/openai/v1/images/generations`` at once, ``/1K/2/gemini/...`` after two seconds.
"""

from __future__ import annotations

import base64
import http.server
import io
import json
import os
import socketserver
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from PIL import Image, ImageChops

__all__ = ["SIZES", "last_byte_at", "make_responses", "serve_until_stdin_ends", "served", "served_by"]

SIZES = {"small": 64, "1K": 1024, "4K": 4096}
"""The edges of the images in pixels, by the providers' names for them."""

_GRAIN = 4.0
"""The noise on each colour: with it, a PNG of 1024x1024 has 1.4 MB and one of 4096x4096 23 MB, like a photograph."""


def make_responses(folder: Path) -> dict[str, int]:
    """Write each provider's response for each size; returns the sizes of their PNG files, in bytes."""
    sizes = {}
    for name, edge in SIZES.items():
        file = io.BytesIO()
        _image(edge).save(file, "PNG")
        sizes[name] = len(file.getvalue())
        encoded = base64.b64encode(file.getvalue()).decode()
        (folder / f"{name}-openai").write_text(json.dumps(_openai(encoded)), encoding="ascii")
        (folder / f"{name}-gemini").write_text(json.dumps(_gemini(encoded)), encoding="ascii")
    return sizes


def _image(edge: int) -> Image.Image:
    """Similar to a photograph: slow changes of light, with grain on each colour."""
    light = Image.radial_gradient("L").resize((edge, edge))
    grains = (Image.effect_noise((edge, edge), _GRAIN) for _ in range(3))
    return Image.merge("RGB", [ImageChops.add(light, grain, scale=2) for grain in grains])


def _openai(encoded: str) -> object:
    details = {"text_tokens": 10, "image_tokens": 0}
    usage = {"input_tokens": 10, "output_tokens": 1000, "total_tokens": 1010, "input_tokens_details": details}
    rest = {"background": "opaque", "output_format": "png", "quality": "high", "size": "1024x1024", "usage": usage}
    return {"created": 1_760_000_000, "data": [{"b64_json": encoded}], **rest}


def _gemini(encoded: str) -> object:
    content = {"role": "model", "parts": [{"inlineData": {"mimeType": "image/png", "data": encoded}}]}
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 1290, "totalTokenCount": 1300}
    return {
        "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
        "usageMetadata": usage,
        "modelVersion": "gemini-2.5-flash-image",
        "responseId": "a-response",
    }


def last_byte_at(url: str) -> float:
    """The time at which the system had the last response of a server completely, in seconds since the epoch."""
    with urllib.request.urlopen(url) as response:
        moment: float = json.load(response)
        return moment


def served(folder: Path) -> AbstractContextManager[str]:
    """The base URL of a server with the responses in a folder, which runs while the context is open."""
    return served_by("provider", folder)


@contextmanager
def served_by(module: str, folder: Path) -> Iterator[str]:
    """The same, for a module of the benchmarks that serves in a separate process and prints its port."""
    command = [sys.executable, "-m", f"benchmarks.{module}", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            assert process.stdin is not None
            process.stdin.close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    by_name: dict[str, bytes]
    sent_at = 0.0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        _, size, seconds, provider, *_ = self.path.split("/")
        time.sleep(float(seconds))
        body = self.by_name[f"{size}-{provider}"]
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        # A client that cancels is gone before the response.
        with suppress(ConnectionError):
            self.wfile.write(body)
        type(self).sent_at = time.time()

    def do_GET(self) -> None:
        """Return the time of the last response."""
        body = json.dumps(self.sent_at).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


def serve_until_stdin_ends(handler: type[http.server.BaseHTTPRequestHandler]) -> None:
    """Serve on a free port, print the port, and end the process when its standard input ends."""
    server = _Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()
    os._exit(0)


def _serve(folder: Path) -> None:
    _Handler.by_name = {file.name: file.read_bytes() for file in folder.iterdir()}
    serve_until_stdin_ends(_Handler)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
