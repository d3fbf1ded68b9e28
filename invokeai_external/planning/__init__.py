"""Plans the calls for a request. Pure."""
