"""The component package on the real engine: its schema, and a program that uses it as a stranger would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from components.packaged import IoControllerArgs
from drcio_controller.config import DEFAULT_CLASSES, PriorityClass, VolumeProfile, parse, parse_latency_target
from drcio_controller.manifest import APP_LABEL, CONFIG_FILE
from local_cluster.programs import ROOT
from tests.engine.bench import Bench
from tests.engine.stack import Stack, Workspace

# The SDKs load lazily, and warn on loading of classes of theirs that are not used here.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

PACKAGE = ROOT / "package"
PLUGIN = PACKAGE / "pulumi-resource-drcio"
IMAGE = f"registry.example/drcio-controller@sha256:{'0' * 64}"
SPACE = "io-control"


class IoController(pulumi.ComponentResource):
    """What `pulumi package add` generates, in a nutshell: a name, inputs, and the engine does the rest."""

    namespace: pulumi.Output[str]
    config: pulumi.Output[str]

    def __init__(self, name: str, inputs: Mapping[str, object], opts: pulumi.ResourceOptions) -> None:
        wanted: dict[str, object] = {"namespace": None, "config": None}
        super().__init__("drcio:index:IoController", name, {**wanted, **inputs}, opts, remote=True)


@dataclass
class Strangers(Workspace):
    """A workspace whose program is somebody else's and has the controller from the package."""

    inputs: dict[str, object] = field(default_factory=dict)
    mutable: bool = True
    """Whether their provider changes ConfigMaps in place, which is not its default."""

    def program(self) -> None:
        provider = k8s.Provider(
            "theirs", kubeconfig=self.environment["KUBECONFIG"], enable_config_map_mutable=self.mutable
        )
        # An output, as an image that the program itself builds is one.
        image = pulumi.Output.from_input(IMAGE)
        made = IoController(
            "io", {"image": image, **self.inputs}, pulumi.ResourceOptions(providers=[provider])
        )
        pulumi.export("namespace", made.namespace)
        pulumi.export("config", made.config)


@pytest.fixture
def strangers(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Strangers:
    # The engine finds the plugin on PATH, and the plugin its packages by this interpreter.
    monkeypatch.setenv("PATH", f"{PACKAGE}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHON", sys.executable)
    assert bench.existing
    variables = {"KUBECONFIG": str(bench.kubeconfig), "HOME": str(bench.folder), "PYTHON": sys.executable}
    return Strangers(bench.programs, bench.folder / f"strangers-{os.urandom(4).hex()}", variables)


@pytest.fixture
def stack(strangers: Strangers, bench: Bench) -> Iterator[Stack]:
    made = Stack(strangers, "theirs")
    made.create()
    yield made
    made.destroy()
    assert bench.leftovers() == []


def objects(bench: Bench, path: str) -> list[dict[str, Any]]:
    return bench.existing.kube.items(path.format(space=SPACE))


def test_schema_has_every_input_with_its_documentation(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.run(
        [bench.programs["pulumi"], "package", "get-schema", str(PLUGIN)],
        env={
            **os.environ,
            "PYTHON": sys.executable,
            "PULUMI_HOME": str(bench.folder / "schema"),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    schema = json.loads(done.stdout)
    component = schema["resources"]["drcio:index:IoController"]

    assert component["isComponent"]
    assert component["requiredInputs"] == ["image"]
    assert set(component["inputProperties"]) == {
        "defaultClass" if key == "default_class" else "floorPercent" if key == "floor_percent" else key
        for key in IoControllerArgs.__annotations__
    }
    described = [
        *component["inputProperties"].values(),
        *component["properties"].values(),
        *(it for kind in schema["types"].values() for it in kind["properties"].values()),
    ]
    assert all(it.get("description") for it in described)


def config_text(bench: Bench) -> str:
    found = bench.existing.kube.get(f"/api/v1/namespaces/{SPACE}/configmaps/{APP_LABEL}")
    assert found is not None
    return str(found["data"][CONFIG_FILE])


def test_program_has_a_controller_configured_as_it_says(
    bench: Bench, strangers: Strangers, stack: Stack
) -> None:
    strangers.inputs |= {
        "namespace": SPACE,
        "classes": {"urgent": {"weight": 900, "latencyTarget": "p99<20ms"}, "rest": {"weight": 30}},
        "defaultClass": "rest",
        "floorPercent": 12.5,
        "volumes": [{"iops": 6000, "mibS": 250}],
    }

    stack.up()

    (daemon_set,) = objects(bench, "/apis/apps/v1/namespaces/{space}/daemonsets")
    assert daemon_set["metadata"]["name"] == APP_LABEL
    (container,) = daemon_set["spec"]["template"]["spec"]["containers"]
    assert container["image"] == IMAGE
    text = config_text(bench)
    config = parse(text)
    assert dict(config.classes) == {
        "urgent": PriorityClass(weight=900, latency_target=parse_latency_target("p99<20ms")),
        "rest": PriorityClass(weight=30),
    }
    assert (config.default_class, config.floor_percent) == ("rest", 12.5)
    assert config.volumes == (VolumeProfile(iops=6000, mib_s=250),)
    assert stack.outputs() == {"namespace": SPACE, "config": text}
    assert stack.up().changed == []


@pytest.mark.parametrize("in_place", [True, False])
def test_changed_weight_changes_the_configuration_and_restarts_nothing(
    bench: Bench, strangers: Strangers, stack: Stack, in_place: bool
) -> None:
    strangers.mutable = in_place
    strangers.inputs |= {"namespace": SPACE}
    stack.up()
    text = config_text(bench)
    assert dict(parse(text).classes) == dict(DEFAULT_CLASSES)
    strangers.inputs |= {"classes": {"high": {"weight": 2000}, "low": {"weight": 10}}}

    outcome = stack.up()

    assert "DaemonSet" not in " ".join(outcome.changed)
    anew = {"create-replacement", "replace", "delete-replaced"}
    assert outcome.ops_of("ConfigMap") == ({"update"} if in_place else anew)
    text = config_text(bench)
    assert parse(text).classes["high"].weight == 2000


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"policy": "fair"}, "policy is 'fair'; expected one of"),
        ({"classes": {"high": {"weight": 0}}}, "classes.high.weight is 0; expected a whole number from 1"),
        ({"defaultClass": "none"}, "default_class is 'none'; expected one of high, medium, low"),
    ],
)
def test_value_out_of_its_range_is_refused_before_anything_is_made(
    bench: Bench, strangers: Strangers, stack: Stack, inputs: Mapping[str, object], message: str
) -> None:
    strangers.inputs |= {"namespace": SPACE, **inputs}

    refused = stack.up(fails=True)

    assert message in refused.error
    assert objects(bench, "/apis/apps/v1/namespaces/{space}/daemonsets") == []
