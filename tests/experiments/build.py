"""Build a small specification and its runs' records, with the one thing changed that a test is about."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

from experiments.judgement.figures import MIB
from experiments.judgement.testing import Behaviour, behaviour_of, build_run_around
from experiments.records import histogram
from experiments.records.record import RunRecord
from experiments.records.spec import PlannedRun, Scenario, Spec, parse_volume, plan_runs, scenarios
from load_generator.document import LatencySummary, LoadDocument, LoadInterval
from load_generator.histogram import Histogram

OTHER_DEVICE = "254:16"


def encode(latencies_us: Iterable[int]) -> str:
    """Encode latencies (microseconds) as the load generator does."""
    return Histogram(latencies_us).encode()


def build_spec(*, repeats: int = 3, arms: Sequence[Scenario] | None = None) -> Spec:
    """Build a small but sound specification."""
    return Spec(
        scenarios=tuple(arms) if arms is not None else scenarios("all"),
        load_level="medium",
        rate_rps=15.0,
        duration_s=20.0,
        warmup_s=5.0,
        repeats=repeats,
        volume=parse_volume("gp3"),
        lp_block_bytes=MIB,
        lp_workers=16,
        seed=1,
    )


def build_records(
    spec: Spec | None = None, changes: dict[str, Behaviour] | None = None
) -> tuple[RunRecord, ...]:
    """Build all runs of a specification; `changes` gives scenarios another behaviour, by name."""
    chosen = spec or build_spec()
    changed = changes or {}
    return tuple(
        build_run(chosen, run, changed.get(run.scenario.name, behaviour_of(run.scenario)))
        for run in plan_runs(chosen)
    )


@functools.lru_cache(maxsize=512)
def build_run(spec: Spec, run: PlannedRun, behaviour: Behaviour) -> RunRecord:
    """Build one run's record; equal arguments give equal records."""
    load = build_load(spec, behaviour, seed=run.load_seed, noise_seed=run.order)
    return build_run_around(load, spec, run, behaviour)


def build_load(spec: Spec, behaviour: Behaviour, *, seed: int, noise_seed: int) -> LoadDocument:
    """Build the load generator's record of a run."""
    noise = random.Random(noise_seed)
    drift = noise.uniform(0.96, 1.04)
    sent = round(spec.rate_rps * spec.duration_s * behaviour.offered_share)
    completed = round(sent * behaviour.achieved_share) - behaviour.failed
    latencies_us = _latencies_us(noise, completed, behaviour.p95_ms * drift)
    parts_us: dict[str, list[int]] = {}
    if behaviour.fetch_p95_ms is not None:
        parts_us["fetch"] = _latencies_us(noise, completed, behaviour.fetch_p95_ms * drift)
    if behaviour.compute_p95_ms is not None:
        parts_us["model"] = _latencies_us(noise, completed, behaviour.compute_p95_ms)
    seconds = int(spec.duration_s)
    return LoadDocument(
        plan={
            "rate_rps": spec.rate_rps,
            "duration_s": spec.duration_s,
            "seed": seed,
            "arrivals": "poisson",
        },
        planned=round(spec.rate_rps * spec.duration_s),
        sent=sent,
        completed=completed,
        errors={"timeout": behaviour.failed} if behaviour.failed else {},
        offered_rps=spec.rate_rps * behaviour.offered_share,
        achieved_rps=completed / spec.duration_s,
        lag_p99_ms=900.0 if behaviour.fell_behind else 1.2,
        lag_max_ms=2000.0 if behaviour.fell_behind else 3.4,
        fell_behind=behaviour.fell_behind,
        latency=summarise(latencies_us),
        timings={name: summarise(part_us) for name, part_us in parts_us.items() if part_us},
        intervals=tuple(
            LoadInterval(
                t_s=float(second),
                count=len(latencies_us[second::seconds]),
                errors=0,
                latency_histogram=encode(latencies_us[second::seconds]),
                timings={
                    name: encode(part_us[second::seconds]) for name, part_us in parts_us.items() if part_us
                },
            )
            for second in range(seconds)
        ),
    )


def summarise(latencies_us: Sequence[int]) -> LatencySummary:
    """Summarise latencies as the load generator does."""
    encoded = encode(latencies_us)
    decoded = histogram.decode(encoded, where="test")
    return LatencySummary(
        p50_ms=decoded.percentile_ms(50),
        p95_ms=decoded.percentile_ms(95),
        p99_ms=decoded.percentile_ms(99),
        max_ms=decoded.percentile_ms(100),
        histogram=encoded,
    )


def with_environment(record: RunRecord, **facts: str) -> RunRecord:
    """Return the record as if made elsewhere."""
    return replace(record, environment={**record.environment, **facts})


def _latencies_us(noise: random.Random, count: int, p95_ms: float) -> list[int]:
    """Draw log-normal latencies and scale them so that their 95th percentile is the given one."""
    draws = sorted(noise.lognormvariate(0, 0.4) for _ in range(max(count, 0)))
    if not draws:
        return []
    at_p95 = draws[max(int(len(draws) * 0.95 + 0.5) - 1, 0)]
    scaled = [max(1, round(draw / at_p95 * p95_ms * 1000)) for draw in draws]
    noise.shuffle(scaled)
    return scaled
