"""Measures how long things take and how much memory they need, beside the alternatives.

``make bench`` runs ``python -m benchmarks`` in a separate environment, from the repository's folder:

measuring   rounds, medians, tables, and a description of the machine
processes   one child process for each peer, so that they share no memory and no imports
provider    a server with prepared responses of both providers, in a separate process
page        the tables on the terminal and in docs/benchmarks.md
one_image   from a prompt to a file with metadata, by each of the ``peers``
gallery     from the provider's last byte to the entry in Invoke's gallery
batches     batches of 1 to 16 in a real Invoke, with a plot
eight       eight images from Gemini, which makes one per request
limits      the peak memory of each response and the longest hold of the event loop; ``limited`` meets ``hostile``
loading     importing, ``--help``, first use
starting    Invoke's start, with the plugin and without
cancelling  how long a cancelled request holds Invoke's queue
invokes     the plugin and the built-in models, each in a real Invoke, for the modules above that need one

Each question is a module with a ``TITLE`` and a function ``measure(rounds)`` that returns a ``Part``. Figures are
ratios of what ran side by side in one run, interleaved; no test asserts them.
"""
