"""Providers and models as data: one YAML file a provider, its schema, and the registry that finds both by name."""
