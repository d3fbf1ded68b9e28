"""A fuzzer over everything foreign: answers, streams, headers, images, metadata, settings files.

Every case is one blob of bytes, made from a seed: the same seed gives the same case. ``python -m tests.fuzz`` runs for
``FUZZ_S`` seconds (``make fuzz``); the tests run a fixed number of cases with a fixed seed. A case that once failed
is in ``examples/`` under a name that says what it is, and is run with the tests.
"""
