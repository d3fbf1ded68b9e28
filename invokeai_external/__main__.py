"""``python -m invokeai_external`` is the command line."""

from .cli.entry_point import program

program()
