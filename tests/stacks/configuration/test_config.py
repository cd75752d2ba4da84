"""Every key takes a good value, refuses a bad one with what was expected, and keeps its default."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drcio_controller.config import PolicyName
from stacks.configuration.config import parse
from stacks.configuration.keys import Key, keys_of
from stacks.configuration.settings import Settings
from stacks.errors import ConfigError

ZEROS = "0" * 64

# Per key: a good value, how it reads back, a bad value, and what the refusal says was expected.
CASES: dict[str, tuple[object, object, object, str]] = {
    "scenario": ("baseline", "baseline", "nope", "one of baseline, contention, drcio"),
    "loadLevel": ("high", "high", "extreme", "one of low, medium, high"),
    "durationSeconds": ("30", 30, "0", "a whole number from 10 to 86400"),
    "platform": ("existing", "existing", "gke", "one of eks, existing"),
    "platformStack": ("acme/drcio-eks/dev", "acme/drcio-eks/dev", "dev", "a stack such as"),
    "kubeContext": ("", "", {"a": 1}, "text"),
    "namespace": ("team-a", "team-a", "Team_A", "lower-case letters"),
    "ioWeights": ({"critical": 5000}, None, {"high": 10001}, "a whole number from 1 to 10000"),
    "controller.enabled": (False, False, "yes", "true or false"),
    "controller.policy": ("iomax-10", "iomax-10", "iomax-0", "iomax-1 to iomax-100"),
    "controller.engine": ("iocost", "iocost", "cfq", "one of auto, iocost, bfq, iomax"),
    "controller.intervalMs": (250, 250, 10, "a whole number from 50 to 60000"),
    "controller.floorPercent": (20, 20, 0, "a whole number from 1 to 100"),
    "controller.targets": ({"high": "p95<100ms"}, None, {"high": "fast"}, "a target such as p95<100ms"),
    "controller.volumes": (
        "vol*=gp3:6000:250,nvme1n1=io2:9000",
        ("vol*=gp3:6000:250", "nvme1n1=io2:9000"),
        "gp3",
        "DEVICE=VOLUME such as vol*=gp3:6000:250",
    ),
    "cluster.name": ("prod", "prod", "No Spaces", "lower-case letters"),
    "cluster.version": ("1.36", "1.36", "1.99", "one of 1.34, 1.35, 1.36, which EKS has in standard support"),
    "cluster.instanceTypes": ("m5.xlarge,m6i.xlarge", ("m5.xlarge", "m6i.xlarge"), "big", "an instance type"),
    "cluster.nodes": (3, 3, 0, "a whole number from 1 to 100"),
    "cluster.spot": ("true", True, "maybe", "true or false"),
    "cluster.diskGib": (100, 100, 5, "a whole number from 20 to 1000"),
    "cluster.publicAccess": (False, False, 1.5, "true or false"),
    "cluster.publicAccessCidrs": (
        ["192.0.2.0/24"],
        ("192.0.2.0/24",),
        "192.0.2.7/24",
        "an IPv4 network of public addresses",
    ),
    "cluster.logTypes": ("audit", ("audit",), "everything", "one of api, audit"),
    "network.cidr": ("10.8.0.0/18", "10.8.0.0/18", "8.8.0.0/16", "a private IPv4 network from /16 to /20"),
    "network.availabilityZones": (3, 3, 1, "a whole number from 2 to 4"),
    "network.nat": ("none", "none", "two", "one of single, per-az, none"),
    "network.interfaceEndpoints": (True, True, "on", "true or false"),
    "storage.sizeGib": (100, 100, 1, "a whole number from 4 to 16384"),
    "storage.iops": (6000, 6000, 100, "a whole number from 3000 to 80000"),
    "storage.throughputMibps": (250, 250, 3000, "a whole number from 125 to 2000"),
    "storage.className": ("fast", "fast", "Fast!", "lower-case letters"),
    "images.build": (
        "controller,hp-service",
        ("controller", "hp-service"),
        "grafana",
        "one of all, none, controller",
    ),
    "images.push": (False, False, "no", "true or false"),
    "images.registry": ("registry.example/team", "registry.example/team", [], "text"),
    "images.controller": (f"r.example/c@sha256:{ZEROS}", None, "r.example/c:latest", "by digest"),
    "images.hpService": (f"r.example/h@sha256:{ZEROS}", None, "hp-service", "by digest"),
    "images.lpBatch": (f"r.example/l@sha256:{ZEROS}", None, "lp@sha256:00", "by digest"),
    "images.loadGenerator": (f"r.example/g@sha256:{ZEROS}", None, "g:1", "by digest"),
    "images.experiment": (f"r.example/e@sha256:{ZEROS}", None, "e:1", "by digest"),
    "monitoring.enabled": (False, False, "off", "true or false"),
    "monitoring.scaledToZero": (True, True, 0.5, "true or false"),
    "monitoring.chartVersion": ("90.1.0", "90.1.0", "latest", "a version such as 91.2.0"),
    "monitoring.retentionDays": (30, 30, 0, "a whole number from 1 to 365"),
    "monitoring.storageGib": (50, 50, 1, "a whole number from 5 to 1000"),
    "monitoring.loadBalancer": (True, True, "public", "true or false"),
    "monitoring.runbooks": ("https://pages.example/r", None, "docs/runbooks", "an address such as"),
    "workloads.enabled": (False, False, "off", "true or false"),
    "batch.pattern": ("random-read", "random-read", "chaos", "one of mixed, sequential-read"),
    "batch.blockSize": ("64KiB", "64KiB", "64k", "a size such as 4KiB or 1MiB"),
    "batch.workers": (32, 32, 0, "a whole number from 1 to 256"),
    "batch.parallelism": (4, 4, 0, "a whole number from 1 to 64"),
    "batch.operations": (0, 0, -1, "a whole number from 0 to"),
    "batch.fileSize": ("512MiB", "512MiB", "512", "a size such as 512MiB or 4GiB"),
    "batch.rateMibps": (0, 0, -5, "a whole number from 0 to 100000"),
    "service.replicas": (2, 2, 0, "a whole number from 1 to 16"),
    "service.cpu": ("500m", "500m", "half", "a Kubernetes quantity"),
    "service.memory": ("4Gi", "4Gi", "4GB", "a Kubernetes quantity"),
    "service.priority": ("medium", "medium", "Urgent!", "lower-case letters"),
    "service.loadBalancer": (True, True, "yes", "true or false"),
    "experiment.enabled": (True, True, "no", "true or false"),
    "experiment.warmupSeconds": (0, 0, -1, "a whole number from 0 to 600"),
    "experiment.seed": (0, 0, "x", "a whole number from 0 to"),
    "experiment.arrivals": ("constant", "constant", "random", "one of poisson, constant"),
    "experiment.pods": (4, 4, 0, "a whole number from 1 to 32"),
    "experiment.run": ("again", None, "Not A Name", "lower-case letters"),
}

NEEDED_BESIDE = {
    "platform": {"images": '{"push": false}'},
    "workloads.enabled": {"platform": "existing", "images": '{"push": false}'},
}
"""What else a good value needs to be accepted."""

KEYS = {key.path: key for key in keys_of(Settings)}


def given_value(path: str, value: object) -> dict[str, str]:
    """Return a stack's texts with one key set, as the Pulumi CLI hands them over."""
    top, _, rest = path.partition(".")
    tree = {rest: value} if rest else value
    return {top: tree if isinstance(tree, str) else json.dumps(tree)}


def read(values: dict[str, str]) -> Settings:
    return parse(values, stack="test", region="us-east-1")


def value_at(settings: Settings, key: Key) -> object:
    target: object = settings
    if "." in key.path:
        target = getattr(settings, key.path.split(".")[0])
    return getattr(target, key.field_name)


def test_every_key_has_a_case_here() -> None:
    assert set(CASES) == set(KEYS)


@pytest.mark.parametrize("path", CASES)
def test_good_value_is_taken(path: str) -> None:
    good, expected, _, _ = CASES[path]
    found = value_at(read({**NEEDED_BESIDE.get(path, {}), **given_value(path, good)}), KEYS[path])
    if isinstance(good, dict):
        default = KEYS[path].default
        assert isinstance(found, Mapping)
        assert isinstance(default, Mapping)
        assert {**found} == {**default, **good}
    else:
        assert found == (good if expected is None else expected)


@pytest.mark.parametrize("path", CASES)
def test_bad_value_is_refused_with_where_found_and_expected(path: str) -> None:
    _, _, bad, expected = CASES[path]
    with pytest.raises(ConfigError) as refused:
        read(given_value(path, bad))
    message, _, hint = str(refused.value).partition("\nhint: ")
    assert message.startswith(f"drcio:{path}")
    assert " is " in message
    assert expected in message.partition("; expected ")[2]
    assert "pulumi config" in hint


def test_scenario_message_is_the_documented_one() -> None:
    with pytest.raises(ConfigError) as refused:
        read({"scenario": "nope"})
    assert str(refused.value).splitlines()[0] == (
        "drcio:scenario is 'nope'; expected one of baseline, contention, drcio"
    )


def test_nothing_given_keeps_every_default() -> None:
    settings = read({})
    assert all(value_at(settings, key) == key.default for key in KEYS.values())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scenrio": "drcio"}, "drcio:scenrio is no configuration key"),
        (
            {"storage": '{"iop": 3000}'},
            "drcio:storage.iop is no configuration key; expected one of className",
        ),
        ({"storage.iops": "3000"}, "drcio:storage.iops is set as one flat name"),
        ({"storage": "fast"}, "drcio:storage is 'fast'; expected keys below it"),
        ({"storage": "{broken"}, "drcio:storage is not valid JSON"),
        ({"storage": '{"iops": 50000}'}, "drcio:storage.iops is 50000 on 50 GiB; expected at most 25000"),
        ({"storage": '{"throughputMibps": 1000}'}, "drcio:storage.throughputMibps is 1000 with 3000 IOPS"),
        ({"service": '{"priority": "critical"}'}, "drcio:service.priority names the class 'critical'"),
        ({"controller": '{"targets": {"gold": ""}}'}, "drcio:controller.targets.gold names the class 'gold'"),
        ({"platform": "existing", "platformStack": "a/b/c"}, "drcio:platformStack is set and"),
        ({"kubeContext": "kind"}, "drcio:kubeContext is 'kind' and drcio:platform is eks"),
        ({"storage": '{"sizeGib": 8}'}, "drcio:storage.sizeGib is 8 and the batch job's files take 8"),
        (
            {"controller": '{"volumes": "vol*=gp3,nvme1n1=gp3,vol*=io2:100"}'},
            "drcio:controller.volumes is vol*=gp3,nvme1n1=gp3,vol*=io2:100; expected vol* once",
        ),
        (
            {"experiment": '{"arrivals": "constant", "pods": 4}'},
            "drcio:experiment.arrivals is constant and drcio:experiment.pods is 4",
        ),
        ({"platform": "existing"}, "drcio:images.registry is empty"),
        ({"images": '{"build": "all,controller"}'}, "drcio:images.build is all,controller"),
        ({"batch": '{"blockSize": "0MiB"}'}, "drcio:batch.blockSize is 0"),
        ({"batch": '{"blockSize": "6KiB"}'}, "drcio:batch.blockSize is 6KiB; expected a multiple of 4KiB"),
        (
            {"batch": '{"fileSize": "10MiB", "blockSize": "4MiB"}'},
            "drcio:batch.fileSize 10MiB is not a multiple of drcio:batch.blockSize 4MiB",
        ),
        (
            {"batch": '{"fileSize": "16MiB"}'},
            "drcio:batch.fileSize 16MiB holds 16 blocks; expected at least 32, twice drcio:batch.workers",
        ),
        ({"ioWeights": '{"high": 5}'}, "drcio:ioWeights.high is 5 and drcio:ioWeights.medium is 100"),
        ({"ioWeights": '{"low": 101}'}, "drcio:ioWeights.medium is 100 and drcio:ioWeights.low is 101"),
        ({"namespace": "monitoring"}, "drcio:namespace is 'monitoring', which Prometheus and Grafana have"),
        ({"ioWeights": '{"Very High": 1}'}, "drcio:ioWeights.Very High: the name is"),
    ],
)
def test_combination_that_cannot_work_is_refused(values: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(values)
    assert str(refused.value).startswith(message)
    assert "\nhint: " in str(refused.value)


@pytest.mark.parametrize("namespace", ["default", "kube", "kube-system", "kube-public"])
def test_namespace_of_kubernetes_itself_is_refused(namespace: str) -> None:
    # The controller's would be kube-system for `kube`.
    with pytest.raises(ConfigError, match="expected a namespace that is not Kubernetes' own"):
        read({"namespace": namespace})


@pytest.mark.parametrize(
    "key", [key for key in KEYS.values() if key.kind == "integer"], ids=lambda it: it.path
)
@pytest.mark.parametrize("text", ["9" * 5000, "-1", "٣٠٠٠", "1e3", "0x10", "3000.0", " 3000", "", "null"])
def test_text_that_is_no_number_of_a_setting_is_refused_shortly(key: Key, text: str) -> None:
    with pytest.raises(ConfigError, match="expected a whole number from") as refused:
        read(given_value(key.path, text))
    assert len(str(refused.value)) < 400


def test_number_that_python_does_not_read_is_refused() -> None:
    with pytest.raises(ConfigError, match="drcio:storage is not valid JSON"):
        read({"storage": '{"iops": ' + "9" * 5000 + "}"})


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("service.cpu", "0"),
        ("service.cpu", "0.0"),
        ("service.cpu", "2Gi"),
        ("service.cpu", "1.5m"),
        ("service.cpu", "٣"),
        ("service.memory", "2"),
        ("service.memory", "0Gi"),
        ("service.memory", "512m"),
        ("service.memory", "15Mi"),
        ("cluster.version", "1.٣٥"),
        ("cluster.version", "1.28"),
        ("cluster.version", "v1.35"),
        ("cluster.version", "1.35.2"),
        ("batch.blockSize", "٣MiB"),
        ("monitoring.chartVersion", "٩١.2.0"),
        ("images.registry", "https://registry.example"),
        ("images.registry", "registry.example/"),
        ("images.registry", "Registry.Example/team"),
        ("images.registry", "registry.example/a b"),
        ("cluster.instanceTypes", "m6g.xlarge"),
        ("cluster.instanceTypes", "m6i.huge"),
        ("cluster.instanceTypes", "c7gn.large"),
        ("cluster.instanceTypes", "is4gen.xlarge"),
        ("cluster.instanceTypes", "a1.xlarge"),
        ("cluster.instanceTypes", "m6i.xlarge,m6i.xlarge"),
        ("cluster.logTypes", "api,audit,api"),
        ("cluster.instanceTypes", "mac1.metal"),
        ("network.cidr", "127.0.0.0/16"),
        ("network.cidr", "169.254.0.0/16"),
        ("network.cidr", "240.0.0.0/16"),
        ("network.cidr", "0.0.0.0/16"),
        ("network.cidr", "198.18.0.0/16"),
        ("cluster.logTypes", ""),
        ("controller.volumes", "=gp3"),
        ("controller.volumes", "vol*"),
        ("controller.volumes", "vol *=gp3"),
        ("controller.volumes", "vol*=gp2"),
        ("controller.volumes", "vol*=gp3:0:125"),
        ("controller.volumes", "vol*=gp3:3000:125=gp3"),
        ("controller.volumes", "vol*=gp3:٣:125"),
        ("controller.volumes", "vol*=gp3,"),
        ("controller.volumes", "vol*=gp3,vol*=gp3"),
        ("cluster.publicAccessCidrs", "10.0.0.0/8"),
        ("cluster.publicAccessCidrs", "0.0.0.0/8"),
        ("cluster.publicAccessCidrs", "100.64.0.0/24"),
        ("cluster.publicAccessCidrs", "255.255.255.255/32"),
        ("cluster.publicAccessCidrs", "203.0.113.5"),
        ("cluster.publicAccessCidrs", "203.0.113.5/24"),
    ],
)
def test_text_that_only_looks_right_is_refused(path: str, text: str) -> None:
    with pytest.raises(ConfigError, match=f"^drcio:{path} is "):
        read(given_value(path, text))


@pytest.mark.parametrize("nothing", ["", []])
def test_list_that_is_empty_by_default_may_be_given_empty(nothing: object) -> None:
    # As Pulumi.yaml has it, in every stack.
    assert read(given_value("controller.volumes", nothing)).controller.volumes == ()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("service.cpu", "250m"),
        ("service.cpu", "1.5"),
        ("service.memory", "2147483648"),
        ("service.memory", "1.5Gi"),
        ("images.registry", "localhost:5000/drcio"),
        ("images.registry", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/a/b__c"),
        ("cluster.instanceTypes", "g4dn.xlarge,p4d.24xlarge,u-6tb1.metal,m7i-flex.large"),
        ("network.cidr", "172.31.240.0/20"),
        ("network.cidr", "192.168.0.0/16"),
        ("cluster.publicAccessCidrs", "203.0.113.5/32,198.51.100.0/24"),
        ("cluster.publicAccessCidrs", "0.0.0.0/1,128.0.0.0/1"),
    ],
)
def test_text_that_only_looks_odd_is_taken(path: str, text: str) -> None:
    read(given_value(path, text))


def test_value_that_is_nested_beyond_reading_is_refused_like_any_other() -> None:
    with pytest.raises(ConfigError, match=r"^drcio:ioWeights is not valid JSON"):
        read({"ioWeights": "[" * 100_000})


def test_custom_class_is_added_beside_the_default_ones() -> None:
    settings = read({"ioWeights": '{"critical": 5000}', "service": '{"priority": "critical"}'})
    assert dict(settings.io_weights) == {"high": 1000, "medium": 100, "low": 10, "critical": 5000}


def test_version_written_as_a_number_is_read_as_text() -> None:
    assert read({"cluster": '{"version": 1.36}'}).cluster.version == "1.36"


@pytest.mark.parametrize("policy", [*sorted(set(PolicyName) - {PolicyName.IOMAX}), "iomax-1", "iomax-100"])
def test_every_policy_of_the_controller_can_be_chosen(policy: str) -> None:
    assert read(given_value("controller.policy", str(policy))).controller.policy == policy


@pytest.mark.parametrize("target", ["p0<1ms", "p95<0ms", "p95>1ms"])
def test_target_that_the_controller_would_refuse_is_refused_here(target: str) -> None:
    with pytest.raises(ConfigError, match="a target such as"):
        read(given_value("controller.targets", {"high": target}))


@given(st.dictionaries(st.sampled_from([*KEYS, "unknown"]), st.text(max_size=30), max_size=3))
def test_any_text_is_read_or_refused_with_a_hint(values: dict[str, str]) -> None:
    flat = {path.split(".")[0]: given_value(path, text)[path.split(".")[0]] for path, text in values.items()}
    try:
        read(flat)
    except ConfigError as refused:
        assert "\nhint: " in str(refused)  # noqa: PT017  # a refusal is one of two right outcomes
