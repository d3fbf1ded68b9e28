"""A local emulator of OpenAI's image API and Google's Gemini API, for building and testing free of charge.

``create_app()`` returns an ASGI application that behaves like both services: the same checks, the same errors, the same
fields. Only the base URL changes: ``http://HOST:PORT/openai/v1`` for OpenAI, ``http://HOST:PORT/gemini`` for Gemini
(clients add ``/v1`` or ``/v1beta`` themselves). The images are drawn here, from the prompt and the seed; nothing
leaves the machine, and nothing is billed. Every key is valid unless it contains the word ``wrong`` or ``invalid``.
"""

from __future__ import annotations

from .app import create_app

__all__ = ["create_app"]
