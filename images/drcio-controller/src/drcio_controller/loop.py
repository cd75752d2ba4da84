"""The control loop: observe, decide, apply; at every tick, and at once when pods change."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from drcio_controller.config import Config, Engine, PolicyName, digest
from drcio_controller.engines.choose import choose
from drcio_controller.errors import KernelFileError, NotSupported, ReadBackMismatch, Vanished
from drcio_controller.instance import InstanceLimit, limit_of
from drcio_controller.kernel.devices import Device, describe, node_disks
from drcio_controller.kernel.drain import FREEZING_FILES
from drcio_controller.kernel.knob import Knob, Roots
from drcio_controller.kernel.parse import DeviceId
from drcio_controller.knobs.knobset import Reconciled
from drcio_controller.knobs.writers import Knobs
from drcio_controller.kube.pod import Pod
from drcio_controller.law.decision import Decision, DevicePolicy, InstanceLoad, Latency, View
from drcio_controller.law.law import UNBOUND_RATIO
from drcio_controller.law.registry import engine_of, make_policy
from drcio_controller.law.roles import split
from drcio_controller.loglimit import LogLimit
from drcio_controller.observe import Observer, Snapshot
from drcio_controller.plan import ManagedDevice, PlacedPod, wanted_knobs
from drcio_controller.pods.identity import cgroup_uids, unproven
from drcio_controller.pods.mapping import Hierarchy, find_hierarchy
from drcio_controller.pods.nodepod import NodePod, classify
from drcio_controller.pods.sandbox import Sandboxes
from drcio_controller.status.model import NodeStatus
from drcio_controller.status.report import DeviceSeen, Seen, Tally, build_status
from drcio_controller.window import Use, Window, use_of, windows

log = logging.getLogger(__name__)

ACTIVE_FOR_S: Final = 10.0
"""A pod counts in its slice's weight this long after its last I/O: shorter, and a bursty pod comes
back into a slice that no longer weighs it; longer, and a pod that stopped skews its neighbours."""

PRESSURE_READ_OF: Final = 16
"""Stall times are read of so many pods, the busiest on each device: they are what a decision needs."""

DEVICE_LINGER_S: Final = 30.0
"""How long a device stays managed after its last managed pod went: engines are not to be switched
off and on, which quiesces the queue, while a pod restarts."""

PROBLEMS_SHOWN: Final = 20

_FIRST_DECISION: Final = Decision(state="new", reason="nothing was seen yet", budget_ratio=UNBOUND_RATIO)
"""Binds nobody: of what a device's pods do nothing is known."""

LatencySource = Callable[[Mapping[str, NodePod], float], Mapping[str, Latency]]


@dataclass(slots=True)
class _DeviceState:
    device: Device
    policy: DevicePolicy
    last_needed_s: float
    decided_since_s: float
    acting_since_s: float
    acting: bool = False
    engine: Engine = Engine.NONE
    engine_note: str = ""
    decision: Decision = _FIRST_DECISION
    window: Window | None = None
    froze_s: float = 0.0
    """How long the last writes took that freeze the queue."""


class Controller:
    """Everything that one node needs, driven from one thread."""

    def __init__(
        self,
        *,
        node_name: str,
        roots: Roots,
        knobs: Knobs,
        config: Config,
        latencies: LatencySource = lambda _pods, _now_s: {},
        tally: Tally | None = None,
        mountinfo: str = "",
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._node_name = node_name
        self._roots = roots
        self._knobs = knobs
        self._config = config
        self._config_digest = digest(config)
        self._latencies = latencies
        self.tally = tally or Tally()
        self._observer = Observer(roots, clock)
        self._node_disks = node_disks(roots.sys, mountinfo)
        self._kube_pods: Mapping[str, Pod] = {}
        self._namespace_classes: Mapping[str, str] = {}
        self._cgroup_uids: Mapping[str, str] = {}
        self._pods: dict[str, NodePod] = {}
        self._instance_type = ""
        self._logged_problems: set[tuple[str, str]] = set()
        self._pod_lines = LogLimit()
        self._kernel_lines = LogLimit(burst=20, refill_s=60.0)
        self._decision_lines = LogLimit(burst=20, refill_s=10.0)
        self._hierarchy: Hierarchy | None = None
        self._cgroups: Mapping[str, str] | None = None
        self._sandboxes = Sandboxes(roots.cgroup)
        self._overhead: Mapping[str, tuple[str, ...]] = {}
        self._devices: dict[DeviceId, _DeviceState] = {}
        self._refused: dict[DeviceId, set[Engine]] = {}
        self._active_at_s: dict[tuple[str, DeviceId], float] = {}
        self._previous: Snapshot | None = None
        self._is_ebs: dict[DeviceId, bool] = {}
        self._ebs_elsewhere = Use()
        self._last: Reconciled = Reconciled()
        self._failing: dict[Knob, str] = {}
        self._now_s = 0.0

    def set_config(self, config: Config) -> None:
        """Take a new configuration; a new policy starts without memory, also on a volume told anew."""
        if config.policy_text != self._config.policy_text or config.engine != self._config.engine:
            self._devices.clear()
            self._refused.clear()
        for state in self._devices.values():
            if state.device.profile(config.volumes) != state.device.profile(self._config.volumes):
                # What it remembers is in multiples of the profile. The decision stands until the next.
                state.policy = make_policy(config)
        self._config = config
        self._config_digest = digest(config)
        self.set_pods(self._kube_pods)

    def set_pods(self, pods: Mapping[str, Pod], namespace_classes: Mapping[str, str] | None = None) -> None:
        """Take the node's pods by uid, all of them, and the classes that namespaces' labels name."""
        self._kube_pods = pods
        if namespace_classes is not None:
            self._namespace_classes = namespace_classes
        self._cgroup_uids = cgroup_uids(pods, self._containers_of)
        classified = (
            classify(
                pod,
                self._config,
                cgroup_uid=self._cgroup_uids[pod.uid],
                namespace_class=self._namespace_classes.get(pod.namespace),
            )
            for pod in pods.values()
        )
        self._pods = {pod.uid: pod for pod in classified if pod is not None}
        self._cgroups = None
        for pod in self._pods.values():
            for problem in pod.problems:
                if (pod.uid, problem) not in self._logged_problems:
                    self._logged_problems.add((pod.uid, problem))
                    if self._pod_lines.admits(pod.uid):
                        log.warning("pod_problem pod=%s problem=%r", pod.key, problem)
        present = {(uid, problem) for uid, pod in self._pods.items() for problem in pod.problems}
        self._logged_problems &= present

    def set_instance_type(self, instance_type: str) -> None:
        """Take the node's instance type, as the API server has it."""
        self._instance_type = instance_type
        if self.instance_limit is None:
            log.info(
                "instance_unknown type=%r hint='name its figures: instance in the configuration'",
                instance_type,
            )

    @property
    def instance_limit(self) -> InstanceLimit | None:
        """Return what all EBS volumes can do together: as configured, else by the instance's type."""
        return self._config.instance or limit_of(self._instance_type)

    def managed_uids(self) -> frozenset[str]:
        """Return the pods that ask for a weight."""
        return frozenset(uid for uid, pod in self._pods.items() if pod.managed)

    def folders(self) -> tuple[Path, ...]:
        """Return the cgroups in which pods' cgroups appear."""
        if self._hierarchy is None:
            return ()
        return tuple(
            self._roots.cgroup / path for path in (self._hierarchy.kubepods, *self._hierarchy.slices)
        )

    def apply(self, now_s: float) -> None:
        """Make the knobs follow the pods, with the decisions as they stand."""
        hierarchy = self._find_hierarchy()
        if hierarchy is None:
            return
        placed = self._place(hierarchy, now_s)
        devices = [
            ManagedDevice(
                device=state.device,
                engine=state.engine,
                profile=state.device.profile(self._config.volumes)[0],
                decision=state.decision,
            )
            for state in self._devices.values()
        ]
        wanted = wanted_knobs(
            hierarchy, placed, devices, weights_only=self._config.policy is PolicyName.WEIGHT_ONLY
        )
        self._last = self._knobs.reconcile(wanted, now_s)
        self._account(self._last)
        self._now_s = now_s
        self._note_acting(wanted, now_s)
        if self._refuse_failed_engines():
            self.apply(now_s)

    @property
    def look_again_s(self) -> float:
        """Return when the next tick is due, counted from the last one."""
        asked = [state.decision.look_again_s for state in self._devices.values()]
        return min([self._config.interval_s, *(seconds for seconds in asked if seconds is not None)])

    def tick(self, now_s: float) -> None:
        """Observe, decide and apply once; a controller with a clock of its own stamps the look by that."""
        hierarchy = self._find_hierarchy()
        if hierarchy is not None:
            self._overhead = self._sandboxes.overhead(self._cgroups_of(hierarchy))
        # The containers that prove a claim may have come meanwhile.
        claimed = unproven(self._kube_pods, self._cgroup_uids)
        if claimed and cgroup_uids(self._kube_pods, self._containers_of) != self._cgroup_uids:
            self.set_pods(self._kube_pods)
        if hierarchy is not None:
            snapshot = self._observe(hierarchy, now_s)
            now_s = snapshot.at_s
            self._find_devices(snapshot, now_s)
            if self._previous is not None:
                self._ebs_elsewhere = use_of(self._unmanaged_ebs(snapshot), self._previous, snapshot)
                self._decide(windows(self._previous, snapshot, self._pods), now_s)
            self._previous = snapshot
        self.apply(now_s)
        self.tally.ticks += 1

    def status(
        self, at_unix_s: float, *, synced: bool, config_error: str, problems: Sequence[str] = ()
    ) -> NodeStatus:
        """Return what is known now; `problems` are the caller's own."""
        header = NodeStatus(
            node=self._node_name,
            at_unix_s=at_unix_s,
            policy=self._config.policy_text,
            config_digest=self._config_digest,
            synced=synced,
            config_error=config_error,
            problems=(*problems, *self._knob_problems()),
        )
        seen = Seen(
            hierarchy=self._hierarchy,
            cgroups={} if self._hierarchy is None else self._cgroups_of(self._hierarchy),
            pods=self._pods,
            snapshot=self._previous,
            active_at_s=self._active_at_s,
            held=self._knobs.held,
        )
        return build_status(
            header, seen, [self._device_seen(state, at_unix_s) for state in self._devices.values()]
        )

    def _knob_problems(self) -> list[str]:
        """Return what does not hold of what was asked for."""
        failing = [f"{knob}: {message}" for knob, message in self._failing.items()]
        contested = [
            f"{knob}: somebody else keeps writing {theirs!r}; it is left to them for a while"
            for knob, theirs in self._knobs.contested.items()
        ]
        waiting = [
            f"{device}: it has stopped, its configuration waits to be written for {seconds:.0f} s"
            for device, seconds in self._knobs.waiting_s.items()
        ]
        return [*_first(failing), *_first(contested), *waiting]

    def _device_seen(self, state: _DeviceState, at_unix_s: float) -> DeviceSeen:
        profile, source = state.device.profile(self._config.volumes)
        return DeviceSeen(
            device=state.device,
            profile=profile,
            profile_source=source,
            instance=self.instance_limit,
            engine=state.engine,
            engine_note=state.engine_note,
            acting=state.acting,
            acting_since_unix_s=at_unix_s - (self._now_s - state.acting_since_s),
            decision=state.decision,
            decided_since_unix_s=at_unix_s - (self._now_s - state.decided_since_s),
            window=state.window,
            writes_wait_s=self._knobs.waiting_s.get(state.device.id),
        )

    def close(self, patience_s: float = 0.0) -> Reconciled:
        """Put every knob back as it was found; try what is busy again for `patience_s`."""
        self._observer.close()
        return self._knobs.restore(patience_s=patience_s)

    def _containers_of(self, pod: Pod, uid: str) -> Collection[str]:
        """Return the names of the cgroups in a pod's cgroup."""
        hierarchy = self._find_hierarchy()
        if hierarchy is None:
            return ()
        try:
            folder = self._roots.cgroup / hierarchy.pod(uid, pod.qos_class)
            return [entry.name for entry in folder.iterdir()]
        except OSError:
            return ()

    def _find_hierarchy(self) -> Hierarchy | None:
        if self._hierarchy is None or not (self._roots.cgroup / self._hierarchy.kubepods).is_dir():
            self._cgroups = None
            self._hierarchy = find_hierarchy(lambda path: (self._roots.cgroup / path).is_dir())
        return self._hierarchy

    def _observe(self, hierarchy: Hierarchy, now_s: float) -> Snapshot:
        snapshot = self._observer.look(
            self._cgroups_of(hierarchy),
            list(self._devices),
            now_s,
            pressure_of=self._busiest(),
            besides=self._overhead,
        )
        for message in snapshot.malformed:
            self.tally.malformed += 1
            if self._kernel_lines.admits("malformed"):
                log.warning("malformed_file error=%r", message)
        return snapshot

    def _cgroups_of(self, hierarchy: Hierarchy) -> Mapping[str, str]:
        """Return every pod's cgroup; worked out again only when the pods change."""
        if self._cgroups is None:
            self._cgroups = {uid: hierarchy.pod(pod.cgroup_uid, pod.qos) for uid, pod in self._pods.items()}
        return self._cgroups

    def _busiest(self) -> set[str]:
        busiest: set[str] = set()
        for state in self._devices.values():
            flows = [flow for flow in state.window.flows if flow.active] if state.window else []
            flows.sort(key=lambda flow: flow.ios_per_s, reverse=True)
            busiest.update(flow.pod.uid for flow in flows[:PRESSURE_READ_OF])
            # However few its I/Os are, a protected pod is whom the decision is about.
            busiest.update([flow.pod.uid for flow in split(flows)[0]][:PRESSURE_READ_OF])
        return busiest

    def _find_devices(self, snapshot: Snapshot, now_s: float) -> None:
        used = {
            device
            for uid, counters in snapshot.pods.items()
            if self._pods[uid].managed
            for device, stat in counters.io.items()
            if stat.total_ios
        }
        looked_at = set(self._devices)
        for device in used - looked_at:
            try:
                found = describe(self._roots.sys, device, self._node_disks)
            except Vanished:
                continue
            self._devices[device] = _DeviceState(found, make_policy(self._config), now_s, now_s, now_s)
            self._choose_engine(device)
            state = self._devices[device]
            profile, source = found.profile(self._config.volumes)
            log.info(
                "device_found device=%s name=%s serial=%s engine=%s note=%r iops=%d mib_s=%g source=%s",
                device, found.name, found.serial, state.engine, state.engine_note,
                profile.iops, profile.mib_s, source,
            )  # fmt: skip
        for device, state in list(self._devices.items()):
            if device in used:
                state.last_needed_s = now_s
            gone = device in looked_at and device not in snapshot.devices
            if gone or now_s - state.last_needed_s > DEVICE_LINGER_S:
                log.info("device_left device=%s name=%s gone=%s", device, state.device.name, gone)
                del self._devices[device]
                self._refused.pop(device, None)

    def _choose_engine(self, device: DeviceId) -> None:
        state = self._devices[device]
        refused = self._refused.get(device, set())
        state.engine, state.engine_note = choose(engine_of(self._config), state.device, refused)

    def _decide(self, seen: tuple[Window, ...], now_s: float) -> None:
        latencies = self._latencies(self._pods, now_s)
        for window in seen:
            state = self._devices.get(window.device)
            if state is None:
                continue
            for flow in window.flows:
                if flow.active:
                    self._active_at_s[flow.pod.uid, window.device] = now_s
            profile, source = state.device.profile(self._config.volumes)
            decision = state.policy.decide(
                View(
                    window=window,
                    engine=state.engine,
                    profile=profile,
                    profile_known=source == "configured",
                    lately={uid for uid, device in self._active_at_s if device == window.device},
                    froze_s=state.froze_s,
                    latencies=latencies,
                    instance=self._instance_load(state.device, seen),
                )
            )
            state.window = window
            begins = bool(decision.withdrawn) and not state.decision.withdrawn
            # From zero on, or a rate would not see the first.
            self.tally.withdrawals[window.device, state.device.name] += begins
            another_state = decision.state != state.decision.state
            if another_state:
                state.decided_since_s = now_s
            if another_state or decision.budget_ratio != state.decision.budget_ratio:
                terms = " ".join(f"{key}={value:.4g}" for key, value in decision.terms.items())
                is_news = another_state and self._decision_lines.admits(window.device)
                log.log(
                    logging.INFO if is_news else logging.DEBUG,
                    "decision device=%s state=%s budget=%.4g reason=%r %s",
                    window.device, decision.state, decision.budget_ratio, decision.reason, terms,
                )  # fmt: skip
            state.decision = decision
        self._active_at_s = {
            key: at_s
            for key, at_s in self._active_at_s.items()
            if now_s - at_s <= ACTIVE_FOR_S and key[0] in self._pods
        }

    def _instance_load(self, device: Device, seen: tuple[Window, ...]) -> InstanceLoad | None:
        limit = self.instance_limit
        if limit is None or not device.is_ebs:
            return None
        ebs = {state.device.id for state in self._devices.values() if state.device.is_ebs}
        others = [window for window in seen if window.device in ebs and window.device != device.id]
        elsewhere = self._ebs_elsewhere
        return InstanceLoad(
            limit=limit,
            volumes=1 + len(others) + elsewhere.active,
            others_bytes_per_s=sum(window.bytes_per_s for window in others) + elsewhere.bytes_per_s,
            others_ios_per_s=sum(window.ios_per_s for window in others) + elsewhere.ios_per_s,
        )

    def _unmanaged_ebs(self, snapshot: Snapshot) -> list[DeviceId]:
        """Return the EBS volumes that no managed pod uses: the node's own, an unlabelled pod's."""
        if self.instance_limit is None:
            return []
        self._is_ebs = {device: known for device, known in self._is_ebs.items() if device in snapshot.root}
        for device in snapshot.root.keys() - self._is_ebs.keys():
            try:
                self._is_ebs[device] = describe(self._roots.sys, device).is_ebs
            except KernelFileError:
                self._is_ebs[device] = False
        return [device for device, ebs in self._is_ebs.items() if ebs and device not in self._devices]

    def _place(self, hierarchy: Hierarchy, now_s: float) -> list[PlacedPod]:
        active: dict[str, set[DeviceId]] = {}
        for uid, device in self._active_at_s:
            active.setdefault(uid, set()).add(device)
        nowhere: frozenset[DeviceId] = frozenset()
        return [
            PlacedPod(
                pod=self._pods[uid],
                cgroup=cgroup,
                active_on=frozenset(active[uid]) if uid in active else nowhere,
                overhead=self._overhead.get(uid, ()),
            )
            for uid, cgroup in self._cgroups_of(hierarchy).items()
        ]

    def _account(self, result: Reconciled) -> None:
        for knob in result.written:
            log.debug("written knob=%s", knob)
            self.tally.written(knob)
        froze_s: dict[DeviceId, float] = {}
        for knob, seconds in result.took_s:
            self.tally.took(knob, seconds)
            if knob.device and knob.name in FREEZING_FILES:
                froze_s[knob.device] = froze_s.get(knob.device, 0.0) + seconds
        for device in froze_s.keys() & self._devices.keys():
            self._devices[device].froze_s = froze_s[device]
        for change in result.foreign:
            self.tally.foreign(change.knob)
            if self._kernel_lines.admits(change.knob.name):
                log.warning(
                    "foreign_change knob=%s wrote=%r found=%r contested=%s",
                    change.knob, change.wrote, change.found, change.contested,
                )  # fmt: skip
        failing = {
            failure.knob: _worth_a_line(failure.error) for failure in (*result.failures, *result.unreleased)
        }
        for knob, message in failing.items():
            if message and self._failing.get(knob) != message:
                self.tally.failed(knob)
                if self._kernel_lines.admits(knob.name):
                    log.warning("knob_failed knob=%s error=%r", knob, message)
        self._failing = {knob: message for knob, message in failing.items() if message}

    def _note_acting(self, wanted: Mapping[Knob, str], now_s: float) -> None:
        """Remember since when each device's engine is, or is not, in force."""
        held = self._knobs.held
        for state in self._devices.values():
            # Asked of every knob in every pass: the cheap question first.
            device = state.device.id
            needed = [knob for knob in wanted if knob.key == device and _belongs(knob, state)]
            acting = bool(needed) and all(knob in held for knob in needed)
            if acting != state.acting:
                state.acting, state.acting_since_s = acting, now_s

    def _refuse_failed_engines(self) -> bool:
        """Step down the ladder where the kernel refused an engine; return whether any device did."""
        changed = False
        for failure in self._last.failures:
            if not isinstance(failure.error, NotSupported | ReadBackMismatch | Vanished):
                continue
            for device, state in self._devices.items():
                if state.engine is Engine.IOMAX and isinstance(failure.error, Vanished):
                    continue  # a pod left, that is all
                if state.engine is not Engine.NONE and _belongs(failure.knob, state):
                    self._refused.setdefault(device, set()).add(state.engine)
                    self._choose_engine(device)
                    log.warning(
                        "engine_refused device=%s now=%s error=%r", device, state.engine, str(failure.error)
                    )
                    changed = True
        return changed


def _belongs(knob: Knob, state: _DeviceState) -> bool:
    match state.engine:
        case Engine.IOCOST:
            return knob.key == state.device.id and knob.name.startswith("io.cost.")
        case Engine.BFQ:
            return knob.in_sysfs and knob.file.startswith(f"block/{state.device.name}/")
        case Engine.IOMAX:
            return knob.name == "io.max" and knob.key == state.device.id
        case _:
            return False


def _first(problems: Sequence[str]) -> list[str]:
    """Return what somebody reads of problems that a thousand knobs may have alike."""
    more = len(problems) - PROBLEMS_SHOWN
    return [*problems[:PROBLEMS_SHOWN], *([f"and {more} more knobs alike"] if more > 0 else [])]


def _worth_a_line(error: KernelFileError) -> str:
    """Return the message, or an empty text for what is normal: a cgroup that came or went."""
    return "" if isinstance(error, Vanished) else str(error)
