"""The stack's own state is read whole, also while the engine writes it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from stacks.guards.deployed import platform_is_watched

HALF = "invoke of pulumi:pulumi:readStackOutputs failed: failed to load checkpoint: EOF"


class Engine:
    """An engine whose first answers are errors."""

    def __init__(self, *errors: str) -> None:
        self.errors = list(errors)

    def invoke(self, _function: str, _arguments: object) -> object:
        if self.errors:
            raise RuntimeError(self.errors.pop(0))
        return SimpleNamespace(value={"outputs": {"grafanaCommand": "kubectl ..."}})


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stacks.guards.deployed._PAUSE_S", 0.0)


def test_a_state_that_is_being_written_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pulumi.runtime.invoke", Engine(HALF, HALF).invoke)
    assert platform_is_watched("organization/drcio-eks/dev")


@pytest.mark.parametrize("errors", [["no such stack"], [HALF] * 10], ids=["another error", "it stays so"])
def test_another_error_and_one_that_stays_are_the_engines(
    errors: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pulumi.runtime.invoke", Engine(*errors).invoke)
    with pytest.raises(RuntimeError, match=errors[0]):
        platform_is_watched("organization/drcio-eks/dev")
