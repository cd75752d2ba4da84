"""The experiment's command line: `python -m experiments COMMAND`.

Exit status of `run`, `compare`, `report` and `fuzz`: 0 pass, 1 fail, 3 inconclusive, 4 invalid; 2 for wrong
usage or an error, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from drcio_controller.help import Parser
from experiments.commands.experiment import add_compare, add_look, add_run
from experiments.commands.fuzz import add_fuzz
from experiments.commands.respond import add_respond
from experiments.commands.steady import add_steady
from experiments.commands.stored import add_explore, add_export, add_report
from experiments.commands.sweep import add_sweep
from experiments.errors import ExperimentError
from experiments.records.record import RUNS_FOLDER
from node_twin.errors import TwinError, naming_output
from node_twin.host.ending import ended_by_signals

ERROR_STATUS: Final = 2
INTERRUPTED_STATUS: Final = 130
_COMMANDS: Final = (
    *(add_run, add_look, add_compare, add_sweep, add_respond, add_steady, add_fuzz),
    *(add_report, add_export, add_explore),
)


def main(arguments: Sequence[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    console = Console(stderr=getattr(options, "json", False), highlight=False, soft_wrap=True)
    # What `report` writes lies beside what it reads.
    output: Path | None = getattr(options, "output", getattr(options, "directory", None))
    try:
        with ended_by_signals(), naming_output(output):
            status: int = options.command(options, console)
    except KeyboardInterrupt:
        print(f"nothing is left running{_kept(output)}", file=sys.stderr)
        return INTERRUPTED_STATUS
    except (ExperimentError, TwinError) as error:
        print(f"error: {error.args[0]}", file=sys.stderr)
        if isinstance(error, TwinError) and (tail := getattr(error, "console_tail", "")):
            print(f"--- the guest's console ends with ---\n{tail}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return ERROR_STATUS
    return status


def _kept(output: Path | None) -> str:
    """Name the folder of what was finished before an interruption."""
    if output is None or not output.is_dir():
        return ""
    runs = len(list(output.glob(f"**/{RUNS_FOLDER}/*.json")))
    return (
        f"; {runs} finished run{'s are' if runs != 1 else ' is'} in {output}" if runs else f"; see {output}"
    )


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands; each sets the function that carries it out as `command`."""
    parser = Parser(prog="python -m experiments", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in _COMMANDS:
        add(commands)
    return parser
