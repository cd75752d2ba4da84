"""Every declared setting, changed on a running stack: it takes effect and loses nothing, or is refused
untouched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from stacks.configuration.keys import Key, keys_of
from stacks.configuration.settings import Settings
from tests.engine.alternatives import alternative, current, settings_of
from tests.engine.bench import EXISTING, Bench
from tests.engine.effects import Watch
from tests.engine.operations import PAGE, row
from tests.engine.running import Running

KEYS: Mapping[str, Key] = {key.path: key for key in keys_of(Settings)}
ON_EKS = ("cluster", "network", "storage", "images", "platformStack")
"""Sections that mean something on a cluster of the stack's own; the others are tried where it is quicker."""
GONE_WITH = ("scenario", "namespace", "platform", "platformStack", "kubeContext")
"""Keys that move or hide what others are about: they come last."""


GIVEN_UP = {
    "monitoring.enabled": ("monitoring/db-prometheus-prometheus-kube-prometheus-prometheus-0",),
}
"""What a change asks to lose: the samples go with the Prometheus that is turned off."""


def base_of(path: str) -> str:
    return "eks" if path.partition(".")[0] in ON_EKS else "existing"


def in_order(base: str) -> list[str]:
    paths = [path for path in KEYS if base_of(path) == base]
    return sorted(paths, key=lambda path: path in GONE_WITH)


CASES = [pytest.param(path, id=f"{base}-{path}") for base in ("eks", "existing") for path in in_order(base)]


@pytest.fixture(scope="module")
def stacks(bench: Bench) -> Iterator[Mapping[str, Running]]:
    found = {
        "eks": Running(bench, "set-eks", "drcio", {}),
        "existing": Running(bench, "set-existing", "drcio", EXISTING),
    }
    yield found
    assert {name: running.end() for name, running in found.items()} == {"eks": [], "existing": []}


@pytest.mark.parametrize("path", CASES)
def test_a_setting_takes_effect_and_loses_nothing_or_is_refused_untouched(
    stacks: Mapping[str, Running], path: str
) -> None:
    running, key = stacks[base_of(path)], KEYS[path]
    stack = running.stack
    folder = stack.file.parent
    before = current(settings_of(folder, stack.name), key)
    entry, value = alternative(key, folder, stack.name)
    old = _entry(before, entry, key)
    watch = Watch(running)

    outcome = running.up(fails=None, **{entry: value})

    moving = running.cluster.settle()
    effect = watch.effect(path, old, value, outcome)
    if outcome.error:
        assert not outcome.hung, outcome.error
        assert effect.kind == "refused", outcome.error
        assert effect.advice, outcome.error
        stack.configure({f"drcio:{entry}": old})
        running.broken = False
    else:
        assert moving == []
        assert effect.lost == GIVEN_UP.get(path, ())
        running.is_unchanged()
        if key.kind == "boolean" or key.rules.choices:
            running.up(fails=False, **{entry: old})
            running.broken = False
    effect.write()
    assert row(effect) in PAGE.read_text(), (
        "docs/operations.md says otherwise; see tests/engine/operations.py"
    )


def _entry(value: object, entry: str, key: Key) -> object:
    """Return the one entry of a map that is set, or the whole value, as it is typed."""
    if isinstance(value, dict):
        return value[entry.removeprefix(f"{key.path}.")]
    return ",".join(value) if isinstance(value, tuple) else value
