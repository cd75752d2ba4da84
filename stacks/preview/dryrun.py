"""Run the very program without a cloud and without the Pulumi engine, and keep what it registers.

Every answer that a cloud would give is made up here, recognisably; a question that nobody foresaw is an
error, so that the program cannot come to depend on one unnoticed.
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import json
import logging
import runpy
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import pulumi
import yaml
from pulumi.runtime import mocks, rpc, settings, stack
from pulumi.runtime.config import set_all_config
from pulumi.runtime.proto import resource_pb2

from drcio_controller.kube.jsontypes import Json
from stacks.errors import RenderError
from stacks.suggestions import did_you_mean

ROOT: Final = Path(__file__).resolve().parents[2]
PROJECT: Final = "drcio-eks"
ACCOUNT: Final = "000000000000"
"""Stands for the AWS account, which a dry run does not know."""
PLACEHOLDER: Final = "known-after-deployment"

_SIGNATURE: Final = rpc._special_sig_key
_SECRET: Final = rpc._special_secret_sig

Inputs = dict[str, Any]
"""In the provider's own words: they are read by path, and a path that is not there is an error."""


@dataclass(frozen=True, kw_only=True)
class Registration:
    """One resource as the program registered it."""

    urn: str
    type: str
    name: str
    parent: str
    """URN of its parent."""
    inputs: Inputs
    """Plain; what was secret is listed in `secret_inputs`."""
    secret_inputs: frozenset[str] = frozenset()
    """Paths of inputs that the engine would encrypt, such as `stringData.password`."""
    dependencies: frozenset[str]
    """URNs of what must exist first: through `depends_on`, inputs and the provider."""
    from_outputs: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """By input: URNs of the resources from whose outputs it is made."""
    is_component: bool = False
    is_read: bool = False
    """It is only looked at: another stack's outputs, an object that a Job fills."""
    delete_before_replace: bool = False


@dataclass(frozen=True, kw_only=True)
class ExportedValue:
    """One stack output."""

    value: Any
    secret: bool


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """Everything that a run of the program declared."""

    stack: str
    registrations: tuple[Registration, ...]
    """In an order in which they could be created."""
    outputs: Mapping[str, ExportedValue]
    warnings: tuple[str, ...]
    """What the program warned of."""


def stack_config(root: Path, name: str, overrides: Mapping[str, str]) -> dict[str, str]:
    """Return a stack's configuration as the Pulumi CLI would hand it to the program.

    `overrides` are laid over the stack's file, as `pulumi config set --path drcio:KEY VALUE` would.

    Raises:
        RenderError: there is no such stack file, or it holds encrypted values.
    """
    stack_file = root / f"Pulumi.{name}.yaml"
    if not stack_file.is_file():
        known = sorted(path.name.split(".")[1] for path in root.glob("Pulumi.*.yaml"))
        raise RenderError(
            f"stack {name!r} has no file {stack_file.name}; expected one of {', '.join(known)}",
            hint=f"{did_you_mean(name, known)}"
            "pulumi stack init NAME makes a new stack, or copy one of the files",
        )
    project = yaml.safe_load((root / "Pulumi.yaml").read_text())
    given: dict[str, Json] = (yaml.safe_load(stack_file.read_text()) or {}).get("config") or {}
    merged: dict[str, Json] = {}
    for path, declared in project["config"].items():
        _lay(merged, path, declared["value"])
    for key, value in given.items():
        _refuse_secure(key, value, stack_file.name)
        _lay_tree(merged, key, value)
    for path, text in overrides.items():
        _lay(merged, path, text)
    return {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in sorted(merged.items())
    }


def _lay(config: dict[str, Json], path: str, value: Json) -> None:
    """Set `drcio:storage.iops` within the object under `drcio:storage`.

    Raises:
        RenderError: what is to hold it is no object.
    """
    *parents, last = path.split(".")
    target = config
    for part in parents:
        inner = target.setdefault(part, {})
        if not isinstance(inner, dict):
            raise RenderError(
                f"{path} is to be set, and {part} is {inner!r}; expected an object, which has keys",
                hint=f"set {path} alone, or all of {part} at once",
            )
        target = inner
    target[last] = value


def _lay_tree(config: dict[str, Json], path: str, value: Json) -> None:
    """Lay an object's entries over those that are there, as project-level values are overridden."""
    if isinstance(value, dict):
        for name, entry in value.items():
            _lay_tree(cast(dict[str, Json], config.setdefault(path, {})), name, entry)
    else:
        config[path] = value


def _refuse_secure(key: str, value: Json, where: str) -> None:
    if isinstance(value, dict):
        if "secure" in value:
            raise RenderError(
                f"{where}: {key} is encrypted, and a dry run holds no key; expected a plain value",
                hint=f"give one for the dry run: --config {key}=VALUE",
            )
        for name, entry in value.items():
            _refuse_secure(f"{key}.{name}", entry, where)


def dry_run(name: str, config: Mapping[str, str], root: Path = ROOT) -> DryRun:
    """Run `__main__.py` of `root` as stack `name` under recorder mocks.

    Raises:
        StackError: the program refuses its configuration.
        RenderError: the program asks the cloud something that a dry run cannot answer.
    """
    # The SDK keeps its state in context variables: an empty context is a fresh process to it.
    return contextvars.Context().run(_run, name, config, lambda: _program(root))


def _program(root: Path) -> None:
    runpy.run_path(str(root / "__main__.py"), run_name="__main__")


def _run(name: str, config: Mapping[str, str], program: Callable[[], None]) -> DryRun:
    set_all_config(dict(config))
    monitor = _Recorder(_Cloud(config.get("aws:region", "us-east-1")))
    warnings = _Warnings()
    logger = logging.Logger("dry run")
    logger.addHandler(warnings)
    exported: dict[str, ExportedValue] = {}

    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        # The SDK gives every worker thread an event loop and leaves it open; these are closed below.
        executor = ThreadPoolExecutor(max_workers=4, initializer=_open_loop, initargs=(loops,))
        asyncio.get_running_loop().set_default_executor(executor)
        mocks.set_mocks(
            monitor.mocks, project=PROJECT, stack=name, preview=False, logger=logger, monitor=monitor
        )
        settings.SETTINGS.rpc_manager.clear()
        settings.SETTINGS.outputs.clear()
        await stack.run_pulumi_func(program)
        root_stack = settings.get_root_resource()
        for key, value in cast(stack.Stack, root_stack).outputs.items():
            output: pulumi.Output[object] = pulumi.Output.from_input(value)
            exported[key] = ExportedValue(value=await output.future(), secret=await output.is_secret())

    try:
        asyncio.run(main())
    finally:
        for loop in loops:
            loop.close()
    return DryRun(
        stack=name,
        registrations=tuple(creation_order(monitor.registrations)),
        outputs=exported,
        warnings=tuple(warnings.texts),
    )


def _open_loop(loops: list[asyncio.AbstractEventLoop]) -> None:
    """Give the calling thread an event loop, and note it."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loops.append(loop)


def creation_order(registrations: Iterable[Registration]) -> list[Registration]:
    """Return resources after what they depend on, otherwise by name, so that two runs agree."""
    waiting = {item.urn: item for item in sorted(registrations, key=lambda item: (item.type, item.name))}
    done: dict[str, Registration] = {}

    def visit(item: Registration) -> None:
        waiting.pop(item.urn, None)
        for urn in sorted({item.parent, *item.dependencies}):
            if urn in waiting:
                visit(waiting[urn])
        done[item.urn] = item

    while waiting:
        visit(next(iter(waiting.values())))
    return list(done.values())


@dataclass
class _Cloud(mocks.Mocks):
    """Answers as a cloud would, with values that nobody takes for real ones."""

    region: str

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, object], list[tuple[str, str]]]:
        match args.token:
            case "aws:index/getAvailabilityZones:getAvailabilityZones":
                return {"names": [f"{self.region}{letter}" for letter in "abcdef"]}, []
            case "aws:eks/getAddonVersion:getAddonVersion":
                return {"version": PLACEHOLDER}, []
            case "pulumi:pulumi:readStackResourceOutputs":
                # A dry run is of a stack that is not there yet.
                return {"outputs": {}}, []
            case "pulumi:pulumi:readStackOutputs":
                return {"outputs": self._other_stack(str(args.args["name"]))}, []
            case "aws:eks/getClusters:getClusters":
                return {"names": []}, []
            case "aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings":
                (wanted,) = cast(list[Mapping[str, object]], args.args["filters"])
                return {"instanceTypes": wanted["values"]}, []
            case "aws:ecr/getAuthorizationToken:getAuthorizationToken":
                return {"userName": "AWS", "password": PLACEHOLDER}, []
        raise RenderError(
            f"the program asks {args.token}, which a dry run cannot answer",
            hint="add an answer to stacks/preview/dryrun.py",
        )

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, object]]:
        state: dict[str, object] = {**args.inputs, **self._computed(args)}
        return args.resource_id or f"{args.name}-id", state

    def _computed(self, args: mocks.MockResourceArgs) -> dict[str, object]:
        arn: dict[str, object] = {"arn": f"arn:aws:iam::{ACCOUNT}:{args.name}"}
        match args.typ:
            case "eks:index:Cluster":
                return {"kubeconfigJson": PLACEHOLDER}
            case "aws:ecr/repository:Repository":
                registry = f"{ACCOUNT}.dkr.ecr.{self.region}.amazonaws.com"
                return {"repositoryUrl": f"{registry}/{args.inputs['name']}", "registryId": ACCOUNT}
            case "docker:index/image:Image":
                name, _, tag = str(args.inputs["imageName"]).rpartition(":")
                return {"repoDigest": f"{name}@sha256:{placeholder_digest(tag)}"}
            case "random:index/randomPassword:RandomPassword":
                return {"result": {_SIGNATURE: _SECRET, "value": PLACEHOLDER}}
            case "aws:ec2/launchTemplate:LaunchTemplate":
                return {"latestVersion": 1}
            case "aws:iam/role:Role":
                return {"name": args.name, **arn}
            case "aws:kms/key:Key":
                return arn
            case "pulumi:pulumi:StackReference":
                return {"outputs": self._other_stack(args.name), "secretOutputNames": ["kubeconfig"]}
        return {}

    def _other_stack(self, name: str) -> dict[str, object]:
        images = ("controller", "hp-service", "lp-batch", "load-generator", "experiment")
        registry = f"{ACCOUNT}.dkr.ecr.{self.region}.amazonaws.com/{name.rpartition('/')[2]}"
        return {
            "clusterName": "drcio-demo",
            "kubeconfig": PLACEHOLDER,
            "nodeRoleArn": f"arn:aws:iam::{ACCOUNT}:role/node",
            "nodeSubnetIds": ["subnet-0", "subnet-1"],
            "kubernetesVersion": "1.35",
            "grafanaCommand": PLACEHOLDER,
            "images": {image: f"{registry}/{image}@sha256:{placeholder_digest(image)}" for image in images},
        }


def placeholder_digest(text: str) -> str:
    """Return 64 hex digits that stand for an image's digest before it is built."""
    return hashlib.sha256(text.encode()).hexdigest()


class _Warnings(logging.Handler):
    """Keeps what the engine would have shown."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@dataclass
class _Recorder(mocks.MockMonitor):
    """Keeps every registration with its parent, dependencies and options, which mocks do not get."""

    mocks: _Cloud
    registrations: list[Registration] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.mocks)

    def RegisterResource(  # the engine's name
        self, request: resource_pb2.RegisterResourceRequest
    ) -> resource_pb2.RegisterResourceResponse:
        response = cast(
            resource_pb2.RegisterResourceResponse,
            super().RegisterResource(request),  # type: ignore[no-untyped-call]  # the SDK's
        )
        if request.type != "pulumi:pulumi:Stack":
            secrets: set[str] = set()
            plain = _plain(rpc.deserialize_properties(request.object), "", secrets)
            self._keep(
                request,
                response.urn,
                inputs=cast(Inputs, plain),
                secret_inputs=frozenset(secrets),
                providers=request.providers.values(),
                from_outputs={
                    name: frozenset(needed.urns) for name, needed in request.propertyDependencies.items()
                },
                is_component=not request.custom and not request.remote,
                delete_before_replace=request.deleteBeforeReplace,
            )
        return response

    def ReadResource(  # the engine's name
        self, request: resource_pb2.ReadResourceRequest
    ) -> resource_pb2.ReadResourceResponse:
        response = cast(
            resource_pb2.ReadResourceResponse,
            super().ReadResource(request),  # type: ignore[no-untyped-call]  # the SDK's
        )
        self._keep(request, response.urn, inputs={"id": request.id}, is_read=True)
        return response

    def _keep(
        self,
        request: resource_pb2.RegisterResourceRequest | resource_pb2.ReadResourceRequest,
        urn: str,
        providers: Iterable[str] = (),
        **found: Any,  # fields of a Registration, which checks their names
    ) -> None:
        needed = {*request.dependencies, *map(_urn_of, (request.provider, *providers))}
        self.registrations.append(
            Registration(
                urn=urn,
                type=request.type,
                name=request.name,
                parent=request.parent,
                dependencies=frozenset(needed - {""}),
                **found,
            )
        )


def _urn_of(provider_reference: str) -> str:
    """Return the URN of a provider reference, which is URN::ID."""
    return provider_reference.rpartition("::")[0]


def _plain(value: object, path: str, secrets: set[str]) -> Json:
    """Return a value without its secret wrappers, noting where they were."""
    if isinstance(value, Mapping):
        if value.get(_SIGNATURE) == _SECRET:
            secrets.add(path)
            return _plain(value["value"], path, secrets)
        return {
            name: _plain(value[name], f"{path}.{name}" if path else name, secrets) for name in sorted(value)
        }
    if isinstance(value, list | tuple):
        return [_plain(entry, f"{path}[{index}]", secrets) for index, entry in enumerate(value)]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return cast(Json, value)
