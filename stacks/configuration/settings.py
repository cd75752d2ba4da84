"""Everything that configures a stack, as frozen dataclasses: one field per configuration key.

A field's declaration is also what Pulumi.yaml and docs/reference/configuration.md say about the key
(`python -m stacks.configuration.reference`), so that the three cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from components.aws_facts import EKS_VERSIONS, EVERYWHERE
from drcio_controller.config import DEFAULT_CLASSES, WEIGHT_MAX, WEIGHT_MIN, Engine, PolicyName
from drcio_controller.ebs import GP3_BASE_IOPS, GP3_BASE_MIB_S, GP3_MAX_IOPS, GP3_MAX_MIB_S, VOLUME_FORMS
from load_generator.schedule import Arrivals
from lp_batch.patterns import Pattern
from stacks.configuration import checks
from stacks.configuration.keys import key
from stacks.configuration.names import slug
from stacks.configuration.volumes import told_volume

BASELINE: Final = "baseline"
CONTENTION: Final = "contention"
DRCIO: Final = "drcio"
SCENARIOS: Final = (BASELINE, CONTENTION, DRCIO)

EKS: Final = "eks"
EXISTING: Final = "existing"

CONTROLLER: Final = "controller"
HP_SERVICE: Final = "hp-service"
LP_BATCH: Final = "lp-batch"
LOAD_GENERATOR: Final = "load-generator"
EXPERIMENT: Final = "experiment"
IMAGE_NAMES: Final = (CONTROLLER, HP_SERVICE, LP_BATCH, LOAD_GENERATOR, EXPERIMENT)

LP_PATTERNS: Final = tuple(pattern.value for pattern in Pattern)


@dataclass(frozen=True, kw_only=True)
class Controller:
    """The I/O controller (scenario drcio)."""

    enabled: bool = key(True, "Deploy the controller in scenario drcio; false shows what labels alone do.")
    policy: str = key(
        PolicyName.DRCIO.value,
        "How the node is driven; all but drcio exist for comparison. iomax-N caps low priority at N percent.",
        check=checks.policy,
    )
    engine: str = key(
        Engine.AUTO.value, "What makes weights act on a device.", choices=tuple(item.value for item in Engine)
    )
    interval_ms: int = key(500, "Between two looks at a device.", minimum=50, maximum=60_000)
    floor_percent: int = key(
        10, "Low priority is never held below this share of the device.", minimum=1, maximum=100
    )
    targets: Mapping[str, str] = key(
        MappingProxyType({"high": ""}),
        "Class to latency target, such as p95<100ms; empty works from kernel signals alone.",
        check=checks.latency_target,
    )
    volumes: tuple[str, ...] = key(
        (),
        "What volumes that this stack did not make were provisioned with, each as DEVICE=VOLUME: a "
        f"shell pattern on the disk's serial or kernel name, and {VOLUME_FORMS}. The first that fits a disk "
        "counts; of any other disk the controller finds it out.",
        check=told_volume,
    )


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The EKS cluster (platform eks) and the nodes of this stack."""

    # The longest name that is made of it is the control plane's role, NAME-eks-eksRole-role and eight more
    # characters, of the 64 that IAM allows.
    name: str = key("drcio-demo", "Name of the EKS cluster.", check=checks.short_dns_label(39))
    version: str = key(
        "1.35",
        f"Kubernetes version, one of those in standard support: {', '.join(EKS_VERSIONS)}.",
        check=checks.eks_version,
    )
    instance_types: tuple[str, ...] = key(
        ("m6i.xlarge",),
        "Instance types of the nodes. Each must sustain more EBS traffic than the volume has: "
        "a t3.xlarge (86.9 MB/s) does not reach a plain gp3's 125 MiB/s.",
        check=checks.instance_type,
    )
    nodes: int = key(1, "Nodes of this stack.", minimum=1, maximum=100)
    spot: bool = key(
        False, "Use spot capacity: about a third of the price, may be taken away mid-experiment."
    )
    disk_gib: int = key(50, "Root volume of a node, GiB.", minimum=20, maximum=1_000)
    public_access: bool = key(
        True, "Reach the API server from outside the VPC; its private endpoint is always on."
    )
    public_access_cidrs: tuple[str, ...] = key(
        (EVERYWHERE,),
        "Networks that may reach the public API endpoint; name yours.",
        check=checks.endpoint_cidr,
    )
    log_types: tuple[str, ...] = key(
        ("api", "audit", "authenticator"),
        "Control-plane logs kept in CloudWatch.",
        choices=("api", "audit", "authenticator", "controllerManager", "scheduler"),
    )


@dataclass(frozen=True, kw_only=True)
class Network:
    """The VPC (platform eks)."""

    cidr: str = key("10.0.0.0/16", "Address range of the VPC.", check=checks.vpc_cidr)
    availability_zones: int = key(2, "Availability zones; EKS wants two or more.", minimum=2, maximum=4)
    nat: str = key(
        "single",
        "NAT gateways for private nodes; none puts the nodes in public subnets: the cheap layout.",
        choices=("single", "per-az", "none"),
    )
    interface_endpoints: bool = key(
        False,
        "Keep traffic to ECR, EC2, STS, EKS and CloudWatch Logs inside the VPC (paid by hour and zone).",
    )


@dataclass(frozen=True, kw_only=True)
class Storage:
    """The volume that the two workloads share."""

    size_gib: int = key(50, "Size of the shared volume, GiB.", minimum=4, maximum=16_384)
    iops: int = key(GP3_BASE_IOPS, "Provisioned IOPS (gp3).", minimum=GP3_BASE_IOPS, maximum=GP3_MAX_IOPS)
    throughput_mib_s: int = key(
        GP3_BASE_MIB_S,
        "Provisioned throughput (gp3), MiB/s.",
        name="throughputMibps",
        minimum=GP3_BASE_MIB_S,
        maximum=GP3_MAX_MIB_S,
    )
    class_name: str = key(
        "",
        "Use this StorageClass instead of making one; on an existing cluster, empty is its default class.",
        check=checks.optional(checks.dns_label),
    )


def _reference(image: str) -> str:
    """Declare the key of an image that is not built here."""
    return key("", f"Use this {image} image, by digest.", check=checks.optional(checks.digest_reference))


@dataclass(frozen=True, kw_only=True)
class Images:
    """Where the container images come from."""

    build: tuple[str, ...] = key(
        ("all",),
        "Images to build here: all, none, or names.",
        choices=("all", "none", *IMAGE_NAMES),
    )
    push: bool = key(
        True, "Push what was built; false keeps it in the local engine (kind load docker-image)."
    )
    registry: str = key(
        "",
        "Registry and path to push to; empty is ECR on platform eks.",
        check=checks.optional(checks.registry),
    )
    controller: str = _reference("controller")
    hp_service: str = _reference("service")
    lp_batch: str = _reference("batch")
    load_generator: str = _reference("load-generator")
    experiment: str = _reference("experiment")

    @property
    def given(self) -> Mapping[str, str]:
        """References that are configured, by image name."""
        references = {name: getattr(self, name.replace("-", "_")) for name in IMAGE_NAMES}
        return {name: reference for name, reference in references.items() if reference}

    @property
    def built(self) -> tuple[str, ...]:
        """Names of the images to build: those chosen, less those given."""
        chosen = {"all": IMAGE_NAMES, "none": ()}.get(self.build[0], self.build)
        return tuple(name for name in IMAGE_NAMES if name in chosen and name not in self.given)


@dataclass(frozen=True, kw_only=True)
class Monitoring:
    """Prometheus, Grafana, alerts (kube-prometheus-stack)."""

    enabled: bool = key(True, "Deploy kube-prometheus-stack.")
    scaled_to_zero: bool = key(False, "Keep it installed, run nothing: data stays, memory and CPU are free.")
    chart_version: str = key(
        "91.2.0", "Version of the chart.", check=checks.matching(r"\d+\.\d+\.\d+", "a version such as 91.2.0")
    )
    retention_days: int = key(7, "How long Prometheus keeps samples.", minimum=1, maximum=365)
    storage_gib: int = key(20, "Volume for Prometheus, GiB.", minimum=5, maximum=1_000)
    load_balancer: bool = key(False, "Give Grafana a public load balancer; otherwise use port-forward.")
    runbooks: str = key(
        "",
        "Address under which you publish docs/runbooks: each alert's runbook_url begins with it; empty, "
        "alerts name their page by its path in the repository.",
        check=checks.optional(checks.matching(r"https?://[^\s/]\S*", "an address such as https://HOST/PATH")),
    )


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The low-priority batch job (scenarios contention and drcio)."""

    pattern: str = key("mixed", "What the job does.", choices=LP_PATTERNS)
    block_size: str = key(
        "1MiB", "Bytes per operation.", check=checks.matching(r"\d+(KiB|MiB)", "a size such as 4KiB or 1MiB")
    )
    workers: int = key(16, "Operations in flight per pod (queue depth).", minimum=1, maximum=256)
    parallelism: int = key(2, "Pods of the job.", minimum=1, maximum=64)
    operations: int = key(
        0, "Operations per pod; 0 works until the job is removed.", minimum=0, maximum=10**12
    )
    file_size: str = key(
        "4GiB",
        "Size of each pod's file.",
        check=checks.matching(r"\d+(MiB|GiB)", "a size such as 512MiB or 4GiB"),
    )
    rate_mib_s: int = key(0, "Limit per pod, MiB/s; 0 is none.", name="rateMibps", minimum=0, maximum=100_000)


@dataclass(frozen=True, kw_only=True)
class Service:
    """The high-priority fraud-scoring service."""

    replicas: int = key(1, "Replicas; all share the volume, hence one node.", minimum=1, maximum=16)
    cpu: str = key("1", "CPU request.", check=checks.cpu)
    memory: str = key("2Gi", "Memory request and limit.", check=checks.memory)
    priority: str = key("high", "Class of the service, one of ioWeights.", check=checks.dns_label)
    load_balancer: bool = key(False, "Expose the service by a load balancer; it is internal otherwise.")


@dataclass(frozen=True, kw_only=True)
class DemoWorkloads:
    """The demo's own service, batch job and volume."""

    enabled: bool = key(
        True,
        "Deploy the demo's service, batch job and volume; false deploys the controller alone, with its"
        " rights, monitors and dashboards, for the workloads of an existing cluster.",
    )


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """The experiment that runs after the deployment."""

    enabled: bool = key(False, "Run the experiment after the workloads are ready and export its results.")
    warmup_seconds: int = key(15, "Load before the measured window.", minimum=0, maximum=600)
    seed: int = key(1, "Seed of the arrival schedule.", minimum=0, maximum=2**31)
    arrivals: str = key(
        Arrivals.POISSON.value,
        "How requests come: poisson as independent users, in bursts and lulls, or constant at equal gaps.",
        choices=tuple(item.value for item in Arrivals),
    )
    pods: int = key(1, "Load-generator pods; their histograms are merged.", minimum=1, maximum=32)
    run: str = key(
        "",
        "Name of this measurement: another name measures again what has not changed.",
        check=checks.optional(checks.dns_label),
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One stack's configuration."""

    stack: str
    region: str
    current_context: str = ""
    """Of the kubeconfig that the environment names, for a platform that exists."""
    scenario: str = key(
        DRCIO,
        "baseline is the service alone, contention adds the batch job, drcio adds the controller.",
        choices=SCENARIOS,
    )
    load_level: str = key("medium", "Request rate of the experiment.", choices=("low", "medium", "high"))
    duration_seconds: int = key(120, "Measured window of the experiment.", minimum=10, maximum=86_400)
    platform: str = key(
        EKS,
        "eks builds a cluster; existing deploys into the one of a kubeconfig context.",
        choices=(EKS, EXISTING),
    )
    platform_stack: str = key(
        "",
        "Share the cluster of another stack of this program, org/project/stack: "
        "this one brings a namespace and a node of its own.",
        check=checks.optional(
            checks.matching(r"[\w.-]+/[\w.-]+/[\w.-]+", "a stack such as organization/drcio-eks/dev")
        ),
    )
    kube_context: str = key("", "Context of your kubeconfig for platform existing; empty is the current one.")
    namespace: str = key(
        "",
        "Namespace of the workloads; empty is drcio, or drcio-STACK where platformStack is given.",
        check=checks.optional(checks.namespace(63 - len("-system"))),
    )
    io_weights: Mapping[str, int] = key(
        MappingProxyType({name: entry.weight for name, entry in DEFAULT_CLASSES.items()}),
        "Class of the label drcio.io/priority to I/O weight; add classes of your own.",
        minimum=WEIGHT_MIN,
        maximum=WEIGHT_MAX,
    )
    controller: Controller = field(default_factory=Controller)
    cluster: Cluster = field(default_factory=Cluster)
    network: Network = field(default_factory=Network)
    storage: Storage = field(default_factory=Storage)
    images: Images = field(default_factory=Images)
    monitoring: Monitoring = field(default_factory=Monitoring)
    workloads: DemoWorkloads = field(default_factory=DemoWorkloads)
    batch: Batch = field(default_factory=Batch)
    service: Service = field(default_factory=Service)
    experiment: Experiment = field(default_factory=Experiment)

    @property
    def slug(self) -> str:
        """The stack's name where Kubernetes or EKS allows less than Pulumi does."""
        return slug(self.stack)

    @property
    def workload_namespace(self) -> str:
        return self.namespace or (f"drcio-{self.slug}" if self.platform_stack else "drcio")

    @property
    def system_namespace(self) -> str:
        """The controller's: hostPath mounts are forbidden where the workloads run."""
        return f"{self.workload_namespace}-system"

    @property
    def suffix(self) -> str:
        """End of the names of cluster-wide objects, so that several stacks fit into one cluster.

        Another one for each namespace: what two stacks had in common would go with the first of them. A
        namespace has no dot in it, so that `a` and `drcio-a` stay two.
        """
        space = self.workload_namespace
        if space == "drcio":
            return ""
        return f"-{space.removeprefix('drcio-')}" if space.startswith("drcio-") else f".{space}"

    @property
    def own_class(self) -> str | None:
        """Name of the StorageClass that the stack makes; None where it uses one that is there."""
        made = self.platform == EKS and not self.storage.class_name
        return f"drcio-gp3{self.suffix}" if made else None

    @property
    def volume_class(self) -> str | None:
        """Name of the claims' StorageClass; None is the cluster's default."""
        return self.own_class or self.storage.class_name or None

    @property
    def context(self) -> str:
        """The kubeconfig's context into which an existing platform is deployed; empty where there is none."""
        return self.kube_context or self.current_context
