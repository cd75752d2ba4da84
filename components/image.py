"""A container image: its repository, built from a folder of this repository, named by digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pulumi
import pulumi_aws as aws
import pulumi_docker as docker

PLATFORM: Final = "linux/amd64"
KEEP_IMAGES: Final = 10
_NOT_SOURCES: Final = frozenset(
    {"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", "build", "dist"}
)


@dataclass(frozen=True, kw_only=True)
class ImageArgs:
    """What is built, and where it goes."""

    context: Path
    """What the Dockerfile's COPY reads from."""
    dockerfile: Path
    sources: Sequence[Path]
    """Folders that hold all that the image is made of, the Dockerfile included."""
    repository: str
    """Name within the registry, such as drcio/hp-service."""
    registry: str | None
    """Registry and path to push to; None makes an ECR repository."""
    push: bool


def source_hash(*folders: Path) -> str:
    """Return twelve hex digits over the names, modes and bytes of the folders' files."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            relative = path.relative_to(folder)
            if _NOT_SOURCES & set(relative.parts) or any(
                part.endswith(".egg-info") for part in relative.parts
            ):
                continue
            executable = bool(path.stat().st_mode & 0o100)
            digest.update(f"{relative.as_posix()}\0{executable}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


class Image(pulumi.ComponentResource):
    """An image whose tag is the hash of its sources; `reference` is what a pod names."""

    reference: pulumi.Output[str]

    def __init__(self, name: str, args: ImageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("drcio:images:Image", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        tag = source_hash(*args.sources)
        registry: docker.RegistryArgs | None = None
        image_name: pulumi.Input[str]
        if not args.push:
            image_name = f"{args.repository}:{tag}"
        elif args.registry is not None:
            # The engine's own login is used: `docker login` before `pulumi up`.
            image_name = f"{args.registry}/{args.repository}:{tag}"
        else:
            repository = self._ecr_repository(name, args.repository)
            token = aws.ecr.get_authorization_token_output(
                registry_id=repository.registry_id, opts=pulumi.InvokeOutputOptions(parent=self)
            )
            registry = docker.RegistryArgs(
                server=repository.repository_url,
                username=token.user_name,
                password=pulumi.Output.secret(token.password),
            )
            image_name = pulumi.Output.concat(repository.repository_url, ":", tag)
        image = docker.Image(
            name,
            image_name=image_name,
            build=docker.DockerBuildArgs(
                context=str(args.context),
                dockerfile=str(args.dockerfile),
                platform=PLATFORM,
            ),
            registry=registry,
            skip_push=not args.push,
            opts=child,
        )
        # An image that is not pushed has no digest; its tag is a hash of its sources.
        self.reference = image.repo_digest if args.push else image.image_name
        self.register_outputs({"reference": self.reference})

    def _ecr_repository(self, name: str, repository_name: str) -> aws.ecr.Repository:
        child = pulumi.ResourceOptions(parent=self)
        repository = aws.ecr.Repository(
            f"{name}-repository",
            name=repository_name,
            image_tag_mutability="IMMUTABLE",
            image_scanning_configuration=aws.ecr.RepositoryImageScanningConfigurationArgs(scan_on_push=True),
            encryption_configurations=[
                aws.ecr.RepositoryEncryptionConfigurationArgs(encryption_type="AES256")
            ],
            # Otherwise `pulumi destroy` stops at the first repository that holds an image.
            force_delete=True,
            opts=child,
        )
        rule = {
            "rulePriority": 1,
            "description": f"keep the last {KEEP_IMAGES} images",
            "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": KEEP_IMAGES},
            "action": {"type": "expire"},
        }
        aws.ecr.LifecyclePolicy(
            f"{name}-lifecycle",
            repository=repository.name,
            policy=json.dumps({"rules": [rule]}),
            opts=child,
        )
        return repository
