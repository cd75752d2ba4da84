"""The estimate: its parts, its savings, and what it says when it does not know."""

from __future__ import annotations

import json

import pytest

from stacks.configuration.config import parse
from stacks.configuration.settings import Settings
from stacks.cost.estimate import as_table, estimate


def settings(**values: object) -> Settings:
    given = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    return parse(given, stack="test", region="us-east-1")


def part(stack: Settings, item: str) -> float:
    (line,) = [line for line in estimate(stack).lines if line.item.startswith(item)]
    assert line.monthly_usd is not None
    return line.monthly_usd


def test_parts_add_up_to_the_total() -> None:
    cost = estimate(settings())
    assert sum(line.monthly_usd or 0 for line in cost.lines) == pytest.approx(cost.monthly_usd)
    assert 200 < cost.monthly_usd < 400


def test_control_plane_costs_a_tenth_of_a_dollar_an_hour() -> None:
    assert part(settings(), "EKS control plane") == pytest.approx(73.0)


def test_volume_pays_only_for_what_exceeds_the_included_speed() -> None:
    plain = part(settings(storage={"sizeGib": 100}), "shared volume")
    fast = part(settings(storage={"sizeGib": 100, "iops": 4000, "throughputMibps": 225}), "shared volume")
    assert plain == pytest.approx(8.0)
    assert fast - plain == pytest.approx(1000 * 0.005 + 100 * 0.04)


def test_each_saving_is_what_the_changed_configuration_costs_less() -> None:
    before = estimate(settings())
    changes: dict[str, dict[str, dict[str, object]]] = {
        "spot nodes": {"cluster": {"spot": True}},
        "public nodes, no NAT": {"network": {"nat": "none"}},
        "monitoring off": {"monitoring": {"enabled": False}},
    }
    assert {saving.change for saving in before.savings} == set(changes)
    for saving in before.savings:
        after = estimate(settings(**changes[saving.change]))
        assert saving.monthly_usd == pytest.approx(before.monthly_usd - after.monthly_usd)


def test_what_is_saved_already_is_not_offered() -> None:
    cheap = settings(cluster={"spot": True}, network={"nat": "none"}, monitoring={"enabled": False})
    assert estimate(cheap).savings == ()


def test_existing_cluster_costs_nothing_here() -> None:
    existing = settings(platform="existing", images={"push": False})
    assert estimate(existing).monthly_usd == 0
    assert "Nothing here is paid to AWS" in as_table(estimate(existing), existing)


def test_shared_platform_pays_for_its_node_and_volume_only() -> None:
    items = {line.item.split(" ")[0] for line in estimate(settings(platformStack="a/b/c")).lines}
    assert items == {"nodes", "node", "shared"}


def test_unknown_instance_type_is_said_to_be_unknown() -> None:
    stack = settings(cluster={"instanceTypes": "x9.xlarge"})
    cost = estimate(stack)
    assert cost.unpriced == ("nodes x9.xlarge",)
    table = as_table(cost, stack)
    assert "No price is known of nodes x9.xlarge: what you pay is more than the total." in table
    assert "total, without what is unknown" in table
    assert "(deploy, run, destroy): at least" in table


def test_no_saving_of_less_than_a_cent_is_offered() -> None:
    for nodes in range(1, 101):
        stack = settings(cluster={"nodes": nodes, "spot": True, "instanceTypes": "x9.xlarge"})
        assert all(saving.monthly_usd >= 0.005 for saving in estimate(stack).savings)
        assert "save 0.00" not in as_table(estimate(stack), stack)


def test_longer_experiment_costs_more() -> None:
    short, long = settings(durationSeconds="60"), settings(durationSeconds="3600")
    assert estimate(long).experiment_usd > estimate(short).experiment_usd > 0


def test_another_region_is_mentioned() -> None:
    stack = parse({}, stack="test", region="eu-west-1")
    assert "This stack is in eu-west-1, whose prices differ." in as_table(estimate(stack), stack)
