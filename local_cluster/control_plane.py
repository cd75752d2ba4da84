"""A real Kubernetes control plane on loopback: etcd, API server, controller manager, scheduler."""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from local_cluster.errors import PlaneError
from local_cluster.kube import Kube
from local_cluster.processes import PATIENCE_S, Process, free_port
from local_cluster.programs import Programs

_NEVER: Final = "24h"


@dataclass(frozen=True, kw_only=True)
class User:
    """Somebody whom the API server knows by a token."""

    name: str
    groups: tuple[str, ...] = ()
    token: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)


@dataclass(frozen=True, kw_only=True)
class PlaneOptions:
    """What is particular to one control plane."""

    context: str = "bench"
    """Of its kubeconfig."""
    admin: User = field(default_factory=lambda: User(name="admin", groups=("system:masters",)))
    users: tuple[User, ...] = ()
    """Beside the administrator."""
    advertised_address: str | None = None
    """Where pods reach the API server: the endpoint of Service `kubernetes`. None leaves it without one."""
    kubelet_address_types: str = "InternalIP"
    """Which of a node's addresses its kubelet is reached at, for logs and exec."""
    api_server_flags: tuple[str, ...] = ()
    """Beside those that every one has."""


class ControlPlane:
    """Running between `start` and `stop`; logs stay in its folder."""

    def __init__(self, programs: Programs, folder: Path, options: PlaneOptions | None = None) -> None:
        self.folder = folder
        self.options = options or PlaneOptions()
        self.port = free_port()
        self._admin = self.options.admin
        self._etcd, self._peers = free_port(), free_port()
        self._programs = programs
        self.kubeconfig_path = folder / "kubeconfig"
        self.processes: dict[str, Process] = {}
        self._kube: Kube | None = None

    @property
    def address(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def authority(self) -> Path:
        """The certificate that the API server shows, which it has signed itself."""
        return self.folder / "certs" / "apiserver.crt"

    @property
    def kubeconfig(self) -> dict[str, object]:
        """What `~/.kube/config` holds; JSON is YAML."""
        return self._kubeconfig(
            self._admin, {"server": self.address, "certificate-authority": str(self.authority)}
        )

    def kubeconfig_for(self, user: User, server: str) -> dict[str, object]:
        """Return a kubeconfig for a program elsewhere, which reaches the API server at another address."""
        data = base64.b64encode(self.authority.read_bytes()).decode()
        cluster = {"server": server, "certificate-authority-data": data, "tls-server-name": "kubernetes"}
        return self._kubeconfig(user, cluster)

    def _kubeconfig(self, user: User, cluster: Mapping[str, str]) -> dict[str, object]:
        name = self.options.context
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "contexts": [{"name": name, "context": {"cluster": name, "user": user.name}}],
            "clusters": [{"name": name, "cluster": dict(cluster)}],
            "users": [{"name": user.name, "user": {"token": user.token}}],
        }

    @property
    def kube(self) -> Kube:
        """A client with every right."""
        if self._kube is None:
            self._kube = Kube(self.address, self._admin.token, self.authority)
        return self._kube

    def start(self) -> None:
        """Start everything and return once the API server is ready.

        Raises:
            PlaneError: a part ends, or the API server does not become ready.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        key, public = self.folder / "sa.key", self.folder / "sa.pub"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        subprocess.run(
            ["openssl", "rsa", "-in", key, "-pubout", "-out", public], check=True, capture_output=True
        )
        tokens = self.folder / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text(
            "".join(
                f'{user.token},{user.name},{user.name},"{",".join(user.groups)}"\n'
                for user in (self._admin, *self.options.users)
            )
        )
        self.kubeconfig_path.touch(mode=0o600)
        self.kubeconfig_path.write_text(json.dumps(self.kubeconfig))
        for process in (self._etcd_process(), self._api_server_process()):
            self.add(process)
        self._wait_until_ready()
        for process in (self._controller_manager_process(), self._scheduler_process()):
            self.add(process)

    def stop(self) -> None:
        if self._kube is not None:
            self._kube.close()
        for process in reversed(self.processes.values()):
            process.stop()

    def check(self) -> None:
        """Raise PlaneError where a part has ended."""
        if ended := [process.name for process in self.processes.values() if not process.alive]:
            raise PlaneError(f"{', '.join(ended)} ended\n{self.logs()}")

    def logs(self) -> str:
        """Return the end of each part's log."""
        return "\n".join(f"--- {name}\n{part.last_lines()}" for name, part in self.processes.items())

    def add(self, process: Process) -> None:
        """Start a program that is a part of it from now on."""
        self.processes[process.name] = process
        process.start()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            self.check()
            if self.authority.exists() and self.kube.ready():
                return
            time.sleep(0.1)
        raise PlaneError(f"the API server is not ready after {PATIENCE_S:.0f} s\n{self.logs()}")

    def _etcd_process(self) -> Process:
        clients, peers = f"http://127.0.0.1:{self._etcd}", f"http://127.0.0.1:{self._peers}"
        command = [
            self._programs["etcd"],
            "--data-dir=etcd",
            f"--listen-client-urls={clients}",
            f"--advertise-client-urls={clients}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            # What it holds need not outlive the machine.
            "--unsafe-no-fsync",
        ]
        return Process("etcd", command, self.folder)

    def _api_server_process(self) -> Process:
        command = [
            self._programs["kube-apiserver"],
            f"--etcd-servers=http://127.0.0.1:{self._etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.port}",
            "--cert-dir=certs",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-account-key-file=sa.pub",
            "--service-account-signing-key-file=sa.key",
            "--authorization-mode=Node,RBAC",
            "--token-auth-file=tokens.csv",
            "--allow-privileged=true",
            f"--kubelet-preferred-address-types={self.options.kubelet_address_types}",
            *self._endpoint(),
            *self.options.api_server_flags,
        ]
        return Process("kube-apiserver", command, self.folder)

    def _endpoint(self) -> list[str]:
        address = self.options.advertised_address
        return [f"--advertise-address={address}"] if address else ["--endpoint-reconciler-type=none"]

    def _controller_manager_process(self) -> Process:
        command = [
            self._programs["kube-controller-manager"],
            "--kubeconfig=kubeconfig",
            "--service-account-private-key-file=sa.key",
            "--root-ca-file=certs/apiserver.crt",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            # Stand-in nodes renew no lease, and an emulated one by a clock that may stand still for a while.
            f"--node-monitor-grace-period={_NEVER}",
            "--controllers=*,-node-ipam-controller,-cloud-node-lifecycle-controller,-service-lb-controller",
            f"--secure-port={free_port()}",
            "--bind-address=127.0.0.1",
        ]
        return Process("kube-controller-manager", command, self.folder)

    def _scheduler_process(self) -> Process:
        command = [
            self._programs["kube-scheduler"],
            "--kubeconfig=kubeconfig",
            "--leader-elect=false",
            f"--secure-port={free_port()}",
            "--bind-address=127.0.0.1",
        ]
        return Process("kube-scheduler", command, self.folder)
