"""What a running stack cannot become is refused by what its own state says; the rest is let through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import pytest

from components.kubernetes import Tree
from stacks.configuration.config import parse
from stacks.configuration.settings import Settings
from stacks.errors import ConfigError
from stacks.guards.changes import impossible, refuse_impossible
from stacks.guards.deployed import Deployed, deployed_of
from stacks.preview import dryrun
from stacks.preview.dryrun import DryRun, Registration, dry_run, stack_config
from tests.stacks.dryruns import GIVEN_IMAGES, render

SHARED = {"drcio:platformStack": "acme/drcio-eks/dev"}
EXISTING = {"drcio:platform": "existing", "drcio:kubeContext": "lab", **GIVEN_IMAGES}


def state_of(run: DryRun) -> Mapping[str, Tree]:
    """Return a dry run as the engine would show it of a stack that is up."""
    return {item.urn: {"type": _type(item), "outputs": _outputs(item)} for item in run.registrations}


def _type(item: Registration) -> str:
    # The component's child, which a dry run does not make.
    return "aws:eks/cluster:Cluster" if item.type == "eks:index:Cluster" else item.type


def _outputs(item: Registration) -> Tree:
    inputs = cast(Tree, item.inputs)
    return {**inputs, "__inputs": inputs} if item.type.startswith("kubernetes:core") else inputs


def deployed(overrides: Mapping[str, str] | None = None, stack: str = "drcio") -> Deployed:
    return deployed_of(state_of(render(stack, dict(overrides or {}))))


def settings(overrides: Mapping[str, str] | None = None, **more: str) -> Settings:
    config = stack_config(dryrun.ROOT, "drcio", dict(overrides or {}))
    given = {key.removeprefix("drcio:"): text for key, text in config.items() if key.startswith("drcio:")}
    return parse(given, stack="drcio", region=more.pop("region", "us-east-1"), **more)


def keys(wanted: Settings, present: Deployed) -> list[str]:
    return [found.key for found in impossible(wanted, present)]


@pytest.mark.parametrize("overrides", [{}, SHARED, EXISTING])
def test_a_stack_that_stays_as_it_is_is_let_through(overrides: dict[str, str]) -> None:
    present = deployed(overrides)
    assert present.volume is not None
    assert keys(settings(overrides), present) == []


def test_a_stack_that_is_not_there_yet_may_be_anything() -> None:
    assert deployed_of({}) == Deployed()
    assert keys(settings({"drcio:storage.iops": "9000"}), Deployed()) == []


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"drcio:storage.className": "fast"}, "drcio:storage.className"),
        ({"drcio:storage.sizeGib": "49"}, "drcio:storage.sizeGib"),
        ({"drcio:storage.iops": "6000"}, "drcio:storage.iops"),
        ({"drcio:storage.throughputMibps": "250"}, "drcio:storage.throughputMibps"),
        ({"drcio:monitoring.storageGib": "40"}, "drcio:monitoring.storageGib"),
        ({"drcio:cluster.name": "other"}, "drcio:cluster.name"),
        ({"drcio:network.cidr": "10.1.0.0/16"}, "drcio:network.cidr"),
        ({"drcio:cluster.version": "1.34"}, "drcio:cluster.version"),
        ({"drcio:namespace": "elsewhere"}, "drcio:namespace"),
        (SHARED, "drcio:platformStack"),
        (EXISTING, "drcio:platform"),
    ],
)
def test_what_a_running_stack_cannot_become_is_refused(change: dict[str, str], key: str) -> None:
    assert key in keys(settings(change), deployed())


@pytest.mark.parametrize(
    "change",
    [
        {"drcio:storage.sizeGib": "51"},
        {"drcio:cluster.version": "1.36"},
        {"drcio:network.nat": "per-az"},
        {"drcio:network.availabilityZones": "3"},
        {"drcio:scenario": "baseline"},
        {"drcio:monitoring.enabled": "false"},
        {"drcio:monitoring.retentionDays": "9"},
        {"drcio:ioWeights.high": "800"},
    ],
)
def test_what_it_can_become_is_not(change: dict[str, str]) -> None:
    assert keys(settings(change), deployed()) == []


def test_workloads_are_not_turned_off_with_the_data_on_their_volume() -> None:
    off = {**EXISTING, "drcio:workloads.enabled": "false", "drcio:experiment.enabled": "false"}
    present = deployed(EXISTING)
    assert keys(settings(off), present) == ["drcio:workloads.enabled"]
    assert keys(settings({**off, "drcio:namespace": "elsewhere"}), present) == ["drcio:workloads.enabled"]
    assert keys(settings(off), replace(present, volume=None)) == []


def test_another_region_is_refused() -> None:
    assert keys(settings(region="eu-west-1"), deployed()) == ["aws:region"]


def test_refusal_says_what_is_there_and_what_to_do_instead() -> None:
    with pytest.raises(ConfigError) as raised:
        refuse_impossible(
            settings({"drcio:cluster.version": "1.36"}), deployed({"drcio:cluster.version": "1.34"})
        )
    message = str(raised.value)
    assert "drcio:cluster.version is 1.36 and the running stack has 1.34" in message
    assert (
        "hint: set it back to 1.34; or, to go up: pulumi config set --path 'drcio:cluster.version' 1.35"
        in message
    )


def test_size_is_compared_in_whatever_unit_the_state_has_it() -> None:
    run = render("drcio")
    state = dict(state_of(run))
    (urn,) = [item.urn for item in run.registrations if item.name == "storage-claim"]
    claim = cast(dict[str, object], state[urn]["outputs"])
    spec = {"storageClassName": "drcio-gp3", "resources": {"requests": {"storage": "51200Mi"}}}
    state[urn] = {**state[urn], "outputs": {**claim, "spec": spec}}
    present = deployed_of(state)
    assert present.volume is not None
    assert present.volume.size_gib == 50
    assert keys(settings(), present) == []


def test_growth_that_the_cluster_refused_may_be_taken_back() -> None:
    run = render("drcio", {"drcio:storage.sizeGib": "80"})
    state = dict(state_of(run))
    (urn,) = [item.urn for item in run.registrations if item.name == "storage-claim"]
    claim = cast(dict[str, object], state[urn]["outputs"])
    spec = {"storageClassName": "drcio-gp3", "resources": {"requests": {"storage": "50Gi"}}}
    # An update that failed leaves what was asked for beside what is there.
    state[urn] = {**state[urn], "outputs": {**claim, "spec": spec}}
    present = deployed_of(state)
    assert present.volume is not None
    assert (present.volume.size_gib, present.volume.live_class) == (50, "drcio-gp3")
    assert keys(settings(), present) == []


def test_current_context_that_moved_away_is_refused_and_a_named_one_is_not() -> None:
    unnamed = {**EXISTING, "drcio:kubeContext": ""}
    present = deployed(EXISTING)
    assert present.context == "lab"
    assert keys(settings(unnamed, current_context="lab"), present) == []
    assert keys(settings(unnamed, current_context="production"), present) == [
        "the kubeconfig's current context"
    ]
    assert keys(settings(EXISTING, current_context="production"), present) == []
    assert keys(settings({**EXISTING, "drcio:kubeContext": "other"}), present) == ["drcio:kubeContext"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_program_asks_the_engine_for_its_own_state(monkeypatch: pytest.MonkeyPatch) -> None:
    state = state_of(render("drcio"))
    answered = dryrun._Cloud.call

    def call(self: dryrun._Cloud, args: object) -> object:
        if getattr(args, "token", "") == "pulumi:pulumi:readStackResourceOutputs":
            return {"outputs": state}, []
        return answered(self, args)  # type: ignore[arg-type]

    monkeypatch.setattr(dryrun._Cloud, "call", call)
    dry_run("drcio", stack_config(dryrun.ROOT, "drcio", {}))
    with pytest.raises(ConfigError, match=r"drcio:storage\.iops is 6000 and the running stack has 3000"):
        dry_run("drcio", stack_config(dryrun.ROOT, "drcio", {"drcio:storage.iops": "6000"}))


# The SDKs load lazily, and warn on loading of classes of theirs that are not used here.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("watched", [True, False])
def test_guest_makes_monitors_only_where_its_platform_is_watched(
    watched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = dryrun._Cloud._other_stack

    def other(self: dryrun._Cloud, name: str) -> dict[str, object]:
        return {key: value for key, value in whole(self, name).items() if watched or key != "grafanaCommand"}

    monkeypatch.setattr(dryrun._Cloud, "_other_stack", other)
    run = dry_run("drcio", stack_config(dryrun.ROOT, "drcio", SHARED))
    kinds = {item.type.rpartition(":")[2] for item in run.registrations}
    assert ({"PodMonitor", "PrometheusRule"} <= kinds) is watched
    assert ("grafanaCommand" in run.outputs) is watched
