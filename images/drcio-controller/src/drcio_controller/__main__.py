"""Run the agent as `python -m drcio_controller`."""

import sys

from drcio_controller.cli import main

sys.exit(main())
