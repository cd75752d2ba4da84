import json
import subprocess
import sys
from pathlib import Path

import kubernetes_validate

from experiment_runner.manifest import RECORD_KEY, RESULTS_KEY, PodTemplate, RunnerOptions, pod_template
from experiments.job import cli, publish
from experiments.judgement.testing import build_spec
from experiments.records.spec import scenario

KUBERNETES = "1.35"
SPEC = build_spec(repeats=1, arms=[scenario("drcio")])


def template_of(api_server: str | None = None) -> PodTemplate:
    return pod_template(
        RunnerOptions(
            image="runner:1",
            spec=SPEC.to_json(),
            config_map="results",
            namespace="drcio",
            service_url="http://hp:8080",
            hp_metrics="hp-pods:8080",
            lp_metrics="lp-pods:9100",
            controller="agents:9400",
            claim="shared-data",
            facts={"images": {"hp-service": "example@sha256:0"}},
            pods=2,
            api_server=api_server,
        )
    )


def args_of(template: PodTemplate) -> list[str]:
    """Take the container's arguments as a cluster gets them: out of the JSON."""
    (container,) = json.loads(json.dumps(template))["spec"]["containers"]
    return [str(arg) for arg in container["args"]]


def test_the_pod_is_valid_kubernetes() -> None:
    template = template_of()
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "experiment", **template["metadata"]},
        "spec": template["spec"],
    }
    kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_the_command_line_takes_the_arguments_and_gets_the_same_spec() -> None:
    options = cli._parser({}).parse_args(args_of(template_of()))
    wanted = cli._measurement(options)
    assert wanted.spec == SPEC
    assert wanted.crew.size == 2
    assert (wanted.sources.lp, wanted.sources.controller) == ("lp-pods:9100", "agents:9400")
    assert wanted.facts == {"images": {"hp-service": "example@sha256:0"}}


def test_the_token_is_mounted_only_for_the_clusters_own_api_server() -> None:
    assert template_of()["spec"]["automountServiceAccountToken"] is True
    assert template_of("http://127.0.0.1:6443")["spec"]["automountServiceAccountToken"] is False


def test_entries_are_those_that_the_runner_writes() -> None:
    assert (RESULTS_KEY, RECORD_KEY) == (publish.RESULTS_KEY, publish.RECORD_KEY)


def test_importing_the_manifest_loads_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import experiment_runner.manifest; "
    code += "print(sorted(name for name in set(sys.modules) - before if '.' not in name))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"experiments", "pulumi", "urllib3"} & set(json.loads(done.stdout.replace("'", '"')))


def test_the_image_has_what_the_runner_imports() -> None:
    dockerfile = (Path(__file__).parents[3] / "images/experiment-runner/Dockerfile").read_text()
    assert {
        *("COPY images/load-generator", "COPY images/drcio-controller"),
        *("COPY images/hp-service", "COPY images/lp-batch", "COPY experiments"),
    } <= {" ".join(line.split()[:2]) for line in dockerfile.splitlines() if line.startswith("COPY")}
