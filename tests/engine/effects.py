"""What a change did to a running stack, from the engine's own steps and from what became of pods and
volumes.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Final

from msgspec import convert

from experiment_runner.manifest import APP as EXPERIMENT
from local_cluster.programs import ROOT
from lp_batch.manifest import APP as BATCH
from tests.engine.running import Running
from tests.engine.stack import Outcome, Step

RECORDED: Final = ROOT / ".cache" / "operations"
VERBS: Final = {
    "create": "makes",
    "update": "changes",
    "delete": "removes",
    "replace": "replaces",
}
"""By the engine's operation; the two halves of a replacement are part of it."""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One row of docs/operations.md."""

    key: str
    before: str
    after: str
    kind: str
    """in place, replaced, refused, or no effect"""
    objects: tuple[str, ...] = ()
    """What was done to which objects."""
    restarted: tuple[str, ...] = ()
    """Apps whose pods started anew."""
    measured_again: bool = False
    lost: tuple[str, ...] = ()
    """Claims whose volume is gone."""
    advice: str = ""
    """Of a refusal: what to do instead."""

    def write(self) -> None:
        """Record it for the page."""
        RECORDED.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(self), indent=1) + "\n"
        (RECORDED / f"{re.sub(r'[^A-Za-z0-9.]', '-', self.key)}.json").write_text(text)


def recorded() -> dict[str, Effect]:
    """Return what was recorded, by key."""
    found = [json.loads(file.read_text()) for file in sorted(RECORDED.glob("*.json"))]
    return {it["key"]: convert(it, Effect) for it in found}


class Watch:
    """What pods and volumes there are before a change."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._began = time.monotonic()
        self._pods = len(running.cluster.nodes.spans)
        self._measurements = len(running.cluster.runner.measurements)
        self._volumes = {handle: str(it["claim"]) for handle, it in running.bench.account.volumes.items()}

    def effect(self, key: str, before: object, after: object, outcome: Outcome) -> Effect:
        """Return what an update came to since."""
        # The experiment's own objects are what measuring again means.
        steps = [
            step
            for step in outcome.changes
            if not step.type.startswith("drcio:") and not step.name.startswith("experiment")
        ]
        again = len(self._running.cluster.runner.measurements) > self._measurements
        spans = self._running.cluster.nodes.spans
        ended = {span.app for span in spans if span.ended is not None and span.ended > self._began}
        # After a node was replaced the batch Job brings its pods back when its back-off has passed: until
        # then it has none that could end, and a pod that comes then is not this change's.
        ours = any(step.name == BATCH for step in steps)
        ended = ended | {BATCH} if ours else ended - {BATCH}
        lost = set(self._volumes) - set(self._running.bench.account.volumes)
        return Effect(
            key=key,
            before=shown(before),
            after=shown(after),
            kind=_kind(outcome, steps),
            objects=tuple(_objects(steps)),
            restarted=tuple(
                sorted({span.app for span in spans[self._pods :] if span.app in ended - {EXPERIMENT, ""}})
            ),
            measured_again=again,
            lost=tuple(sorted(self._volumes[handle] for handle in lost)),
            advice=_advice(outcome),
        )


def shown(value: object) -> str:
    """Return a value as one would type it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value) or "empty"


def _kind(outcome: Outcome, steps: list[Step]) -> str:
    if outcome.error:
        return "failed" if steps else "refused"
    if any("replace" in step.op for step in steps):
        return "replaced"
    return "in place" if steps else "no effect"


def _objects(steps: Iterable[Step]) -> Iterable[str]:
    """Yield a phrase for each verb."""
    by_verb: dict[str, set[str]] = {}
    for step in steps:
        verb = VERBS.get(step.op)
        if verb:
            kind = step.type.rpartition(":")[2]
            by_verb.setdefault(verb, set()).add(f"{kind} {_plain_name(step.name)}")
    for verb in VERBS.values():
        if verb in by_verb:
            yield f"{verb} {', '.join(sorted(by_verb[verb]))}"


def _plain_name(name: str) -> str:
    """Return a resource's name without the cluster's, which is the example's own."""
    return name.removeprefix("drcio-demo-drcio-").removeprefix("drcio-other-")


def _advice(outcome: Outcome) -> str:
    found = re.search(r"hint: (.+)", outcome.error)
    return found[1].strip() if found else ""
