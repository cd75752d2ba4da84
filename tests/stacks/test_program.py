"""The whole program as each stack, recorded: what exists, who waits for whom, what is secret."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import pytest
import yaml

from drcio_controller import config as controller_config
from drcio_controller.kernel.devices import Device
from drcio_controller.kernel.parse import DeviceId
from stacks.errors import ConfigError
from stacks.preview.dryrun import ROOT, DryRun, Registration, stack_config
from stacks.preview.graph import reduce_edges
from stacks.preview.manifests import is_object, manifests
from tests.stacks import dryruns
from tests.stacks.dryruns import GIVEN_IMAGES

SCENARIOS = ("baseline", "contention", "drcio")
EXISTING = {"drcio:platform": "existing", **GIVEN_IMAGES}
SHARED = {"drcio:platformStack": "acme/drcio-eks/dev"}

AWS_BASE = {
    "aws:ec2/vpc:Vpc": 1,
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": 1,
    "aws:ec2/subnet:Subnet": 4,
    "aws:ec2/internetGateway:InternetGateway": 1,
    "aws:ec2/eip:Eip": 1,
    "aws:ec2/natGateway:NatGateway": 1,
    "aws:ec2/routeTable:RouteTable": 2,
    "aws:ec2/routeTableAssociation:RouteTableAssociation": 4,
    "aws:ec2/vpcEndpoint:VpcEndpoint": 1,
    "aws:kms/key:Key": 1,
    "eks:index:Cluster": 1,
    "aws:cloudwatch/logGroup:LogGroup": 1,
    "aws:iam/role:Role": 2,
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": 4,
    "aws:ec2/launchTemplate:LaunchTemplate": 1,
    "aws:eks/nodeGroup:NodeGroup": 1,
    "aws:eks/addon:Addon": 6,
    "aws:ecr/repository:Repository": 5,
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": 5,
    "docker:index/image:Image": 5,
}
SERVICE = {
    "Namespace": 1,
    # Of the batch job and the controller: whether they are there.
    "ConfigMap": 2,
    "PersistentVolumeClaim": 1,
    "PriorityClass": 1,
    "Deployment": 1,
    "Service": 1,
    "NetworkPolicy": 1,
    "PodMonitor": 1,
    "PrometheusRule": 1,
}
MONITORING = {"Namespace": 1, "Secret": 1, "ConfigMap": 2}
GUARD = {"ReplicaSet": 1, "NetworkPolicy": 1, "ServiceAccount": 1, "ClusterRole": 1, "ClusterRoleBinding": 1}
BATCH_JOB = {"Job": 1, "NetworkPolicy": 1, "PodMonitor": 1}
CONTROLLER = {
    "Namespace": 1,
    "ServiceAccount": 1,
    "ClusterRole": 1,
    "ClusterRoleBinding": 1,
    "ConfigMap": 1,
    "DaemonSet": 1,
    "NetworkPolicy": 1,
    "PodMonitor": 1,
    "PrometheusRule": 1,
}
BY_SCENARIO = {"baseline": [], "contention": [BATCH_JOB], "drcio": [BATCH_JOB, CONTROLLER]}


def render(stack: str, overrides: Mapping[str, str] | None = None) -> DryRun:
    """Run the program without the experiment, which tests/stacks/test_experiment.py looks at."""
    return dryruns.render(stack, {"drcio:experiment.enabled": "false", **(overrides or {})})


def kinds(run: DryRun) -> Counter[str]:
    return Counter(item.type.rpartition(":")[2] for item in run.registrations if is_object(item))


def expected_kinds(scenario: str, *extra: dict[str, int]) -> Counter[str]:
    total: Counter[str] = Counter(SERVICE)
    for part in (*BY_SCENARIO[scenario], *extra):
        total.update(part)
    return total


def aws_types(run: DryRun) -> Counter[str]:
    return Counter(
        item.type
        for item in run.registrations
        if item.type.startswith(("aws:", "eks:", "docker:")) and item.type != "eks:index:Provider"
    )


def one(run: DryRun, type_suffix: str, name: str = "") -> Registration:
    found = [
        item
        for item in run.registrations
        if item.type.endswith(f":{type_suffix}") and name in item.name and not item.is_component
    ]
    assert len(found) == 1, [item.name for item in found]
    return found[0]


def waits_for(run: DryRun, later: Registration, earlier: Registration) -> bool:
    """Return whether `later` is made after `earlier`, and destroyed before it, directly or not."""
    by_urn = {item.urn: item for item in run.registrations}
    seen: set[str] = set()
    pending = [later.urn]
    while pending:
        urn = pending.pop()
        if urn in seen or urn not in by_urn:
            continue
        seen.add(urn)
        pending += by_urn[urn].dependencies
    return earlier.urn in seen and earlier.urn != later.urn


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_own_cluster_has_exactly_the_scenarios_resources(scenario: str) -> None:
    run = render(scenario)
    assert aws_types(run) == Counter(AWS_BASE)
    # The mark by which others keep the cluster, and the guard that keeps the driver.
    own = {"StorageClass": 1, "ConfigMap": 1, **GUARD}
    assert kinds(run) == expected_kinds(scenario, MONITORING, own)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_existing_cluster_has_nothing_of_aws(scenario: str) -> None:
    run = render(scenario, EXISTING)
    assert aws_types(run) == Counter()
    assert kinds(run) == expected_kinds(scenario, MONITORING)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_shared_cluster_adds_a_namespace_and_a_node_of_its_own(scenario: str) -> None:
    run = render(scenario, SHARED)
    assert aws_types(run) == Counter(
        {"aws:eks/nodeGroup:NodeGroup": 1, "aws:ec2/launchTemplate:LaunchTemplate": 1}
    )
    objection = {"ValidatingAdmissionPolicy": 1, "ValidatingAdmissionPolicyBinding": 1}
    assert kinds(run) == expected_kinds(scenario, {"StorageClass": 1}, objection)
    taint = {"key": "drcio.io/stack", "value": scenario, "effect": "NO_SCHEDULE"}
    assert one(run, "NodeGroup").inputs["taints"] == [taint]
    spec = one(run, "Deployment").inputs["spec"]["template"]["spec"]
    assert spec["nodeSelector"] == {"drcio.io/stack": scenario}
    assert {**taint, "effect": "NoSchedule", "operator": "Equal"} in spec["tolerations"]


def test_stacks_that_share_a_cluster_share_no_object_name() -> None:
    names = [
        {manifest.file_name for manifest in manifests(run)}
        for run in (render("dev", {"drcio:scenario": "drcio"}), render("drcio", SHARED))
    ]
    assert names[0] & names[1] == set()


@pytest.mark.parametrize(("before", "after"), [("baseline", "contention"), ("contention", "drcio")])
def test_changing_the_scenario_changes_only_its_part(before: str, after: str) -> None:
    runs = [render("dev", {"drcio:scenario": scenario}) for scenario in (before, after)]
    old, new = ({item.urn: item.inputs for item in run.registrations} for run in runs)
    changed = {urn for urn in old if new.get(urn) != old[urn]}
    added = {urn.partition("::drcio-eks::")[2] for urn in set(new) - set(old)}
    assert {urn.rpartition("::")[2] for urn in changed} == {
        {"contention": "lp-batch-presence", "drcio": "io-controller-presence"}[after]
    }
    assert added
    assert all(
        "BatchJob" in urn or "IoController" in urn or "-system" in urn or "monitors" in urn or "rules-" in urn
        for urn in added
    )


def test_a_weight_changes_exactly_one_config_map() -> None:
    old = {manifest.file_name: manifest.content for manifest in manifests(render("drcio"))}
    run = render("drcio", {"drcio:ioWeights.high": "800"})
    new = {manifest.file_name: manifest.content for manifest in manifests(run)}
    assert set(old) == set(new)
    changed = [name for name in old if old[name] != new[name]]
    assert changed == ["05-config-map-drcio-system-drcio-controller.yaml"]
    assert yaml.safe_load(new[changed[0]]["data"]["config.yaml"])["classes"]["high"]["weight"] == 800


def test_a_weight_changes_no_other_resource_either() -> None:
    runs = [render("drcio", {"drcio:ioWeights.high": weight}) for weight in ("1000", "800")]
    old, new = ({item.urn: item.inputs for item in run.registrations} for run in runs)
    assert [urn.rpartition("::")[2] for urn in old if old[urn] != new[urn]] == ["io-controller-config"]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_object_waits_for_the_nodes_and_the_addons(scenario: str) -> None:
    run = render(scenario)
    gates = [one(run, "NodeGroup"), one(run, "Addon", "coredns"), one(run, "Addon", "aws-ebs-csi-driver")]
    objects = [item for item in run.registrations if is_object(item)]
    assert objects
    missing = [(item.name, gate.name) for item in objects for gate in gates if not waits_for(run, item, gate)]
    assert missing == []


def test_nodes_wait_for_routes_rights_and_the_cni() -> None:
    run = render("drcio")
    nodes = one(run, "NodeGroup")
    assert waits_for(run, nodes, one(run, "NatGateway"))
    assert waits_for(run, nodes, one(run, "Addon", "vpc-cni"))
    assert waits_for(run, nodes, one(run, "RolePolicyAttachment", "WorkerNodePolicy"))


def test_workloads_wait_for_what_they_use() -> None:
    run = render("drcio")
    service, job, agent = one(run, "Deployment"), one(run, "Job"), one(run, "DaemonSet")
    claim = one(run, "PersistentVolumeClaim")
    assert waits_for(run, service, claim)
    assert waits_for(run, job, claim)
    assert waits_for(run, job, service), "the service prepares its data undisturbed"
    assert waits_for(run, agent, one(run, "ConfigMap", "io-controller-config"))
    assert waits_for(run, agent, one(run, "ClusterRoleBinding", "io-controller"))
    assert waits_for(run, one(run, "PodMonitor", "hp-gnn"), one(run, "Release"))


@pytest.mark.parametrize(("kind", "marker"), [("Job", "lp-batch"), ("DaemonSet", "io-controller")])
def test_what_a_scenario_drops_is_made_from_a_marker_that_is_always_there(kind: str, marker: str) -> None:
    # What the engine makes of it is tested on the engine: tests/engine.
    run = dryruns.render("drcio", GIVEN_IMAGES)
    made = one(run, "ConfigMap", f"{marker}-presence")
    part = next(item for item in run.registrations if item.type.endswith(f":{kind}") and item.name in marker)
    assert made.urn in part.from_outputs["metadata"]
    assert made.delete_before_replace
    gone = dryruns.render("baseline", GIVEN_IMAGES)
    left = one(gone, "ConfigMap", f"{marker}-presence")
    assert left.inputs["metadata"]["name"] != made.inputs["metadata"]["name"]
    assert waits_for(gone, one(gone, "Job", "experiment"), left)


def test_nothing_waits_for_itself() -> None:
    needs = {item.urn: item.dependencies for item in render("drcio").registrations}
    reduced = reduce_edges(needs)  # recursion would not end on a cycle
    assert set(reduced) == set(needs)
    order = {item.urn: place for place, item in enumerate(render("drcio").registrations)}
    assert all(order[needed] < order[urn] for urn, wanted in needs.items() for needed in wanted)


@pytest.mark.parametrize("overrides", [{}, EXISTING, SHARED])
def test_every_resource_belongs_to_a_component_or_stands_alone_on_purpose(overrides: dict[str, str]) -> None:
    run = render("drcio", overrides)
    loose = {
        item.name
        for item in run.registrations
        if item.parent.endswith("drcio-eks-drcio") and not item.is_component
    }
    assert all(name.startswith("namespace-") or name == "kubernetes" or "/" in name for name in loose)


def test_secrets_are_secret() -> None:
    run = render("drcio")
    assert {name for name, output in run.outputs.items() if output.secret} == {
        "kubeconfig",
        "grafanaPassword",
    }
    assert one(run, "Secret").secret_inputs
    assert one(run, "kubernetes").secret_inputs == {"kubeconfig"}
    assert {"registry"} == {path.split(".")[0] for path in one(run, "Image", "hp-service").secret_inputs}


def test_shared_kubeconfig_stays_secret() -> None:
    assert render("drcio", SHARED).outputs["kubeconfig"].secret


@pytest.mark.parametrize("overrides", [{}, SHARED])
def test_images_are_named_by_digest(overrides: dict[str, str]) -> None:
    run = render("drcio", overrides)
    images = [
        container["image"]
        for kind in ("Deployment", "DaemonSet", "Job")
        for container in one(run, kind).inputs["spec"]["template"]["spec"]["containers"]
    ]
    assert len(images) == 3
    assert all("@sha256:" in image for image in images)


def test_built_image_is_pushed_for_amd64() -> None:
    image = one(render("drcio"), "Image", "lp-batch").inputs
    assert image["build"]["platform"] == "linux/amd64"
    assert image["skipPush"] is False


def test_given_images_build_nothing() -> None:
    run = render("drcio", GIVEN_IMAGES)
    assert not [item for item in run.registrations if item.type.startswith(("docker:", "aws:ecr"))]
    assert run.outputs["images"].value["hp-service"] == GIVEN_IMAGES["drcio:images.hpService"]


def test_only_named_images_are_built() -> None:
    chosen = {
        "drcio:images.build": "lp-batch",
        **{k: v for k, v in GIVEN_IMAGES.items() if "lpBatch" not in k},
    }
    built = [item.name for item in render("drcio", chosen).registrations if item.type.startswith("docker:")]
    assert built == ["lp-batch"]


def test_image_built_without_push_is_named_by_its_tag() -> None:
    run = render("drcio", {"drcio:platform": "existing", "drcio:images.push": "false"})
    assert one(run, "Image", "lp-batch").inputs["skipPush"] is True
    assert run.outputs["images"].value["lp-batch"].startswith("drcio/lp-batch:")


def test_missing_image_is_refused() -> None:
    with pytest.raises(ConfigError, match="image lp-batch is neither built nor given"):
        render("contention", {"drcio:images.build": "hp-service,load-generator"})


def test_controller_has_least_privilege() -> None:
    run = render("drcio")
    spec = one(run, "DaemonSet").inputs["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    security = container["securityContext"]
    assert security["privileged"] is False
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["readOnlyRootFilesystem"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert {volume["hostPath"]["path"] for volume in spec["volumes"] if "hostPath" in volume} == {
        "/sys/fs/cgroup",
        "/run/drcio",
    }
    assert "hostNetwork" not in spec
    assert spec["priorityClassName"] == "system-node-critical"
    rules = one(run, "ClusterRole", "io-controller").inputs["rules"]
    assert {verb for rule in rules for verb in rule["verbs"]} == {"get", "list", "watch", "create", "patch"}
    rights = {rule["resources"][0]: rule["verbs"] for rule in rules}
    assert rights == {
        "pods": ["get", "list", "watch"],
        "namespaces": ["get", "list", "watch"],
        "nodes": ["get"],
        "events": ["create", "patch"],
    }


def test_nobody_but_the_controller_has_an_api_token() -> None:
    run = render("drcio")
    tokens = {
        kind: one(run, kind).inputs["spec"]["template"]["spec"].get("automountServiceAccountToken", True)
        for kind in ("Deployment", "DaemonSet", "Job")
    }
    assert tokens == {"Deployment": False, "DaemonSet": True, "Job": False}


def test_the_service_prefers_the_node_of_its_volume_and_the_batch_job_requires_it() -> None:
    run = render("drcio")
    service, job = (one(run, kind).inputs["spec"]["template"] for kind in ("Deployment", "Job"))
    ((preferred,),) = service["spec"]["affinity"]["podAffinity"].values()
    assert preferred["weight"] == 100
    (required,) = job["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert preferred["podAffinityTerm"] == required
    assert required["topologyKey"] == "kubernetes.io/hostname"
    for template in (service, job):
        assert required["labelSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()


def test_the_provider_does_not_wait_a_second_time_for_pods_that_may_train_for_longer() -> None:
    waited_for = "pulumi.com/waitFor"
    inside = one(render("drcio"), "Service").inputs["metadata"]["annotations"]
    assert inside[waited_for] == "jsonpath={.spec.clusterIP}"
    public = one(render("drcio", {"drcio:service.loadBalancer": "true"}), "Service").inputs["metadata"]
    assert waited_for not in public["annotations"], "its address comes from the load balancer"


def test_volume_profile_and_storage_class_come_from_the_same_settings() -> None:
    run = render("drcio", {"drcio:storage.iops": "6000", "drcio:storage.throughputMibps": "250"})
    assert (
        one(run, "StorageClass").inputs["parameters"].items() >= {"iops": "6000", "throughput": "250"}.items()
    )
    (volume,) = yaml.safe_load(one(run, "ConfigMap", "io-controller-config").inputs["data"]["config.yaml"])[
        "volumes"
    ]
    assert (volume["iops"], volume["mib_s"]) == (6000, 250.0)


def told(overrides: Mapping[str, str], disk: Device) -> tuple[int, float, str]:
    """Return what the controller of a stack takes a disk for, and where it has that from."""
    config = one(render("drcio", overrides), "ConfigMap", "io-controller-config").inputs["data"][
        "config.yaml"
    ]
    profile, source = disk.profile(controller_config.parse(config).volumes)
    return profile.iops, profile.mib_s, source


EBS = Device(id=DeviceId("259:1"), name="nvme1n1", serial="vol0abc")
OTHER = Device(id=DeviceId("8:16"), name="sdb", serial="S4EVNX0")
UNTOLD = (3000, 125.0, "ebs"), (3000, 125.0, "learning")


def test_controller_of_an_existing_cluster_is_told_of_volumes_what_the_user_says() -> None:
    assert (told(EXISTING, EBS), told(EXISTING, OTHER)) == UNTOLD
    said = {**EXISTING, "drcio:controller.volumes": "vol0abc=gp3:6000:250,vol*=gp3:4000:200,sd?=io2:500"}
    assert told(said, EBS) == (6000, 250.0, "configured")
    assert told(said, replace(EBS, serial="vol0def")) == (4000, 200.0, "configured")
    assert told(said, OTHER) == (500, 125.0, "configured")
    assert told(said, replace(EBS, serial="", name="nvme2n1"))[2] == "learning"
    assert told(said, replace(EBS, serial="vol0def", node_disk=True))[2] == "ebs", "a pattern spares it"


def test_what_the_user_says_comes_before_what_the_stack_makes() -> None:
    said = {"drcio:controller.volumes": "vol0abc=gp3:6000:250"}
    assert told(said, EBS) == (6000, 250.0, "configured")
    assert told(said, replace(EBS, serial="vol0def")) == (3000, 125.0, "configured")
    borrowed = {**said, "drcio:storage.className": "theirs"}
    assert told(borrowed, replace(EBS, serial="vol0def"))[2] == "ebs", "the class is not this stack's"


@pytest.mark.parametrize(
    ("nat", "gateways", "subnets", "public_addresses"),
    [("single", 1, 6, False), ("per-az", 3, 6, False), ("none", 0, 3, True)],
)
def test_nat_layout(nat: str, gateways: int, subnets: int, public_addresses: bool) -> None:
    run = render("drcio", {"drcio:network.nat": nat, "drcio:network.availabilityZones": "3"})
    types = aws_types(run)
    assert types["aws:ec2/natGateway:NatGateway"] == gateways
    found = [item.inputs for item in run.registrations if item.type == "aws:ec2/subnet:Subnet"]
    assert len(found) == subnets
    assert any(subnet["mapPublicIpOnLaunch"] for subnet in found) is public_addresses
    assert len({subnet["cidrBlock"] for subnet in found}) == subnets


def test_control_plane_is_hardened() -> None:
    cluster = one(render("drcio"), "Cluster").inputs
    assert cluster["authenticationMode"] == "API"
    assert cluster["upgradePolicy"] == {"supportType": "STANDARD"}
    assert cluster["endpointPrivateAccess"] is True
    assert cluster["encryptionConfigKeyArn"]
    template = one(render("drcio"), "LaunchTemplate").inputs
    assert template["metadataOptions"]["httpTokens"] == "required"
    assert "imageId" not in template
    assert "userData" not in template


def test_monitoring_can_be_off_or_asleep() -> None:
    off = render("drcio", {"drcio:monitoring.enabled": "false"})
    assert not [item for item in off.registrations if "onitor" in item.type]
    assert "grafanaCommand" not in off.outputs
    values = one(render("drcio", {"drcio:monitoring.scaledToZero": "true"}), "Release").inputs["values"]
    assert values["prometheus"]["prometheusSpec"]["replicas"] == 0
    assert values["grafana"]["replicas"] == 0


def test_outputs_say_how_to_reach_everything() -> None:
    outputs = render("drcio").outputs
    assert outputs["clusterName"].value == "drcio-demo-drcio"
    assert outputs["scenario"].value == "drcio"
    assert outputs["grafanaCommand"].value.startswith(
        "kubectl -n monitoring port-forward svc/prometheus-grafana"
    )
    assert outputs["estimatedMonthlyCost"].value["totalUsd"] > 100
    assert set(render("drcio", EXISTING).outputs) & {"region", "kubeconfig"} == set()


def test_shared_platform_finds_all_the_outputs_that_it_needs() -> None:
    """What the dry run pretends of another stack is what a stack of this program really exports."""
    exported = set(render("dev").outputs)
    reference = one(render("drcio", SHARED), "StackReference")
    assert reference.name == "acme/drcio-eks/dev"
    assert exported >= {"clusterName", "kubeconfig", "nodeRoleArn", "nodeSubnetIds", "images"}


def test_main_program_is_short() -> None:
    assert len((ROOT / "__main__.py").read_text().splitlines()) < 40


def test_no_component_is_long() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in (ROOT / "components").glob("*.py")}
    assert {name: length for name, length in lengths.items() if length > 250} == {}


def test_stack_file_overrides_project_values_and_the_command_line_overrides_both() -> None:
    config = stack_config(ROOT, "dev", {"drcio:cluster.nodes": "3"})
    cluster = yaml.safe_load(config["drcio:cluster"])
    assert (cluster["spot"], cluster["nodes"], cluster["version"]) == (True, "3", "1.35")


def test_owners_mark_is_made_last_and_so_destroyed_first() -> None:
    run = dryruns.render("drcio", {})
    mark = one(run, "ConfigMap", "platform-mark")
    after = {item.urn for item in run.registrations} - {mark.urn, mark.parent}
    missing = {urn for urn in after if urn not in _reached(run, mark) and "StackReference" not in urn}
    assert {urn.rpartition("::")[2] for urn in missing} == set()


def _reached(run: DryRun, start: Registration) -> set[str]:
    by_urn = {item.urn: item for item in run.registrations}
    seen: set[str] = set()
    pending = [*start.dependencies]
    while pending:
        urn = pending.pop()
        if urn in seen:
            continue
        seen.add(urn)
        if urn in by_urn:
            pending += [*by_urn[urn].dependencies, by_urn[urn].parent]
    return seen


def test_a_stack_that_shares_forbids_to_destroy_the_platform() -> None:
    run = render("drcio", SHARED)
    policy = one(run, "ValidatingAdmissionPolicy").inputs["spec"]
    (rule,) = policy["matchConstraints"]["resourceRules"]
    mark = one(render("dev"), "ConfigMap", "platform-mark").inputs["metadata"]["name"]
    assert rule["resourceNames"] == [mark]
    assert "pulumi destroy --stack drcio first" in policy["validations"][0]["message"]
    binding = one(run, "ValidatingAdmissionPolicyBinding")
    assert waits_for(run, one(run, "NodeGroup"), binding), "it objects until its nodes are gone"


@pytest.mark.parametrize("overrides", [{}, SHARED])
def test_all_objects_are_ours_whoever_wrote_to_them_meanwhile(overrides: dict[str, str]) -> None:
    made = [item for item in dryruns.render("drcio", overrides).registrations if is_object(item)]
    core = [item for item in made if "monitoring.coreos.com" not in item.type]
    assert core
    for item in core:
        assert item.inputs["metadata"]["annotations"]["pulumi.com/patchForce"] == "true", item.name


@pytest.mark.parametrize(
    "where",
    [
        {},
        {"drcio:platformStack": "acme/drcio-eks/dev"},
        {"drcio:platform": "existing", "drcio:kubeContext": "lab", **GIVEN_IMAGES},
    ],
)
def test_every_provider_takes_up_what_a_killed_update_has_left(where: dict[str, str]) -> None:
    providers = [
        it for it in render("drcio", where).registrations if it.type == "pulumi:providers:kubernetes"
    ]
    assert [it.inputs["upsertExistingObjects"] for it in providers] == ["true"]
