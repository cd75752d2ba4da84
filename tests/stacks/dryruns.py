"""Dry runs for tests: each made once per process."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cache
from typing import Final

from stacks.preview.dryrun import ROOT, DryRun, dry_run, stack_config

GIVEN_IMAGES: Final[Mapping[str, str]] = {
    f"drcio:images.{name}": f"registry.example/{name.lower()}@sha256:{'0' * 64}"
    for name in ("controller", "hpService", "lpBatch", "loadGenerator", "experiment")
}
"""Configuration that builds nothing."""


def render(stack: str, overrides: Mapping[str, str] | None = None) -> DryRun:
    """Run the program as it is; `overrides` are full keys such as `drcio:storage.iops`."""
    return _render(stack, tuple(sorted((overrides or {}).items())))


@cache
def _render(stack: str, overrides: tuple[tuple[str, str], ...]) -> DryRun:
    with warnings.catch_warnings():
        # The SDKs load lazily, and warn on loading of classes of theirs that are not used here.
        warnings.simplefilter("ignore", DeprecationWarning)
        return dry_run(stack, stack_config(ROOT, stack, dict(overrides)))
