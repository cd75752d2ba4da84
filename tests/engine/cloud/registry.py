"""ECR, and what the Docker provider builds and pushes."""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from tests.engine.cloud.account import ACCOUNT_ID, Account, Held, Properties, Refused
from tests.engine.cloud.rules import Kind

ECR_HOST = re.compile(r"\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com")


class Repository(Kind):
    """Source of what replaces: Terraform registry, aws_ecr_repository."""

    token, prefix = "aws:ecr/repository:Repository", "ecr"
    forces_new = frozenset({"name", "encryptionConfigurations"})
    autonamed = "name"
    computed_names = ("arn", "repositoryUrl", "registryId")

    def computed(self, account: Account, held: Held) -> Properties:
        name = held.get("name")
        return {
            "arn": f"arn:aws:ecr:{account.region}:{ACCOUNT_ID}:repository/{name}",
            "registryId": ACCOUNT_ID,
            "repositoryUrl": f"{ACCOUNT_ID}.dkr.ecr.{account.region}.amazonaws.com/{name}",
        }

    def create(self, account: Account, held: Held) -> None:
        """Source: ECR API reference, CreateRepository: RepositoryAlreadyExistsException."""
        if account.find("Repository", name=held.get("name")):
            raise Refused(
                f"RepositoryAlreadyExistsException: The repository with name '{held.get('name')}' already "
                "exists in "
                f"the registry with id '{ACCOUNT_ID}'"
            )

    def delete(self, account: Account, held: Held) -> None:
        """Source: ECR API reference, DeleteRepository: RepositoryNotEmptyException unless forced."""
        if self._images(account, held) and not held.get("forceDelete"):
            raise Refused(
                f"RepositoryNotEmptyException: The repository with name '{held.get('name')}' cannot be "
                "deleted because "
                "it still contains images"
            )

    def deleted(self, account: Account, held: Held) -> None:
        for image in self._images(account, held):
            del account.images[image]

    def _images(self, account: Account, held: Held) -> list[str]:
        return [image for image in account.images if image.rpartition(":")[0] == held.get("repositoryUrl")]


class LifecyclePolicy(Kind):
    """Source of what replaces: Terraform registry, aws_ecr_lifecycle_policy."""

    token, prefix = "aws:ecr/lifecyclePolicy:LifecyclePolicy", "lifecycle"
    forces_new = frozenset({"repository"})
    computed_names = ("registryId",)

    def computed(self, account: Account, held: Held) -> Properties:
        return {"registryId": ACCOUNT_ID}

    def create(self, account: Account, held: Held) -> None:
        """Source: ECR API reference, PutLifecyclePolicy: RepositoryNotFoundException."""
        if not account.find("Repository", name=held.get("repository")):
            raise Refused(
                f"RepositoryNotFoundException: The repository '{held.get('repository')}' does not exist"
            )


class Image(Kind):
    """An image of the Docker provider: whatever changes, it builds and pushes again.

    Source: pulumi-docker, provider/provider.go: Check adds the context's digest to the inputs, Diff makes
    every change but a registry's password an update in place, Update builds and pushes, Delete does
    nothing.
    """

    token, prefix = "docker:index/image:Image", "image"
    computed_names = ("repoDigest", "baseImageName")
    ignored = frozenset({"registry.password", "registry.username"})

    def check(self, account: Account, urn_name: str, old: Properties, new: Properties) -> Properties:
        """Add the digest of the build's context.

        Source: pulumi-docker, provider/image.go, "hashContext": a missing Dockerfile or context fails.
        """
        build = dict(new.get("build") or {})
        context = Path(str(build.get("context") or "."))
        dockerfile = Path(str(build.get("dockerfile") or context / "Dockerfile"))
        if not context.is_dir():
            raise Refused(f"open {context}: no such file or directory; the build context must be a folder")
        if not dockerfile.is_file():
            raise Refused(f"could not open dockerfile at path {dockerfile}")
        return {**new, "build": {**build, "contextDigest": context_digest(context, dockerfile)}}

    def create(self, account: Account, held: Held) -> None:
        self._build(account, held.outputs)

    def update(self, account: Account, held: Held, new: Properties) -> Properties:
        self._build(account, new)
        return self._outputs(account, new)

    def computed(self, account: Account, held: Held) -> Properties:
        return self._outputs(account, held.outputs)

    def _outputs(self, account: Account, properties: Properties) -> Properties:
        name = str(properties["imageName"])
        base = name.rpartition(":")[0]
        digest = account.images.get(name)
        pushed = {"repoDigest": f"{base}@{digest}"} if digest and not properties.get("skipPush") else {}
        return {"baseImageName": name, "imageName": name, "repoDigest": name, **pushed}

    def _build(self, account: Account, properties: Properties) -> None:
        """Build, and push unless `skipPush` is set.

        Source: ECR user guide, "Image tag mutability": "an ImageTagAlreadyExistsException error is returned
        if you attempt to push an image with a tag that is already in the repository", an identical one too
        (aws/containers-roadmap#2179); pushing to a repository that is not there fails with "name unknown".
        """
        name = str(properties["imageName"])
        account.note("build", self.token, name)
        if properties.get("skipPush"):
            return
        url = name.rpartition(":")[0]
        if ECR_HOST.match(url):
            repository = account.find("Repository", repositoryUrl=url)
            if repository is None:
                raise Refused(
                    f"name unknown: The repository with name '{url.partition('/')[2]}' does not exist"
                )
            if repository.get("imageTagMutability") == "IMMUTABLE" and name in account.images:
                raise Refused(
                    f"tag invalid: The image tag '{name.rpartition(':')[2]}' already exists in the "
                    f"'{repository.get('name')}' repository and cannot be overwritten because the tag is "
                    "immutable."
                )
        digest = hashlib.sha256(f"{name}{properties['build']['contextDigest']}".encode()).hexdigest()
        account.images[name] = f"sha256:{digest}"
        account.note("push", self.token, name)


def context_digest(context: Path, dockerfile: Path) -> str:
    """Return a digest of what a build is sent.

    Source: Docker's reference, "Dockerfile", section ".dockerignore file": NAME.dockerignore beside the
    Dockerfile first, else .dockerignore in the context; the last matching line decides, `!` takes back.
    """
    beside = dockerfile.with_name(f"{dockerfile.name}.dockerignore")
    ignore = beside if beside.is_file() else context / ".dockerignore"
    lines = ignore.read_text().splitlines() if ignore.is_file() else []
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    digest = hashlib.sha256(dockerfile.read_bytes())
    for path in sorted(_sent(context, context, patterns)):
        digest.update(f"{path.relative_to(context)}\0{path.stat().st_mode & 0o777:o}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _sent(folder: Path, context: Path, patterns: list[str]) -> Iterator[Path]:
    taken_back = any(pattern.startswith("!") for pattern in patterns)
    for path in folder.iterdir():
        ignored = _ignored(path.relative_to(context).as_posix(), patterns)
        if path.is_dir() and not path.is_symlink():
            # Below an ignored folder something may have been taken back.
            if not ignored or taken_back:
                yield from _sent(path, context, patterns)
        elif not ignored and path.is_file():
            yield path


def _ignored(relative: str, patterns: list[str]) -> bool:
    ignored = False
    parts = relative.split("/")
    above = ["/".join(parts[: end + 1]) for end in range(len(parts))]
    for pattern in patterns:
        wanted = pattern.removeprefix("!").strip("/")
        if any(_matches(name, wanted) for name in above):
            ignored = not pattern.startswith("!")
    return ignored


def _matches(name: str, pattern: str) -> bool:
    """Match as Go's filepath.Match does, with `**` for any number of folders."""
    names, wanted = name.split("/"), pattern.split("/")
    if not wanted:
        return not names
    if wanted[0] == "**":
        rest = "/".join(wanted[1:])
        if not rest:
            return True
        return any(_matches("/".join(names[start:]), rest) for start in range(len(names)))
    if len(wanted) == 1 or len(names) == 1:
        return len(wanted) == len(names) and fnmatch.fnmatchcase(names[0], wanted[0])
    return fnmatch.fnmatchcase(names[0], wanted[0]) and _matches("/".join(names[1:]), "/".join(wanted[1:]))


KINDS = (Repository, LifecyclePolicy, Image)
