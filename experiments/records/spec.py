"""What is asked of an experiment: scenarios, load, volume, and the order of its runs."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from drcio_controller import ebs
from drcio_controller.config import POLICY_CHOICES, parse_policy
from drcio_controller.ebs import Volume, VolumeType
from drcio_controller.errors import ConfigError, NoSuchVolume
from experiments.errors import SpecError
from experiments.records.jsonfields import Field, JsonObject, dump
from experiments.records.values import Count, Number
from lp_batch.patterns import Pattern

SPEC_SCHEMA: Final = "drcio.spec/1"

BASELINE: Final = "baseline"
CONTENTION: Final = "contention"
DRCIO: Final = "drcio"
SCENARIOS: Final = (BASELINE, CONTENTION, DRCIO)

NO_POLICY: Final = "none"
POLICIES: Final = (NO_POLICY, "weight-only", "bfq", "iomax-10", "iomax-50", "iocost-static", "step", DRCIO)

LP_PATTERNS: Final = tuple(pattern.value for pattern in Pattern)
ARRIVALS: Final = ("poisson", "constant")
LOAD_LEVELS: Final = ("low", "medium", "high")

_LONGEST_S: Final = 86400.0
"""Of a run: a schedule of more than a day is a slip of the hand."""
_VOLUME_HINT = "for example --volume gp3, --volume gp3:6000:250, --volume io2:10000"


def parse_volume(text: str) -> Volume:
    """Parse what `--volume` asks for; raises SpecError with the form or the limit that was missed."""
    try:
        return ebs.parse_volume(text)
    except NoSuchVolume as error:
        raise SpecError(str(error), hint=_VOLUME_HINT) from None


def checked_volume(kind: VolumeType, iops: int, mib_s: int) -> Volume:
    """Return a volume by its figures; raises SpecError where one of them is no limit."""
    try:
        return Volume(type=kind, iops=iops, mib_s=mib_s)
    except NoSuchVolume as error:
        raise SpecError(str(error)) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One arm of the experiment: who runs, and under which policy."""

    name: str
    policy: str
    with_lp: bool


_SCENARIOS: Final = {
    BASELINE: Scenario(name=BASELINE, policy=NO_POLICY, with_lp=False),
    CONTENTION: Scenario(name=CONTENTION, policy=NO_POLICY, with_lp=True),
    DRCIO: Scenario(name=DRCIO, policy=DRCIO, with_lp=True),
}


def scenario(name: str) -> Scenario:
    """Return one of the three scenarios of the contract by name."""
    if name not in _SCENARIOS:
        raise SpecError(f"scenario is {name!r}; expected one of {', '.join(SCENARIOS)}, all")
    return _SCENARIOS[name]


def scenarios(choice: str) -> tuple[Scenario, ...]:
    """Return what `--scenario` asks for: one of the three, or all of them."""
    names = SCENARIOS if choice == "all" else (choice,)
    return tuple(scenario(name) for name in names)


def policy_scenarios(policies: Sequence[str]) -> tuple[Scenario, ...]:
    """Return the arms of `compare`: baseline, `none` (which is contention), and each policy asked for.

    Baseline and `none` are what every ratio is taken against, so they are always there.
    """
    for policy in policies:
        if policy == NO_POLICY:
            continue
        try:
            parse_policy(policy)
        except ConfigError as error:
            raise SpecError(
                f"policy is {policy!r}; expected one of {NO_POLICY}, {POLICY_CHOICES}",
                hint="iomax-N caps low priority at N% of the volume",
            ) from error
    others = tuple(dict.fromkeys(policy for policy in policies if policy != NO_POLICY))
    return (
        scenario(BASELINE),
        scenario(CONTENTION),
        *(Scenario(name=policy, policy=policy, with_lp=True) for policy in others),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """Everything that decides what an experiment measures; equal specs are comparable."""

    schema: Literal["drcio.spec/1"] = SPEC_SCHEMA
    scenarios: tuple[Scenario, ...] = field(default_factory=lambda: scenarios("all"))
    load_level: str
    rate_rps: Number
    """Offered rate; the exact figure behind `load_level`, or what `--rate` asked for."""
    duration_s: Number
    """Measured part of each run; the warm-up comes before it and is not judged."""
    warmup_s: Number
    repeats: Count
    volume: Volume
    lp_pattern: str = "mixed"
    lp_block_bytes: Count
    lp_workers: Count
    """Queue depth of the batch job."""
    seed: int
    arrivals: str = "poisson"
    """Of requests: poisson as independent users come, or constant."""
    target: str = "twin"
    more_repeats: Count = 0
    """How many repeats may be added where only the CPU keeps those asked for from telling."""

    def __post_init__(self) -> None:
        if not self.scenarios:
            raise SpecError("no scenario is given; expected at least one")
        names = [arm.name for arm in self.scenarios]
        if len(set(names)) != len(names):
            raise SpecError(f"scenarios are {', '.join(names)}; expected each only once")
        _check_choice("load level", self.load_level, (*LOAD_LEVELS, "custom"))
        _check_choice("lp pattern", self.lp_pattern, LP_PATTERNS)
        _check_positive("rate (requests/s)", self.rate_rps)
        _check_positive("duration (s)", self.duration_s)
        _check_positive("repeats", self.repeats)
        _check_positive("lp block size (bytes)", self.lp_block_bytes)
        _check_positive("lp workers", self.lp_workers)
        _check_choice("arrivals", self.arrivals, ARRIVALS)
        if self.more_repeats < 0:
            raise SpecError(f"more repeats is {self.more_repeats}; expected 0 or more")
        if not 0 <= self.warmup_s <= _LONGEST_S:
            raise SpecError(f"warm-up is {self.warmup_s:g} s; expected 0 to {_LONGEST_S:g}")
        if self.duration_s > _LONGEST_S:
            raise SpecError(f"duration is {self.duration_s:g} s; expected at most {_LONGEST_S:g}")

    def to_json(self) -> JsonObject:
        return dump(self)


def load_spec(document: Field) -> Spec:
    """Read a specification back from its JSON.

    Raises RecordError for a field of the wrong kind, SpecError for a value that cannot be run.
    """
    try:
        return document.convert(Spec)
    except NoSuchVolume as error:
        raise SpecError(str(error)) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """One run in the order in which the runs are made."""

    order: int
    """Counts from 1 over the whole experiment."""
    scenario: Scenario
    repeat: int
    """Counts from 1; the runs of one repeat are neighbours in time, so they are compared in pairs."""
    load_seed: int
    """The same for every scenario of a repeat: all of them get the very same request schedule."""

    @property
    def file_name(self) -> str:
        return f"{self.order:02d}-{self.scenario.name}-r{self.repeat}.json"


def plan_runs(spec: Spec) -> tuple[PlannedRun, ...]:
    """Lay the runs out, repeat by repeat."""
    return tuple(run for repeat in range(1, spec.repeats + 1) for run in plan_repeat(spec, repeat))


def plan_repeat(spec: Spec, repeat: int) -> tuple[PlannedRun, ...]:
    """Lay one repeat out, also one beyond those asked for: each scenario once, in a rotated order.

    Rotation from a seeded order gives each scenario each place equally often (over as many repeats as
    there are scenarios), so that a machine that warms up or tires does not favour one of them.
    """
    first = list(spec.scenarios)
    random.Random(spec.seed).shuffle(first)  # noqa: S311 - reproducible order, not a secret
    shift = (repeat - 1) % len(first)
    done = (repeat - 1) * len(first)
    return tuple(
        PlannedRun(order=done + place, scenario=arm, repeat=repeat, load_seed=spec.seed + repeat - 1)
        for place, arm in enumerate(first[shift:] + first[:shift], start=1)
    )


def command_line(spec: Spec) -> str:
    """Write the command that asks for the same experiment again."""
    names = [arm.name for arm in spec.scenarios]
    if set(names) == {CONTENTION, DRCIO}:
        verb, what = "look", ""
    elif set(names) <= set(SCENARIOS):
        verb, what = "run", f"--scenario {names[0] if len(names) == 1 else 'all'}"
    else:
        policies = [NO_POLICY, *(arm.policy for arm in spec.scenarios if arm.policy != NO_POLICY)]
        verb, what = "compare", f"--policies {','.join(policies)}"
    load = f"--rate {spec.rate_rps:g}" if spec.load_level == "custom" else f"--load-level {spec.load_level}"
    options = (
        *((f"--target {spec.target}", what) if what else ()),
        load,
        f"--duration {spec.duration_s:g}",
        f"--warmup {spec.warmup_s:g}",
        f"--repeats {spec.repeats}",
        f"--more-repeats {spec.more_repeats}",
        f"--volume {spec.volume}",
        f"--lp-pattern {spec.lp_pattern}",
        f"--lp-block-kib {spec.lp_block_bytes >> 10}",
        f"--lp-workers {spec.lp_workers}",
        f"--seed {spec.seed}",
        f"--arrivals {spec.arrivals}",
        "--output DIR",
    )
    return f"python -m experiments {verb} {' '.join(options)}"


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise SpecError(f"{name} is {value!r}; expected one of {', '.join(choices)}")


def _check_positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise SpecError(f"{name} is {value:g}; expected more than 0, and finite")
