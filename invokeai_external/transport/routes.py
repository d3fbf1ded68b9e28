"""Makes the connections of the HTTP client: directly or through a proxy, each kind when it is first needed."""

from __future__ import annotations

import os
import ssl
from functools import cached_property
from pathlib import Path

import httpx

from ..errors import SettingsError
from ..untrusted_text import NAME, fit_to_show
from .failures import is_about_tls, not_through_proxy
from .head_timeout import is_connecting, report_reads
from .proxies import Proxies, Proxy

__all__ = ["Routes"]


class Routes(httpx.AsyncBaseTransport):
    """Sends each request on its route.

    What the environment says of proxies and certificates concerns only the URLs that need them: a broken value is an
    error of the request that would use it.

    Args:
        limits: How many connections each route has, and how long they are kept.

    Raises:
        NetworkError: When a request is sent, if its proxy cannot be reached or does not connect.
        SettingsError: When a request is sent, if the environment names a proxy or certificates that it needs and that
            cannot be used.
    """

    def __init__(self, limits: httpx.Limits) -> None:
        self._limits = limits
        self._proxies = Proxies.of_system()
        self._routes: dict[tuple[Proxy | None, bool], httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        proxy, route = self.of(request.url)
        try:
            return await route.handle_async_request(request)
        except (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError, httpx.ProxyError) as error:
            # The far host's certificate is read through the proxy.
            if proxy is None or is_about_tls(error) or not _is_before_sending(error):
                raise
            raise not_through_proxy(error, request.url.host, proxy.address, proxy.source) from None

    def of(self, url: httpx.URL) -> tuple[Proxy | None, httpx.AsyncHTTPTransport]:
        """The proxy for a URL, if there is one, and what sends through it; nothing is connected.

        Raises:
            SettingsError: The environment names a proxy or certificates that it needs and that cannot be used.
        """
        proxy, is_tls = self._proxies.for_url(url), url.scheme == "https"
        route = self._routes.get((proxy, is_tls))
        if route is None:
            route = self._routes[proxy, is_tls] = self._new_route(proxy, is_tls)
        return proxy, route

    async def aclose(self) -> None:
        for route in self._routes.values():
            await route.aclose()

    def _new_route(self, proxy: Proxy | None, is_tls: bool) -> httpx.AsyncHTTPTransport:
        certificates = self._certificates if is_tls else False
        route = httpx.AsyncHTTPTransport(verify=certificates, limits=self._limits, proxy=proxy.url if proxy else None)
        report_reads(route)
        return route

    @cached_property
    def _certificates(self) -> ssl.SSLContext:
        """Those of SSL_CERT_FILE, SSL_CERT_DIR or the package certifi, as httpx chooses between them."""
        variable = next((name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)), None)
        if variable == "SSL_CERT_DIR" and not any(Path(p).is_dir() for p in os.environ[variable].split(os.pathsep)):
            raise _unusable(variable, "is not a folder")
        for name in ("SSL_CERT_FILE", "SSLKEYLOGFILE"):
            # OpenSSL would wait for ever at a pipe, and read a device without an end.
            if (path := os.environ.get(name)) and _is_special(Path(path)):
                raise _unusable(name, "is not a regular file")
        try:
            return httpx.create_ssl_context()
        except OSError as error:
            # Only a file that is written to has its name in the error.
            variable = "SSLKEYLOGFILE" if error.filename else variable
            if variable is None:
                raise SettingsError(
                    f"The certificates of the package certifi cannot be used: {error.strerror}.",
                    remedy="Install certifi again, or let SSL_CERT_FILE name a file with certificates.",
                ) from None
            is_read = isinstance(error, ssl.SSLError)
            raise _unusable(
                variable, "contains no certificate" if is_read else f"cannot be used: {error.strerror}"
            ) from None


def _is_before_sending(error: httpx.TransportError) -> bool:
    """True if nothing of the request was sent: also if a proxy's own response ends too early, or is not HTTP."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        return True
    return isinstance(error, httpx.ReadError | httpx.RemoteProtocolError) and is_connecting()


def _is_special(path: Path) -> bool:
    """True for a pipe, a device or a socket."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _unusable(variable: str, why: str) -> SettingsError:
    named = fit_to_show(os.environ[variable], NAME)
    return SettingsError(f"{variable} names {named}, which {why}.", remedy=f"Correct {variable}, or unset it.")
