"""Base URLs as users write them, made ready for endpoints to be added."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from ..errors import NotConfiguredError
from ..providers.schema import ProviderConfig

__all__ = ["is_private_host", "normalise_base_url"]


_ENDPOINT = r"/(?:images/(?:generations|edits)|models(?:/[^/]*)?)$"
"""What the adapters put after a base URL, in the end of a path; people copy whole addresses."""


_HOST_AND_PORT = r"(?ai:(?:[\w-]+(?:\.[\w-]+)*\.?|\[[0-9a-f:.]+\])(?::[0-9]*)?)"
"""A name in ASCII (others are written in punycode) or an address."""


_NUMBER = r"[0-9]+|0x[0-9a-f]*"
"""An IPv4 address as one number, which systems resolve too."""


def is_private_host(host: str) -> bool:
    """True for names and addresses that do not leave the own machine or network."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # A name without a dot can only be resolved locally; a bare number is an address in disguise.
        without_dot = "." not in host and not re.fullmatch(_NUMBER, host)
        return without_dot or host.endswith((".local", ".localhost", ".internal"))
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_private


def normalise_base_url(url: str, provider: ProviderConfig) -> str:
    """A base URL without a trailing slash, to which an endpoint such as ``/images/edits`` can be added.

    Args:
        url: As the user wrote it. What has a path is used as it stands, since gateways have paths of their own; an
            endpoint at its end is cut off.
        provider: Whose it is: its ``api_version`` is added where there is no path.

    Raises:
        NotConfiguredError: Not a URL of http or https, plain http to a public host, or with a name, password, query or
            fragment.
    """

    def refuse(why: str) -> NotConfiguredError:
        return NotConfiguredError(
            f"The base URL of {provider.name} {why}.",
            remedy=f"Make it an address like {provider.base_url}, or remove it: external_{provider.id}_base_url in "
            f"api_keys.yaml, or INVOKEAI_EXTERNAL_{provider.id.upper()}_BASE_URL in the environment.",
            provider=provider.id,
        )

    url = url.strip()
    if " " in url or not url.isprintable():
        raise refuse("must hold no spaces or line ends")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise refuse("cannot be read") from None
    if parts.scheme not in ("http", "https") or not host:
        raise refuse("must begin with https:// and name a host")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise refuse("must hold no user name, password, query or fragment")
    if not re.fullmatch(_HOST_AND_PORT, parts.netloc):
        raise refuse("must name its host in plain letters, digits, dots and dashes")
    if parts.scheme == "http" and not is_private_host(host):
        raise refuse("is plain http to a public host, where the key could be read on the way; use https")
    path = (
        re.sub(_ENDPOINT, "", parts.path.rstrip("/")).rstrip("/")
        if parts.path.strip("/")
        else f"/{provider.api_version}"
    )
    return f"{parts.scheme}://{parts.netloc}{path}"
