"""The client adapters: one module for each wire format, all of the shape that `base` describes."""
