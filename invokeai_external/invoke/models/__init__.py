"""The catalogue's models as Invoke's models."""
