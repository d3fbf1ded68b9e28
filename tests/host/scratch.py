"""A scratch Invoke to try the plugin: ``make invoke``, which runs ``python -m tests.host.scratch [ROOT]``.

Its root is ``.invoke/`` in the repository by default, and stays with its images until ``make clean``. Each start copies
the current plugin into it. Everything goes to the sandbox, so you need no key and pay nothing.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from invokeai_external.cli.commands.install import install_plugin

from .environment import python_of

_ROOT = Path(__file__).resolve().parents[2] / ".invoke"
_USUAL_PORT = 9090
_START_S = 300.0
_STOP_S = 15.0

# A proxy cannot reach this computer's own ports.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def main(root: Path) -> int:
    """Start it in a root folder, print its URL, and wait until it ends or Ctrl-C is pressed; return the exit code."""
    # Invoke must not go on if this program is ended in another way than by Ctrl-C.
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.default_int_handler)
    try:
        python = python_of(os.environ)
        port = _free_port()
        root.mkdir(exist_ok=True)
        (root / "invokeai.yaml").write_text(f"schema_version: 4.0.2\nhost: 127.0.0.1\nport: {port}\n", "utf-8")
        install_plugin(root)
        log = root / "invoke.log"
        _say(f"Starting Invoke, which takes half a minute; its output goes to {log} ...")
        with log.open("wb") as out:
            process = _started(python, root, out.fileno())
        try:
            return _served(process, f"http://127.0.0.1:{port}", log)
        finally:
            _stop(process)
    except KeyboardInterrupt:
        _say("Ended.")
        return 0
    except subprocess.CalledProcessError:
        _say("The environment with Invoke could not be made; the reason is above.")
        return 1


def _started(python: Path, root: Path, out: int) -> subprocess.Popen[bytes]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("INVOKEAI_")}
    return subprocess.Popen(
        [python.parent / "invokeai-web", "--root", root],
        env={**environ, "INVOKEAI_EXTERNAL_SANDBOX": "1"},
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=subprocess.STDOUT,
        # Only this program receives Ctrl-C, and then ends that one.
        start_new_session=True,
    )


def _served(process: subprocess.Popen[bytes], url: str, log: Path) -> int:
    """Print the URL once the models are installed, and wait for the end, which only an accident brings."""
    deadline, before = time.monotonic() + _START_S, 0
    while process.poll() is None and time.monotonic() < deadline:
        count = _models_at(url)
        if 0 < count == before:
            _say(f"{count} models are installed. Every image comes from the sandbox: no key, no cost.")
            _say(f"Open {url} - choose a model under External, write a prompt, press Invoke.")
            _say("Press Ctrl-C to stop it.")
            process.wait()
            break
        before = count
        time.sleep(0.5)
    _say(f"Invoke {'ended by itself' if process.poll() is not None else 'did not start'}; see {log}")
    return 1


def _models_at(url: str) -> int:
    """How many external models are installed at a URL; 0 while it does not respond."""
    try:
        with _direct.open(f"{url}/api/v2/models/?base_models=external", timeout=5) as response:
            return len(json.load(response)["models"])
    except (OSError, ValueError):
        return 0


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            _say("It does not end by itself, and is killed.")
        finally:
            # After a second Ctrl-C as well, which ends the wait above.
            process.kill()
            process.wait()


def _free_port() -> int:
    """Invoke's usual port; any other if somebody has it."""
    for port in (_USUAL_PORT, 0):
        with socket.socket() as listener:
            # Or the port would count as taken for a minute after the last Ctrl-C.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            free: int = listener.getsockname()[1]
            return free
    raise OSError("no port is free")


def _say(text: str) -> None:
    print(f"== {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else _ROOT))
