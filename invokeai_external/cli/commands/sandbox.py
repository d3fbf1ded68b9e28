"""``sandbox``: both providers' APIs on a local port."""

from __future__ import annotations

import logging
import socket

import uvicorn

from ...errors import InvalidRequestError
from ...sandbox import create_app
from .. import report

__all__ = ["run"]

_HOST = "127.0.0.1"


def run(port: int) -> None:
    """Serve until interrupted; raises InvalidRequestError if the port is taken."""
    # asyncio switches off the delay of small packets only where it sees that the protocol is TCP.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with listener:
        try:
            listener.bind((_HOST, port))
            # From here on connections wait for the server, so that nobody who reads the address is refused.
            listener.listen()
        except OSError as error:
            raise InvalidRequestError(
                f"Port {port} cannot be used: {error.strerror}.", remedy="Name another with --port, or 0 for any."
            ) from None
        address = f"http://{_HOST}:{listener.getsockname()[1]}"
        report.say(f"The sandbox serves both providers at {address}; Ctrl-C ends it. Any key will do:")
        for name, path in (("OPENAI", "openai/v1"), ("GEMINI", "gemini/v1beta")):
            variable = f"INVOKEAI_EXTERNAL_{name}"
            report.say(f"  export {variable}_BASE_URL={address}/{path} {variable}_API_KEY=sandbox")
        server = uvicorn.Server(uvicorn.Config(create_app(), log_level="warning", timeout_graceful_shutdown=1))
        # Of each call that is still open when it ends, uvicorn would write a traceback.
        logging.getLogger("uvicorn.error").addFilter(lambda _: not server.should_exit)
        server.run(sockets=[listener])
