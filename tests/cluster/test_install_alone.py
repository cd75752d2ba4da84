"""docs/how-to/install-alone.md, command by command, on a real cluster: install, label, measure, uninstall.

Before and after it every knob of the node is read: what an administrator had set must be there again, to
the letter.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import pytest

from drcio_controller.kube.pod import QosClass
from drcio_controller.pods.mapping import Hierarchy, find_hierarchy
from local_cluster.cluster import Cluster
from local_cluster.images.prepare import Prepared
from local_cluster.node.settings import VOLUME_PATH
from local_cluster.programs import ROOT
from tests.cluster.waits import eventually
from tests.kubectl import kubectl, words_of
from tests.pages import Command, commands

# A whole page on an emulated node; beside other work that is a quarter of an hour.
pytestmark = pytest.mark.timeout(3600)

PAGE: Final = "docs/how-to/install-alone.md"
SYSTEM: Final = "drcio-system"
KNOBS: Final = (
    *("io.weight", "io.bfq.weight", "io.max", "io.latency", "io.prio.class"),
    *("io.cost.qos", "io.cost.model", "cgroup.subtree_control"),
)
QUEUE: Final = ("scheduler", "wbt_lat_usec", "nr_requests")
READ: Final = (
    "cd /data && dd if=/dev/zero of=$HOSTNAME bs=1M count=32 oflag=direct 2>/dev/null;"
    " while :; do dd if=$HOSTNAME of=/dev/null bs=64k iflag=direct 2>/dev/null; done"
)

Object = dict[str, Any]
Knobs = Mapping[str, str]


class Site:
    """A cluster with workloads of somebody's own, and one pod from which its node can be looked at."""

    def __init__(self, up: Cluster, image: str) -> None:
        self.up, self.image = up, image

    def kubectl(self, *words: str, given: str | None = None) -> str:
        return kubectl(self.up.kubeconfig, *words, given=given)

    def begin(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            words_of(self.up.kubeconfig, *words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def pods(self) -> dict[str, Object]:
        found = json.loads(self.kubectl("get", "pods", "--all-namespaces", "--output=json"))["items"]
        return {f"{pod['metadata']['namespace']}/{pod['metadata']['name']}": pod for pod in found}

    def pod(self, prefix: str) -> str:
        """Return the name of the only pod whose namespace/name begins so."""
        (name,) = (name for name in self.pods() if name.startswith(prefix))
        return name

    def on_node(self, script: str) -> str:
        return self.kubectl("-n", "bank", "exec", "hand", "--", "sh", "-euc", script)

    @cached_property
    def hierarchy(self) -> Hierarchy:
        """Where the node's pods are: by its cgroup driver, which the controller finds in the same way."""
        found = find_hierarchy(lambda path: self.on_node(f"test ! -d /cg/{path} || echo there") != "")
        assert found is not None
        return found

    def cgroup(self, name: str) -> str:
        """Return a pod's folder as the hand sees it."""
        pod = self.pods()[name]
        return f"/cg/{self.hierarchy.pod(pod['metadata']['uid'], QosClass(pod['status']['qosClass']))}"

    def knobs(self) -> Knobs:
        """Return every knob of the node, with pods by their names in place of their uids."""
        files = " -o ".join(f"-name {name}" for name in KNOBS)
        queue = " ".join(f"/block/*/queue/{name}" for name in QUEUE)
        text = self.on_node(
            f"cd /cg; for f in $(find . -type f '(' {files} ')' | sort) {queue}; do"
            ' echo "== $f"; cat $f 2>/dev/null || echo none; done'
        )
        owners = {
            pod["metadata"]["uid"]: name.partition("-")[0] if name.startswith("shop/api") else name
            for name, pod in self.pods().items()
        }
        found = {}
        for part in text.split("== ")[1:]:
            file, _, value = part.partition("\n")
            for uid, name in owners.items():
                file = file.replace(uid, name).replace(uid.replace("-", "_"), name)
            found[re.sub(r"[0-9a-f]{64}", "CONTAINER", file)] = value
        return found

    def weights(self, prefixes: Sequence[str]) -> dict[str, str]:
        """Return what the only pod of each weighs; nothing of one that another is just replacing."""
        pods = list(self.pods())
        found = {prefix: [name for name in pods if name.startswith(prefix)] for prefix in prefixes}
        return {
            prefix: self.on_node(f"head -n1 {self.cgroup(names[0])}/io.weight || true").strip()
            for prefix, names in found.items()
            if len(names) == 1
        }


def workload(image: str, command: str, **spec: object) -> Object:
    mounts = [{"name": "data", "mountPath": "/data"}]
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", command],
        "securityContext": {"runAsUser": 0, "runAsNonRoot": False},
        "resources": {"requests": {"cpu": "10m"}},
        "volumeMounts": mounts,
    }
    volumes = [{"name": "data", "hostPath": {"path": str(VOLUME_PATH)}}]
    return {"terminationGracePeriodSeconds": 1, "containers": [container], "volumes": volumes, **spec}


@pytest.fixture(scope="module")
def site(up: Cluster, images: Prepared) -> Iterator[Site]:
    """Have the page's own workloads, busy on one volume."""
    made = Site(up, images.references["lp-batch"])
    api = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "api", "namespace": "shop"},
        "spec": {
            "selector": {"matchLabels": {"app": "api"}},
            "template": {"metadata": {"labels": {"app": "api"}}, "spec": workload(made.image, READ)},
        },
    }
    hand = workload(made.image, "sleep infinity")
    hand["containers"][0]["volumeMounts"] += [
        {"name": "cg", "mountPath": "/cg"},
        {"name": "block", "mountPath": "/block"},
        {"name": "devices", "mountPath": "/devices"},
    ]
    hand["volumes"] += [
        {"name": "cg", "hostPath": {"path": "/sys/fs/cgroup"}},
        {"name": "block", "hostPath": {"path": "/sys/block"}},
        {"name": "devices", "hostPath": {"path": "/sys/devices"}},
    ]
    pods = {
        ("shop", "nightly-report"): workload(made.image, READ),
        ("bank", "teller"): workload(made.image, READ),
        ("bank", "hand"): hand,
    }
    documents = [
        *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in ("shop", "bank")),
        api,
        *(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": space, "name": name}, "spec": spec}
            for (space, name), spec in pods.items()
        ),
    ]
    made.kubectl("apply", "--filename=-", given="\n---\n".join(map(json.dumps, documents)))
    eventually(
        lambda: all(
            pod["status"]["phase"] == "Running"
            for name, pod in made.pods().items()
            if name.startswith(("shop/", "bank/"))
        ),
        made.pods,
    )
    yield made
    made.kubectl("delete", "namespace", "shop", "bank")


def administer(site: Site) -> None:
    """Set what an administrator might have: a weight and a limit of a pod, and iocost tried once.

    A device's lines of io.cost.* stay for good once it was on; only their values can be put back.
    """
    report = site.cgroup("shop/nightly-report")
    site.on_node(
        f"""
        echo default 250 > {report}/io.weight
        for device in $(cat /block/nvme*/dev /block/vd*/dev); do
            echo "$device enable=1" > /cg/io.cost.qos
            echo "$device enable=0 ctrl=auto" > /cg/io.cost.qos
            echo "$device ctrl=auto" > /cg/io.cost.model
        done
        echo "$(stat -c '%Hd:%Ld' /data) wbps=200000000" > {report}/io.max
        """
    )


def page() -> list[Command]:
    return [command for command in commands() if command.page == PAGE]


def rendered(site: Site, images: Prepared, command: Command) -> None:
    words = [
        f"CONTROLLER_IMAGE={images.references['controller']}"
        if word.startswith("CONTROLLER_IMAGE=")
        else word
        for word in command.words
    ]
    # As the page says where there is no Prometheus operator.
    subprocess.run([*words, "MONITORS=false"], cwd=ROOT, check=True, capture_output=True)


def followed(site: Site, images: Prepared, command: Command) -> str:
    """Run a command of the page, the agent's pod in the place of POD."""
    if command.program == "make":
        rendered(site, images, command)
        return ""
    words = [word if word != "rendered/controller" else str(ROOT / word) for word in command.words[1:]]
    if "POD" in words:
        agent = site.pod(f"{SYSTEM}/drcio-controller").partition("/")[2]
        words = [agent if word == "POD" else word for word in words]
    if words[-1] == "top":
        return first_screen(site, words)
    return site.kubectl(*words)


def first_screen(site: Site, words: Sequence[str]) -> str:
    """Look at what goes on until Ctrl-C, and leave."""
    seen = ""
    with site.begin(*words) as process:
        assert process.stdout is not None
        for line in process.stdout:
            seen += line
            if "policy" in line:
                break
        process.kill()
    return seen


def agent_is_ready(site: Site) -> bool:
    found = [pod for name, pod in site.pods().items() if name.startswith(f"{SYSTEM}/drcio-controller")]
    conditions = found[0]["status"].get("conditions", ()) if len(found) == 1 else ()
    return any(it["type"] == "Ready" and it["status"] == "True" for it in conditions)


def waited_for(site: Site) -> bool:
    """Say whether the controller has seen the labelled pods wait for I/O, as the page has it measured."""
    agent = site.pod(f"{SYSTEM}/drcio-controller").partition("/")[2]
    text = site.kubectl("-n", SYSTEM, "exec", agent, "--", "drcio-controller", "status", "--json")
    stalls = {
        f"{pod['namespace']}/{pod['name'].partition('-')[0]}": entry["io_stall_ratio"]
        for pod in json.loads(text)["pods"]
        for entry in pod["devices"]
        if entry["io_stall_ratio"] is not None
    }
    return {"shop/api", "shop/nightly", "bank/teller"} <= set(stalls)


def test_page_is_followed_and_every_knob_is_as_before(site: Site, images: Prepared) -> None:
    administer(site)
    before = site.knobs()
    assert any("default 250" in value for value in before.values())
    outputs: dict[str, str] = {}
    for command in page():
        if command.program in ("pulumi", "docker"):
            continue  # the other way to the same objects: tests/engine; an image: test_images.py
        if "doctor" in command.words:
            labelled = {"shop/api": "1000", "shop/nightly-report": "10", "bank/teller": "1000"}
            wanted = {name: f"default {weight}" for name, weight in labelled.items()}
            eventually(lambda: site.weights(list(wanted)) == wanted, lambda: site.weights(list(wanted)))  # noqa: B023 - waited for here
            eventually(lambda: waited_for(site), lambda: "no stalls")
            assert site.knobs() != before
        outputs[str(command)] = followed(site, images, command)
        if "apply" in command.words:
            eventually(lambda: agent_is_ready(site), site.pods)
            assert site.knobs().items() >= before.items(), "until a pod has a class it writes nothing"
    assert any("everything holds" in text for text in outputs.values())
    assert any("policy drcio" in text for text in outputs.values())

    eventually(
        lambda: not any(name.startswith(f"{SYSTEM}/") for name in site.pods()), lambda: sorted(site.pods())
    )
    after = site.knobs()

    assert {file: value for file, value in after.items() if before.get(file) != value} == {}
    assert before.keys() == after.keys()
