"""What can go wrong before anything is deployed.

StackError              shown to the user as it is, without a traceback
├── ConfigError         a configuration value, or a combination of them, is refused
└── RenderError         a stack cannot be rendered
"""

import pulumi


class StackError(pulumi.RunError):
    """Report what is wrong, and on a line of its own what to do about it.

    A `pulumi.RunError`, because the Pulumi engine shows those without a traceback.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message}\nhint: {hint}" if hint else message)


class ConfigError(StackError):
    """A configuration value, or a combination of them, is refused."""


class RenderError(StackError):
    """A stack cannot be rendered."""
