"""Run the in-cluster experiment: `python -m experiments.job`."""

import sys

from experiments.job.cli import main

sys.exit(main())
