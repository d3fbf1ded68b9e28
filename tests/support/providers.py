"""The providers that Invoke knows, which the sandbox emulates: most tests are about them."""

from __future__ import annotations

from invokeai_external.providers import catalog

__all__ = ["IN_INVOKE"]

IN_INVOKE = tuple(provider.id for provider in catalog.providers() if provider.in_invoke)
"""Their ids."""
