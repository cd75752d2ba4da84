"""Every `kubectl` command of the pages is taken by the real kubectl and a real API server.

What needs a kubelet (`logs`, `exec`) comes as far as asking the node for it: the stand-in node has none. What
then runs in the agent's container, tests/images/drcio_controller/test_runbooks.py runs.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engine.bench import EXISTING, Bench
from tests.kubectl import call
from tests.pages import commands

APPLIED = ("apply", "delete")
"""Of a rendering: tests/engine/test_alone.py runs these on one."""
ASKS_THE_KUBELET = ("logs", "exec")
NO_KUBELET = "no preferred addresses found"
"""What the API server says of a node that has none: it is where the kubelet would be asked."""
TEMPLATE = {
    "metadata": {"labels": {"app": "shop"}},
    "spec": {"containers": [{"name": "main", "image": "registry.example/shop:1"}]},
}
AGENTS = "/api/v1/namespaces/drcio-system/pods?labelSelector=app%3Ddrcio-controller"
NAMESPACES = ("shop", "bank")
PODS = ("nightly-report", "checkout-0")
DEPLOYMENTS = ("api", "checkout")


def _in_pages() -> list[tuple[str, ...]]:
    found = dict.fromkeys(command.words for command in commands() if command.program == "kubectl")
    return [words for words in found if not set(words) & set(APPLIED)]


@pytest.fixture(scope="module")
def busy(bench: Bench) -> Iterator[Bench]:
    """The parts that the pages look at, and the workloads that they describe."""
    stack = bench.stack("pages", "drcio", EXISTING)
    stack.up()
    kube = bench.existing.kube
    for name in NAMESPACES:
        kube.create(
            "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        )
    for name in PODS:
        pod = {"apiVersion": "v1", "kind": "Pod", **TEMPLATE, "metadata": {"name": name}}
        kube.create("/api/v1/namespaces/shop/pods", pod)
    for name in DEPLOYMENTS:
        spec = {"selector": {"matchLabels": {"app": "shop"}}, "template": TEMPLATE}
        deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
        kube.create("/apis/apps/v1/namespaces/shop/deployments", deployment)
    yield bench
    for name in NAMESPACES:
        kube.delete(f"/api/v1/namespaces/{name}")
    stack.destroy()


@pytest.mark.parametrize("words", _in_pages(), ids=" ".join)
def test_a_pages_command_is_taken_by_a_real_api_server(busy: Bench, words: tuple[str, ...]) -> None:
    (agent,) = busy.existing.kube.items(
        "/api/v1/namespaces/drcio-system/pods?labelSelector=app%3Ddrcio-controller"
    )
    names = {
        "POD": agent["metadata"]["name"],
        "spec.nodeName=NODE": f"spec.nodeName={agent['spec']['nodeName']}",
    }

    done = call(busy.kubeconfig, *(names.get(word, word) for word in words[1:]), timeout_s=60)

    if set(words) & set(ASKS_THE_KUBELET):
        assert NO_KUBELET in done.stderr, done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert done.stdout
        assert "No resources found" not in done.stderr
