"""`python -m node_twin check`: the twin's volume against its formula and what is published."""

import sys

from node_twin.check import rows

if __name__ == "__main__":
    if sys.argv[1:2] != ["check"]:
        sys.exit("usage: python -m node_twin check [--kernel 6.12|6.1|PATH] [--output FOLDER]")
    sys.exit(rows.main(sys.argv[2:]))
