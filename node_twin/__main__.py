"""`python -m node_twin check`: the twin's volume against its formula and what is published."""

import sys

from node_twin.check import rows

USAGE = "usage: python -m node_twin check [--kernel 6.12|6.1|PATH] [--output FOLDER]"

if __name__ == "__main__":
    if sys.argv[1:2] in (["-h"], ["--help"]):
        print(USAGE)
        sys.exit(0)
    if sys.argv[1:2] != ["check"]:
        print(USAGE, file=sys.stderr)
        sys.exit(2)
    sys.exit(rows.main(sys.argv[2:]))
