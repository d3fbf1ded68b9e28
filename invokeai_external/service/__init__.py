"""The entry point of the library: plan, send, collect."""
