"""For authors of adapters: a kit that checks whether a wire format behaves as the service expects."""

from .conformance import Finding, GoodResponse, check_provider

__all__ = ["Finding", "GoodResponse", "check_provider"]
