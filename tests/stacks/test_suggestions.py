"""What a mistyped name is taken for."""

from __future__ import annotations

import pytest

from stacks.configuration.config import parse
from stacks.configuration.keys import keys_of
from stacks.configuration.settings import Settings
from stacks.errors import ConfigError
from stacks.suggestions import did_you_mean

PATHS = [key.path for key in keys_of(Settings)]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("storage.iop", "storage.iops"),
        ("iops", "storage.iops"),
        ("ioweights", "ioWeights"),
        ("cluster.storageGib", "monitoring.storageGib"),
        ("scenaro", "scenario"),
        ("batch.block_size", "batch.blockSize"),
    ],
)
def test_mistyped_key_is_known_again(name: str, meant: str) -> None:
    assert did_you_mean(name, PATHS) == f"did you mean {meant}? "


@pytest.mark.parametrize("name", ["", "x", "colour", "."])
def test_what_is_like_nothing_is_taken_for_nothing(name: str) -> None:
    assert did_you_mean(name, PATHS) == ""


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"scenaro": "drcio"}, "did you mean scenario? pulumi config rm --path 'drcio:scenaro'"),
        ({"iops": "9000"}, "did you mean storage.iops? pulumi config rm --path 'drcio:iops'"),
        ({"scenario": "contenton"}, "did you mean contention? pulumi config set --path 'drcio:scenario'"),
        ({"scenario": "nope"}, "pulumi config set --path 'drcio:scenario'"),
    ],
)
def test_refusal_says_what_may_be_meant(given: dict[str, str], hint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(given, stack="s", region="r")
    assert f"\nhint: {hint}" in str(refused.value)
