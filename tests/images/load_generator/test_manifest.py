import json
import subprocess
import sys

import kubernetes_validate
import pytest

from load_generator import cli
from load_generator.manifest import PodOptions, PodTemplate, pod_template

KUBERNETES = "1.35"


def args_of(template: PodTemplate) -> list[str]:
    """Take the container's arguments as a cluster gets them: out of the JSON."""
    (container,) = json.loads(json.dumps(template))["spec"]["containers"]
    return [str(arg) for arg in container["args"]]


def test_the_pod_is_valid_kubernetes_and_has_no_priority() -> None:
    template = pod_template(PodOptions(image="load-generator:1", url="http://svc:8080/score"))
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "load", **template["metadata"]},
        "spec": template["spec"],
    }
    kubernetes_validate.validate(pod, KUBERNETES, strict=True)
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
    code = (
        "import sys, load_generator.manifest;"
        "print([m for m in sys.modules if m.startswith(('aiohttp', 'hdrh', 'load_generator.'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['load_generator.manifest']"
