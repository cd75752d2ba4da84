import pytest

from load_generator import cli
from load_generator.manifest import PodOptions, pod_template
from tests.images.contract import args_of, loaded_with, validate


def test_the_pod_is_valid_kubernetes_and_has_no_priority() -> None:
    template = pod_template(PodOptions(image="load-generator:1", url="http://svc:8080/score"))
    validate(template)
    assert template["metadata"]["labels"] == {"app": "load-generator"}


@pytest.mark.parametrize(("rate_rps", "rate"), [(None, "--level=high"), (7.5, "--rate=7.5")])
def test_the_args_are_what_the_command_line_takes(rate_rps: float | None, rate: str) -> None:
    template = pod_template(
        PodOptions(image="i", url="http://svc:8080/score", level="high", rate_rps=rate_rps, seed=3)
    )
    args = args_of(template)
    assert rate in args
    options = cli._parser().parse_args(args)
    assert (options.seed, options.duration, str(options.output)) == (3, 60.0, "/results")


def test_results_can_go_to_a_volume_of_the_callers() -> None:
    template = pod_template(
        PodOptions(image="i", url="http://h/s", results={"persistentVolumeClaim": {"claimName": "c"}})
    )
    assert template["spec"]["volumes"] == [{"name": "results", "persistentVolumeClaim": {"claimName": "c"}}]


def test_loading_the_manifest_loads_nothing_else() -> None:
    heavy = ("aiohttp", "hdrh", "load_generator.")
    loaded = loaded_with("load_generator.manifest")
    assert [name for name in loaded if name.startswith(heavy)] == ["load_generator.manifest"]
