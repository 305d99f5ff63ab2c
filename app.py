"""The app: `python app.py`, or a Space. The same as `gsr app`."""

import sys

from gsr_app.harness.cli import main

sys.exit(main(["app", *sys.argv[1:]]))
