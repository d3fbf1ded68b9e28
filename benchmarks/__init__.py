"""The figures: how long things take and how much they need, beside what people would use instead.

``make bench``, which is ``python -m benchmarks`` in an environment of its own, from the repository's folder:

measuring    rounds, medians, tables, and what a machine is
processes    one child process for each peer, so that nobody's memory or imports are another's
provider     a server of both providers' answers, made beforehand, in a process of its own
page         the tables on the terminal and in docs/benchmarks.md
one_picture  from a prompt to a file with metadata, and ``peers``, who are asked it
gallery      from the provider's last byte to the entry in Invoke's gallery
batches      batches of 1 to 16 in a real Invoke, with a plot
eight        eight pictures from Gemini, which makes one a call
limits       the most memory of any answer and the longest hold of the event loop; ``limited`` meets ``hostile``
loading      importing, ``--help``, first use
starting     Invoke's start, with the plugin and without
cancelling   how long a cancelled call holds Invoke's queue
invokes      the plugin and the built-in, each in a real Invoke, for those of the above that need one

Each question is a module with a ``TITLE`` and a function ``measure(rounds)`` that gives a ``Part``. Figures are ratios
of what ran side by side in one run, interleaved; they are never asserted in tests.
"""
