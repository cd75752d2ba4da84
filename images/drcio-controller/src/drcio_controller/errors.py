"""The controller's error tree.

ControllerError
├── ConfigError          the configuration file cannot be used; the last good one stays in force
├── KernelFileError      reading or writing a kernel file failed
│   ├── Vanished         the cgroup or device is gone: normal on a node, never an error to a user
│   ├── Malformed        the kernel (or a fuzzer) showed something this program cannot read
│   ├── Busy             the kernel refuses for now, because somebody is in the cgroup: try again
│   ├── NotSupported     the kernel, the device or the mount refuses this knob for good
│   └── ReadBackMismatch a write succeeded and did not take
├── NoSuchVolume         a volume is described that cannot be
└── NodeError            this node cannot be managed at all (no cgroup v2, no such folder)
"""

from __future__ import annotations


class ControllerError(Exception):
    """Report what went wrong in one line; `hint` is the remedy."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(ControllerError):
    """Refuse a configuration file."""


class KernelFileError(ControllerError):
    """Report a kernel file that could not be read or written as expected."""


class Vanished(KernelFileError):
    """Report that the cgroup or device went away between two looks."""


class Malformed(KernelFileError):
    """Report what in a kernel file is not in the documented format."""


class Busy(KernelFileError):
    """Report that the kernel refuses a write as long as somebody else is there."""


class NotSupported(KernelFileError):
    """Report that a knob is missing, read-only or refused by the kernel."""


class ReadBackMismatch(KernelFileError):
    """Report that a knob reads differently from what was just written."""


class NoSuchVolume(ControllerError):
    """Refuse the description of a volume that EBS does not sell."""


class NodeError(ControllerError):
    """Explain why this node cannot be managed."""
