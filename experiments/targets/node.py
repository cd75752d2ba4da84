"""What every experiment on a twin does with its node: start from a clean one, and put a policy on it."""

from __future__ import annotations

from typing import Final

from drcio_controller.config import Config, VolumeProfile, dump, parse_policy
from drcio_controller.ebs import Volume
from drcio_controller.manifest import APP_LABEL as CONTROLLER_CONFIG_MAP
from drcio_controller.manifest import CONFIG_FILE
from experiments import workloads
from experiments.records.spec import NO_POLICY
from node_twin.host.twin import Twin
from node_twin.layout import API_PORT, NAMESPACE, NODE_NAME

READY_TIMEOUT_S: Final = 1800.0
"""Of any pod, by the host's clock; emulated on idle cores the service imports its framework in about a
minute, on crowded ones in ten."""


class Node:
    """A booted twin as the policies find it. Make it while nothing has turned a knob yet."""

    def __init__(self, twin: Twin, volume: Volume, *, give_controller_volume: bool) -> None:
        self.twin = twin
        self._profiles = (
            (VolumeProfile(iops=volume.iops, mib_s=volume.mib_s),) if give_controller_volume else ()
        )
        self._knobs = twin.knobs()

    def clean(self) -> list[str]:
        """Empty caches and queues; return a note for every knob that is not as on the fresh boot."""
        self.twin.quiesce()
        return self.changed_knobs()

    def changed_knobs(self) -> list[str]:
        """Return a note for every knob that is not as on the fresh boot."""
        knobs = self.twin.knobs()
        return [
            f"{knob} is {knobs.get(knob)!r}; on the fresh twin it was {value!r}"
            for knob, value in self._knobs.items()
            if knobs.get(knob) != value
        ]

    def controller(self, policy: str) -> workloads.Workload | None:
        """Return the agent that carries a policy out, its configuration in place; None for no policy."""
        if policy == NO_POLICY:
            return None
        name, percent = parse_policy(policy)
        return self.agent(Config(policy=name, iomax_percent=percent, volumes=self._profiles))

    def agent(self, config: Config) -> workloads.Workload:
        """Return the agent under a configuration, which is put in place."""
        self.twin.put_config_map(CONTROLLER_CONFIG_MAP, {CONFIG_FILE: dump(config)})
        return workloads.controller(
            config.policy, namespace=NAMESPACE, node=NODE_NAME, api_server=f"http://127.0.0.1:{API_PORT}"
        )

    def start_controller(self, policy: str) -> None:
        """Start the agent that carries a policy out, and wait until it is ready."""
        agent = self.controller(policy)
        if agent is None:
            raise ValueError(f"{policy} needs no agent")
        self.twin.create_pod(agent.manifest)
        self.twin.wait_ready(agent.name, timeout_s=READY_TIMEOUT_S)
