"""Where a stack's cluster is that others use too, and what it answers.

Asked with `kubectl`, which has every way to log in that a kubeconfig may name.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

from stacks.configuration.settings import EXISTING, Settings
from stacks.errors import ConfigError
from stacks.guards.deployed import platform_kubeconfig

_TIMEOUT_S: Final = 30

Tree = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A cluster, and how it is asked."""

    name: str
    """As a message calls it."""
    kubectl: str = "kubectl"
    """The command that a user types to reach it."""
    way_in: str = ""
    """What a user does before, at the end of a hint."""
    context: str = ""
    """Of the user's kubeconfig."""
    kubeconfig: str = field(default="", repr=False)
    """Another one than the user's: its text."""

    def objects(self, command: str, kinds: Sequence[str]) -> Sequence[Tree]:
        """Return all objects of some kinds, in all namespaces.

        Raises:
            LookupError: nobody answers, or not to this user.
        """
        query = (
            "get",
            ",".join(kinds),
            "--all-namespaces",
            "--output=json",
            f"--request-timeout={_TIMEOUT_S}s",
        )
        if not self.kubeconfig:
            return _items(_kubectl(command, (f"--context={self.context}", *query)))
        # Credentials: in a file that is the user's alone, and gone at once.
        with tempfile.TemporaryDirectory(prefix="drcio-") as folder:
            file = Path(folder) / "kubeconfig"
            file.touch(mode=0o600)
            file.write_text(self.kubeconfig)
            return _items(_kubectl(command, (f"--kubeconfig={file}", *query)))

    def refuse_unknown_context(self, command: str) -> None:
        """Refuse a name that the kubeconfig does not have: a preview would go on without a cluster."""
        if not self.context:
            return
        try:
            known = _kubectl(command, ("config", "get-contexts", "--output=name")).split()
        except LookupError:
            return
        if self.context not in known:
            raise ConfigError(
                f"drcio:kubeContext is {self.context!r}, which the kubeconfig does not have; "
                f"expected one of {', '.join(known) or 'its contexts, of which it has none'}",
                hint="pulumi config set drcio:kubeContext NAME",
            )


CURRENT: Final = Place(name="the current context's cluster")


def place_of(settings: Settings) -> Place | None:
    """Return the cluster that a stack shares with others; None where it brings its own, or none is known."""
    if settings.platform == EXISTING:
        context = settings.context
        name, kubectl = f"the cluster of context {context}", f"kubectl --context {context}"
        return Place(name=name, kubectl=kubectl, context=context) if context else None
    kubeconfig = platform_kubeconfig(settings.platform_stack) if settings.platform_stack else None
    if not kubeconfig:
        return None
    return Place(
        name=f"the cluster of stack {settings.platform_stack}",
        way_in=f" (pulumi stack output kubeconfigCommand --stack {settings.platform_stack} leads there)",
        kubeconfig=kubeconfig,
    )


def objects_of(value: object) -> Sequence[Tree]:
    """Return a list's objects; none where it is no list."""
    return (
        [cast(Tree, item) for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
    )


def _items(answer: str) -> Sequence[Tree]:
    return objects_of(cast(Tree, json.loads(answer)).get("items"))


def _kubectl(command: str, arguments: Sequence[str]) -> str:
    """Return what kubectl prints; raises LookupError where it fails or no cluster answers."""
    try:
        done = subprocess.run(
            [command, *arguments], check=False, capture_output=True, text=True, timeout=2 * _TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LookupError(str(error)) from error
    if done.returncode != 0:
        raise LookupError(done.stderr.strip())
    return done.stdout
