"""What a command line prints of itself: a sentence about each command, defaults that say something, and, by
the controller's `help`, what was meant by a mistyped word.
"""

from __future__ import annotations

import argparse
from typing import Any, TypeAlias

from drcio_controller.help import Parser

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


class Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows each option's default, and none where it only means that nothing was given."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False) else super()._get_help_string(action)


def add_command(commands: Commands, name: str, *, help: str, **more: Any) -> Parser:
    """Add a command whose own `--help` begins with a sentence: its `help`, where no other is given."""
    about = more.pop("description", f"{help[0].upper()}{help[1:]}.")
    return commands.add_parser(name, help=help, description=about, formatter_class=Help, **more)
