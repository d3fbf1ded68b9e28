"""Lets this repository be cloned straight into the ``nodes`` folder of an Invoke root.

The invocation nodes come with a later release; until then Invoke finds a pack without nodes here, which does no harm.
"""
