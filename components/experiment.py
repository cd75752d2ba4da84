"""The experiment after the deployment: a Job measures, fills one ConfigMap, the program reads it back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, cast

import pulumi
import pulumi_kubernetes as k8s

from components.kubernetes import Destination, Tree, as_args, in_cluster, on_stack_node, with_image
from load_generator import manifest

APP: Final = "drcio-experiment"
RESULTS_KEY: Final = "results.json"
SLACK_S: Final = 1800
"""Beyond the load itself: the service becomes ready, the batch job writes its files, the judging."""

HP_FIELDS: Final = (
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "fetch_p95_ms",
    "offered_rps",
    "achieved_rps",
    "errors",
)

OUTPUT_FIELDS: Final = (*HP_FIELDS, "lp_mib_s", "verdict", "reasons", "results")


@dataclass(frozen=True, kw_only=True)
class ExperimentArgs:
    """What is measured; any change of it is another experiment."""

    namespace: str
    image: pulumi.Input[str]
    scenario: str
    spec: Tree
    """As the job's command line takes it."""
    measures: Mapping[str, pulumi.Input[str]]
    """What else decides the result: the workloads' images, the weights."""
    run_s: int
    pods: int
    stack: str | None
    """Whose nodes to use; None leaves the choice to the scheduler."""


class Experiment(pulumi.ComponentResource):
    """A Job whose name carries a hash of what it measures, so that only a change runs it again."""

    outputs: Mapping[str, pulumi.Output[object]]

    def __init__(
        self,
        name: str,
        args: ExperimentArgs,
        where: Destination,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("drcio:experiment:Experiment", name, {}, opts)
        job_name = pulumi.Output.all(**args.measures).apply(lambda measures: named(args.spec, measures))
        metadata = k8s.meta.v1.ObjectMetaArgs(name=job_name, namespace=args.namespace, labels={"app": APP})
        results = k8s.core.v1.ConfigMap(
            f"{name}-results",
            metadata=metadata,
            # The Job fills it; the next `pulumi up` must not empty it again.
            opts=pulumi.ResourceOptions.merge(
                in_cluster(self, where), pulumi.ResourceOptions(ignore_changes=["data"])
            ),
        )
        rights = self._rights(name, job_name, args.namespace, where)
        job = k8s.batch.v1.Job(
            name,
            metadata=metadata,
            spec=as_args(k8s.batch.v1.JobSpecArgs, _job_spec(args, job_name)),
            # Another hash is another Job: the old one goes first, so that the two do not load at once.
            opts=in_cluster(
                self, where, results, *rights, replace_first=True, timeout=f"{args.run_s + SLACK_S}s"
            ),
        )
        # The Job and the ConfigMap have one name, hence one id; the Job's is unknown until it has run.
        written = k8s.core.v1.ConfigMap.get(f"{name}-read", id=job.id, opts=in_cluster(self, where, job))
        self.outputs = {
            field: written.data.apply(partial(_field, field=field, scenario=args.scenario))
            for field in OUTPUT_FIELDS
        }
        self.register_outputs({"verdict": self.outputs["verdict"]})

    def _rights(
        self, name: str, job_name: pulumi.Output[str], namespace: str, where: Destination
    ) -> list[pulumi.Resource]:
        """Return an account that may read and patch the one ConfigMap."""
        child = in_cluster(self, where)
        metadata = k8s.meta.v1.ObjectMetaArgs(name=APP, namespace=namespace, labels={"app": APP})
        account = k8s.core.v1.ServiceAccount(
            f"{name}-account", metadata=metadata, automount_service_account_token=False, opts=child
        )
        role = k8s.rbac.v1.Role(
            f"{name}-role",
            metadata=metadata,
            rules=[
                k8s.rbac.v1.PolicyRuleArgs(
                    api_groups=[""],
                    resources=["configmaps"],
                    resource_names=[job_name],
                    verbs=["get", "patch"],
                )
            ],
            opts=child,
        )
        binding = k8s.rbac.v1.RoleBinding(
            f"{name}-binding",
            metadata=metadata,
            role_ref=k8s.rbac.v1.RoleRefArgs(api_group="rbac.authorization.k8s.io", kind="Role", name=APP),
            subjects=[k8s.rbac.v1.SubjectArgs(kind="ServiceAccount", name=APP, namespace=namespace)],
            opts=in_cluster(self, where, role),
        )
        return [account, binding]


def named(spec: Tree, measures: Mapping[str, str]) -> str:
    """Return the Job's name: twelve hex digits over everything that is measured."""
    text = json.dumps({"spec": spec, "measures": dict(measures)}, sort_keys=True)
    return f"{APP}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def summary(data: Mapping[str, str] | None, scenario: str) -> dict[str, object]:
    """Return the outputs for a results ConfigMap's data; None for whatever is not there (yet)."""
    text = (data or {}).get(RESULTS_KEY)
    results: Tree = json.loads(text) if text else {}
    measured = _below(results, "scenarios", scenario)
    hp, lp = _below(measured, "hp"), _below(measured, "lp")
    return {
        **{field: hp.get(field) for field in HP_FIELDS},
        "lp_mib_s": lp.get("mib_s"),
        "verdict": results.get("verdict"),
        "reasons": results.get("reasons"),
        "results": results or None,
    }


def _field(data: Mapping[str, str] | None, *, field: str, scenario: str) -> object:
    return summary(data, scenario)[field]


def _below(tree: Tree, *names: str) -> Tree:
    for name in names:
        found = tree.get(name)
        tree = found if isinstance(found, Mapping) else {}
    return tree


def _job_spec(args: ExperimentArgs, job_name: pulumi.Output[str]) -> Tree:
    pod = manifest.pod_template(image="", url="")
    (container,) = cast(Sequence[Tree], pod["spec"]["containers"])
    command: Tree = {
        "command": ["python", "-m", "experiments", "cluster-job"],
        "args": [
            "--spec",
            json.dumps(dict(args.spec), sort_keys=True),
            "--config-map",
            job_name,
            "--namespace",
            args.namespace,
        ],
    }
    template = {
        "metadata": {"labels": {"app": APP}},
        "spec": {
            **pod["spec"],
            "serviceAccountName": APP,
            "automountServiceAccountToken": True,
            "containers": [{**container, **command}],
        },
    }
    return {
        "parallelism": args.pods,
        "completions": args.pods,
        "completionMode": "Indexed",
        # A second try would measure a system that the first one has warmed.
        "backoffLimit": 0,
        "activeDeadlineSeconds": args.run_s + SLACK_S,
        "template": on_stack_node(with_image(template, args.image), args.stack),
    }
