"""The experiment after the deployment: a Job measures, fills one ConfigMap, the program reads it back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, cast

import pulumi
import pulumi_kubernetes as k8s

from components import kubernetes as kube
from components.account import Account
from components.experiment_results import OUTPUT_FIELDS, field_of, read_back, results_map
from components.kubernetes import Destination, Tree
from drcio_controller import config
from drcio_controller.config import Config
from drcio_controller.manifest import APP_LABEL as CONTROLLER_APP
from drcio_controller.manifest import PORT as CONTROLLER_PORT
from experiment_runner.manifest import APP, RunnerOptions, pod_template
from hp_service.manifest import NAME as SERVICE_APP
from hp_service.manifest import PORT as SERVICE_PORT
from lp_batch.manifest import APP as BATCH_APP
from lp_batch.manifest import METRICS_PORT as BATCH_PORT

SLACK_S: Final = 1800
"""Beyond the load itself: the service becomes ready, the batch job writes its files, the judging."""
ENDING_S: Final = 120
"""From the Job's deadline to the condition that shows it: its pods are stopped first."""


@dataclass(frozen=True, kw_only=True)
class ExperimentArgs:
    """What is measured; any change of it is another experiment."""

    namespace: str
    image: pulumi.Input[str]
    scenario: str
    spec: Tree
    """drcio.spec/1, of one scenario and one repeat."""
    run: str
    """Name of this measurement: another one measures again what has not changed."""
    images: Mapping[str, pulumi.Input[str]]
    """Those of everything that runs in the scenario, by name."""
    controller: Config | None
    """What the controller runs on: weights, policy, targets; None where there is none."""
    service_url: str
    claim: str
    workloads: Tree
    """What the workloads are given beyond the spec, such as the service's CPU."""
    expected_pods: Mapping[str, int]
    """App label to how many of its pods run in the scenario."""
    suffix: str
    """Ends the names of cluster-wide objects, so that several stacks fit into one cluster."""
    batch_job: bool
    controller_namespace: str | None
    """None where the scenario has no controller."""
    run_s: int
    pods: int
    stack: str | None
    """Whose nodes to use; None leaves the choice to the scheduler."""


class Experiment(pulumi.ComponentResource):
    """A Job whose name carries a hash of what it measures, so that only a change runs it again."""

    outputs: Mapping[str, pulumi.Output[object]]

    def __init__(self, name: str, args: ExperimentArgs, where: Destination) -> None:
        super().__init__("drcio:experiment:Experiment", name, {}, where.options)
        images = pulumi.Output.all(**args.images)
        job_name = images.apply(partial(named, args))
        metadata = kube.metadata_of(APP, args.namespace, name=job_name)
        results = results_map(self, name, metadata, where)
        # Out to DNS, the API server and the workloads, whose addresses no selector fixes.
        egress: list[Tree] = [{"ports": [{"port": 53, "protocol": "UDP"}, kube.EVERY_TCP_PORT]}]
        kube.network_policy(self, name, APP, args.namespace, where, ingress=[], egress=egress)
        rights = self._rights(name, args, job_name, where)
        sources = self._sources(name, args, where)
        spec = pulumi.Output.all(image=args.image, job_name=job_name, images=images).apply(
            lambda known: _job_spec(args, known["image"], known["job_name"], known["images"])
        )
        job = k8s.batch.v1.Job(
            name,
            metadata=kube.metadata_of(APP, args.namespace, name=job_name, annotations=kube.ONCE_ENDED),
            spec=cast(pulumi.Output[k8s.batch.v1.JobSpecArgs], spec),
            # Another hash is another Job: the old one goes first, so that the two do not load at once.
            opts=kube.in_cluster(
                self,
                where,
                results,
                *rights,
                *sources,
                replace_first=True,
                # Beyond the Job's own deadline, whose end is a result.
                timeout=f"{args.run_s + SLACK_S + ENDING_S}s",
            ),
        )
        written = read_back(self, name, metadata, job, where)
        ended = pulumi.Output.all(data=written.data, status=job.status)
        self.outputs = {
            field: ended.apply(partial(field_of, field=field, scenario=args.scenario))
            for field in OUTPUT_FIELDS
        }
        known = pulumi.Output.all(self.outputs["verdict"], self.outputs["reasons"])
        self.register_outputs({"verdict": known.apply(lambda found: _warned(self, *found))})

    def _rights(
        self, name: str, args: ExperimentArgs, config_map: pulumi.Input[str], where: Destination
    ) -> list[pulumi.Resource]:
        """Let it read and patch the one ConfigMap, and list pods.

        Pods of the whole cluster, because a controller that moves this node's limits may be anybody's.
        """
        account = Account(self, name, APP, args.namespace, where)
        account.may(
            {
                "apiGroups": [""],
                "resources": ["configmaps"],
                "resourceNames": [config_map],
                "verbs": ["get", "patch"],
            }
        )
        account.may(
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
            role="looking",
            binding="looks",
            everywhere=f"{APP}{args.suffix}",
        )
        return account.resources

    def _sources(self, name: str, args: ExperimentArgs, where: Destination) -> list[pulumi.Resource]:
        """Return headless Services, by which the Job finds the pods without a right to list them."""
        wanted = [(SERVICE_APP, args.namespace, SERVICE_PORT)]
        if args.batch_job:
            wanted.append((BATCH_APP, args.namespace, BATCH_PORT))
        if args.controller_namespace is not None:
            wanted.append((CONTROLLER_APP, args.controller_namespace, CONTROLLER_PORT))
        return [
            k8s.core.v1.Service(
                f"{name}-{app}-pods",
                metadata=kube.metadata_of(APP, namespace, name=_pods_name(app), annotations=kube.SKIP_AWAIT),
                spec=k8s.core.v1.ServiceSpecArgs(
                    cluster_ip="None",
                    selector={"app": app},
                    ports=[k8s.core.v1.ServicePortArgs(name="metrics", port=port, protocol="TCP")],
                ),
                opts=kube.in_cluster(self, where),
            )
            for app, namespace, port in wanted
        ]


def named(args: ExperimentArgs, images: Mapping[str, str]) -> str:
    """Return the Job's name: twelve hex digits over everything that is measured, and with what."""
    measured = [
        args.spec,
        args.workloads,
        args.expected_pods,
        args.run,
        args.pods,
        config.dump(args.controller) if args.controller else "",
        dict(images),
    ]
    text = json.dumps(measured, sort_keys=True)
    return f"{APP}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _warned(experiment: Experiment, verdict: object, reasons: object) -> object:
    """Return the verdict; one that is no success is a warning on the terminal, and stops no deployment."""
    if verdict in ("fail", "invalid"):
        why = "; ".join(str(reason) for reason in reasons) if isinstance(reasons, list) else "no reason"
        pulumi.warn(f"the experiment's verdict is {verdict}: {why}", resource=experiment)
    return verdict


def _pods_name(app: str) -> str:
    return f"{app}-pods"


def _address(app: str, namespace: str, port: int) -> str:
    return f"{_pods_name(app)}.{namespace}.svc:{port}"


def _job_spec(args: ExperimentArgs, image: str, job_name: str, images: Mapping[str, str]) -> Tree:
    agents = args.controller_namespace
    template = pod_template(
        RunnerOptions(
            image=image,
            spec=args.spec,
            config_map=job_name,
            namespace=args.namespace,
            service_url=args.service_url,
            hp_metrics=_address(SERVICE_APP, args.namespace, SERVICE_PORT),
            lp_metrics=_address(BATCH_APP, args.namespace, BATCH_PORT) if args.batch_job else None,
            controller=None if agents is None else _address(CONTROLLER_APP, agents, CONTROLLER_PORT),
            claim=args.claim,
            expected_pods=args.expected_pods,
            controller_config=config.digest(args.controller) if args.controller else None,
            facts={"images": dict(images)},
            pods=args.pods,
        )
    )
    return {
        "parallelism": args.pods,
        "completions": args.pods,
        "completionMode": "Indexed",
        # A second try would measure a system that the first one has warmed.
        "backoffLimit": 0,
        "activeDeadlineSeconds": args.run_s + SLACK_S,
        "template": kube.on_stack_node(cast(Tree, template), args.stack),
    }
