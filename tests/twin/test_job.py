"""The in-cluster Job, unchanged, as a pod of the twin: what it publishes is what the program reads."""

import json
from pathlib import Path
from typing import cast

import pytest

from components.experiment_results import OUTPUT_FIELDS, summary
from drcio_controller.manifest import PORT as CONTROLLER_PORT
from experiment_runner.manifest import RECORD_KEY, RESULTS_KEY, RunnerOptions, pod_template
from experiments import workloads
from experiments.job.publish import unpack
from experiments.judgement.results import results_json
from experiments.judgement.study import study
from experiments.judgement.verdict import judge
from experiments.records.spec import scenario
from experiments.targets.twin import LP_FILE_SIZE, TwinTarget
from hp_service.manifest import PORT as HP_PORT
from lp_batch.manifest import METRICS_PORT as LP_PORT
from node_twin.layout import API_PORT, NAMESPACE, NODE_NAME
from tests.twin.conftest import spec_of

pytestmark = pytest.mark.twin

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG_MAP = "drcio-experiment-results"


def test_job_publishes_what_the_program_reads(target: TwinTarget) -> None:
    twin = target.twin
    spec = spec_of(scenario("drcio"), rate_rps=3.0, duration_s=12.0, target="cluster")
    template = pod_template(
        RunnerOptions(
            image="drcio.local/experiment-runner:checkout",
            spec=spec.to_json(),
            config_map=CONFIG_MAP,
            namespace=NAMESPACE,
            service_url=f"http://127.0.0.1:{HP_PORT}",
            hp_metrics=f"127.0.0.1:{HP_PORT}",
            lp_metrics=f"127.0.0.1:{LP_PORT}",
            controller=f"127.0.0.1:{CONTROLLER_PORT}",
            claim=workloads.DATA_CLAIM,
            api_server=f"http://127.0.0.1:{API_PORT}",
            working_dir=str(REPOSITORY),
        )
    )
    controller = target.node.controller("drcio")
    assert controller is not None
    batch = workloads.batch_job(spec, namespace=NAMESPACE, node=NODE_NAME, file_size=LP_FILE_SIZE)
    twin.put_config_map(CONFIG_MAP, {})
    for manifest in (
        controller.manifest,
        batch.manifest,
        workloads.pod("experiment", template, namespace=NAMESPACE, node=NODE_NAME),
    ):
        twin.create_pod(manifest)
    twin.wait_ended("experiment", timeout_s=400)
    log = twin.log("experiment")
    published = twin.config_map(CONFIG_MAP)
    for name in ("experiment", batch.name, controller.name):
        twin.delete_pod(name)

    assert published is not None
    data = cast("dict[str, str]", published["data"])
    outputs = summary(data, "drcio")
    assert set(outputs) == set(OUTPUT_FIELDS)
    assert outputs["verdict"] in ("inconclusive", "invalid"), log  # one scenario proves nothing
    assert cast(float, outputs["p95_ms"]) > 0
    assert cast(float, outputs["lp_mib_s"]) > 10

    record = unpack(cast("dict[str, str]", published["binaryData"])[RECORD_KEY], source=CONFIG_MAP)
    assert record.clock == twin.clock
    judged = study([record], spec)
    expected = json.dumps(results_json(judged, judge(judged)))
    assert json.loads(expected) == json.loads(data[RESULTS_KEY])
