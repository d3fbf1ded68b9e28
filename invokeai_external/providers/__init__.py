"""The client adapters: one module a provider, all of the shape that ``base`` describes."""
