"""Providers and models as data: one YAML file per provider, its schema, and the registry that finds them by name."""
