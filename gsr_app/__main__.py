"""`python -m gsr_app` is the command line."""

import sys

from gsr_app.harness.cli import main

sys.exit(main())
