"""pulumi-eks's Cluster: the component that makes the role and the cluster, and gives a kubeconfig.

Source: pulumi-eks, nodejs/eks/cluster/cluster.ts, createCore: a ServiceRole with AmazonEKSClusterPolicy, the
aws.eks.Cluster, and the kubeconfig from its endpoint and certificate.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

import grpc
from pulumi.runtime.proto import provider_pb2, resource_pb2, resource_pb2_grpc

from tests.engine.cloud.account import Properties
from tests.engine.cloud.wire import UNKNOWN, plain, secret, struct_of

TOKEN: Final = "admin-token"  # noqa: S105  # the bench's API server takes it; see cluster.py
AWS_VERSION: Final = "7.51.1"


def construct_cluster(
    request: provider_pb2.ConstructRequest, inputs: Properties
) -> provider_pb2.ConstructResponse:
    """Register the component and its children with the engine, as the real plugin does."""
    with grpc.insecure_channel(request.monitorEndpoint) as channel:
        monitor = _Monitor(resource_pb2_grpc.ResourceMonitorStub(channel), request)
        component = monitor.register(request.type, request.name, request.parent, {}, custom=False)
        role = monitor.register(
            "aws:iam/role:Role",
            f"{request.name}-eksRole-role",
            component.urn,
            {"assumeRolePolicy": _trust("eks.amazonaws.com")},
        )
        attachment = monitor.register(
            "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
            f"{request.name}-eksRole-4b490823",
            component.urn,
            {"role": role.object["name"], "policyArn": "arn:aws:iam::aws:policy/AmazonEKSClusterPolicy"},
            after=[role.urn],
        )
        cluster = monitor.register(
            "aws:eks/cluster:Cluster",
            f"{request.name}-eksCluster",
            component.urn,
            _cluster_inputs(inputs, role.object["arn"]),
            after=[role.urn, attachment.urn],
        )
        state = _state(plain(cluster.object))
        monitor.outputs(component.urn, state)
    dependencies = provider_pb2.ConstructResponse.PropertyDependencies(urns=[cluster.urn])
    return provider_pb2.ConstructResponse(
        urn=component.urn, state=struct_of(state), stateDependencies=dict.fromkeys(state, dependencies)
    )


class _Monitor:
    def __init__(
        self, stub: resource_pb2_grpc.ResourceMonitorStub, request: provider_pb2.ConstructRequest
    ) -> None:
        self._stub, self._request = stub, request
        self._after = {
            *request.dependencies,
            *(urn for given in request.inputDependencies.values() for urn in given.urns),
        }

    def register(
        self,
        kind: str,
        name: str,
        parent: str,
        properties: Properties,
        *,
        custom: bool = True,
        after: Iterable[str] = (),
    ) -> resource_pb2.RegisterResourceResponse:
        return self._stub.RegisterResource(
            resource_pb2.RegisterResourceRequest(
                type=kind,
                name=name,
                parent=parent,
                custom=custom,
                object=struct_of(properties),
                dependencies=sorted({*self._after, *after}) if custom else sorted(self._request.dependencies),
                provider=self._request.providers.get("aws", "") if custom else "",
                providers={} if custom else dict(self._request.providers),
                version=AWS_VERSION if custom else "",
                acceptSecrets=True,
                acceptResources=True,
                supportsPartialValues=True,
            )
        )

    def outputs(self, urn: str, state: Properties) -> None:
        self._stub.RegisterResourceOutputs(
            resource_pb2.RegisterResourceOutputsRequest(urn=urn, outputs=struct_of(state))
        )


def _cluster_inputs(inputs: Properties, role_arn: str) -> Properties:
    vpc = {
        "subnetIds": inputs.get("subnetIds"),
        "endpointPrivateAccess": inputs.get("endpointPrivateAccess"),
        "endpointPublicAccess": inputs.get("endpointPublicAccess"),
        "publicAccessCidrs": inputs.get("publicAccessCidrs"),
    }
    given = {
        "name": inputs.get("name"),
        "version": inputs.get("version"),
        "roleArn": role_arn,
        "vpcConfig": {name: value for name, value in vpc.items() if value is not None},
        "enabledClusterLogTypes": inputs.get("enabledClusterLogTypes"),
        "upgradePolicy": inputs.get("upgradePolicy"),
        "bootstrapSelfManagedAddons": inputs.get("bootstrapSelfManagedAddons"),
        "accessConfig": {"authenticationMode": inputs.get("authenticationMode")},
    }
    if inputs.get("encryptionConfigKeyArn"):
        given["encryptionConfig"] = {
            "provider": {"keyArn": inputs["encryptionConfigKeyArn"]},
            "resources": ["secrets"],
        }
    return {name: value for name, value in given.items() if value is not None}


def _state(cluster: Properties) -> Properties:
    endpoint, authority = cluster.get("endpoint", UNKNOWN), cluster.get("certificateAuthority", UNKNOWN)
    if UNKNOWN in (endpoint, authority):
        return {"kubeconfigJson": UNKNOWN, "kubeconfig": UNKNOWN}
    name = str(cluster["name"])
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "clusters": [
            {"name": name, "cluster": {"server": endpoint, "certificate-authority-data": authority["data"]}}
        ],
        "users": [{"name": name, "user": {"token": TOKEN}}],
    }
    return {
        "kubeconfigJson": secret(json.dumps(config)),
        "kubeconfig": secret(config),
    }


def _trust(service: str) -> str:
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": ["sts:AssumeRole"]}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
