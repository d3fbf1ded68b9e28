"""``python -m invokeai_external`` is the command line."""

import sys

from invokeai_external.cli import main

sys.exit(main())
