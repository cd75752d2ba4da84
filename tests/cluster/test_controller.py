"""The controller on a real kubelet's tree: what it finds there, what it sets, and that it takes it back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from drcio_controller.config import Config, Engine, dump
from drcio_controller.manifest import CONFIG_FILE
from local_cluster.cluster import Cluster
from local_cluster.deploy import settings_in
from local_cluster.images.prepare import Prepared
from local_cluster.kube import Object
from local_cluster.node.boot import VOLUME
from local_cluster.node.settings import NODE
from local_cluster.programs import ROOT
from lp_batch.manifest import PodOptions, pod_template
from node_twin.layout import NAMESPACE
from stacks.configuration.settings import Settings
from stacks.preview.manifests import manifests
from tests.cluster.compare import compared
from tests.cluster.nodes import Real
from tests.cluster.observe import is_of
from tests.cluster.pods import CLAIM
from tests.cluster.waits import eventually
from tests.engine.kube import api_server_away
from tests.kubectl import kubectl
from tests.stacks.dryruns import render

# Each test waits for an agent to start on an emulated node, one for the node itself.
pytestmark = pytest.mark.timeout(3600)

SYSTEM = "drcio-system"
AGENT = "drcio-controller"
WEIGHTS = {"urgent": "default 1000", "backup": "default 10"}
RESTING = {"", "default 100"}
"""What a pod weighs that nobody weighed: nothing where its level has no io controller yet."""


def local_settings() -> Settings:
    """Return what the local cluster's stack is configured with."""
    document = yaml.safe_load((ROOT / "Pulumi.local.yaml").read_text(encoding="utf-8"))
    return settings_in(document["config"], stack="local")


class Scene:
    """The pair of pods, the agent, and what can be seen of both."""

    def __init__(self, up: Cluster, images: Prepared, node: Real) -> None:
        self.up, self.images, self.node = up, images, node

    def run(self, *words: str) -> str:
        return kubectl(self.up.kubeconfig, *words)

    def create(self, name: str, priority: str) -> None:
        template = pod_template(
            PodOptions(
                image=self.node.image,
                claim=CLAIM,
                priority=priority,
                pattern="mixed",
                block_size="64KiB",
                num_workers=4,
                file_size="64MiB",
                # Busy enough to be weighed; at full rate the pair takes a third of the node's one CPU.
                rate_mib_s=4,
            )
        )
        spec: dict[str, Any] = {**template["spec"], "restartPolicy": "Always"}
        (container,) = spec["containers"]
        container["args"] = [
            f"--dir=/data/{name}" if it.startswith("--dir=") else it for it in container["args"]
        ]
        labels = {"app": name, "drcio.io/priority": priority}
        self.node.create({"kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec})

    def weights(self) -> dict[str, str]:
        """Return io.weight of each of the pair's pod cgroups."""
        found = {}
        tree = self.node.cgroups()
        for name in WEIGHTS:
            pod = self.node.pod(name)
            for path, knobs in tree.items():
                if pod and is_of(path, pod["metadata"]["uid"]):
                    found[name] = knobs.get("io.weight", "")
        return found

    def defaults(self) -> dict[str, str]:
        """Return the weights without those for single devices, which the controller moves."""
        return {name: text.splitlines()[0] for name, text in self.weights().items() if text}

    def containers(self) -> dict[str, str]:
        """Return what names each one's container, the agent's too: another one after a restart."""
        pods = [*(self.node.pod(name) for name in WEIGHTS), *self.agents()]
        return {
            pod["metadata"]["name"]: pod["status"]["containerStatuses"][0]["containerID"]
            for pod in pods
            if pod
        }

    def others_knobs(self) -> dict[str, dict[str, str]]:
        """Return the node's knobs without those that the controller turns."""
        return {
            path: {name: value for name, value in knobs.items() if not name.startswith("io.")}
            for path, knobs in self.node.cgroups().items()
        }

    def lease_renewed(self) -> str:
        """Return when the kubelet last said that it lives; nothing before it first did."""
        lease = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{NODE}"
        return str((self.up.plane.kube.get(lease) or {}).get("spec", {}).get("renewTime", ""))

    def limits(self) -> list[str]:
        return [knobs["io.max"] for knobs in self.node.cgroups().values() if knobs.get("io.max")]

    def agents(self) -> list[Object]:
        space = f"/api/v1/namespaces/{SYSTEM}/pods"
        return self.up.plane.kube.items(f"{space}?labelSelector=app%3D{AGENT}")

    def agent_is_ready(self) -> bool:
        """Say whether exactly one agent is there and Ready."""
        (*others, last) = self.agents() or [{}]
        conditions = last.get("status", {}).get("conditions", ())
        return not others and any(it["type"] == "Ready" and it["status"] == "True" for it in conditions)

    def configuration(self) -> str:
        """Return the text that the agent is configured with."""
        found = self.up.plane.kube.get(self._config_map)
        return str((found or {})["data"][CONFIG_FILE])

    def configure(self, text: str) -> None:
        self.up.plane.kube.patch(self._config_map, {"data": {CONFIG_FILE: text}})

    @property
    def _config_map(self) -> str:
        return f"/api/v1/namespaces/{SYSTEM}/configmaps/{AGENT}"

    def events(self, name: str) -> list[str]:
        """Return the reasons of a pod's events."""
        query = f"fieldSelector=involvedObject.name%3D{name}"
        return [
            it["reason"] for it in self.up.plane.kube.items(f"/api/v1/namespaces/{NAMESPACE}/events?{query}")
        ]

    def install(self, folder: Path) -> None:
        settings = {
            "drcio:workloads.enabled": "false",
            "drcio:platform": "existing",
            "drcio:experiment.enabled": "false",
            "drcio:images.build": "none",
            "drcio:images.controller": self.images.references["controller"],
            "drcio:monitoring.enabled": "false",
            "drcio:controller.volumes": ",".join(local_settings().controller.volumes),
        }
        for manifest in manifests(render("drcio", settings)):
            (folder / manifest.file_name).write_text(manifest.as_yaml())
        self.run("apply", f"--filename={folder}")


@pytest.fixture(scope="module")
def scene(up: Cluster, images: Prepared, real_node: Real) -> Iterator[Scene]:
    """Keep the pair busy."""
    made = Scene(up, images, real_node)
    made.create("urgent", "high")
    made.create("backup", "low")
    eventually(lambda: set(made.weights()) == set(WEIGHTS), made.weights)
    yield made
    for name in WEIGHTS:
        made.node.delete(name)


@pytest.fixture(scope="module")
def installed(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    assert set(scene.weights().values()) <= RESTING
    folder = tmp_path_factory.mktemp("controller")
    scene.install(folder)
    eventually(scene.agent_is_ready, scene.agents)
    yield scene
    scene.run("delete", f"--filename={folder}", "--ignore-not-found")


def acts(scene: Scene) -> None:
    eventually(lambda: scene.defaults() == WEIGHTS, scene.weights)


@pytest.mark.short
def test_pods_are_found_and_weighed(installed: Scene) -> None:
    acts(installed)


def test_agent_takes_the_volume_for_what_the_stacks_file_says(installed: Scene) -> None:
    acts(installed)
    command = ("exec", f"daemonset/{AGENT}", "--", "drcio-controller", "status", "--json")
    status = json.loads(installed.run("-n", SYSTEM, *command))
    (volume,) = [it for it in status["devices"] if it["serial"].startswith("vol")]
    assert (volume["profile_iops"], volume["profile_mib_s"]) == (VOLUME.iops, VOLUME.mib_s)
    assert volume["profile_source"] == "configured"


def test_doctor_finds_a_node_that_it_can_steer(installed: Scene) -> None:
    report = installed.run("-n", SYSTEM, "exec", f"daemonset/{AGENT}", "--", "drcio-controller", "doctor")
    driver = installed.up.options.cgroup_driver
    assert f"cgroup driver {driver}" in report
    assert "everything holds" in report


def test_restarted_kubelet_changes_nothing(installed: Scene) -> None:
    acts(installed)
    containers, knobs = installed.containers(), installed.others_knobs()
    installed.up.node.control.restart("kubelet")
    renewed = installed.lease_renewed()
    eventually(lambda: installed.lease_renewed() != renewed, installed.lease_renewed)
    eventually(installed.agent_is_ready, installed.agents)
    acts(installed)
    assert installed.containers() == containers

    def changed() -> list[str]:
        return [str(it) for it in compared(knobs, installed.others_knobs()) if it.differs]

    # It weighs the levels above pods by the pods that it knows, none at first, and anew each minute.
    eventually(lambda: not changed(), changed)


def test_pod_that_comes_again_is_weighed_again(installed: Scene) -> None:
    installed.node.delete("backup")
    eventually(lambda: installed.node.pod("backup") is None, lambda: installed.node.pod("backup"))
    installed.create("backup", "low")
    acts(installed)


def test_node_that_was_rebooted_is_weighed_again(installed: Scene) -> None:
    acts(installed)
    installed.up.node.reboot()
    eventually(installed.agent_is_ready, installed.agents)
    acts(installed)


def test_pods_tell_of_a_weight_that_acts_no_more_and_then_again(installed: Scene) -> None:
    """A ConfigMap that is changed under way, brought by the kubelet, reaches the pods' events."""
    acts(installed)
    kept = installed.configuration()
    installed.configure(dump(Config(engine=Engine.NONE)))
    eventually(lambda: "IOWeightInert" in installed.events("urgent"), lambda: installed.events("urgent"))
    installed.configure(kept)
    eventually(lambda: "IOWeightEffective" in installed.events("urgent"), lambda: installed.events("urgent"))
    acts(installed)


def test_weights_stay_while_the_api_server_is_away(installed: Scene) -> None:
    acts(installed)
    with api_server_away(installed.up.plane):
        time.sleep(30)
        tree = installed.node.cgroups()
        firsts = [it["io.weight"].splitlines()[0] for it in tree.values() if it.get("io.weight")]
        assert sorted(it for it in firsts if it in WEIGHTS.values()) == sorted(WEIGHTS.values())
    acts(installed)


def test_rolling_update_hands_over(installed: Scene) -> None:
    (before,) = installed.agents()
    installed.run("-n", SYSTEM, "rollout", "restart", f"daemonset/{AGENT}")
    eventually(
        lambda: (
            installed.agent_is_ready()
            and installed.agents()[0]["metadata"]["uid"] != before["metadata"]["uid"]
        ),
        installed.agents,
    )
    acts(installed)


@pytest.mark.short
def test_uninstalled_agent_leaves_the_tree_as_it_found_it(installed: Scene) -> None:
    acts(installed)
    installed.run("-n", SYSTEM, "delete", f"daemonset/{AGENT}", "--wait=false")
    eventually(lambda: not installed.agents(), installed.agents)
    eventually(lambda: set(installed.weights().values()) <= RESTING, installed.weights)
    assert installed.limits() == []
