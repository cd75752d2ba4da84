"""The names of a Pod's fields, so that a mistyped one is not passed over in silence.

Names as in Kubernetes' API reference, core/v1; whether the twin has a use for them is the manifest's affair.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Final

from drcio_controller.kube.jsontypes import Json, JsonObject

from .errors import ManifestError

Fields = Mapping[str, "Fields | None"]
"""What may stand in an object, or in each of a list's; None where it is not looked into."""


def _fields(names: str, **looked_into: Fields) -> Fields:
    return {**dict.fromkeys(names.split()), **looked_into}


_RESOURCES: Final = _fields("cpu memory ephemeral-storage hugepages-2Mi hugepages-1Gi")
_KEY: Final = _fields("name key optional")
_PROBE: Final = _fields(
    "grpc initialDelaySeconds timeoutSeconds periodSeconds successThreshold failureThreshold"
    " terminationGracePeriodSeconds",
    exec=_fields("command"),
    httpGet=_fields("path port host scheme httpHeaders"),
    tcpSocket=_fields("port host"),
)
_CONTAINER: Final = _fields(
    "name image command args workingDir envFrom resizePolicy restartPolicy restartPolicyRules volumeDevices"
    " lifecycle terminationMessagePath terminationMessagePolicy imagePullPolicy stdin stdinOnce tty",
    ports=_fields("name hostPort containerPort protocol hostIP"),
    env=_fields(
        "name value",
        valueFrom=_fields(
            "resourceFieldRef fileKeyRef",
            fieldRef=_fields("apiVersion fieldPath"),
            configMapKeyRef=_KEY,
            secretKeyRef=_KEY,
        ),
    ),
    resources=_fields("claims", requests=_RESOURCES, limits=_RESOURCES),
    volumeMounts=_fields("name readOnly recursiveReadOnly mountPath subPath mountPropagation subPathExpr"),
    livenessProbe=_PROBE,
    readinessProbe=_PROBE,
    startupProbe=_PROBE,
    securityContext=_fields(
        "capabilities privileged seLinuxOptions windowsOptions runAsUser runAsGroup runAsNonRoot"
        " readOnlyRootFilesystem allowPrivilegeEscalation procMount seccompProfile appArmorProfile"
    ),
)
_VOLUME: Final = _fields(
    "name gcePersistentDisk awsElasticBlockStore gitRepo secret nfs iscsi glusterfs rbd flexVolume cinder"
    " cephfs flocker downwardAPI fc azureFile vsphereVolume quobyte azureDisk photonPersistentDisk projected"
    " portworxVolume scaleIO storageos csi ephemeral image",
    persistentVolumeClaim=_fields("claimName readOnly"),
    emptyDir=_fields("medium sizeLimit"),
    hostPath=_fields("path type"),
    configMap=_fields("name defaultMode optional", items=_fields("key path mode")),
)
_POD: Final = _fields(
    "apiVersion kind status",
    metadata=_fields(
        "name generateName namespace selfLink uid resourceVersion generation creationTimestamp"
        " deletionTimestamp deletionGracePeriodSeconds labels annotations ownerReferences finalizers"
        " managedFields"
    ),
    spec=_fields(
        "ephemeralContainers restartPolicy terminationGracePeriodSeconds activeDeadlineSeconds dnsPolicy"
        " nodeSelector serviceAccountName serviceAccount automountServiceAccountToken nodeName hostNetwork"
        " hostPID hostIPC shareProcessNamespace securityContext imagePullSecrets hostname subdomain affinity"
        " schedulerName tolerations hostAliases priorityClassName priority dnsConfig readinessGates"
        " runtimeClassName enableServiceLinks preemptionPolicy overhead topologySpreadConstraints"
        " setHostnameAsFQDN os hostUsers schedulingGates resourceClaims resources hostnameOverride",
        containers=_CONTAINER,
        initContainers=_CONTAINER,
        volumes=_VOLUME,
    ),
)


def unknown_fields(document: JsonObject, where: str) -> list[ManifestError]:
    """Return an error for each field that no Pod has, as `kubectl apply` refuses it."""
    return list(_unknown(document, _POD, where))


def _unknown(value: Json, fields: Fields, where: str) -> Iterator[ManifestError]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            name = item.get("name", index) if isinstance(item, dict) else index
            yield from _unknown(item, fields, f"{where}[{name}]")
    elif isinstance(value, dict):
        for key, below in value.items():
            path = f"{where}.{key}"
            if key in fields:
                known = fields[key]
                if known is not None:
                    yield from _unknown(below, known, path)
            elif "/" not in key:  # example.com/gpu: an extended resource, of any name
                yield _error(key, fields, path)


def _error(key: str, fields: Fields, path: str) -> ManifestError:
    near = difflib.get_close_matches(key, fields, n=1)
    return ManifestError(
        f"{path} is no field of a Pod; expected one of {', '.join(sorted(fields))}"
        if not near
        else f"{path} is no field of a Pod",
        hint=f"{key}: did you mean {near[0]}?" if near else None,
    )
