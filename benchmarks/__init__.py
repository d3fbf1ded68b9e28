"""The figures: how long things take and how much they need, beside what people would use instead.

``make bench``, which is ``python -m benchmarks`` in an environment of its own, from the repository's folder:

measuring    rounds, medians, tables, and what a machine is
processes    one child process for each peer, so that nobody's memory or imports are another's
provider     a server of both providers' answers, made beforehand, in a process of its own
page         the tables on the terminal and in docs/benchmarks.md
one_picture  question 1: from a prompt to a file with metadata, and ``peers``, who are asked it
eight        question 2: eight pictures from Gemini, which makes one a call
loading      question 3: importing, ``--help``, first use

Each question is a module with a ``TITLE`` and a function ``measure(rounds)`` that gives a ``Part``. Figures are ratios
of what ran side by side in one run, interleaved; they are never asserted in tests.
"""
