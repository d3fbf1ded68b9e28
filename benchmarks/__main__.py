"""``python -m benchmarks [QUESTION ...] [--rounds N]``: measures, prints the tables, writes docs/benchmarks.md."""

from __future__ import annotations

import argparse
import sys

from . import batches, cancelling, eight, gallery, limits, loading, one_image, page, spending, starting

QUESTIONS = {
    "one-image": one_image,
    "gallery": gallery,
    "batches": batches,
    "eight": eight,
    "limits": limits,
    "spending": spending,
    "loading": loading,
    "starting": starting,
    "cancelling": cancelling,
}
"""By the name of their place in docs/benchmarks.md."""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measures, and writes docs/benchmarks.md."
    )
    parser.add_argument(
        "questions", nargs="*", metavar="QUESTION", help=f"one of {', '.join(QUESTIONS)} [default: all]"
    )
    parser.add_argument("--rounds", type=int, default=7, help="how often to measure each [default: 7]")
    arguments = parser.parse_args()
    if unknown := set(arguments.questions) - set(QUESTIONS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; use one of {', '.join(QUESTIONS)}")
    for name in arguments.questions or QUESTIONS:
        part = QUESTIONS[name].measure(arguments.rounds, lambda what: print(f"... {what}", file=sys.stderr))
        page.write(name, part, arguments.rounds)
        print(f"\n## {part.title}\n\n{page.shown(part)}\n")


if __name__ == "__main__":
    main()
