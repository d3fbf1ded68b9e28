"""``python -m invokeai_external`` is the command line."""

import sys

from .cli.app import main

sys.exit(main())
