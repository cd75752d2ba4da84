"""Objects in memory with resource versions and a bounded history, for any number of threads."""

import copy
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from http import HTTPStatus

from drcio_controller.kube.jsontypes import Json, JsonObject, object_at, text_at


class Resource(StrEnum):
    """What the store keeps, by its plural name in paths."""

    PODS = "pods"
    EVENTS = "events"
    CONFIG_MAPS = "configmaps"
    NAMESPACES = "namespaces"
    NODES = "nodes"

    @property
    def namespaced(self) -> bool:
        """Return whether its objects live in namespaces; the others' is an empty text here."""
        return self not in (Resource.NAMESPACES, Resource.NODES)

    @property
    def kind(self) -> str:
        """Return the kind of one such object."""
        kinds = {"configmaps": "ConfigMap", "namespaces": "Namespace", "events": "Event", "nodes": "Node"}
        return kinds.get(self.value, "Pod")


class StoreError(Exception):
    """A request that the store refuses, with the Status that the API answers."""

    def __init__(self, code: HTTPStatus, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason

    def status(self, retry_after_s: int | None = None) -> JsonObject:
        """Return the v1.Status object."""
        status: JsonObject = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": str(self),
            "reason": self.reason,
            "code": int(self.code),
        }
        if retry_after_s is not None:
            status["details"] = {"retryAfterSeconds": retry_after_s}
        return status


def expired(version: int, oldest: int) -> StoreError:
    """Return the error for a resource version that has left the history."""
    return StoreError(HTTPStatus.GONE, "Expired", f"too old resource version: {version} ({oldest})")


@dataclass(frozen=True, slots=True)
class Change:
    """One step of history. Objects are shared: read them, never write to them."""

    version: int
    type: str
    """ADDED, MODIFIED or DELETED."""
    document: JsonObject
    previous: JsonObject | None
    """The object before the change; None for ADDED."""


Admission = Callable[[JsonObject], JsonObject]
"""Takes a Pod manifest and returns it with its defaults; raises StoreError to refuse it."""

Key = tuple[str, str]


class PodStore:
    """Pods, Events and ConfigMaps of a cluster that exists in this process only.

    `history` is the number of changes a watch can resume over; older ones expire, as in etcd.
    With `graceful_deletion` a pod that has a node is only marked by `delete` and stays until the
    kubelet calls `remove`; without it there is no kubelet and it goes at once.
    """

    def __init__(
        self,
        *,
        history: int = 1000,
        graceful_deletion: bool = False,
        admit: Admission = lambda pod: pod,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._lock = threading.RLock()
        self._history_limit = history
        self._graceful_deletion = graceful_deletion
        self._admit = admit
        self._clock = clock
        self._version = 1
        self._objects: dict[Resource, dict[Key, JsonObject]] = {resource: {} for resource in Resource}
        self._history: dict[Resource, deque[Change]] = {resource: deque() for resource in Resource}
        self._compacted: dict[Resource, int] = dict.fromkeys(Resource, 0)
        self._listeners: list[Callable[[], None]] = []

    @property
    def version(self) -> int:
        """Return the resource version of the last change."""
        with self._lock:
            return self._version

    def get(self, resource: Resource, namespace: str, name: str) -> JsonObject:
        """Return a copy of one object."""
        with self._lock:
            return copy.deepcopy(self._find(resource, namespace, name))

    def all(self, resource: Resource, namespace: str | None = None) -> tuple[int, list[JsonObject]]:
        """Return the store's version and its objects, ordered by namespace and name.

        The objects are shared: read them, never write to them.
        """
        with self._lock:
            ordered = sorted(self._objects[resource].items(), key=lambda item: item[0])
            return self._version, [o for (ns, _), o in ordered if namespace in (None, ns)]

    def create(self, resource: Resource, namespace: str, document: JsonObject) -> JsonObject:
        """Store a new object; give it a uid, a creation time and a resource version."""
        document = copy.deepcopy(document)
        metadata = _metadata(document)
        self._check_identity(resource, namespace, document)
        metadata["namespace"] = namespace
        if not text_at(metadata, "name") and text_at(metadata, "generateName"):
            metadata["name"] = text_at(metadata, "generateName") + uuid.uuid4().hex[:5]
        name = text_at(metadata, "name")
        if not name:
            raise _invalid(f"{resource.kind}: metadata.name or metadata.generateName is required")
        metadata.setdefault("uid", str(uuid.uuid4()))
        metadata["creationTimestamp"] = self.timestamp()
        document.setdefault("apiVersion", "v1")
        document.setdefault("kind", resource.kind)
        if resource is Resource.PODS:
            document = self._admit(document)
            status = document.setdefault("status", {})
            if isinstance(status, dict):
                status.setdefault("phase", "Pending")
        with self._lock:
            if (namespace, name) in self._objects[resource]:
                message = f'{resource} "{name}" already exists'
                raise StoreError(HTTPStatus.CONFLICT, "AlreadyExists", message)
            return self._commit(resource, "ADDED", document, None)

    def patch(self, resource: Resource, namespace: str, name: str, patch: JsonObject) -> JsonObject:
        """Apply a JSON merge patch (RFC 7386)."""
        with self._lock:
            current = self._find(resource, namespace, name)
            self._check_version(resource, name, current, patch)
            merged = merge_patch(current, patch)
            if not isinstance(merged, dict):
                raise _invalid("a patch must be a JSON object")
            return self._update(resource, current, copy.deepcopy(merged))

    def delete(
        self, resource: Resource, namespace: str, name: str, grace_period_s: int | None = None
    ) -> JsonObject:
        """Delete an object, or mark a pod for its kubelet to end; return its last state."""
        with self._lock:
            current = self._find(resource, namespace, name)
            bound = resource is Resource.PODS and bool(text_at(current, "spec", "nodeName"))
            if not (self._graceful_deletion and bound) or grace_period_s == 0:
                return self._remove(resource, current)
            own = object_at(current, "spec").get("terminationGracePeriodSeconds")
            grace_s = grace_period_s if grace_period_s is not None else own if isinstance(own, int) else 30
            document = copy.deepcopy(current)
            metadata = _metadata(document)
            before_s = metadata.get("deletionGracePeriodSeconds")
            if isinstance(before_s, int) and before_s <= grace_s:
                return current
            metadata["deletionTimestamp"] = self.timestamp(grace_s)
            metadata["deletionGracePeriodSeconds"] = grace_s
            return self._commit(resource, "MODIFIED", document, current)

    def remove(self, resource: Resource, namespace: str, name: str, uid: str) -> None:
        """Remove an object for good, if it is still the one with `uid`."""
        with self._lock:
            current = self._objects[resource].get((namespace, name))
            if current is not None and text_at(current, "metadata", "uid") == uid:
                self._remove(resource, current)

    def changes_since(self, resource: Resource, version: int) -> list[Change]:
        """Return the changes after `version`; raise the 410 StoreError where they have expired."""
        with self._lock:
            if version < self._compacted[resource]:
                raise expired(version, self._compacted[resource])
            history = self._history[resource]
            newer: list[Change] = []
            for change in reversed(history):
                if change.version <= version:
                    break
                newer.append(change)
            newer.reverse()
            return newer

    def compact(self) -> None:
        """Forget the history: every watch that has to resume gets 410."""
        with self._lock:
            for resource in Resource:
                self._history[resource].clear()
                self._compacted[resource] = self._version
            # A watcher that has seen everything resumes at the current version; one step on, and
            # it is a version that has expired, as after etcd's compaction of a busy store.
            self._version += 1
            self._compacted = dict.fromkeys(Resource, self._version)
            self._notify()

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after every change, in the thread that made it; return how to end that."""
        with self._lock:
            self._listeners.append(listener)

        def unsubscribe() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return unsubscribe

    def timestamp(self, ahead_s: float = 0.0) -> str:
        """Return the store's time as RFC 3339."""
        return datetime.fromtimestamp(self._clock() + ahead_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _find(self, resource: Resource, namespace: str, name: str) -> JsonObject:
        found = self._objects[resource].get((namespace, name))
        if found is None:
            raise StoreError(HTTPStatus.NOT_FOUND, "NotFound", f'{resource} "{name}" not found')
        return found

    def _update(self, resource: Resource, current: JsonObject, document: JsonObject) -> JsonObject:
        old, new = object_at(current, "metadata"), _metadata(document)
        for key in ("uid", "name", "namespace", "creationTimestamp"):
            new[key] = old.get(key)
        new["resourceVersion"] = old.get("resourceVersion")
        document.setdefault("apiVersion", "v1")
        document.setdefault("kind", resource.kind)
        if document == current:  # as in Kubernetes: an update that changes nothing is no event
            return current
        return self._commit(resource, "MODIFIED", document, current)

    def _remove(self, resource: Resource, current: JsonObject) -> JsonObject:
        return self._commit(resource, "DELETED", copy.deepcopy(current), current)

    def _commit(
        self, resource: Resource, change: str, document: JsonObject, previous: JsonObject | None
    ) -> JsonObject:
        metadata = _metadata(document)
        with self._lock:
            self._version += 1
            metadata["resourceVersion"] = str(self._version)
            key = (text_at(metadata, "namespace"), text_at(metadata, "name"))
            if change == "DELETED":
                self._objects[resource].pop(key, None)
            else:
                self._objects[resource][key] = document
            history = self._history[resource]
            history.append(Change(self._version, change, document, previous))
            if len(history) > self._history_limit:
                self._compacted[resource] = history.popleft().version
            self._notify()
            return document

    def _notify(self) -> None:
        for listener in tuple(self._listeners):
            listener()

    def _check_identity(self, resource: Resource, namespace: str, document: JsonObject) -> None:
        kind = text_at(document, "kind")
        if kind not in ("", resource.kind):
            raise _bad_request(f"the object's kind is {kind!r}; expected {resource.kind!r}")
        own = text_at(document, "metadata", "namespace")
        if own not in ("", namespace):
            raise _bad_request(f"the object's namespace is {own!r}, the request's {namespace!r}")

    def _check_version(
        self, resource: Resource, name: str, current: JsonObject, document: JsonObject
    ) -> None:
        wanted = text_at(document, "metadata", "resourceVersion")
        if wanted not in ("", text_at(current, "metadata", "resourceVersion")):
            message = f'{resource} "{name}": the object has been modified; apply your changes to the latest'
            raise StoreError(HTTPStatus.CONFLICT, "Conflict", message)


def merge_patch(target: Json, patch: Json) -> Json:
    """Return `target` with the JSON merge patch `patch` applied (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def _metadata(document: JsonObject) -> JsonObject:
    metadata = document.setdefault("metadata", {})
    if not isinstance(metadata, dict):
        raise _invalid("metadata must be an object")
    return metadata


def _invalid(message: str) -> StoreError:
    return StoreError(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", message)


def _bad_request(message: str) -> StoreError:
    return StoreError(HTTPStatus.BAD_REQUEST, "BadRequest", message)
