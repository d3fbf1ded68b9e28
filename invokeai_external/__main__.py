"""``python -m invokeai_external`` is the command line."""

from .cli.main import program

program()
