"""The cluster's life: up, in use, gone. One at a time a checkout; whoever starts it ends it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from local_cluster import objects
from local_cluster.control_plane import ControlPlane, PlaneOptions
from local_cluster.errors import ClusterError, NodeError
from local_cluster.node import boot
from local_cluster.node.boot import NodeOptions
from local_cluster.node.control import NodeControl
from local_cluster.node.cpu import spent
from local_cluster.node.settings import HOST_ADDRESS
from local_cluster.programs import ROOT, find
from node_twin.guest.window import IDLE_SLICE
from node_twin.jsontypes import JsonObject

CONTEXT: Final = "drcio-local"
"""Of its kubeconfig; the name that Pulumi.local.yaml has."""
PROGRAMS: Final = (
    *("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"),
    *("coredns", "kubelet", "kube-proxy", "kubectl"),
)
CACHE: Final = ROOT / ".cache"
FOLDER: Final = CACHE / "cluster" / "run"
LOCK: Final = CACHE / "cluster" / "lock"
_LOOK_EVERY_S: Final = 1.0
_ENDS_WITHIN_S: Final = 30.0

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster that is up."""

    plane: ControlPlane
    node: boot.Node
    options: NodeOptions

    @property
    def kubeconfig(self) -> Path:
        return self.plane.kubeconfig_path

    def check(self) -> None:
        """Raise NodeError or PlaneError where a part of it is no more."""
        if self.node.guest.exited():
            raise NodeError(f"the node's guest has ended\n{self.node.guest.console_tail()}")
        self.plane.check()


@contextlib.contextmanager
def running(options: NodeOptions, *, tell: Tell) -> Iterator[Cluster]:
    """Start a cluster and yield it once its node is Ready; all of it ends with the context, or with us.

    Raises:
        ClusterError: another one is up, a program is missing, or a part does not come up.
    """
    programs = find(PROGRAMS)
    with alone(), contextlib.ExitStack() as stack:
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir(parents=True)
        plane_options = PlaneOptions(
            context=CONTEXT,
            users=boot.USERS,
            advertised_address=HOST_ADDRESS,
            # The guest's own address means nothing to the host, which reaches its kubelet on loopback.
            kubelet_address_types="ExternalIP,InternalIP",
        )
        plane = ControlPlane(programs, FOLDER / "plane", plane_options)
        tell("starting the control plane")
        stack.callback(plane.stop)
        plane.start()
        objects.create(plane.kube, options.volume_bytes, boot.DNS.name)
        config = boot.NodeConfig(
            folder=FOLDER,
            cache=CACHE / "twin",
            engine=Path(programs["kubelet"]).parent,
            options=options,
            repository=ROOT,
        )
        node = stack.enter_context(boot.node(config, plane, tell=tell))
        stack.enter_context(_cared_for(plane, node.control, tell))
        yield Cluster(plane=plane, node=node, options=options)


@contextlib.contextmanager
def _cared_for(plane: ControlPlane, control: NodeControl, tell: Tell) -> Iterator[None]:
    """Do, as long as the block lasts, what a cloud's controllers and a volume provisioner would do.

    And while an experiment runs, have the node's idle time executed: who wakes up is then not late by what
    the host takes (node_twin/guest/idle.py).
    """
    stop = threading.Event()
    measuring = _Measuring(plane, control, tell)

    def care() -> None:
        while not stop.wait(_LOOK_EVERY_S):
            # The API server may be away for a while, by a test's will or a user's; the node may have ended.
            with contextlib.suppress(httpx.HTTPError, NodeError):
                measuring.look()
                objects.reach_node(plane.kube)
                objects.free_volume(plane.kube)

    objects.reach_node(plane.kube)
    thread = threading.Thread(target=care, name="cluster-care")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class _Measuring:
    """Follows experiments: the node's clock is exact while one runs, and what took its CPU is told after."""

    def __init__(self, plane: ControlPlane, control: NodeControl, tell: Tell) -> None:
        self._plane, self._control, self._tell = plane, control, tell
        self._began: JsonObject | None = None
        self._pods: dict[str, str] = {}

    def look(self) -> None:
        """Do what there is to do; what fails is done at the next look."""
        runs = objects.measures(self._plane.kube)
        if runs:
            self._pods |= objects.pod_names(self._plane.kube)
        if runs and self._began is None:
            began = self._control.cpu()
            self._control.exact(on=True)
            self._began = began
        elif not runs and self._began is not None:
            self._control.exact(on=False)
            began, self._began = self._began, None
            taken = spent(began, self._control.cpu(), self._pods, IDLE_SLICE)
            self._tell(f"the node's CPU while the experiment ran: {taken.told()}")
            self._pods = {}


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Hold this checkout's lock; the kernel gives it back however we end."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClusterError(
                f"a cluster of this checkout is up or coming up (process {holder()})",
                hint="python -m local_cluster status, or down",
            ) from None
        lock.truncate(0)
        lock.write(json.dumps({"pid": os.getpid()}))
        lock.flush()
        yield


def holder() -> int | None:
    """Return the process whose cluster is up; None where there is none."""
    if not LOCK.exists():
        return None
    with LOCK.open("r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(json.loads(lock.read())["pid"])
    return None


def end() -> bool:
    """End the cluster that is up and wait until it is gone; False where there was none.

    Raises:
        ClusterError: it does not end.
    """
    pid = holder()
    if pid is None:
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _ENDS_WITHIN_S
    while holder() == pid:
        if time.monotonic() > deadline:
            raise ClusterError(
                f"process {pid} does not end", hint=f"kill -KILL {pid}; all of it goes with it"
            )
        time.sleep(0.1)
    return True
