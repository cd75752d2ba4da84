"""`python -m node_twin check`: the twin's volume against its formula and what is published."""

import sys

from node_twin.check import rows

if __name__ == "__main__":
    command, *arguments = sys.argv[1:] or [""]
    if command in ("-h", "--help"):
        rows.parser().parse_args([command])
    if command != "check":
        rows.parser().error(f"found {command!r}; expected check, the only command")
    sys.exit(rows.main(arguments))
