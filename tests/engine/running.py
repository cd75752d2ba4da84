"""A stack that keeps running from test to test, and is made anew after one that broke it."""

from __future__ import annotations

from collections.abc import Mapping

from tests.engine.bench import Bench
from tests.engine.cluster import Cluster
from tests.engine.stack import Outcome, Stack


class Running:
    """One stack up at a time. It counts as `broken` until a test has seen that it is not."""

    def __init__(self, bench: Bench, name: str, like: str, config: Mapping[str, object]) -> None:
        self.bench = bench
        self._name, self._like, self._config = name, like, config
        self._count = 0
        self._stack: Stack | None = None
        self._cleared = 0
        self.broken = False

    @property
    def stack(self) -> Stack:
        """The stack, up and unchanged: a test that begins takes it from here."""
        if self.broken or self._stack is None or self._cleared != self.bench.cleared:
            if self.broken:
                self.bench.clear()
            self._cleared = self.bench.cleared
            self._count += 1
            self._stack = self.bench.stack(f"{self._name}-{self._count}", self._like, self._config)
            self.broken = True
            self._stack.up()
            self.broken = False
        return self._stack

    @property
    def cluster(self) -> Cluster:
        """The cluster that the stack is on."""
        if self._config.get("drcio:platform") == "existing":
            return self.bench.existing
        return next(iter(self.bench.clusters.by_name.values()))

    def up(self, *, fails: bool | None = False, **config: object) -> Outcome:
        """Change the stack; until it is seen unchanged it counts as broken."""
        stack = self._stack or self.stack
        self.broken = True
        stack.configure({f"drcio:{key}": value for key, value in config.items()})
        return stack.up(fails=fails)

    def is_unchanged(self) -> None:
        """Assert that another update has nothing to do."""
        assert self._stack is not None
        assert self._stack.up().changed == []
        self.broken = False

    def end(self) -> list[str]:
        """Destroy the stack and return what is left over."""
        if self._stack is None or self._cleared != self.bench.cleared:
            return []
        if self.broken:
            self.bench.failed = True
            self.bench.clear()
            return []
        self._stack.destroy()
        return self.bench.leftovers()
