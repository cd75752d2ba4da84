"""Run the command line as `python -m lp_batch`."""

import sys

from lp_batch.cli import main

if __name__ == "__main__":
    sys.exit(main())
