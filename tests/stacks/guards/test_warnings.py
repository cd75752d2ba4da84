"""What is warned of, and what is not worth a word."""

from __future__ import annotations

import pytest

from stacks.configuration.config import parse
from stacks.cost.estimate import estimate
from stacks.guards.warnings import warnings_of

NAMED = '"publicAccessCidrs": "192.0.2.0/24"'


def warned(**given: str) -> list[str]:
    settings = parse(given, stack="s", region="us-east-1")
    return list(warnings_of(settings, estimate(settings).unpriced))


@pytest.mark.parametrize("cidrs", ["0.0.0.0/0", "192.0.2.0/24,0.0.0.0/0"])
def test_api_server_that_the_whole_internet_reaches_is_warned_of_with_a_hint(cidrs: str) -> None:
    (warning,) = warned(cluster=f'{{"publicAccessCidrs": "{cidrs}"}}')
    assert "drcio:cluster.publicAccessCidrs holds 0.0.0.0/0" in warning
    assert "\nhint: pulumi config set --path 'drcio:cluster.publicAccessCidrs' " in warning


@pytest.mark.parametrize(
    "given",
    [
        {"cluster": f"{{{NAMED}}}"},
        {"cluster": '{"publicAccess": false}'},
        {"platformStack": "organization/drcio-eks/dev"},
        {"platform": "existing", "images": '{"build": "none"}'},
    ],
)
def test_network_that_is_named_or_nobody_elses_is_not(given: dict[str, str]) -> None:
    assert warned(**given) == []


def test_instance_type_without_a_price_is_warned_of() -> None:
    (warning,) = warned(cluster=f'{{{NAMED}, "instanceTypes": "m9z.xlarge"}}')
    assert "no price is known of nodes m9z.xlarge" in warning
    assert "\nhint: " in warning
