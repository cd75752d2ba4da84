"""What an image is built from: the files that its context's `.dockerignore` lets through, and their hash.

Docker's provider hashes names, modes and contents of all that it finds in a context, and builds and pushes
when the hash or any field of the build changes: a checkout's path, for one, or file modes, which follow
the umask of whoever cloned it. So it never sees the checkout. It gets a copy that holds what the image
is made of and nothing else, in modes of our own, under a path relative to the program's folder.
"""

from __future__ import annotations

import hashlib
import itertools
import posixpath
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from components.errors import ArgumentError

STAGES: Final = Path(".cache/images")
"""Where the copies lie, below the program's folder. `make clean` removes them."""
_STAGE_KEPT_S: Final = 24 * 3600
"""A copy that no run has asked for this long is removed: no `pulumi up` takes a day."""


@dataclass(frozen=True, kw_only=True)
class BuildContext:
    """A copy of what one image is made of, as Docker's provider is given it."""

    path: str
    """Relative to the program's folder, where the engine starts its providers."""
    dockerfile: str
    """Relative to the program's folder too."""
    source_hash: str
    """Twelve hex digits over everything that is in it."""


def stage(root: Path, name: str, context: Path, dockerfile: Path) -> BuildContext:
    """Copy what an image is made of to below `root`, the program's folder; the same files, the same copy.

    Raises:
        ArgumentError: a file of the context is a symbolic link, or the copy cannot be written.
    """
    files = context_files(context, dockerfile)
    digest = source_hash(context, files)
    staged = STAGES / f"{name}-{digest}"
    try:
        if not (root / staged).is_dir():
            _copy(context, files, root / staged)
            _remove_unused(root / STAGES, name)
        (root / staged).touch()
    except OSError as error:
        raise ArgumentError(
            f"cannot copy the sources of image {name} to {root / staged}: {error}\n"
            "hint: the program's folder must be writable; or give the image by digest (drcio:images)"
        ) from error
    return BuildContext(
        path=staged.as_posix(),
        dockerfile=(staged / dockerfile.relative_to(context)).as_posix(),
        source_hash=digest,
    )


def context_files(context: Path, dockerfile: Path) -> tuple[Path, ...]:
    """Return the files that `docker build` would send, in order: the Dockerfile, and what is not ignored."""
    ignore_file = context / ".dockerignore"
    ignored = IgnoreRules(ignore_file.read_text() if ignore_file.is_file() else "")
    files = {dockerfile, *_walk(context, context, ignored)} - {ignore_file}
    return tuple(sorted(files))


def source_hash(context: Path, files: Sequence[Path]) -> str:
    """Return twelve hex digits over the files' names, contents, and whether they are executable."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(context).as_posix()}\0{_is_executable(path)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


class IgnoreRules:
    """The patterns of a `.dockerignore` file, read as Docker's engine reads them (moby/patternmatcher)."""

    def __init__(self, text: str) -> None:
        lines = (line.strip() for line in text.splitlines() if not line.startswith("#"))
        self._rules = [_rule(line) for line in lines if line]

    def match(self, path: str) -> bool:
        """Return whether a path relative to the context is ignored: the last pattern that fits decides."""
        parts = path.split("/")
        # A pattern that fits a folder fits what is in it.
        ways = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        ignored = False
        for rule in self._rules:
            if any(rule.pattern.fullmatch(way) for way in ways):
                ignored = rule.ignores
        return ignored

    def skip(self, folder: str) -> bool:
        """Return whether a folder is ignored, and no pattern lets anything in it through again."""
        return self.match(folder) and not any(
            rule.reaches(folder) for rule in self._rules if not rule.ignores
        )


@dataclass(frozen=True)
class _Rule:
    pattern: re.Pattern[str]
    parts: tuple[re.Pattern[str], ...]
    """The pattern's own parts, as far as the first `**`."""
    open_ended: bool
    """A `**` follows them."""
    ignores: bool

    def reaches(self, folder: str) -> bool:
        """Return whether the pattern may fit the folder or something in it."""
        names = folder.split("/")
        if any(not part.fullmatch(name) for part, name in zip(self.parts, names, strict=False)):
            return False
        return self.open_ended or len(names) <= len(self.parts)


def _rule(line: str) -> _Rule:
    pattern = posixpath.normpath(line.removeprefix("!").strip().lstrip("/"))
    fixed = list(itertools.takewhile(lambda part: "**" not in part, pattern.split("/")))
    return _Rule(
        pattern=_compiled(pattern),
        parts=tuple(_compiled(part) for part in fixed),
        open_ended="**" in pattern,
        ignores=not line.startswith("!"),
    )


def _compiled(pattern: str) -> re.Pattern[str]:
    if pattern.endswith("**"):
        return re.compile(_expression(pattern.removesuffix("**")) + ".*")
    return re.compile(_expression(pattern))


def _expression(pattern: str) -> str:
    return "".join(_EXPRESSIONS.get(piece) or _literal(piece) for piece in re.findall(_PIECE, pattern))


_PIECE: Final = r"\*\*/?|\[[^]]+\]|\\.|."
_EXPRESSIONS: Final = {"**": "(?:.*/)?", "**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}


def _literal(piece: str) -> str:
    is_class = piece.startswith("[") and len(piece) > 1
    return piece if is_class else re.escape(piece[-1])


def _walk(context: Path, folder: Path, ignored: IgnoreRules) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        relative = path.relative_to(context).as_posix()
        if path.is_dir() and not path.is_symlink():
            if not ignored.skip(relative):
                yield from _walk(context, path, ignored)
        elif not ignored.match(relative):
            if path.is_symlink():
                raise ArgumentError(
                    f"{path} is a symbolic link; expected plain files in an image's context\n"
                    "hint: put the file itself there, or ignore the link in .dockerignore"
                )
            yield path


def _copy(context: Path, files: Sequence[Path], to: Path) -> None:
    """Copy all or none: another run may be at it, or about to read."""
    to.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=to.parent))
    try:
        for path in files:
            copy = partial / path.relative_to(context)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
            copy.chmod(0o755 if _is_executable(path) else 0o644)
        for folder in (partial, *(path for path in partial.rglob("*") if path.is_dir())):
            folder.chmod(0o755)
        try:
            partial.rename(to)
        except OSError:
            if not to.is_dir():  # otherwise another run was quicker
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _remove_unused(stages: Path, name: str) -> None:
    oldest_kept = time.time() - _STAGE_KEPT_S
    for stage_folder in stages.glob(f"{name}-*"):
        if stage_folder.stat().st_mtime < oldest_kept:
            shutil.rmtree(stage_folder, ignore_errors=True)


def _is_executable(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o100)
