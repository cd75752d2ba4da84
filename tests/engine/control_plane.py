"""A real Kubernetes control plane on loopback: etcd, API server, controller manager, scheduler."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.engine.errors import BenchError
from tests.engine.kube import Kube
from tests.engine.processes import Process, free_port
from tests.engine.programs import Programs

CONTEXT: Final = "bench"
READY_S: Final = 60.0
TOKEN: Final = "admin-token"  # noqa: S105  # of an API server that only this machine reaches, for minutes


class ControlPlane:
    """Running between `start` and `stop`; logs stay in its folder."""

    def __init__(self, programs: Programs, folder: Path) -> None:
        self.folder = folder
        self._port = free_port()
        self._etcd, self._peers = free_port(), free_port()
        self._programs = programs
        self.kubeconfig_path = folder / "kubeconfig"
        self.processes: dict[str, Process] = {}
        self._kube: Kube | None = None

    @property
    def address(self) -> str:
        return f"https://127.0.0.1:{self._port}"

    @property
    def kubeconfig(self) -> dict[str, object]:
        """What `~/.kube/config` holds; JSON is YAML."""
        authority = str(self.folder / "certs" / "apiserver.crt")
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": CONTEXT,
            "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": "admin"}}],
            "clusters": [
                {"name": CONTEXT, "cluster": {"server": self.address, "certificate-authority": authority}}
            ],
            "users": [{"name": "admin", "user": {"token": TOKEN}}],
        }

    @property
    def kube(self) -> Kube:
        """A client with every right."""
        if self._kube is None:
            self._kube = Kube(self.address, TOKEN, self.folder / "certs" / "apiserver.crt")
        return self._kube

    def start(self) -> None:
        """Start everything and return once the API server is ready.

        Raises:
            BenchError: a part ends, or the API server does not become ready.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        key, public = self.folder / "sa.key", self.folder / "sa.pub"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        subprocess.run(
            ["openssl", "rsa", "-in", key, "-pubout", "-out", public], check=True, capture_output=True
        )
        (self.folder / "tokens.csv").write_text(f'{TOKEN},admin,admin,"system:masters"\n')
        self.kubeconfig_path.write_text(json.dumps(self.kubeconfig))
        for process in (self._etcd_process(), self._api_server_process()):
            self._add(process)
        self._wait_until_ready()
        for process in (self._controller_manager_process(), self._scheduler_process()):
            self._add(process)

    def stop(self) -> None:
        if self._kube is not None:
            self._kube.close()
        for process in reversed(self.processes.values()):
            process.stop()

    @contextlib.contextmanager
    def api_server_away(self) -> Iterator[None]:
        """Nothing answers at the API server's address within the block; it is ready again after it."""
        api_server = self.processes["kube-apiserver"]
        api_server.stop(grace_s=0.5)
        try:
            yield
        finally:
            api_server.start()
            self._wait_until_ready()

    def logs(self) -> str:
        """Return the end of each part's log."""
        return "\n".join(f"--- {name}\n{part.last_lines()}" for name, part in self.processes.items())

    def _add(self, process: Process) -> None:
        self.processes[process.name] = process
        process.start()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        certificate = self.folder / "certs" / "apiserver.crt"
        while time.monotonic() < deadline:
            ended = [process.name for process in self.processes.values() if not process.alive]
            if ended:
                raise BenchError(f"{', '.join(ended)} ended before the API server was ready\n{self.logs()}")
            if certificate.exists() and self.kube.ready():
                return
            time.sleep(0.1)
        raise BenchError(f"the API server is not ready after {READY_S:.0f} s\n{self.logs()}")

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
            f"--secure-port={self._port}",
            "--cert-dir=certs",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-account-key-file=sa.pub",
            "--service-account-signing-key-file=sa.key",
            "--authorization-mode=Node,RBAC",
            "--token-auth-file=tokens.csv",
            "--allow-privileged=true",
            "--endpoint-reconciler-type=none",
        ]
        return Process("kube-apiserver", command, self.folder)

    def _controller_manager_process(self) -> Process:
        command = [
            self._programs["kube-controller-manager"],
            "--kubeconfig=kubeconfig",
            "--service-account-private-key-file=sa.key",
            "--root-ca-file=certs/apiserver.crt",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            # The stand-in nodes renew no lease.
            "--node-monitor-grace-period=24h",
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
