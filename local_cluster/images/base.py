"""What the Dockerfiles start from, where no registry can be asked: a Debian with Python by mmdebstrap."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from local_cluster.errors import ImageError, ToolMissing
from local_cluster.images.engine import Engine
from node_twin.tools import find_tool

NAME: Final = "python:3.11-slim-bookworm"
"""The name under which the Dockerfiles ask for it."""
SUITE: Final = "bookworm"
PACKAGES: Final = "python3,python3-venv,ca-certificates"
RECIPE: Final = f"{SUITE} {PACKAGES} 1"
"""What makes two bases the same; the number counts changes of what is done to it here."""
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def provide(engine: Engine, cache: Path) -> str:
    """Import the base into an engine that lacks it, and return its name; its archive is kept in `cache`."""
    if engine.run("image", "ls", "--quiet", NAME).strip():
        return NAME
    archive = cache / "base.tar"
    if not archive.is_file():
        make(archive)
    engine.run("import", "--change", f"ENV PATH={_PATH}", str(archive), NAME)
    return NAME


def make(archive: Path) -> None:
    """Make the base's archive.

    Raises:
        ToolMissing: mmdebstrap is not installed.
        ImageError: the packages could not be had.
    """
    program = find_tool("mmdebstrap")
    if program is None:
        raise ToolMissing("mmdebstrap is not installed", hint="apt-get install mmdebstrap")
    root = archive.with_suffix(".root")
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    command = [program, "--quiet", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode != 0:
        raise ImageError(f"mmdebstrap could not make the base:\n{done.stderr[-2000:]}")
    # The real base has python and pip of its own and lets pip write.
    for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    _carry_pip_settings(root)
    partial = archive.with_suffix(".partial")
    subprocess.run(["tar", "--numeric-owner", "-C", str(root), "-cf", str(partial), "."], check=True)
    partial.rename(archive)
    shutil.rmtree(root)


def _carry_pip_settings(root: Path) -> None:
    """Let pip in the image find packages as pip on this machine does: certificates and folders of wheels."""
    settings = _pip_settings()
    lines = ["[global]"]
    if "cert" in settings:
        bundle = root / "etc/ssl/certs/ca-certificates.crt"
        bundle.write_bytes(Path(settings["cert"]).read_bytes())
        lines.append("cert = /etc/ssl/certs/ca-certificates.crt")
    wheels = [Path(folder) for folder in settings.get("find-links", "").split() if Path(folder).is_dir()]
    for folder in wheels:
        shutil.copytree(folder, root / "opt/wheels", dirs_exist_ok=True)
    if wheels:
        lines.append("find-links = /opt/wheels")
    if "index-url" in settings:
        lines.append(f"index-url = {settings['index-url']}")
    (root / "etc/pip.conf").write_text("\n".join(lines) + "\n")


def _pip_settings() -> Mapping[str, str]:
    listed = subprocess.run(
        ["pip", "config", "list"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    pairs = (line.partition("=") for line in listed.splitlines())
    return {name.rpartition(".")[2]: value.strip("'\"") for name, _, value in pairs}
