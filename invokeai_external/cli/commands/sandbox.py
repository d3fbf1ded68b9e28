"""``sandbox``: serves both providers' APIs on a local port."""

from __future__ import annotations

import logging
import socket

import uvicorn

from ...adapters.base import SANDBOX_KEY
from ...adapters.find import adapter_of
from ...errors import InvalidRequestError
from ...providers import catalog
from ...providers.registry import Registry
from ...sandbox import create_app
from ...service.sandboxed import models_by_wire_format
from ...settings.keys import variable_name
from .. import report
from ..remedies import command_line

__all__ = ["run"]

_HOST = "127.0.0.1"


def run(port: int) -> None:
    """Serve until interrupted; raises InvalidRequestError if the port cannot be used."""
    # asyncio turns off the delay of small packets only if it sees that the protocol is TCP.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with listener:
        try:
            listener.bind((_HOST, port))
            # From here on, connections wait for the server, so that a client that reads the URL is not refused.
            listener.listen()
        except OSError as error:
            raise InvalidRequestError(
                f"Port {port} cannot be used: {error.strerror}.",
                remedy=f"Use any free port: {command_line('sandbox', '--port', '0')}",
            ) from None
        address = f"http://{_HOST}:{listener.getsockname()[1]}"
        report.say(f"The sandbox is running at {address}; press Ctrl-C to stop it. To use it, in another terminal:")
        served = [
            provider for provider in catalog.providers() if provider.base_url and adapter_of(provider).sandbox_path
        ]
        for provider in served:
            url = f"{address}/{adapter_of(provider).sandbox_path}"
            report.say(f"  export {variable_name(provider.id, 'base_url')}={url}")
            report.say(f"  export {variable_name(provider.id, 'api_key')}={SANDBOX_KEY}")
        app = create_app(others=models_by_wire_format(Registry(), served))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        # Otherwise uvicorn logs a traceback for each call that is still open at the end.
        logging.getLogger("uvicorn.error").addFilter(lambda _: not server.should_exit)
        server.run(sockets=[listener])
