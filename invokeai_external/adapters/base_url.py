"""Checks the base URLs that users write, and brings them into one form."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from urllib.parse import urlsplit

from ..errors import NotConfiguredError, Remedy, is_variable
from ..root_folder import USER_FILE
from .base import Adapter

__all__ = ["is_private_host", "is_public_host", "normalise_base_url"]


_LONGEST = 2_000
"""In characters: as long as the URLs that all programs take. httpx takes 65,536."""


_ENDPOINT = r"/(?:images/(?:generations|edits)|models(?:/[^/]*)?)$"
"""The endpoints that the adapters append to a base URL. Users often copy a whole URL, so they are removed."""


_HOST_AND_PORT = r"(?ai:(?:[\w-]+(?:\.[\w-]+)*\.?|\[[0-9a-f:.]+\])(?::[0-9]*)?)"
"""A host name in ASCII (others are written in Punycode) or an IP address, with an optional port."""


_NUMBER = r"[0-9]+|0x[0-9a-f]*"
"""An IP address as a single number, which systems resolve too."""


_LOCAL = (".local", ".localhost", ".internal")
"""How names end that are only valid in a local network (RFC 6761, RFC 6762, and ICANN for the last)."""

_LOCAL_TOO = (*_LOCAL, ".lan", ".home", ".home.arpa", ".corp", ".intranet")
"""With those that routers and companies use."""

_DOTS = str.maketrans(dict.fromkeys("\u3002\uff0e\uff61", "."))
"""What separates the parts of a host name besides a dot (RFC 3490, 3.1)."""


def is_public_host(host: str) -> bool:
    """True for host names and IP addresses that are neither of this machine nor of a private network.

    It is stricter than the opposite of ``is_private_host``, which says where a key may go without encryption: this one
    says what a server may have this machine request.
    """
    name = unicodedata.normalize("NFKC", host).translate(_DOTS).lower().rstrip(".")
    address = _address(name.partition("%")[0])
    if address is None:
        # Systems also resolve an IP address that is written as one number, or with octal or fewer parts.
        is_number = re.fullmatch(_NUMBER, name.rpartition(".")[2])
        return "." in name and not is_number and not name.endswith(_LOCAL_TOO)
    return address.is_global and not address.is_multicast and not address.is_reserved


def is_private_host(host: str) -> bool:
    """True for host names and IP addresses of this machine or of a private network."""
    address = _address(host)
    if address is None:
        # A name without a dot can only be resolved locally, unless it is an IP address written as a number.
        without_dot = "." not in host and not re.fullmatch(_NUMBER, host)
        return without_dot or host.endswith(_LOCAL)
    return address.is_private


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that a host is, as IPv4 where IPv6 only wraps that; None for a name."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def normalise_base_url(url: str, adapter: Adapter, source: str | None = None) -> str:
    """Check a base URL, and return it without a trailing slash, so that ``/images/edits`` can be appended.

    Args:
        url: The URL as the user wrote it. A path is kept, since gateways use their own; an endpoint at its end is
            removed.
        adapter: The adapter of the provider that it is for. Without a path, its ``api_version`` is appended.
        source: The environment variable or the file of keys that it is from, for the remedy; None for the user's
            ``providers:``.

    Raises:
        NotConfiguredError: It is not a URL of http or https, it is plain http to a public host, or it contains a user
            name, password, query or fragment.
    """

    provider = adapter.provider

    def refuse(why: str) -> NotConfiguredError:
        setting = f"external_{provider.id}_base_url in {source}"
        if source is None:
            setting = f"providers.{provider.id}.base_url in {USER_FILE}"
        elif is_variable(source):
            setting = f"{source} in the environment"
        text = f"Use a URL such as {provider.base_url}, or remove the setting: {setting}."
        if source is None or provider.base_url is None:
            text = f"Use a URL such as https://api.example.com/v1 in {setting}."
        return NotConfiguredError(
            f"The base URL of {provider.name} {why}.",
            remedy=Remedy(
                text,
                action="fix_base_url",
                provider=provider.id,
                url=provider.base_url,
                source=source,
            ),
            provider=provider.id,
        )

    url = url.strip()
    if len(url) > _LONGEST:
        raise refuse(f"is longer than {_LONGEST:,} characters")
    if " " in url or not url.isprintable():
        raise refuse("must not contain spaces or line breaks")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise refuse("is not a valid URL") from None
    if parts.scheme not in ("http", "https") or not host:
        raise refuse("must start with https:// and contain a host name")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise refuse("must not contain a user name, password, query or fragment")
    if not re.fullmatch(_HOST_AND_PORT, parts.netloc):
        raise refuse("must have a host name of ASCII letters, digits, dots and hyphens")
    if parts.scheme == "http" and not is_private_host(host):
        raise refuse("is plain http to a public host, so others could read the key; use https")
    path = (
        re.sub(_ENDPOINT, "", parts.path.rstrip("/")).rstrip("/")
        if parts.path.strip("/")
        else f"/{adapter.api_version}".rstrip("/")
    )
    return f"{parts.scheme}://{parts.netloc}{path}"
