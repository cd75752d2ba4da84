"""A profile that is meant for the pods' volumes is not taken for the disk that the node runs from."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drcio_controller.config import VolumeProfile
from drcio_controller.kernel.devices import GP3_BASELINE, describe, node_disks
from drcio_controller.kernel.parse import DeviceId
from drcio_controller.testing.fakenode import DEVICE, FakeNode

ROOT = DeviceId("259:0")
PARTITION = DeviceId("259:1")
HOSTS = "601 580 {device} /var/lib/kubelet/pods/u/etc-hosts /etc/hosts rw,relatime - xfs /dev/nvme0n1p1 rw"
VOLUME = "602 580 259:3 / /data rw,relatime - ext4 /dev/nvme1n1 rw"
OVERLAY = "580 570 0:47 / / rw,relatime - overlay overlay rw,lowerdir=/x"
FAST = VolumeProfile(iops=16_000, mib_s=1000, serial="vol*")


@pytest.fixture
def eks(node: FakeNode) -> FakeNode:
    """Return a node with a root disk of one partition, an EBS volume as the pods' disk is."""
    node.add_device(ROOT, "nvme0n1", "vol0aaaaaaaaaaaaaaaa")
    partition = node.roots.sys / "block/nvme0n1/nvme0n1p1"
    partition.mkdir()
    (partition / "dev").write_text(f"{PARTITION}\n")
    (partition / "partition").write_text("1\n")
    (node.roots.sys / "dev/block" / PARTITION).symlink_to(partition)
    return node


def table(*lines: str) -> str:
    return "\n".join((OVERLAY, *lines))


def test_disk_below_kubelets_files_is_the_nodes_own(eks: FakeNode) -> None:
    assert node_disks(eks.roots.sys, table(HOSTS.format(device=PARTITION), VOLUME)) == {ROOT}


def test_disk_without_a_partition_and_one_below_a_mapper_are_found(eks: FakeNode) -> None:
    mapped = DeviceId("252:0")
    eks.add_device(mapped, "dm-0")
    slaves = eks.roots.sys / "block/dm-0/slaves"
    slaves.mkdir()
    (slaves / "nvme0n1p1").symlink_to(eks.roots.sys / "block/nvme0n1/nvme0n1p1")

    assert node_disks(eks.roots.sys, HOSTS.format(device=ROOT)) == {ROOT}
    assert node_disks(eks.roots.sys, HOSTS.format(device=mapped)) == {mapped, ROOT}


def test_disk_below_a_file_system_with_a_number_of_its_own_is_found_by_its_name(eks: FakeNode) -> None:
    """btrfs shows an anonymous device number; where it lies stands behind the dash."""
    btrfs = "601 580 0:35 /@/kubelet /etc/hosts rw,relatime shared:1 - btrfs {source} rw,subvolid=256"
    names = eks.roots.sys / "class/block"
    names.mkdir(parents=True)
    (names / "nvme0n1p1").symlink_to(eks.roots.sys / "block/nvme0n1/nvme0n1p1")
    eks.add_device(DeviceId("252:0"), "dm-0")
    (eks.roots.sys / "block/dm-0/dm").mkdir()
    (eks.roots.sys / "block/dm-0/dm/name").write_text("system-root\n")

    assert node_disks(eks.roots.sys, btrfs.format(source="/dev/nvme0n1p1")) == {ROOT}
    assert node_disks(eks.roots.sys, btrfs.format(source="/dev/mapper/system-root")) == {DeviceId("252:0")}
    for other in ("nvme0n1p1", "/dev/", "/dev/..", "/dev/sdz1", "/srv/nvme0n1p1"):
        assert node_disks(eks.roots.sys, btrfs.format(source=other)) == frozenset()


def test_container_on_no_disk_has_none(eks: FakeNode) -> None:
    assert node_disks(eks.roots.sys, table(VOLUME)) == frozenset()
    assert node_disks(eks.roots.sys, HOSTS.format(device="8:99")) == frozenset()


@given(text=st.text())
def test_any_mount_table_is_survived(text: str) -> None:
    node_disks(Path("/nonexistent"), text)


@pytest.mark.parametrize(
    ("profile", "meant"),
    [
        (FAST, False),
        (VolumeProfile(iops=1, mib_s=1), False),
        (VolumeProfile(iops=1, mib_s=1, name="nvme*"), False),
        (VolumeProfile(iops=1, mib_s=1, serial="vol0aaaaaaaaaaaaaaaa"), True),
        (VolumeProfile(iops=1, mib_s=1, name="nvme0n1"), True),
        (VolumeProfile(iops=1, mib_s=1, serial=""), False),
    ],
)
def test_only_a_profile_that_names_the_nodes_disk_exactly_means_it(
    eks: FakeNode, profile: VolumeProfile, meant: bool
) -> None:
    root = describe(eks.roots.sys, ROOT, {ROOT})

    assert root.profile([profile]) == ((profile, "configured") if meant else (GP3_BASELINE, "ebs"))


def test_volume_of_a_pod_has_the_profile_that_its_pattern_names(eks: FakeNode) -> None:
    assert describe(eks.roots.sys, DEVICE, {ROOT}).profile([FAST]) == (FAST, "configured")
