"""Everything together: one account, its clusters, and a workspace whose engine uses both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from local_cluster.programs import Programs
from stacks.configuration import settings
from tests.engine.charts import ChartRepository
from tests.engine.cloud.account import Account
from tests.engine.cloud.provider import Providers
from tests.engine.cluster import Cluster, Clusters
from tests.engine.stack import Stack, Workspace
from tests.waits import wait_until_none

GIVEN_IMAGES: Final[Mapping[str, object]] = {
    "drcio:images.build": "none",
    **{
        f"drcio:images.{name}": f"registry.example/{name.lower()}@sha256:{'0' * 64}"
        for name in ("controller", "hpService", "lpBatch", "loadGenerator", "experiment")
    },
}
"""Configuration that builds nothing."""
CHART_VERSIONS: Final = (settings.Monitoring().chart_version, "92.0.1")
"""The program's own, and a newer one."""
EXISTING: Final[Mapping[str, object]] = {"drcio:platform": "existing", **GIVEN_IMAGES}


@dataclass
class Bench:
    """Running between `start` and `stop`."""

    programs: Programs
    folder: Path
    account: Account = field(default_factory=Account)
    started: bool = False
    cleared: int = 0
    """How often everything was removed: stacks that were up before are no more."""
    failed: bool = False
    """Whether a test failed, so that logs are worth keeping."""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.clusters = Clusters(self.programs, self.folder, self.account)
        self.providers = Providers(self.account)
        self.charts = ChartRepository(CHART_VERSIONS)
        self._existing: Cluster | None = None

    def start(self) -> None:
        self.providers.start()
        self.charts.start()
        self.kubeconfig.write_text(json.dumps({"apiVersion": "v1", "kind": "Config"}))
        self.workspace = self.another_workspace("engine")
        self.started = True

    def stop(self) -> None:
        self.started = False
        self.clusters.stop()
        if self._existing is not None:
            self._existing.stop()
        self.charts.stop()
        self.providers.stop()

    def another_workspace(self, name: str, source: Path | None = None) -> Workspace:
        """Return a workspace with a state of its own, for the program of another checkout."""
        variables = {
            "KUBECONFIG": str(self.kubeconfig),
            "PULUMI_DEBUG_PROVIDERS": self.providers.attached,
            "HOME": str(self.folder),
            # Helm's caches, which it would make in the user's home.
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "PULUMI_K8S_CLIENT_QPS": "200",
            "PULUMI_K8S_CLIENT_BURST": "400",
        }
        patches = {
            "stacks.workloads.CHART_REPOSITORY": self.charts.address,
            # Half an hour is for real nodes and disks; here all that will come has come in seconds.
            "components.experiment.SLACK_S": 6,
        }
        arguments = {"source": source} if source else {}
        return Workspace(self.programs, self.folder / name, variables, patches, **arguments)

    @property
    def kubeconfig(self) -> Path:
        """The user's kubeconfig: it knows the existing cluster once there is one."""
        return self.folder / "kubeconfig"

    @property
    def existing(self) -> Cluster:
        """A cluster that is already there, started when first asked for."""
        if self._existing is None:
            self._existing = self.clusters.take()
            self._existing.furnish()
            self.kubeconfig.write_text(json.dumps(self._existing.plane.kubeconfig))
        return self._existing

    def stack(self, name: str, like: str | None = None, config: Mapping[str, object] | None = None) -> Stack:
        """Make a stack in the common workspace; where its settings want a cluster that exists, there is
        one.
        """
        if (config or {}).get("drcio:platform") == "existing":
            assert self.existing
        return self.workspace.stack(name, like, config)

    def leftovers(self) -> list[str]:
        """Return everything that is there and should not be, once all stacks are destroyed.

        Volumes and pods take a moment to go, which nobody waits for.
        """
        return wait_until_none(self._leftovers)

    def _leftovers(self) -> list[str]:
        found = [*self.account.leftovers(), *(f"on EKS: {it}" for it in self.clusters.leaked)]
        if self._existing is not None:
            found += [f"on the existing cluster: {it}" for it in self._existing.leftovers()]
        return found

    def clear(self) -> None:
        """Forget what a failed test left."""
        self.cleared += 1
        for name, cluster in list(self.clusters.by_name.items()):
            for node in cluster.nodes.names:
                cluster.nodes.remove(node, drain_s=0)
            cluster.clear()
            self.clusters.idle.append(self.clusters.by_name.pop(name))
        if self._existing is not None:
            self._existing.clear()
        self.account.forget_everything()
        self.clusters.leaked.clear()

    def failure_report(self) -> str:
        """Return what helps to understand a failure."""
        lines = [f"{it.act} {it.type} {it.name} {it.detail}" for it in self.account.journal[-40:]]
        return "\n".join(lines)
