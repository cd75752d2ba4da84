"""The local cluster, as far as it can be looked at without starting one (tests/cluster does)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from components.build_context import BuildContext
from drcio_controller.kernel.devices import Device
from drcio_controller.kernel.parse import DeviceId
from experiments.commands.doctor import ENGINE_VARIABLE
from experiments.records.spec import plan_runs
from experiments.targets.cluster import laid_over, overrides_of
from local_cluster import cli, cluster
from local_cluster.deploy import settings_in
from local_cluster.errors import ClusterError, ToolMissing
from local_cluster.images import build
from local_cluster.images.prepare import ALL, disk_key, prepared
from local_cluster.images.store import StoredImage, containerd
from local_cluster.node import files
from local_cluster.node.boot import CLAIM, NodeOptions
from local_cluster.node.settings import DRIVERS, STORE_PATH, NodeSettings
from local_cluster.programs import ROOT, find
from local_cluster.tour import spec_of
from node_twin.errors import MissingTool
from node_twin.host.vm import disk_serial
from node_twin.volume.blockdevice import EBS_MODEL
from node_twin.volume.image import VolumeImage, VolumeRequest
from stacks.configuration.volumes import profiles
from stacks.render import main as render

HOLDER = """
import sys, time
from pathlib import Path
from local_cluster import cluster
cluster.LOCK = Path(sys.argv[1])
with cluster.alone():
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cluster, "LOCK", tmp_path / "lock")
    return tmp_path / "lock"


@pytest.fixture
def holder(lock: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process whose cluster is up."""
    command = [sys.executable, "-c", HOLDER, str(lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_second_cluster_is_refused_and_the_first_is_named(holder: subprocess.Popen[str]) -> None:
    with pytest.raises(ClusterError, match=f"process {holder.pid}"), cluster.alone():
        pass


def test_down_ends_the_one_that_is_up(holder: subprocess.Popen[str]) -> None:
    assert cluster.holder() == holder.pid
    assert cluster.end()
    assert holder.wait(10) != 0
    assert not cluster.end()


def test_killed_cluster_is_not_up(holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait(10)
    deadline = time.monotonic() + 5
    while cluster.holder() is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    with cluster.alone():
        pass


def context(digest: str) -> BuildContext:
    return BuildContext(path="a", dockerfile="a/Dockerfile", source_hash=digest)


def test_disk_is_another_when_a_source_or_the_base_is() -> None:
    kept = disk_key({"one": context("1"), "two": context("2")}, None)
    assert kept == disk_key({"two": context("2"), "one": context("1")}, None)
    assert kept != disk_key({"one": context("1"), "two": context("3")}, None)
    assert kept != disk_key({"one": context("1"), "two": context("2")}, "debian:13")


def test_disk_with_all_images_does_for_some(tmp_path: Path) -> None:
    key = disk_key({name: build.context(name) for name in ALL}, None)
    disk = tmp_path / "store" / "all" / f"{key}.img"
    disk.parent.mkdir(parents=True)
    disk.touch()
    known = {"references": {"controller": "drcio/controller@sha256:1"}, "sizes_bytes": {"controller": 1}}
    disk.with_suffix(".json").write_text(json.dumps(known))
    found = prepared(tmp_path, names=("controller",), tell=print)
    assert found.disk == disk
    assert found.references["controller"] == "drcio/controller@sha256:1"


def test_pods_name_an_image_by_digest() -> None:
    image = StoredImage(tag="docker.io/drcio/lp-batch:local", digest="sha256:abc")
    assert image.reference == "drcio/lp-batch@sha256:abc"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_store_that_is_left_while_it_unpacks_leaves_nothing_mounted(tmp_path: Path) -> None:
    mounted = tmp_path / "containerd" / "tmpmounts" / "containerd-mount1"
    with containerd(tmp_path):
        mounted.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", mounted], check=True)
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("driver", DRIVERS)
def test_containerd_keeps_everything_on_the_store_and_has_the_kubelets_driver(driver: str) -> None:
    settings = tomllib.loads(files.containerd("/usr/lib/cni", driver))
    assert Path(settings["root"]).is_relative_to(STORE_PATH)
    cri = settings["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["containerd"]["runtimes"]["runc"]["options"]["SystemdCgroup"] is (driver == "systemd")
    assert files.kubelet(1, driver)["cgroupDriver"] == driver


def test_guest_reads_what_the_host_wrote(tmp_path: Path) -> None:
    settings = NodeSettings(
        engine="/engine",
        cni="/usr/lib/cni",
        context="c",
        kubelet_port=1,
        control_port=2,
        volume_server="/server",
        volume="shared=vol1@10:size_mib=1",
        store_serial="disk0",
        cgroup_driver="systemd",
        virtual_time=True,
    )
    settings.write(tmp_path)
    assert NodeSettings.read(tmp_path) == settings


def test_missing_program_is_named_with_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENGINE_VARIABLE, str(tmp_path))
    with pytest.raises(ToolMissing, match="no kubelet, coredns") as caught:
        find(("kubelet", "coredns"))
    assert str(tmp_path) in str(caught.value)


# The SDKs load lazily, and warn on loading of classes of theirs that are not used here.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_stack_file_renders_once_its_images_are_named(tmp_path: Path) -> None:
    names = ("controller", "hpService", "lpBatch", "experiment")
    given = [f"images.{name}=drcio/{name.lower()}@sha256:{'1' * 64}" for name in names]
    options = [word for pair in given for word in ("--config", pair)]
    assert render(["--stack", "local", "--output", str(tmp_path), *options]) == 0
    assert "drcio-experiment" in "".join(path.name for path in tmp_path.rglob("*"))


def test_stack_file_tells_the_controller_what_the_clusters_volume_is() -> None:
    settings = settings_in(yaml.safe_load((ROOT / "Pulumi.local.yaml").read_text())["config"], stack="local")
    volume = VolumeImage(
        request=VolumeRequest(claim=CLAIM, limits=NodeOptions.volume, size_bytes=NodeOptions.volume_bytes),
        fd=-1,
        in_memory=True,
        index=0,
    )
    told = [profile for text in settings.controller.volumes for profile in profiles(text)]
    seen = Device(id=DeviceId("259:1"), name="nvme0n1", serial=volume.serial, model=EBS_MODEL)
    profile, source = seen.profile(told)
    assert (profile.iops, profile.mib_s, source) == (
        NodeOptions.volume.iops,
        NodeOptions.volume.mib_s,
        "configured",
    )
    images = Device(id=DeviceId("254:0"), name="vda", serial=disk_serial(0))
    assert images.profile(told)[1] == "learning", "the images' disk is another"
    measured = settings.storage
    assert (measured.iops, measured.throughput_mib_s) == (NodeOptions.volume.iops, NodeOptions.volume.mib_s)
    assert measured.size_gib << 30 == NodeOptions.volume_bytes


def test_tour_measures_the_scenarios_as_the_stack_file_measures_a_changed_weight() -> None:
    file = yaml.safe_load((ROOT / "Pulumi.local.yaml").read_text())
    spec = spec_of(settings_in(file["config"], stack="local"), NodeOptions.volume)
    for planned in plan_runs(spec):
        told = laid_over(file, overrides_of(spec, planned, name="tour"))["config"]
        assert isinstance(told, Mapping)
        settings = settings_in(told, stack="local")
        assert settings.scenario == planned.scenario.name
        assert replace(spec_of(settings, NodeOptions.volume), seed=spec.seed) == spec


@pytest.mark.parametrize("memory", ["0", "-1", "999999999", "much"])
def test_memory_that_no_node_boots_in_is_refused_before_anything_is_built(
    memory: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["up", "--memory-mib", memory])
    assert "out of range; expected 1024 to" in capsys.readouterr().err


def test_error_of_the_twin_is_shown_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lacks(_options: object) -> int:
        raise MissingTool("qemu is not there", hint="install it")

    monkeypatch.setattr(cli, "_up", lacks)
    assert cli.main(["up"]) == cli.ERROR_STATUS
    assert capsys.readouterr().err == "error: qemu is not there\nhint: install it\n"
