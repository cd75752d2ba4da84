"""`python -m experiments.twin check`: the twin's volume against its formula and what is published."""

import sys

from experiments.twin import check

if __name__ == "__main__":
    if sys.argv[1:2] != ["check"]:
        sys.exit("usage: python -m experiments.twin check [--kernel 6.12|6.1|PATH] [--output FOLDER]")
    sys.exit(check.main(sys.argv[2:]))
