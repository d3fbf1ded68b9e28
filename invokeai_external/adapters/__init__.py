"""The adapters: one module per wire format, each with the interface in ``base``. Pure."""
