"""The node: a worker for every pod of the store that is bound to it."""

import asyncio
import contextlib
import logging
import shutil
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from http import HTTPStatus

from drcio_controller.kube.jsontypes import JsonObject, object_at, objects_at, text_at
from drcio_controller.kube.pod import QosClass
from drcio_controller.testing.store import PodStore, Resource, StoreError

from .cgroups import CgroupTree, qos_slice, slice_weights
from .config import KubeletConfig
from .errors import ManifestError
from .manifest import parse_manifest
from .qos import qos_class
from .runtime import ContainerRuntime, Runtime
from .worker import PodWorker

log = logging.getLogger(__name__)

_START_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 120.0


class Kubelet:
    """Make the node's processes and cgroups agree with the pods in `store`."""

    def __init__(
        self,
        store: PodStore,
        config: KubeletConfig,
        *,
        start_runtime: Callable[[], Awaitable[ContainerRuntime]] = Runtime.start,
    ) -> None:
        self._store = store
        self._config = config
        self._start_runtime = start_runtime
        self._tree = CgroupTree(config.cgroup_root)
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._config_map_versions: dict[str, str] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None
        self._stopping = threading.Event()
        self.started = threading.Event()
        """Set once pods are being taken."""

    def stop(self) -> None:
        """Ask `run` to end all pods and return; from any thread."""
        self._stopping.set()
        self._notify()

    async def run(self) -> None:
        """Run the node until `stop`; leave no process and no cgroup behind."""
        self._loop, self._wake = asyncio.get_running_loop(), asyncio.Event()
        self._tree.delegate(self._tree.root)
        for path in slice_weights((), self._config.node_cpus):
            self._tree.create(path, delegate=True)
        self._set_slice_weights()
        unsubscribe = self._store.subscribe(self._notify)
        runtime = await self._start_runtime()
        try:
            self.started.set()
            while not self._stopping.is_set():
                self._wake.clear()
                self._sync(runtime)
                await self._wake.wait()
        finally:
            unsubscribe()
            await self._end_all()
            await runtime.close()
            self._tree.remove(qos_slice(QosClass.GUARANTEED))

    def read_log(self, namespace: str, pod: str, container: str, tail_lines: int | None) -> bytes:
        """Return a container's current log, for the API's log route.

        Without a name it is that of the pod's one container, whatever init containers there were.
        """
        wanted = container or self._only_container(namespace, pod) or "*"
        found = sorted(self._config.log_dir.glob(f"{namespace}_{pod}_*/{wanted}"))
        if not found:
            raise StoreError(HTTPStatus.NOT_FOUND, "NotFound", f"pod {pod!r} has no log of {container!r}")
        if len({path.name for path in found}) > 1:
            names = ", ".join(sorted({path.name for path in found}))
            message = f"a container name must be specified for pod {pod}, choose one of: {names}"
            raise StoreError(HTTPStatus.BAD_REQUEST, "BadRequest", message)
        files = [file for path in found for file in path.glob("*.log")]
        text = max(files, key=lambda file: file.stat().st_mtime_ns).read_bytes() if files else b""
        if tail_lines is None:
            return text
        return b"".join(text.splitlines(keepends=True)[-tail_lines:]) if tail_lines else b""

    def _only_container(self, namespace: str, pod: str) -> str:
        try:
            containers = objects_at(self._store.get(Resource.PODS, namespace, pod), "spec", "containers")
        except StoreError:
            return ""
        return text_at(containers[0], "name") if len(containers) == 1 else ""

    def _notify(self) -> None:
        loop, wake = self._loop, self._wake
        if loop is not None and wake is not None:
            with contextlib.suppress(RuntimeError):  # the loop has closed meanwhile
                loop.call_soon_threadsafe(wake.set)

    def _sync(self, runtime: ContainerRuntime) -> None:
        """Look at all pods and bring about what is missing."""
        _, documents = self._store.all(Resource.PODS)
        pods = {
            text_at(document, "metadata", "uid"): document
            for document in documents
            if text_at(document, "spec", "nodeName") == self._config.node_name
        }
        changed = False
        for uid, document in pods.items():
            if uid not in self._workers:
                changed |= self._begin(uid, document, runtime)
            grace_s = object_at(document, "metadata").get("deletionGracePeriodSeconds")
            if isinstance(grace_s, int):
                self._delete(uid, document, grace_s)
        for uid in self._workers.keys() - pods.keys():
            self._workers[uid].stop(0)  # deleted by force
            changed |= self._forget(uid)
        if changed:
            self._set_slice_weights()
        self._refresh_config_maps()

    def _begin(self, uid: str, document: JsonObject, runtime: ContainerRuntime) -> bool:
        namespace, name = text_at(document, "metadata", "namespace"), text_at(document, "metadata", "name")

        def publish(status: JsonObject) -> None:
            with contextlib.suppress(StoreError):  # deleted meanwhile; nobody reads it any more
                self._store.patch(Resource.PODS, namespace, name, {"status": status})

        try:
            manifest = parse_manifest(document)
        except ManifestError as error:
            if text_at(document, "status", "phase") != "Failed":
                publish({"phase": "Failed", "reason": "Invalid", "message": str(error)})
            return False
        worker = PodWorker(
            manifest,
            qos_class(manifest),
            config=self._config,
            runtime=runtime,
            tree=self._tree,
            read_config_map=lambda config_map: self._config_map(namespace, config_map),
            publish=publish,
        )
        task = asyncio.create_task(worker.run(), name=f"pod {namespace}/{name}")

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                # A fault of ours must not look like a pod that still runs.
                log.error("event=worker_died pod=%s/%s", namespace, name, exc_info=error)
                publish({"phase": "Failed", "reason": "KubeletFault", "message": repr(error)})
            self._notify()

        task.add_done_callback(ended)
        self._workers[uid], self._tasks[uid] = worker, task
        return True

    def _delete(self, uid: str, document: JsonObject, grace_s: int) -> None:
        """Carry a deletion forward: end the pod, and once it has ended take it out of the store."""
        task = self._tasks.get(uid)
        if task is not None and not task.done():
            self._workers[uid].stop(grace_s)
            return
        metadata = object_at(document, "metadata")
        self._store.remove(Resource.PODS, text_at(metadata, "namespace"), text_at(metadata, "name"), uid)

    def _forget(self, uid: str) -> bool:
        """Drop the worker of a pod that is no longer in the store, if it has ended."""
        task = self._tasks[uid]
        if not task.done():
            return False
        shutil.rmtree(self._config.state_dir / "pods" / uid, ignore_errors=True)
        del self._workers[uid], self._tasks[uid]
        return True

    def _set_slice_weights(self) -> None:
        alive = [w for uid, w in self._workers.items() if not self._tasks[uid].done()]
        weights = slice_weights([(w.qos, w.manifest) for w in alive], self._config.node_cpus)
        for path, weight in weights.items():
            self._tree.write(self._tree.root / path / "cpu.weight", str(weight))

    def _refresh_config_maps(self) -> None:
        _, documents = self._store.all(Resource.CONFIG_MAPS)
        versions = {
            text_at(d, "metadata", "uid"): text_at(d, "metadata", "resourceVersion") for d in documents
        }
        if versions == self._config_map_versions:
            return
        self._config_map_versions = versions
        for uid, worker in self._workers.items():
            if not self._tasks[uid].done():
                worker.refresh()

    def _config_map(self, namespace: str, name: str) -> Mapping[str, str] | None:
        try:
            data = object_at(self._store.get(Resource.CONFIG_MAPS, namespace, name), "data")
        except StoreError:
            return None
        return {key: value for key, value in data.items() if isinstance(value, str)}

    async def _end_all(self) -> None:
        for uid, worker in self._workers.items():
            if not self._tasks[uid].done():
                worker.stop(worker.manifest.grace_period_s)
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


@contextlib.contextmanager
def running(kubelet: Kubelet) -> Iterator[Kubelet]:
    """Run `kubelet` in a thread for as long as the context lasts; raise what ended it early."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(kubelet.run())
        except BaseException as error:  # noqa: BLE001 - handed over to the thread that waits for it
            failures.append(error)
            kubelet.started.set()

    thread = threading.Thread(target=run, name="kubelet", daemon=True)
    thread.start()
    try:
        if not kubelet.started.wait(_START_TIMEOUT_S):
            raise TimeoutError(f"the kubelet did not start within {_START_TIMEOUT_S:.0f} s")
        if failures:
            raise failures[0]
        yield kubelet
    finally:
        kubelet.stop()
        thread.join(_STOP_TIMEOUT_S)
    if failures:
        raise failures[0]
