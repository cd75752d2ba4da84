"""What `--help` prints: a sentence about each command, and defaults that say something."""

from __future__ import annotations

import argparse
from typing import Any, TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


class Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows each option's default, and none where it only means that nothing was given."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False) else super()._get_help_string(action)


def add_command(commands: Commands, name: str, *, help: str, **more: Any) -> argparse.ArgumentParser:
    """Add a command whose own `--help` begins with a sentence: its `help`, where no other is given."""
    about = more.pop("description", f"{help[0].upper()}{help[1:]}.")
    return commands.add_parser(name, help=help, description=about, formatter_class=Help, **more)
