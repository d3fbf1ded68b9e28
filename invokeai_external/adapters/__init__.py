"""The adapters: one module per wire format, each an `Adapter` as `base` defines it. Pure."""
