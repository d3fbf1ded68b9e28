"""Starts the calls of queued runs before their turn."""
