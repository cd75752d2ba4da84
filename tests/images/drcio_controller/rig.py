"""The whole agent in a thread, against a real HTTP Pod API, on a fake node."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import urllib3

from drcio_controller.agent import Agent, Options
from drcio_controller.kube.endpoint import at_url
from drcio_controller.kube.jsontypes import JsonObject, text_at
from drcio_controller.kube.pod import QosClass
from drcio_controller.testing.fakenode import FakeNode
from drcio_controller.testing.server import PodApiServer, serving
from drcio_controller.testing.store import PodStore, Resource
from tests.waits import eventually

PATIENCE_S = 15.0


def pod_document(uid: str, priority: str | None, namespace: str = "shop") -> JsonObject:
    return {
        "metadata": {
            "name": f"pod-{uid}",
            "namespace": namespace,
            "uid": uid,
            "labels": {} if priority is None else {"drcio.io/priority": priority},
        },
        "spec": {"nodeName": "node-1", "containers": [{"name": "main"}]},
        "status": {"phase": "Running", "qosClass": "Burstable"},
    }


class Rig:
    """An agent in a thread, its API server and its node."""

    def __init__(
        self, node: FakeNode, api: PodApiServer, folder: Path, listen: tuple[str, int] = ("127.0.0.1", 0)
    ) -> None:
        self._listen = listen
        self.node, self.api, self.folder = node, api, folder
        self.state_dir = folder / "state"
        self.state_dir.mkdir(exist_ok=True)
        self.config = folder / "config.yaml"
        self.config.write_text("interval_s: 0.1\n")
        self.on_stop: list[Callable[[], None]] = []
        self.exit_status: int | None = None
        self.agent = self._agent()
        self._thread = threading.Thread(target=self._run)

    def _agent(self) -> Agent:
        return Agent(
            Options(
                node_name="node-1",
                endpoint=at_url(self.api.url),
                roots=self.node.roots,
                state_dir=self.state_dir,
                config_path=self.config,
                listen=self._listen,
                write=self.node.write,
            )
        )

    def _run(self) -> None:
        self.exit_status = self.agent.run()

    @property
    def started(self) -> bool:
        return self._thread.ident is not None

    def start(self, *, listening: bool = True) -> None:
        self._thread.start()
        if listening:
            eventually(lambda: self.agent.port is not None, "listening")

    def stop(self) -> None:
        for undo in self.on_stop:
            undo()
        self.agent.stop()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def add_pod(self, uid: str, priority: str | None, namespace: str = "shop") -> str:
        cgroup = self.node.add_pod(uid, QosClass.BURSTABLE)
        self.api.store.create(Resource.PODS, namespace, pod_document(uid, priority, namespace))
        return cgroup

    def label_namespace(self, name: str, priority: str | None) -> None:
        store = self.api.store
        labels: JsonObject = {"drcio.io/priority": priority}
        if not [one for one in store.all(Resource.NAMESPACES)[1] if text_at(one, "metadata", "name") == name]:
            store.create(Resource.NAMESPACES, "", {"metadata": {"name": name}})
        store.patch(Resource.NAMESPACES, "", name, {"metadata": {"labels": labels}})

    def relabel(self, uid: str, priority: str) -> None:
        patch: JsonObject = {"metadata": {"labels": {"drcio.io/priority": priority}}}
        self.api.store.patch(Resource.PODS, "shop", f"pod-{uid}", patch)

    def expect_weight(self, cgroup: str, weight: int) -> None:
        eventually(
            lambda: self.node.read(f"{cgroup}/io.weight").startswith(f"default {weight}\n"),
            f"weight {weight}",
        )

    def container_environment(self) -> dict[str, str]:
        """Return what manifest.py puts into the agent's container, for this rig's paths."""
        return {
            "DRCIO_CGROUP_ROOT": str(self.node.roots.cgroup),
            "DRCIO_SYS_ROOT": str(self.node.roots.sys),
            "DRCIO_CONFIG": str(self.config),
            "DRCIO_STATE_DIR": str(self.state_dir),
            "DRCIO_STATUS_URL": f"http://127.0.0.1:{self.agent.port if self.started else 1}",
        }

    def get(self, path: str) -> tuple[int, str]:
        response = urllib3.request("GET", f"http://127.0.0.1:{self.agent.port}{path}", timeout=5)
        return response.status, response.data.decode()


@contextmanager
def running(node: FakeNode, folder: Path) -> Iterator[Rig]:
    """Run an agent on the node against an API server of its own."""
    with serving(PodStore()) as api:
        made = Rig(node, api, folder)
        made.start()
        yield made
        made.stop()
