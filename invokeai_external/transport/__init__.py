"""The HTTP client and what goes over it: messages, retries, events, and bodies read within limits."""
