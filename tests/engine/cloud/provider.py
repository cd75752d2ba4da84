"""The engine's protocol: each package is served on a port of its own, and the engine attaches to it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from tests.engine.cloud import identity, kubernetes, network, passwords, registry
from tests.engine.cloud.account import Account, Held, Properties, Refused
from tests.engine.cloud.component import construct_cluster
from tests.engine.cloud.invokes import answer
from tests.engine.cloud.rules import Kind, changed_paths, replacing
from tests.engine.cloud.wire import UNKNOWN, plain, struct_of

PACKAGES: Final[Mapping[str, str]] = {"aws": "7.51.1", "eks": "4.4.0", "docker": "5.2.0", "random": "4.21.4"}
"""Versions as requirements.txt pins the SDKs."""
MODULES: Final = (network, identity, registry, kubernetes, passwords)
KINDS: Final[Mapping[str, Kind]] = {kind.token: kind() for module in MODULES for kind in module.KINDS}
REGION_VARIABLES: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")
log = logging.getLogger(__name__)


def type_of(urn: str) -> str:
    return urn.split("::")[2].rpartition("$")[2]


class Package(provider_pb2_grpc.ResourceProviderServicer):
    """One provider, such as aws, on the account that all of them share."""

    def __init__(self, name: str, account: Account) -> None:
        self._name, self._account = name, account

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version=PACKAGES[self._name])

    def Attach(self, request: Any, context: grpc.ServicerContext) -> empty_pb2.Empty:
        return empty_pb2.Empty()

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> empty_pb2.Empty:
        return empty_pb2.Empty()

    def GetSchema(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.GetSchemaResponse:
        return provider_pb2.GetSchemaResponse(
            schema=json.dumps({"name": self._name, "version": PACKAGES[self._name]})
        )

    def CheckConfig(
        self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CheckResponse:
        """Refuse an account without a region.

        Source: pulumi-aws, provider/resources.go, validateCredentials: "aws:region", else AWS_REGION, else
        AWS_DEFAULT_REGION, else "Missing region information".
        """
        if self._name == "aws" and not self._region(plain(request.news)):
            reason = "Missing region information. Make sure you have set your AWS region, e.g. `aws:region`"
            return provider_pb2.CheckResponse(
                inputs=request.news, failures=[provider_pb2.CheckFailure(property="region", reason=reason)]
            )
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(
        self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext
    ) -> provider_pb2.DiffResponse:
        """Another region is another provider, whose resources are all replaced (pulumi-aws, DiffConfig)."""
        old, new = plain(request.olds), plain(request.news)
        changed = sorted(set(changed_paths(old, new)) - {"version"})
        replaces = [name for name in changed if name == "region" and self._name == "aws"]
        kinds = provider_pb2.DiffResponse
        return provider_pb2.DiffResponse(
            changes=kinds.DIFF_SOME if changed else kinds.DIFF_NONE, diffs=changed, replaces=replaces
        )

    def Configure(
        self, request: provider_pb2.ConfigureRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ConfigureResponse:
        if self._name == "aws":
            self._account.region = self._region(plain(request.args)) or self._account.region
        # The engine wants secrets accepted by whatever can construct components.
        constructs = self._name == "eks"
        return provider_pb2.ConfigureResponse(
            supportsPreview=True,
            acceptSecrets=constructs,
            acceptResources=constructs,
            acceptOutputs=constructs,
        )

    def Invoke(
        self, request: provider_pb2.InvokeRequest, context: grpc.ServicerContext
    ) -> provider_pb2.InvokeResponse:
        try:
            with self._account.lock:
                result = answer(self._account, request.tok, plain(request.args))
        except Refused as refusal:
            context.abort(grpc.StatusCode.UNKNOWN, str(refusal))
        return provider_pb2.InvokeResponse(**{"return": struct_of(result)})

    def Check(
        self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CheckResponse:
        kind = self._kind(request.urn, context)
        name = request.urn.rpartition("::")[2]
        try:
            inputs = kind.check(self._account, name, plain(request.olds), plain(request.news))
        except Refused as refusal:
            context.abort(grpc.StatusCode.UNKNOWN, str(refusal))
        return provider_pb2.CheckResponse(inputs=struct_of(inputs))

    def Diff(
        self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext
    ) -> provider_pb2.DiffResponse:
        kind = self._kind(request.urn, context)
        old, new = plain(request.old_inputs), plain(request.news)
        paths = sorted({path for path in changed_paths(old, new) if path not in kind.ignored})
        replaces = replacing(kind, paths)
        if paths:
            self._account.note("diff", kind.token, request.urn.rpartition("::")[2], ", ".join(paths))
        kinds = provider_pb2.DiffResponse
        return provider_pb2.DiffResponse(
            changes=kinds.DIFF_SOME if paths else kinds.DIFF_NONE,
            diffs=sorted({path.partition(".")[0] for path in paths}),
            replaces=sorted({path.partition(".")[0] for path in replaces}),
        )

    def Create(
        self, request: provider_pb2.CreateRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CreateResponse:
        kind, inputs = self._kind(request.urn, context), plain(request.properties)
        if request.preview:
            outputs = {**dict.fromkeys(kind.computed_names, UNKNOWN), **inputs}
            return provider_pb2.CreateResponse(properties=struct_of(outputs))
        account = self._account
        held = Held(account.new_id(kind.prefix), kind.token, request.urn, inputs, dict(inputs))
        try:
            with account.lock:
                kind.create(account, held)
                held.outputs.update(kind.computed(account, held))
                account.held[held.id] = held
                account.note("create", kind.token, held.name)
            kind.created(account, held)
        except Refused as refusal:
            account.note("refused", kind.token, held.name, str(refusal))
            context.abort(grpc.StatusCode.UNKNOWN, str(refusal))
        return provider_pb2.CreateResponse(id=held.id, properties=struct_of(held.outputs))

    def Update(
        self, request: provider_pb2.UpdateRequest, context: grpc.ServicerContext
    ) -> provider_pb2.UpdateResponse:
        kind, new = self._kind(request.urn, context), plain(request.news)
        if request.preview:
            return provider_pb2.UpdateResponse(properties=struct_of({**plain(request.olds), **new}))
        account = self._account
        held = account.held.get(request.id)
        if held is None:
            raise context.abort(grpc.StatusCode.UNKNOWN, f"NotFound: {kind.token} {request.id}")
        try:
            with account.lock:
                added = kind.update(account, held, new)
                kept = {name: value for name, value in held.outputs.items() if name not in held.inputs}
                held.inputs, held.outputs = new, {**kept, **new, **added}
                account.note("update", kind.token, held.name)
            kind.updated(account, held)
        except Refused as refusal:
            account.note("refused", kind.token, held.name, str(refusal))
            context.abort(grpc.StatusCode.UNKNOWN, str(refusal))
        return provider_pb2.UpdateResponse(properties=struct_of(held.outputs))

    def Read(
        self, request: provider_pb2.ReadRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ReadResponse:
        held = self._account.held.get(request.id)
        if held is None:
            return provider_pb2.ReadResponse()
        return provider_pb2.ReadResponse(
            id=held.id, properties=struct_of(held.outputs), inputs=struct_of(held.inputs)
        )

    def Delete(self, request: provider_pb2.DeleteRequest, context: grpc.ServicerContext) -> empty_pb2.Empty:
        kind, account = self._kind(request.urn, context), self._account
        held = account.held.get(request.id)
        if held is None:
            return empty_pb2.Empty()
        try:
            with account.lock:
                kind.delete(account, held)
            kind.deleted(account, held)
        except Refused as refusal:
            account.note("refused", kind.token, held.name, str(refusal))
            context.abort(grpc.StatusCode.UNKNOWN, str(refusal))
        with account.lock:
            account.held.pop(held.id, None)
            account.note("delete", kind.token, held.name)
        return empty_pb2.Empty()

    def Construct(
        self, request: provider_pb2.ConstructRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ConstructResponse:
        if request.type != "eks:index:Cluster":
            context.abort(
                grpc.StatusCode.UNKNOWN, f"the bench's stand-in does not know the component {request.type}"
            )
        return construct_cluster(request, plain(request.inputs))

    def _kind(self, urn: str, context: grpc.ServicerContext) -> Kind:
        kind = KINDS.get(type_of(urn))
        if kind is None:
            raise context.abort(
                grpc.StatusCode.UNKNOWN,
                f"the bench's stand-in does not know {type_of(urn)}; add it with its rules to "
                "tests/engine/cloud",
            )
        return kind

    @staticmethod
    def _region(config: Properties) -> str:
        given = [config.get("region"), *(os.environ.get(name) for name in REGION_VARIABLES)]
        return next((str(region) for region in given if region), "")


class Providers:
    """All packages, served from this process."""

    def __init__(self, account: Account) -> None:
        self._servers: list[grpc.Server] = []
        self._ports: dict[str, int] = {}
        for name in PACKAGES:
            server = grpc.server(ThreadPoolExecutor(max_workers=16))
            provider_pb2_grpc.add_ResourceProviderServicer_to_server(Package(name, account), server)
            self._ports[name] = server.add_insecure_port("127.0.0.1:0")
            self._servers.append(server)

    def start(self) -> None:
        for server in self._servers:
            server.start()

    def stop(self) -> None:
        for server in self._servers:
            server.stop(grace=None).wait()

    @property
    def attached(self) -> str:
        """PULUMI_DEBUG_PROVIDERS: the engine attaches to these instead of starting plugins."""
        return ",".join(f"{name}:{port}" for name, port in self._ports.items())
