"""From a request and a model config to the calls to make. Pure."""
