from pathlib import Path

from experiment_runner.manifest import RECORD_KEY, RESULTS_KEY, PodTemplate, RunnerOptions, pod_template
from experiments.job import cli, publish
from experiments.records.spec import scenario
from tests.experiments.build import build_spec
from tests.images.contract import args_of, loaded_with, validate

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


def test_the_pod_is_valid_kubernetes() -> None:
    validate(template_of())


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
    assert not {"experiments", "pulumi", "urllib3", "load_generator"} & loaded_with(
        "experiment_runner.manifest"
    )


def test_the_image_has_what_the_runner_imports() -> None:
    dockerfile = (Path(__file__).parents[3] / "images/experiment-runner/Dockerfile").read_text()
    assert {
        *("COPY images/load-generator", "COPY images/drcio-controller"),
        *("COPY images/hp-service", "COPY images/lp-batch", "COPY experiments"),
    } <= {" ".join(line.split()[:2]) for line in dockerfile.splitlines() if line.startswith("COPY")}
