"""What the tests of every image's contract do with it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import kubernetes_validate

KUBERNETES = "1.35"


def plain(template: Mapping[str, object]) -> dict[str, Any]:
    """Return a pod template as a cluster gets it: out of the JSON."""
    found: dict[str, Any] = json.loads(json.dumps(template))
    return found


def validate(template: Mapping[str, object]) -> None:
    """Raise for a template that makes no valid pod."""
    pod = plain(template)
    pod["metadata"]["name"] = "pod"
    kubernetes_validate.validate({"apiVersion": "v1", "kind": "Pod", **pod}, KUBERNETES, strict=True)


def args_of(template: Mapping[str, object]) -> list[str]:
    """Return the only container's arguments."""
    (container,) = plain(template)["spec"]["containers"]
    return [str(arg) for arg in container["args"]]


def loaded_with(module: str) -> set[str]:
    """Return every module that Python has loaded once it has imported this one."""
    program = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())
