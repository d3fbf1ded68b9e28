"""The facade: plan, send, collect."""
