"""Which proxy of the environment a URL is reached through, and which hosts are reached directly."""

from __future__ import annotations

import ipaddress
import os
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec

import httpx

from ..errors import SettingsError

__all__ = ["Proxies", "Proxy"]

_SCHEMES = ("http", "https", "socks5", "socks5h")
"""As httpx accepts them."""

_IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy.

    Attributes:
        url: Its URL, which may contain a password.
        source: Where it was set: the name of an environment variable, or the system's settings.
    """

    url: str = field(repr=False)
    source: str

    @property
    def address(self) -> str:
        """Its host and port, to be shown."""
        return httpx.URL(self.url).netloc.decode("ascii")


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies that are set.

    Attributes:
        by_scheme: What was written for ``http``, ``https`` and ``all``, as it stands.
        without: The entries of NO_PROXY.
    """

    by_scheme: Mapping[str, Proxy] = field(default_factory=dict)
    without: tuple[str, ...] = ()

    @classmethod
    def of_system(cls) -> Proxies:
        """Those of HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, or else of the settings of macOS or Windows."""
        found = urllib.request.getproxies()
        entries = (entry.strip() for entry in found.get("no", "").split(","))
        return cls(
            {scheme: Proxy(found[scheme], _source(scheme)) for scheme in ("http", "https", "all") if found.get(scheme)},
            tuple(entry for entry in entries if entry),
        )

    def for_url(self, url: httpx.URL) -> Proxy | None:
        """The proxy for a URL; None if it is reached directly, as this machine always is.

        Raises:
            SettingsError: The proxy for this URL cannot be used.
        """
        proxy = self.by_scheme.get(url.scheme) or self.by_scheme.get("all")
        if proxy is None or _is_this_machine(url.host) or any(_fits(entry, url) for entry in self.without):
            return None
        return _usable(proxy)


def _source(scheme: str) -> str:
    """Where the proxy for a scheme was set; Python reads the names in any case, those in lower case first."""
    name = f"{scheme}_proxy"
    names = [variable for variable, value in os.environ.items() if variable.lower() == name and value]
    return name if name in names else names[0] if names else "the proxy settings of this system"


def _usable(proxy: Proxy) -> Proxy:
    # Some .env files pass the quotes on.
    text = proxy.url.strip().strip("\"'").strip()
    text = text if "://" in text else f"http://{text}"
    # GNOME writes socks://.
    text = f"socks5{text.removeprefix('socks')}" if text.lower().startswith("socks://") else text
    try:
        url = httpx.URL(text)
        is_url = bool(url.host) and url.port != 0 and (url.port or 1) < 1 << 16 and url.scheme in _SCHEMES
    except (httpx.InvalidURL, ValueError):
        is_url = False
    if not is_url:
        raise SettingsError(
            f"{proxy.source} is not a valid URL of a proxy.",
            remedy="Set it to a URL such as http://proxy.example:8080 or socks5://127.0.0.1:1080, or unset it.",
        )
    if url.scheme.startswith("socks") and find_spec("socksio") is None:
        raise SettingsError(
            f"{proxy.source} names a SOCKS proxy, which needs the package socksio.",
            remedy="Install it beside this program with: pip install 'httpx[socks]'. Or set an http:// proxy.",
        )
    return Proxy(str(url), proxy.source)


def _is_this_machine(host: str) -> bool:
    address = _address(host)
    return address.is_loopback if address else host == "localhost"


def _fits(entry: str, url: httpx.URL) -> bool:
    """True if an entry of NO_PROXY names the host of a URL: by name, domain, IP address or range of them.

    The entry may have a scheme and a port. One that cannot be read fits nothing.
    """
    if entry == "*":
        return True
    scheme, _, name = entry.lower().rpartition("://")
    if scheme not in ("", "all", url.scheme):
        return False
    address, network = _address(url.host), _network(name)
    if network:
        return address in network if address else False
    host, port = _host_and_port(name)
    if port and port != str(url.port or {"http": 80, "https": 443}.get(url.scheme)):
        return False
    if address:
        return _address(host) == address
    domain = host.removeprefix("*").removeprefix(".").removesuffix(".")
    return bool(domain) and (url.host == domain or url.host.endswith(f".{domain}"))


def _host_and_port(name: str) -> tuple[str, str]:
    """The two parts of ``example.com:8080`` or ``[::1]:8080``; the port is empty if there is no port."""
    host, colon, port = name.rpartition(":")
    return (host, port) if colon and port.isdigit() else (name, "")


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text.strip("[]"), strict=False)
    except ValueError:
        return None


def _address(text: str) -> _IPAddress | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
