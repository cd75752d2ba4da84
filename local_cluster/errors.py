"""What can go wrong with the local cluster.

ClusterError
├── ToolMissing     a program that it needs is not on this machine
├── ImageError      an image could not be built, or not be put into the node's store
├── PlaneError      a part of the control plane ended, or does not answer
└── NodeError       the node did not come up, or was lost
"""

from __future__ import annotations


class ClusterError(Exception):
    """Base: what is wrong, and a remedy on its own line."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message if hint is None else f"{message}\nhint: {hint}")
        self.hint = hint


class ToolMissing(ClusterError):
    """A program is in none of the places where it is looked for."""


class ImageError(ClusterError):
    """Building, exporting or unpacking an image failed; carries the tool's last lines."""


class PlaneError(ClusterError):
    """The control plane is not ready, or has ended; carries the ends of its logs."""


class NodeError(ClusterError):
    """The node did not register or is not ready; carries what it logged last."""
