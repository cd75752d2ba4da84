"""A container image: its repository, built from sources of this repository, named by digest."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

import pulumi
import pulumi_aws as aws
import pulumi_docker as docker
import pulumi_random as random

from components.build_context import BuildContext

PLATFORM: Final = "linux/amd64"
KEEP_IMAGES: Final = 10


@dataclass(frozen=True, kw_only=True)
class ImageArgs:
    """What is built, and where it goes."""

    context: BuildContext
    repository: str
    """Name within the registry, such as drcio/hp-service."""
    registry: str | None
    """Registry and path to push to; None makes an ECR repository."""
    push: bool


class Image(pulumi.ComponentResource):
    """An image whose tag is the hash of its sources; `reference` is what a pod names.

    A registry with immutable tags refuses a tag's second push. Docker's provider pushes whenever a field of
    the build changes, so everything that it compares is part of the tag (BuildContext sees to the rest).
    A source that comes back, by a revert, would have its old tag; hence the suffix, new for each change.
    """

    reference: pulumi.Output[str]

    def __init__(self, name: str, args: ImageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("drcio:images:Image", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        tag: pulumi.Input[str] = args.context.source_hash
        if args.push:
            tag = pulumi.Output.concat(tag, "-", self._suffix(name, args.context))
        registry: docker.RegistryArgs | None = None
        image_name: pulumi.Output[str]
        if not args.push:
            image_name = pulumi.Output.concat(args.repository, ":", tag)
        elif args.registry is not None:
            # The engine's own login is used: `docker login` before `pulumi up`.
            image_name = pulumi.Output.concat(args.registry, "/", args.repository, ":", tag)
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
                context=args.context.path,
                dockerfile=args.context.dockerfile,
                platform=PLATFORM,
            ),
            registry=registry,
            skip_push=not args.push,
            opts=child,
        )
        # An image that is not pushed has no digest; its tag is a hash of its sources.
        self.reference = image.repo_digest if args.push else image.image_name
        self.register_outputs({"reference": self.reference})

    def _suffix(self, name: str, context: BuildContext) -> pulumi.Output[str]:
        """Return text that changes with all that makes the provider build, and never comes back."""
        drawn = random.RandomPassword(
            f"{name}-build",
            length=6,
            special=False,
            upper=False,
            keepers={
                "source": context.source_hash,
                "platform": PLATFORM,
                # Another version may hash the context in another way.
                "provider": version("pulumi-docker"),
            },
            opts=pulumi.ResourceOptions(parent=self),
        )
        return pulumi.Output.unsecret(drawn.result)

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
