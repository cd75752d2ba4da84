"""The Dockerfiles, really built and really run on an engine started for the test.

The base image is made by mmdebstrap and stands under the base's name, because the test must not
depend on an image registry; packages come from the registries that this machine's pip is set up for.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components.build_context import context_files
from local_cluster.images.base import NAME, provide
from local_cluster.images.build import build, context
from local_cluster.images.engine import Engine, running
from stacks.images import FOLDERS, context_of
from stacks.preview.dryrun import ROOT

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1800)]

IMAGES = {folder: name for name, folder in FOLDERS.items()}
"""Each image's name in the program, by its folder."""
USER = "10001:10001"
CACHE = ROOT / ".cache" / "cluster"
HARDENED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--tmpfs=/tmp")


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Start an engine whose data lies in a temporary folder, and stop it."""
    folder = tmp_path_factory.mktemp("engine")
    with running(folder, folder / "data") as started:
        yield started
    # Layers of several gigabytes; pytest would keep them for three sessions.
    shutil.rmtree(folder / "data", ignore_errors=True)


@pytest.fixture(scope="session")
def base(engine: Engine) -> str:
    """Import a Debian with Python under the base's name."""
    return provide(engine, CACHE)


@pytest.fixture(scope="session")
def images(engine: Engine, base: str) -> Mapping[str, str]:
    """Build all of them side by side, from what the program gives to Docker's provider."""

    def built(folder: str) -> str:
        name = IMAGES[folder]
        return build(engine, name, context(name)).tag

    with ThreadPoolExecutor(len(IMAGES)) as pool:
        return dict(zip(IMAGES, pool.map(built, IMAGES), strict=True))


@pytest.fixture(scope="session")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that stands for the shared volume: fsGroup lets uid 10001 write there."""
    folder = tmp_path_factory.mktemp("volume")
    os.chown(folder, 10001, 10001)
    return folder


@pytest.fixture(scope="session")
def service(engine: Engine, images: Mapping[str, str], volume: Path) -> Iterator[str]:
    """Prepare the service's data without a network, serve it, and return its address."""
    data = f"--volume={volume}:/data"
    image = images["hp-service"]
    prepare = ("prepare", "--data", "/data/hp", "--cache-dir", "/opt/hp-service/cache")
    engine.run("run", "--rm", "--network=none", *HARDENED, data, image, *prepare)
    serving = ("run", "--detach", "--name=service", "--publish=127.0.0.1::8080", *HARDENED, data, image)
    engine.run(*serving, "serve", "--data", "/data/hp", "--host", "0.0.0.0")  # noqa: S104  # the container's own
    try:
        address = f"http://{engine.run('port', 'service', '8080').split()[0]}"
        _wait_until_ready(engine, address)
        yield address
    finally:
        engine.run("rm", "--force", "service")


def _wait_until_ready(engine: Engine, address: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            if _get(f"{address}/readyz"):
                return
        except OSError:
            time.sleep(1)
    pytest.fail(f"the service does not become ready:\n{engine.run('logs', 'service', check=False)[-3000:]}")


def _get(url: str, body: object = None) -> dict[str, object]:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data=data, headers=headers)  # noqa: S310  # a loopback address
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
        answer: dict[str, object] = json.load(response)
        return answer


def test_every_dockerfile_builds(
    engine: Engine, images: Mapping[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = {folder: int(engine.inspect(name, "{{.Size}}")) for folder, name in images.items()}
    base_size = int(engine.inspect(NAME, "{{.Size}}"))
    with capsys.disabled():
        for folder, size in sizes.items():
            print(f"\nimage {folder}: {(size - base_size) / 2**20:.0f} MiB above its base", end="")
        print()
    assert all(size > base_size for size in sizes.values())


@pytest.mark.parametrize("folder", sorted(IMAGES))
def test_docker_sends_what_the_program_hashes(engine: Engine, base: str, folder: str, tmp_path: Path) -> None:
    """Build by hand from the checkout, where `.dockerignore` alone keeps out what is not the image's."""
    probe = tmp_path / "Dockerfile"
    probe.write_text(f"FROM {base}\nCOPY . /context\n")
    context = context_of(IMAGES[folder])
    tag = f"drcio/probe-{folder}:test"
    engine.run("build", "--file", str(probe), "--tag", tag, str(context))
    listing = ("--entrypoint=find", tag, "/context", "-type", "f", "-printf", "%P\\n")
    sent = set(engine.run("run", "--rm", "--network=none", *listing).splitlines())
    dockerfile = ROOT / "images" / folder / "Dockerfile"
    hashed = {path.relative_to(context).as_posix() for path in context_files(context, dockerfile)}
    # The Dockerfile itself is sent whatever is ignored; the probe's is another.
    assert sent | {dockerfile.relative_to(context).as_posix()} == hashed


@pytest.mark.parametrize("folder", sorted(IMAGES.keys() - {"drcio-controller"}))
def test_image_runs_as_the_promised_user(engine: Engine, images: Mapping[str, str], folder: str) -> None:
    assert engine.inspect(images[folder], "{{.Config.User}}") == USER
    printed = engine.run("run", "--rm", *HARDENED, "--entrypoint=id", images[folder], "-u")
    assert printed.strip() == "10001"


DISTRIBUTIONS = "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"


@pytest.mark.parametrize("folder", sorted(IMAGES))
def test_no_image_carries_cuda_or_pip(engine: Engine, images: Mapping[str, str], folder: str) -> None:
    printed = engine.run("run", "--rm", "--entrypoint=python", images[folder], "-c", DISTRIBUTIONS)
    names = printed.lower().split()
    assert ("torch" in names) == (folder == "hp-service")
    assert not [name for name in names if name.startswith(("nvidia-", "triton", "pip", "setuptools"))]


PACKAGES = {
    "drcio-controller": "drcio_controller",
    "hp-service": "hp_service torch dgl",
    "lp-batch": "lp_batch",
    "load-generator": "load_generator",
    "experiment-runner": "experiments load_generator drcio_controller",
}
UNCOMPILED = """
import importlib.util as u, pathlib, sys
for name in sys.argv[1:]:
    for source in pathlib.Path(u.find_spec(name).origin).parent.glob("*.py"):
        if not pathlib.Path(u.cache_from_source(source)).is_file():
            print(source)
"""


@pytest.mark.parametrize("folder", sorted(IMAGES))
def test_byte_code_is_in_the_image(engine: Engine, images: Mapping[str, str], folder: str) -> None:
    """Where they run nothing can be written: each start would compile everything anew."""
    command = ("-c", UNCOMPILED, *PACKAGES[folder].split())
    assert engine.run("run", "--rm", "--entrypoint=python", images[folder], *command) == ""


def test_controllers_doctor_reports_on_this_machine(engine: Engine, images: Mapping[str, str]) -> None:
    report = engine.run("run", "--rm", *HARDENED, images["drcio-controller"], "doctor", check=False)
    assert "cgroup" in report
    assert "Traceback" not in report


def test_service_prepares_without_a_network_and_scores(service: str) -> None:
    assert _get(f"{service}/readyz")
    answer = _get(f"{service}/score", {"id": 0})
    assert "score" in json.dumps(answer)


def test_batch_job_ends_with_a_summary(engine: Engine, images: Mapping[str, str], volume: Path) -> None:
    arguments = ("--dir", "/data/lp", "--pattern", "mixed", "--file-size", "64MiB", "--duration", "3")
    printed = engine.run(
        "run", "--rm", *HARDENED, f"--volume={volume}:/data", images["lp-batch"], "run", *arguments
    )
    summary = json.loads(printed.splitlines()[-1])
    assert summary


def test_experiment_runner_starts(engine: Engine, images: Mapping[str, str]) -> None:
    assert "usage" in engine.run("run", "--rm", *HARDENED, images["experiment-runner"], "--help")


def test_load_generator_measures_the_service(
    engine: Engine, images: Mapping[str, str], service: str, tmp_path: Path
) -> None:
    os.chown(tmp_path, 10001, 10001)
    load = ("--url", "http://127.0.0.1:8080/score", "--rate", "5", "--duration", "5", "--warmup", "1")
    engine.run(
        *("run", "--rm", "--network=container:service", *HARDENED, f"--volume={tmp_path}:/results"),
        *(images["load-generator"], "run", *load, "--output", "/results"),
    )
    record = json.loads((tmp_path / "load.json").read_text())
    assert record["completed"] > 0
    assert not record["errors"]
