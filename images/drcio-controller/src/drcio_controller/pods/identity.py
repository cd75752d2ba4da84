"""Whose cgroup is whose: a pod's own uid by default, a static pod's hash only where it is proven. Pure.

kubelet names the cgroup of a pod that it has from the API server after the pod's uid, which the API
server chose. A static pod's is named after a hash, which stands in annotations of its mirror in the
API, and annotations are written by whoever creates a pod: with another pod's uid there, that pod's
weight would be set by a stranger. The API server does not record who set an annotation (a field
manager's name is the client's own choice). Two things it does guard are used instead:

- `status` is written through a subresource that a pod's author has no right to and an API server
  empties at creation, so a container id in it was reported by the node's own identity;
- a uid is the API server's, so a hash that is a living pod's uid is never anybody else's.

A mirror is believed if it has every mark that kubelet gives it (`Pod.static_hash`) and the cgroup that
it names holds one of the containers that kubelet reported for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Final

from drcio_controller.kube.pod import Pod

Children = Callable[[Pod, str], Collection[str]]
"""(pod, uid) -> names of the cgroups in the pod cgroup of that uid; empty if there is none."""

_ID_LEAST_CHARS: Final = 12
"""Runtimes use 64 hexadecimal digits; what is very short is no proof of anything."""


def cgroup_uids(pods: Mapping[str, Pod], children: Children) -> dict[str, str]:
    """Return the uid that each pod's cgroup is named after, by the pod's own uid.

    A claim that is not proven leaves the pod with its own uid, after which no cgroup of another pod
    can be named. Of two pods that prove the same, neither is believed.
    """
    living = {_spelled(uid) for uid in pods}
    proven = {
        uid: pod.static_hash
        for uid, pod in pods.items()
        if pod.static_hash
        and _spelled(pod.static_hash) not in living
        and _holds(pod, children(pod, pod.static_hash))
    }
    claims = Counter(map(_spelled, proven.values()))
    return {uid: proven[uid] if uid in proven and claims[_spelled(proven[uid])] == 1 else uid for uid in pods}


def _spelled(uid: str) -> str:
    """Return what is one for all uids of one cgroup: systemd's names have `_` where a uid has `-`."""
    return uid.replace("-", "_")


def unproven(pods: Mapping[str, Pod], uids: Mapping[str, str]) -> list[str]:
    """Return the uids of pods that claim a static pod's cgroup and do not have it."""
    return [uid for uid, pod in pods.items() if pod.static_hash and uids.get(uid) != pod.static_hash]


def _holds(pod: Pod, names: Collection[str]) -> bool:
    """Return whether one of the cgroups is of a container of the pod: `ID`, `RUNTIME-ID.scope`."""
    ids = {each for each in pod.container_ids if len(each) >= _ID_LEAST_CHARS}
    return any(name.removesuffix(".scope").rpartition("-")[2] in ids for name in names)
