"""``python -m invokeai_external`` is the command line."""

from .cli.start import program

program()
