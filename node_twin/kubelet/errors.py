"""Everything that can go wrong in the twin's kubelet.

TwinError
`-- KubeletError
    |-- ManifestError         the Pod manifest is wrong, or asks for what the twin does not have
    |-- ContainerStartError   a container's process could not be started
    `-- RuntimeLost           the shim, and every container with it, is gone
"""

from node_twin.errors import TwinError


class KubeletError(TwinError):
    """Something in the twin's kubelet went wrong."""


class ManifestError(KubeletError):
    """A Pod manifest cannot be run; the message names where, what was found and what is expected."""


class ContainerStartError(KubeletError):
    """A container's process could not be started."""


class RuntimeLost(KubeletError):
    """The process that forks containers has ended."""
