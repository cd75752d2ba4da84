"""Programs of this machine that the twin starts: where they are, and what to do where one is missing."""

from __future__ import annotations

import shutil

from node_twin.errors import MissingTool


def require_tools(*names: str) -> None:
    """Raise `MissingTool` naming every program of `names` that is not on PATH."""
    missing = [name for name in names if find_tool(name) is None]
    if missing:
        raise MissingTool(
            f"the node twin needs {', '.join(missing)}, not found on this machine",
            hint="`make setup` installs what the twin needs (Debian and its derivatives)",
        )


def find_tool(name: str) -> str | None:
    """Locate a program on PATH or in sbin, which a user's PATH leaves out on Debian."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")
