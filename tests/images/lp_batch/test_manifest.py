import pytest

from lp_batch import cli
from lp_batch.manifest import PodOptions, Qos, pod_template
from tests.images.contract import args_of, loaded_with, validate


@pytest.mark.parametrize("qos", ["burstable", "besteffort"])
def test_the_pod_is_valid_kubernetes(qos: Qos) -> None:
    template = pod_template(
        PodOptions(image="lp-batch:1", claim="shared", duration_s=60, summary="/results/lp.json", qos=qos)
    )
    validate(template)


def test_the_args_are_what_the_command_line_takes() -> None:
    template = pod_template(
        PodOptions(
            image="i",
            claim="c",
            duration_s=5,
            num_operations=7,
            rate_mib_s=1.5,
            summary="/results/lp.json",
            pattern="random-read",
            block_size="4KiB",
            num_workers=3,
        )
    )
    options = cli._parser().parse_args(args_of(template))
    plan = cli._plan(options)
    assert (plan.pattern, plan.block_bytes, plan.workers) == ("random-read", 4096, 3)
    assert (plan.duration_s, plan.num_operations, plan.rate_mib_s) == (5.0, 7, 1.5)
    assert options.metrics_port == 9100


def test_without_limits_the_job_runs_until_it_is_stopped() -> None:
    args = args_of(pod_template(PodOptions(image="i", claim="c")))
    assert not any("duration" in arg or "operations" in arg for arg in args)


def test_loading_the_manifest_loads_nothing_else() -> None:
    loaded = loaded_with("lp_batch.manifest")
    assert [name for name in loaded if name.startswith(("prometheus", "lp_batch."))] == ["lp_batch.manifest"]
