from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drcio_controller.ebs import Volume
from experiments.commands.cli import main
from experiments.errors import SpecError
from experiments.records.jsonfields import Field
from experiments.records.spec import (
    Scenario,
    Spec,
    command_line,
    load_spec,
    parse_volume,
    plan_runs,
    policy_scenarios,
    scenario,
    scenarios,
)
from tests.experiments.build import build_spec


@pytest.mark.parametrize(
    ("text", "volume"),
    [
        ("gp3", Volume(type="gp3", iops=3000, mib_s=125)),
        ("gp3:6000:250", Volume(type="gp3", iops=6000, mib_s=250)),
        ("gp3:1500:60", Volume(type="gp3", iops=1500, mib_s=60)),
        ("io2:8000", Volume(type="io2", iops=8000, mib_s=2000)),
        ("io2:256000", Volume(type="io2", iops=256000, mib_s=4000)),
    ],
)
def test_volume_is_parsed(text: str, volume: Volume) -> None:
    assert parse_volume(text) == volume
    assert parse_volume(str(volume)) == volume


@pytest.mark.parametrize(
    "text",
    ["", "gp2", "gp3:", "gp3:6000", "gp3:6000:250:1", "gp3:-1:125", "gp3:0:125", "gp3:3000:1e3",
     "gp3:90000:125", "gp3:3000:2001", "gp3:3000:1000", "io2", "io2:99", "io2:300000", "io2:8000:100"],
)  # fmt: skip
def test_volume_that_cannot_be_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(SpecError, match="volume is") as refused:
        parse_volume(text)
    assert refused.value.hint is not None
    assert "gp3:6000:250" in refused.value.hint


@given(st.text(max_size=20))
def test_volume_of_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        volume = parse_volume(text)
    except SpecError:
        return
    assert volume.iops > 0
    assert volume.mib_s > 0


def test_slow_volume_is_marked_as_one_that_ebs_does_not_sell() -> None:
    assert parse_volume("gp3:1500:60").is_experimental
    assert not parse_volume("gp3").is_experimental


def test_unknown_scenario_names_the_choices() -> None:
    with pytest.raises(SpecError, match="'nope'; expected one of baseline, contention, drcio"):
        scenarios("nope")


def test_every_repeat_has_each_scenario_once() -> None:
    runs = plan_runs(build_spec(repeats=4))
    for repeat in range(1, 5):
        names = sorted(run.scenario.name for run in runs if run.repeat == repeat)
        assert names == ["baseline", "contention", "drcio"]
    assert [run.order for run in runs] == list(range(1, 13))


def test_each_scenario_takes_each_place_equally_often() -> None:
    runs = plan_runs(build_spec(repeats=3))
    places = {(run.scenario.name, (run.order - 1) % 3) for run in runs}
    assert len(places) == 9


def test_order_follows_the_seed_and_nothing_else() -> None:
    spec = build_spec()
    assert plan_runs(spec) == plan_runs(spec)
    orders = {
        tuple(run.scenario.name for run in plan_runs(replace(build_spec(), seed=seed))[:3])
        for seed in range(30)
    }
    assert len(orders) == 6


def test_scenarios_of_a_repeat_get_the_same_request_schedule() -> None:
    for run in plan_runs(build_spec()):
        assert run.load_seed == 1 + run.repeat - 1


def test_run_file_is_named_by_order_scenario_and_repeat() -> None:
    first = plan_runs(build_spec())[0]
    assert first.file_name == f"01-{first.scenario.name}-r1.json"


def test_spec_survives_its_json_form() -> None:
    spec = build_spec(arms=policy_scenarios(["none", "bfq", "drcio"]))
    assert load_spec(Field(spec.to_json(), "", "spec", "")) == spec


def test_compared_policies_always_have_baseline_and_none_beside_them() -> None:
    names = [arm.name for arm in policy_scenarios(["bfq", "iomax-30", "iomax-100", "drcio"])]
    assert names == ["baseline", "contention", "bfq", "iomax-30", "iomax-100", "drcio"]


@pytest.mark.parametrize("policy", ["cfq", "iomax", "iomax-0", "iomax-101", "iomax-", ""])
def test_unknown_policy_is_refused(policy: str) -> None:
    with pytest.raises(SpecError, match="policy is"):
        policy_scenarios([policy])


@pytest.mark.parametrize(
    ("field", "value"),
    [("rate_rps", 0.0), ("duration_s", -1.0), ("repeats", 0), ("warmup_s", -1.0), ("lp_pattern", "x"),
     ("load_level", "x"), ("scenarios", ()),
     ("warmup_s", float("nan")), ("warmup_s", float("inf")), ("duration_s", 1e300),
     ("rate_rps", float("inf"))],
)  # fmt: skip
def test_spec_that_cannot_be_run_is_refused(field: str, value: object) -> None:
    with pytest.raises(SpecError, match="expected"):
        replace(build_spec(), **{field: value})  # type: ignore[arg-type]


def test_command_line_asks_for_the_same_again() -> None:
    text = command_line(build_spec())
    assert text.startswith("python -m experiments run --target twin --scenario all --load-level medium")
    assert "--volume gp3 --lp-pattern mixed --lp-block-kib 1024" in text
    compared = command_line(build_spec(arms=policy_scenarios(["bfq", "drcio"])))
    assert compared.startswith("python -m experiments compare")
    assert "--policies none,bfq,drcio" in compared
    assert "--rate 7.5" in command_line(replace(build_spec(), load_level="custom", rate_rps=7.5))


@pytest.mark.parametrize("arms", [scenarios("all"), (scenario("contention"), scenario("drcio"))])
def test_command_line_is_one_that_the_program_takes(
    arms: tuple[Scenario, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Spec] = []

    def note(_output: object, spec: Spec) -> None:
        asked.append(spec)
        raise SpecError("enough")

    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("experiments.commands.experiment.write_spec", note)
    monkeypatch.setattr("experiments.commands.experiment.clear", lambda _output: None)
    spec = replace(build_spec(arms=arms), load_level="custom", rate_rps=7.5, volume=parse_volume("io2:8000"))
    program, *arguments = command_line(spec).split()[2:]
    assert program == "experiments"
    assert main(arguments) != 0
    assert asked == [spec]
