"""Which context of the kubeconfig is the current one: the cluster that an existing platform would change."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import yaml

VARIABLE: Final = "KUBECONFIG"


def current_context(environ: Mapping[str, str]) -> str:
    """Return the current context as kubectl and the provider see it; empty where there is none.

    Of several files the first that names one counts (Kubernetes documentation, "Organizing Cluster Access
    Using kubeconfig Files").
    """
    given = environ.get(VARIABLE, "")
    names = given.split(os.pathsep) if given else [str(Path(environ.get("HOME", "/")) / ".kube" / "config")]
    for name in filter(None, names):
        try:
            document: object = yaml.safe_load(Path(name).read_text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue  # the provider reads it too, and says what is wrong with it
        found = document.get("current-context") if isinstance(document, dict) else None
        if isinstance(found, str) and found:
            return found
    return ""
