"""The guest's kernel: Debian's generic build of a line, unpacked from its package and never installed.

EKS's nodes run Linux 6.12 (1.33 to 1.35), so that is the default; Debian 13 has it, Debian 12 has 6.1.
Whichever this machine has not, comes from the same mirror by apt with lists of its own.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node_twin.errors import KernelError
from node_twin.tools import find_tool, require_tools

META_PACKAGE: Final = "linux-image-amd64"
"""Generic, not `cloud`: only the generic build carries 9p, on which the guest's root stands."""
DEFAULT_KERNEL: Final = "6.12"
SUITES: Final = {"6.1": "bookworm", "6.12": "trixie"}
"""The line of kernels in each of Debian's releases."""
_KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_UPDATE_HINT: Final = "run `apt-get update` as root once, then retry"

_NEEDED: Final = {
    "9P_FS": "the guest's root is the machine's file system by 9p",
    "NET_9P_VIRTIO": "the guest's root is the machine's file system by 9p",
    "OVERLAY_FS": "the guest writes to overlays",
    "VIRTIO_PCI": "QEMU's devices are virtio's",
    "VIRTIO_NET": "the host talks to the guest",
    "VIRTIO_CONSOLE": "the guest's output",
    "EXT4_FS": "the volume's file system",
    "PSI": "io.pressure",
    "BLK_CGROUP_IOCOST": "io.weight",
    "BLK_DEV_THROTTLING": "io.max",
}
"""What a kernel must be configured with, and what for."""
_DRIVERS: Final = (("BLK_DEV_UBLK", "BLK_DEV_NBD"), ("NVME_TARGET_LOOP", "NVME_TARGET_TCP"))
"""The volume's way into the kernel, and what gives it EBS's look: one of each (`blockdevice`)."""


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

    def configuration(self) -> str | None:
        """Return the text of its configuration; None where it lies neither beside image nor modules."""
        for path in (self.image.with_name(f"config-{self.release}"), self.modules / "config"):
            if path.is_file():
                return path.read_text(encoding="utf-8", errors="replace")
        return None


def ensure_kernel(
    cache: Path, wanted: str = DEFAULT_KERNEL, *, report: Callable[[str], None] = lambda _: None
) -> Kernel:
    """Return the kernel of a line ("6.12"), or one of the user's own by its path.

    Debian's are fetched into a folder of `cache` once; a folder appears whole or not at all.
    Raises `KernelError` when apt cannot deliver, or with everything that an own kernel lacks.
    """
    if wanted in SUITES:
        return _debian_kernel(cache / wanted, wanted, report)
    return _fit_kernel(wanted)


def check_kernel(wanted: str) -> None:
    """Raise `KernelError` where `ensure_kernel` would not even fetch anything."""
    if wanted not in SUITES:
        _fit_kernel(wanted)


def _fit_kernel(wanted: str) -> Kernel:
    """Return an own kernel that has what the twin needs."""
    path = Path(wanted).expanduser()
    if not path.exists():
        raise KernelError(
            f"no kernel {wanted!r}",
            hint=f"expected one of {', '.join(SUITES)}, a vmlinuz, or a folder with boot/ and lib/modules/",
        )
    kernel = own_kernel(path.resolve())
    lacks = missing_features(kernel)
    if lacks:
        raise KernelError(
            f"kernel {kernel.image} lacks what the twin needs: {'; '.join(lacks)}",
            hint="build it with these set to y or m, or take one of " + ", ".join(SUITES),
        )
    return kernel


def own_kernel(path: Path) -> Kernel:
    """Find image and modules of a kernel given as an image, or as a folder with boot/ and lib/modules/."""
    if path.is_dir():
        found = Kernel.in_tree(path)
        if found is None:
            raise KernelError(f"{path} holds no boot/vmlinuz-RELEASE with lib/modules/RELEASE/modules.dep")
        return found
    release = _release_of(path)
    places = [root / "lib" / "modules" / release for root in (path.parent.parent, Path("/"))]
    for modules in places:
        if (modules / "modules.dep").is_file():
            return Kernel(image=path, modules=modules)
    raise KernelError(
        f"no modules for kernel {path} (release {release}; looked for modules.dep in "
        + " and ".join(map(str, places))
        + ")",
        hint="`make modules_install INSTALL_MOD_PATH=...` beside it, or `depmod` where the list is missing",
    )


def missing_features(kernel: Kernel) -> list[str]:
    """Return what a kernel's configuration lacks, each with what it is needed for.

    Without a configuration to read, nothing is said here: the guest finds out for itself.
    """
    text = kernel.configuration()
    if text is None:
        return []
    enabled = set(re.findall(r"^CONFIG_(\w+)=[ym]$", text, flags=re.MULTILINE))
    lacks = [f"CONFIG_{name} ({what})" for name, what in _NEEDED.items() if name not in enabled]
    for choice in _DRIVERS:
        if enabled.isdisjoint(choice):
            lacks.append(" or ".join(f"CONFIG_{name}" for name in choice) + " (the volume)")
    return lacks


def _release_of(image: Path) -> str:
    """Read the release out of a bzImage's header (Documentation/arch/x86/boot.rst: kernel_version)."""
    header = image.read_bytes()[: 1 << 16]
    if header[0x202:0x206] != b"HdrS":
        raise KernelError(f"{image} is no kernel image for x86 (bzImage)")
    start = int.from_bytes(header[0x20E:0x210], "little") + 0x200
    return header[start : header.index(b"\0", start)].decode().split()[0]


def _debian_kernel(folder: Path, line: str, report: Callable[[str], None]) -> Kernel:
    present = Kernel.in_tree(folder)
    if present is not None:
        return present
    require_tools("apt-get", "apt-cache", "dpkg-deb", "depmod")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kernel-", dir=folder.parent) as scratch:
        work = Path(scratch)
        options = _apt_options(SUITES[line], work)
        if options:
            report(f"reading the package list of Debian's {SUITES[line]}, for Linux {line}")
            _run(["apt-get", "-qq", *options, "update"], cwd=work, what=f"read {SUITES[line]}'s package list")
        package = _current_package(line, options)
        report(f"fetching {package} (unpacked for the guest only, not installed)")
        _run(["apt-get", "-qq", *options, "download", package], cwd=work, what=f"download {package}")
        (deb,) = work.glob("*.deb")
        tree = work / "tree"
        _run(["dpkg-deb", "-x", str(deb), str(tree)], cwd=work, what=f"unpack {deb.name}")
        _file_modules(tree)
        shutil.rmtree(folder, ignore_errors=True)
        tree.rename(folder)
    kernel = Kernel.in_tree(folder)
    if kernel is None:
        raise KernelError(
            f"{package} holds no boot/vmlinuz-* with modules", hint=f"remove {folder} and retry"
        )
    return kernel


def _file_modules(tree: Path) -> None:
    """Have the modules below lib/, where Debian 13's package has usr/lib/, and make their list."""
    modules = tree / "lib" / "modules"
    if not modules.is_dir():
        modules.parent.mkdir(exist_ok=True)
        (tree / "usr" / "lib" / "modules").rename(modules)
    (release,) = modules.iterdir()
    _run(
        [str(find_tool("depmod")), "-b", str(tree), release.name], cwd=tree, what="list the kernel's modules"
    )


def _apt_options(suite: str, work: Path) -> list[str]:
    """Return apt's options for a suite: none for this machine's own, else lists and cache in `work`.

    The mirror is the one that this machine has its own Debian from.
    """
    own = _debian_sources()
    if suite in own:
        return []
    if not own:
        raise KernelError(
            "apt knows no Debian mirror on this machine",
            hint=f"{_UPDATE_HINT}; on another system give --kernel the path of a kernel of your own",
        )
    mirror = next(iter(own.values()))
    sources = work / "sources.list"
    sources.write_text(f"deb [signed-by={_KEYRING}] {mirror} {suite} main\n", encoding="utf-8")
    for folder in ("lists/partial", "cache/archives/partial"):
        (work / folder).mkdir(parents=True)
    settings = {
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": work / "lists",
        "Dir::Cache": work / "cache",
        "Acquire::Languages": "none",
    }
    return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]


def _debian_sources() -> dict[str, str]:
    """Return the mirror of each Debian suite among this machine's own apt sources."""
    listing = _run(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(ORIGIN)|$(LABEL)|$(CODENAME)|$(SITE)",
            "Created-By: Packages",
        ],
        cwd=Path("/"),
        what="list this machine's apt sources",
    )
    rows = [line.split("|") for line in listing.splitlines()]
    return {
        codename: site for origin, label, codename, site in rows if (origin, label) == ("Debian", "Debian")
    }


def _current_package(line: str, options: Sequence[str]) -> str:
    listing = _run(
        ["apt-cache", *options, "depends", META_PACKAGE], cwd=Path("/"), what=f"look up {META_PACKAGE}"
    )
    found = re.search(rf"Depends: (linux-image-{re.escape(line)}\.\S+)", listing)
    if found is None:
        raise KernelError(f"apt knows no Linux {line} behind {META_PACKAGE}", hint=_UPDATE_HINT)
    return found.group(1)


def _run(command: list[str], *, cwd: Path, what: str) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise KernelError(f"could not {what}: {lines[-1]}", hint=_UPDATE_HINT)
    return done.stdout
