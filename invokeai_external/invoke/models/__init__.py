"""The catalogue's models as models of Invoke."""
