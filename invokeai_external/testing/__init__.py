"""For authors of adapters: a kit that checks whether a wire format behaves as the service expects."""

from .bodies import png_of
from .conformance import Finding, GoodResponse, check_provider
from .scripted_server import Response

__all__ = ["Finding", "GoodResponse", "Response", "check_provider", "png_of"]
