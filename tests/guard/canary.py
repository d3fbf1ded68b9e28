"""A key that works in the sandbox and must never be seen outside of ``api_keys.yaml``."""

CANARY = "sk-canary-3f9d27c1e8b64a05-never-to-be-seen"
