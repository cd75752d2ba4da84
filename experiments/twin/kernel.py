"""The guest's kernel: Debian's generic build, unpacked from its package and never installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from experiments.twin.errors import KernelError, MissingTool

META_PACKAGE = "linux-image-amd64"
"""Generic, not `cloud`: only the generic build carries 9p, on which the guest's root stands."""


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """A bootable kernel and the release its modules are filed under."""

    image: Path
    modules: Path
    """`.../lib/modules/<release>`, with a module list made by depmod."""

    @property
    def release(self) -> str:
        return self.modules.name

    @classmethod
    def in_tree(cls, root: Path) -> Kernel | None:
        """Find the kernel in an unpacked package tree; None where there is no complete one."""
        images = sorted((root / "boot").glob("vmlinuz-*"))
        if not images:
            return None
        release = images[-1].name.removeprefix("vmlinuz-")
        modules = root / "lib" / "modules" / release
        if not (modules / "modules.dep").is_file():
            return None
        return cls(image=images[-1], modules=modules)


def require_tools(*names: str) -> None:
    """Raise `MissingTool` naming every program of `names` that is not on PATH."""
    missing = [name for name in names if find_tool(name) is None]
    if missing:
        raise MissingTool(
            f"the node twin needs {', '.join(missing)}, not found on this machine",
            hint="`make setup` installs what the twin needs (Debian and its derivatives)",
        )


def find_tool(name: str) -> str | None:
    """Locate a program on PATH or in sbin, which a user's PATH leaves out on Debian."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")


def ensure_kernel(cache: Path, *, tell: Callable[[str], None] = lambda _: None) -> Kernel:
    """Return the cached kernel, or fetch Debian's current one into `cache`.

    `cache` ends up with `boot/` and `lib/modules/`; it appears whole or not at all.
    Raises `KernelError` when apt cannot deliver the package.
    """
    present = Kernel.in_tree(cache)
    if present is not None:
        return present
    require_tools("apt-get", "apt-cache", "dpkg-deb", "depmod")
    package = _current_package()
    tell(f"fetching {package} (unpacked for the guest only, not installed)")
    cache.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kernel-", dir=cache.parent) as scratch:
        work = Path(scratch)
        _run(["apt-get", "-qq", "download", package], cwd=work, what=f"download {package}")
        (deb,) = work.glob("*.deb")
        tree = work / "tree"
        _run(["dpkg-deb", "-x", str(deb), str(tree)], cwd=work, what=f"unpack {deb.name}")
        (modules,) = (tree / "lib" / "modules").iterdir()
        depmod = find_tool("depmod")
        _run([str(depmod), "-b", str(tree), modules.name], cwd=work, what="list the kernel's modules")
        shutil.rmtree(cache, ignore_errors=True)
        tree.rename(cache)
    kernel = Kernel.in_tree(cache)
    if kernel is None:
        raise KernelError(f"{package} holds no boot/vmlinuz-* with modules", hint=f"remove {cache} and retry")
    return kernel


def _current_package() -> str:
    listing = _run(["apt-cache", "depends", META_PACKAGE], cwd=Path("/"), what=f"look up {META_PACKAGE}")
    found = re.search(r"Depends: (linux-image-\S+)", listing)
    if found is None:
        raise KernelError(
            f"apt knows no package behind {META_PACKAGE}",
            hint="run `apt-get update` as root once, then retry",
        )
    return found.group(1)


def _run(command: list[str], *, cwd: Path, what: str) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise KernelError(
            f"could not {what}: {lines[-1]}", hint="run `apt-get update` as root once, then retry"
        )
    return done.stdout
