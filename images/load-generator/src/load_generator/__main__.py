"""Run the command line as `python -m load_generator`."""

import sys

from load_generator.cli import main

if __name__ == "__main__":
    sys.exit(main())
