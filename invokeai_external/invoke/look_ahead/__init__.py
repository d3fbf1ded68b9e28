"""Sends the requests of queued items before their turn."""
