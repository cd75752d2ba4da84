"""The Job's command line.

Exit status: 0 when results were published, whatever their verdict: they are the deployment's outputs,
and a Job that failed would stop the deployment before it has any. 1 when they could not be published,
2 for wrong usage, 130 or 143 after a signal (what was measured until then is published).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Final
from urllib.parse import urlsplit

from drcio_controller.kube.endpoint import Endpoint, at_url, in_cluster
from drcio_controller.kube.errors import EndpointError
from experiments.errors import ExperimentError, SpecError
from experiments.help import Help
from experiments.job.api import Api
from experiments.job.configmap import ConfigMap
from experiments.job.errors import NotPublished
from experiments.job.measure import Measurement, measure
from experiments.job.observer import PodWeb, Sources
from experiments.job.peers import Crew
from experiments.job.publish import Published
from experiments.job.scene import Scene
from experiments.records.jsonfields import Field, JsonObject, JsonValue, parse_document
from experiments.records.spec import NO_POLICY, SPEC_SCHEMA, Spec, load_spec, plan_runs

NOT_PUBLISHED_STATUS: Final = 1
USAGE_STATUS: Final = 2


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Measure once, as the arguments say."""
    given = os.environ if environ is None else environ
    options = _parser(given).parse_args(arguments)
    stop, received = threading.Event(), list[int]()

    def ask(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        stop.set()

    signal.signal(signal.SIGINT, ask)
    signal.signal(signal.SIGTERM, ask)
    try:
        wanted = _measurement(options)
        api = Api(_endpoint(options, given))
        config_map = ConfigMap(api, options.namespace, options.config_map)
        published = measure(wanted, config_map, PodWeb(), api, stop=stop, log=_print)
    except (ExperimentError, EndpointError) as error:
        print(f"error: {error}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return NOT_PUBLISHED_STATUS if isinstance(error, NotPublished) else USAGE_STATUS
    if published is not None:
        _print_published(published)
    return 128 + received[0] if received else 0


def _measurement(options: argparse.Namespace) -> Measurement:
    spec = _spec(options.spec)
    crew = Crew(index=options.index, size=options.pods, token=options.token)
    if not 0 <= crew.index < crew.size:
        raise SpecError(f"--index is {crew.index}; expected 0 to {crew.size - 1} (--pods {crew.size})")
    (planned,) = plan_runs(spec)
    url = options.service_url.rstrip("/")
    return Measurement(
        spec=spec,
        service_url=url,
        sources=Sources(
            hp=options.hp_metrics or _host_and_port(url),
            lp=options.lp_metrics,
            controller=options.controller if planned.scenario.policy != NO_POLICY else None,
            namespace=options.namespace,
            hp_app=options.hp_app,
            lp_app=options.lp_app,
            claim=options.claim,
        ),
        crew=crew,
        scene=_scene(options),
        controller_config=options.controller_config,
        facts=_object(options.facts, "--facts"),
        ready_timeout_s=options.ready_timeout,
        flowing_timeout_s=options.flowing_timeout,
        alone_timeout_s=options.alone_timeout,
    )


def _scene(options: argparse.Namespace) -> Scene | None:
    if options.expected_pods is None:
        return None
    given = _object(options.expected_pods, "--expected-pods")
    expected = {
        app: Field(count, app, "--expected-pods", "a number of pods by app label").count()
        for app, count in given.items()
    }
    return Scene(
        namespace=options.namespace,
        service=options.hp_app,
        batch_job=options.lp_app,
        controller=options.controller_app,
        experiment=options.own_app,
        job_uid=options.token,
        expected=expected,
    )


def _spec(text: str) -> Spec:
    hint = "the program writes it: one scenario, one repeat, in the form of an experiment's spec.json"
    spec = load_spec(parse_document(text, source="--spec", schema=SPEC_SCHEMA, hint=hint))
    if len(plan_runs(spec)) != 1:
        raise SpecError(
            f"--spec has {len(spec.scenarios)} scenarios and {spec.repeats} repeats; expected one of each",
            hint=hint,
        )
    return spec


def _object(text: str, source: str) -> JsonObject:
    try:
        value: JsonValue = json.loads(text)
    except ValueError as error:
        raise SpecError(f"{source}: not JSON: {error}") from None
    return Field(value, "", source, 'for example {"commit": "0123abc"}').object()


def _host_and_port(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or parts.path:
        raise SpecError(
            f"--service-url is {url!r}; expected http://HOST:PORT",
            hint="the Service's address, without a path",
        )
    return parts.netloc if parts.port else f"{parts.netloc}:80"


def _endpoint(options: argparse.Namespace, environ: Mapping[str, str]) -> Endpoint:
    return at_url(options.api_server) if options.api_server else in_cluster(environ)


def _print(line: str) -> None:
    print(line, flush=True)


def _print_published(published: Published) -> None:
    document = published.document
    _print(f"event=published verdict={document['verdict']} record={published.with_record}")
    reasons = document["reasons"]
    for reason in reasons if isinstance(reasons, list) else ():
        _print(f"event=reason text={reason!r}")


def _parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.job",
        description="Measure one scenario from inside the cluster, and leave the results in a ConfigMap.",
        formatter_class=Help,
    )
    parser.add_argument("--spec", required=True, metavar="JSON", help="what to measure (drcio.spec/1)")
    parser.add_argument("--service-url", required=True, metavar="URL", help="the service, without a path")
    parser.add_argument("--hp-metrics", metavar="HOST:PORT", help="its pods' metrics; else the service's own")
    parser.add_argument("--lp-metrics", metavar="HOST:PORT", help="the batch job's pods' metrics")
    parser.add_argument("--controller", metavar="HOST:PORT", help="the controller's pods' /status")
    parser.add_argument("--hp-app", default="hp-gnn-service", metavar="NAME", help="what its pods are named")
    parser.add_argument("--lp-app", default="lp-batch", metavar="NAME", help="likewise of the batch job")
    parser.add_argument("--controller-app", default="drcio-controller", metavar="NAME", help="likewise")
    parser.add_argument("--own-app", default="drcio-experiment", metavar="NAME", help="likewise of this Job")
    parser.add_argument("--claim", default="shared-data", metavar="NAME", help="claim of the shared volume")
    parser.add_argument("--config-map", required=True, metavar="NAME", help="where the results go")
    parser.add_argument("--namespace", required=True, metavar="NAME", help="of ConfigMap and workloads")
    parser.add_argument("--api-server", metavar="URL", help="instead of the one that a pod is told of")
    parser.add_argument("--facts", default="{}", metavar="JSON", help="added to the record's environment")
    parser.add_argument(
        "--expected-pods", metavar="JSON", help="app label to pods that may run; others are waited out"
    )
    parser.add_argument(
        "--controller-config", metavar="DIGEST", help="of the configuration that must be in force"
    )
    parser.add_argument(
        "--alone-timeout", type=float, default=300.0, metavar="S", help="for other pods to be gone"
    )
    parser.add_argument(
        "--ready-timeout", type=float, default=900.0, metavar="S", help="for the service to be ready"
    )
    parser.add_argument(
        "--flowing-timeout", type=float, default=900.0, metavar="S", help="for the batch job to do I/O"
    )
    crew = parser.add_argument_group("several load generators (an indexed Job)")
    crew.add_argument("--pods", type=int, default=1, metavar="N", help="how many there are")
    crew.add_argument(
        "--index",
        type=int,
        default=int(environ.get("JOB_COMPLETION_INDEX", "0")),
        metavar="N",
        help="which one this is; Kubernetes sets JOB_COMPLETION_INDEX",
    )
    crew.add_argument(
        "--token", default=environ.get("JOB_UID", "none"), metavar="TEXT", help="one per Job; $JOB_UID"
    )
    return parser
