"""The Job's own command line against a Pod API and a fake node: what the program would read afterwards."""

from __future__ import annotations

import contextlib
import functools
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from drcio_controller.testing.podapi import ApiOptions
from drcio_controller.testing.server import PodApiServer
from drcio_controller.testing.server import serving as api_serving
from drcio_controller.testing.store import PodStore, Resource
from experiments.job import cli, measure
from experiments.job.publish import unpack
from experiments.judgement.results import results_json
from experiments.judgement.study import study
from experiments.judgement.verdict import judge
from experiments.records.record import RunRecord
from experiments.records.spec import Spec, parse_volume, scenarios
from tests.experiments.job.served import DEVICE, FakeNode, Served, serving

NAMESPACE = "drcio"
NAME = "drcio-experiment-0123456789ab"


def spec_of(scenario: str, *, rate_rps: float = 80.0, duration_s: float = 2.0) -> Spec:
    return Spec(
        scenarios=scenarios(scenario),
        load_level="custom",
        rate_rps=rate_rps,
        duration_s=duration_s,
        warmup_s=0.5,
        repeats=1,
        volume=parse_volume("gp3"),
        lp_block_bytes=1 << 20,
        lp_workers=32,
        seed=7,
        target="cluster",
    )


@contextlib.contextmanager
def api(options: ApiOptions | None = None) -> Iterator[PodApiServer]:
    """Serve a Pod API that has the ConfigMap, as the program makes it before the Job."""
    store = PodStore()
    store.create(Resource.CONFIG_MAPS, NAMESPACE, {"metadata": {"name": NAME, "namespace": NAMESPACE}})
    with api_serving(store, options) as server:
        yield server


def arguments(spec: Spec, served: Served, server: PodApiServer, *more: str) -> list[str]:
    return [
        f"--spec={json.dumps(spec.to_json())}",
        f"--service-url=http://{served.hp}",
        f"--lp-metrics={served.lp}",
        f"--controller={served.controller}",
        f"--config-map={NAME}",
        f"--namespace={NAMESPACE}",
        f"--api-server={server.url}",
        '--facts={"images": {"hp-service": "example@sha256:0"}}',
        *more,
    ]


def written(server: PodApiServer) -> dict[str, Any]:
    return dict(server.store.get(Resource.CONFIG_MAPS, NAMESPACE, NAME))


def results(server: PodApiServer) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(written(server)["data"]["results.json"])
    return document


def record_of(server: PodApiServer) -> RunRecord:
    return unpack(written(server)["binaryData"]["run.json.gz"], source="test")


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """Put back the handlers that the command line sets."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def codes(document: dict[str, Any]) -> set[str]:
    """Return the reasons' codes; that a busy test machine is late is not what is tested."""
    return set(document["reason_codes"]) - {"generator-fell-behind"}


@functools.cache
def sound(scenario: str) -> tuple[dict[str, Any], RunRecord]:
    """Return what a run leaves at which all is well; made once."""
    return run(scenario, FakeNode(lp_answers=scenario != "baseline"))


def run(scenario: str, node: FakeNode, *more: str) -> tuple[dict[str, Any], RunRecord]:
    with serving(node) as served, api() as server:
        assert cli.main(arguments(spec_of(scenario), served, server, *more), {}) == 0
        return results(server), record_of(server)


def test_drcio_run_says_who_got_what_and_by_which_engine() -> None:
    document, record = sound("drcio")
    assert codes(document) == {"scenarios-missing"}
    measured = document["scenarios"]["drcio"]
    assert measured["hp"]["errors"] == 0
    assert measured["hp"]["requests"] == record.load.sent > 100
    assert 2 < measured["hp"]["p95_ms"] < 200
    assert measured["hp"]["fetch_p95_ms"] == pytest.approx(1.5, rel=0.01)
    assert measured["lp"]["mib_s"] == pytest.approx(110, rel=0.1)
    (repeat,) = measured["repeats"]
    assert repeat["health"]["engine"] == "iocost"
    assert (repeat["health"]["hp_weight"], repeat["health"]["lp_weight"]) == (1000, 10)
    assert repeat["health"]["controller_state"] == "holding"
    assert record.devices.hp == record.devices.lp == (DEVICE,)
    assert document["environment"]["images"] == {"hp-service": "example@sha256:0"}
    assert document["environment"]["read_path"] == "aio"


def test_results_are_what_study_and_verdict_make_of_the_published_record() -> None:
    document, record = sound("drcio")
    spec = spec_of("drcio")
    again = study([record], spec)
    assert json.loads(json.dumps(results_json(again, judge(again)))) == document


def test_baseline_run_needs_neither_batch_job_nor_controller() -> None:
    document, record = sound("baseline")
    assert codes(document) == {"scenarios-missing"}
    assert document["scenarios"]["baseline"]["lp"]["operations"] == 0
    assert record.devices.hp == ("claim/shared-data",)


def test_contention_run_counts_the_batch_job_on_the_shared_volume() -> None:
    document, _ = sound("contention")
    assert codes(document) == {"scenarios-missing"}
    (repeat,) = document["scenarios"]["contention"]["repeats"]
    assert repeat["health"]["lp_shared_share"] == 1.0
    assert repeat["lp"]["mib_s"] == pytest.approx(110, rel=0.1)


def test_service_that_never_gets_ready_is_an_invalid_result_and_not_a_failed_job() -> None:
    with serving(FakeNode(ready=False)) as served, api() as server:
        assert cli.main(arguments(spec_of("baseline"), served, server, "--ready-timeout=0.5"), {}) == 0
        document = results(server)
    assert document["verdict"] == "invalid"
    (reason,) = document["reasons"]
    assert "service" in reason
    assert "ready" in reason
    assert "binaryData" not in written(server) or not written(server)["binaryData"]


def test_idle_batch_job_is_an_invalid_result(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(FakeNode(lp_mib_s=0)) as served, api() as server:
        status = cli.main(arguments(spec_of("contention"), served, server, "--flowing-timeout=0.5"), {})
        assert (status, results(server)["verdict"]) == (0, "invalid")
    assert "the batch job" in results(server)["reasons"][0]
    assert "event=not-measured" in capsys.readouterr().out


def test_missing_config_map_fails_the_job(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(FakeNode()) as served, api_serving(PodStore()) as server:
        assert cli.main(arguments(spec_of("baseline"), served, server), {}) == 1
    error = capsys.readouterr().err
    assert f"error: ConfigMap {NAMESPACE}/{NAME}: PATCH failed: 404" in error
    assert "hint: " in error


def test_several_generators_share_the_load_and_make_one_record() -> None:
    statuses: list[int] = []
    spec = spec_of("baseline", rate_rps=90.0)
    with serving(FakeNode(lp_answers=False)) as served, api() as server:

        def generator(index: int) -> None:
            command = [sys.executable, "-m", "experiments.job"]
            command += arguments(spec, served, server, "--pods=3", f"--index={index}", "--token=job-1")
            statuses.append(subprocess.run(command, check=False, capture_output=True).returncode)

        threads = [threading.Thread(target=generator, args=(index,)) for index in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == [0, 0, 0]
        record = record_of(server)
        assert set(written(server)["data"]) == {"results.json"}, "what the generators left is cleared away"
    assert record.load.plan["rate_rps"] == pytest.approx(90)
    assert 130 < record.load.sent < 240
    assert results(server)["environment"]["load_generators"] == 3
    assert codes(results(server)) == {"scenarios-missing"}


def leftover(app: str) -> dict[str, Any]:
    return {
        "metadata": {"name": f"{app}-left", "namespace": NAMESPACE, "labels": {"app": app}},
        "spec": {"nodeName": "node-1", "containers": [{"name": "c", "image": "x"}]},
    }


def test_leftovers_of_another_scenario_are_waited_out() -> None:
    more = ['--expected-pods={"hp-gnn-service": 1}', "--alone-timeout=20"]
    with serving(FakeNode(lp_answers=False)) as served, api() as server:
        server.store.create(Resource.PODS, NAMESPACE, leftover("lp-batch"))
        timer = threading.Timer(2.0, lambda: server.store.delete(Resource.PODS, NAMESPACE, "lp-batch-left"))
        timer.start()
        assert cli.main(arguments(spec_of("baseline"), served, server, *more), {}) == 0
        assert timer.finished.is_set()
        assert record_of(server).load.sent > 0


def test_leftovers_that_stay_make_it_invalid_and_are_named() -> None:
    more = ['--expected-pods={"hp-gnn-service": 1}', "--alone-timeout=0"]
    with serving(FakeNode(lp_answers=False)) as served, api() as server:
        server.store.create(Resource.PODS, NAMESPACE, leftover("lp-batch"))
        assert cli.main(arguments(spec_of("baseline"), served, server, *more), {}) == 0
        document = results(server)
        assert not written(server).get("binaryData"), "nothing was measured"
    assert document["verdict"] == "invalid"
    assert "no part of the scenario to be gone: drcio/lp-batch-left" in document["reasons"][0]


def test_a_node_that_a_killed_agent_left_steered_is_waited_out() -> None:
    node = FakeNode(lp_answers=False, io_cost=True)
    timer = threading.Timer(2.0, lambda: setattr(node, "io_cost", False))
    timer.start()
    _, record = run("baseline", node, "--alone-timeout=20")
    assert timer.finished.is_set()
    assert record.load.sent > 0


@pytest.mark.parametrize("scenario", ["baseline", "contention"])
def test_a_node_that_stays_steered_makes_a_scenario_without_a_controller_invalid(scenario: str) -> None:
    with serving(FakeNode(io_cost=True)) as served, api() as server:
        assert cli.main(arguments(spec_of(scenario), served, server, "--alone-timeout=0"), {}) == 0
        document = results(server)
    assert document["verdict"] == "invalid"
    assert (
        "the service's disk to be without control, as the scenario is: iocost is on" in document["reasons"][0]
    )


@pytest.mark.parametrize("says", [None, False])
def test_a_service_that_sees_no_iocost_is_measured(says: bool | None) -> None:
    assert run("baseline", FakeNode(lp_answers=False, io_cost=says))[1].load.sent > 0


def test_measures_once_the_controller_runs_on_the_configuration_that_is_to_be_measured() -> None:
    node = FakeNode(config_digest="older")
    timer = threading.Timer(2.0, lambda: setattr(node, "config_digest", "wanted"))
    timer.start()
    document, record = run("drcio", node, "--controller-config=wanted")
    assert timer.finished.is_set()
    assert record.load.sent > 0
    assert "not-measured" not in codes(document)


def test_controller_that_keeps_another_configuration_makes_it_invalid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(measure, "CONTROLLER_TIMEOUT_S", 0.0)
    with serving(FakeNode(config_digest="older")) as served, api() as server:
        more = arguments(spec_of("drcio"), served, server, "--controller-config=wanted")
        assert cli.main(more, {}) == 0
        document = results(server)
    assert document["verdict"] == "invalid"
    assert "to run on the configuration wanted: it runs on older" in document["reasons"][0]


def test_same_seed_offers_the_same_requests() -> None:
    one, (document, again) = sound("baseline")[1].load, run("baseline", FakeNode())
    other = again.load
    assert "baseline-not-alone" in codes(document), "its batch job runs, which must not go unnoticed"
    assert one.planned == other.planned
    assert [part.count for part in one.intervals] == [part.count for part in other.intervals]


def test_signal_ends_the_load_and_publishes_what_was_measured() -> None:
    spec = spec_of("baseline", duration_s=30.0)
    with serving(FakeNode()) as served, api() as server:
        command = [sys.executable, "-m", "experiments.job", *arguments(spec, served, server)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if "phase=" in line:
                    break
            process.send_signal(signal.SIGTERM)
            process.stdout.read()
            assert process.wait(timeout=20) == 128 + signal.SIGTERM
        assert record_of(server).interrupted
    assert "interrupted" in results(server)["reason_codes"]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--service-url=http://hp:8080/score"], "--service-url is 'http://hp:8080/score'"),
        (["--spec={}"], "--spec: field schema is missing"),
        (["--index=1"], "--index is 1; expected 0 to 0"),
        (["--facts=nope"], "--facts: not JSON"),
        (["--api-server=hp"], "API server is 'hp'"),
    ],
)
def test_wrong_usage_is_told_in_one_line(
    more: Sequence[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [f"--spec={json.dumps(spec_of('baseline').to_json())}", "--service-url=http://hp:8080"]
    common += ["--config-map=results", "--namespace=drcio", "--api-server=http://127.0.0.1:1"]
    assert cli.main([*common, *more], {}) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {told}")
    assert "Traceback" not in error


def test_pod_without_an_api_server_is_told_how_to_name_one(capsys: pytest.CaptureFixture[str]) -> None:
    common = [f"--spec={json.dumps(spec_of('baseline').to_json())}", "--service-url=http://hp:8080"]
    assert cli.main([*common, "--config-map=results", "--namespace=drcio"], {}) == 2
    assert "hint: outside of a cluster give --api-server URL" in capsys.readouterr().err


def test_runner_needs_nothing_that_its_image_has_not() -> None:
    code = "import sys, experiments.job.cli; print(sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[3],
    )
    loaded = set(json.loads(done.stdout.replace("'", '"')))
    assert not loaded & {"httpx", "rich", "matplotlib", "numpy", "torch", "starlette", "pulumi"}
