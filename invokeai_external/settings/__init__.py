"""Reads settings and keys, and decides which source has priority."""
