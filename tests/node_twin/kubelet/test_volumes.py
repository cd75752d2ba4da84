"""Volumes, and ConfigMaps that change whole or not at all."""

from pathlib import Path

import pytest

from drcio_controller.kube.jsontypes import Json
from node_twin.kubelet.errors import ManifestError
from node_twin.kubelet.manifest import PodManifest, parse_manifest
from node_twin.kubelet.volumes import binds, make_volumes, refresh_config_maps, write_atomically
from tests.node_twin.kubelet.manifests import container, pod


def manifest(volume: dict[str, Json], **mount: Json) -> PodManifest:
    mounts: Json = [{"name": "v", "mountPath": "/v", **mount}]
    return parse_manifest(pod(container(volumeMounts=mounts), volumes=[{"name": "v", **volume}]))


def source(of: PodManifest, tmp_path: Path, data: dict[str, str] | None = None) -> Path:
    shared = tmp_path / "shared"
    shared.mkdir(exist_ok=True)
    volumes = make_volumes(of, tmp_path / "pod", {"any": shared}, lambda _: data)
    (bind,) = binds(volumes, of.containers[0])
    return Path(bind["source"])


@pytest.mark.parametrize("name", ["any", "other"])
def test_claim_is_its_volume_or_the_first(tmp_path: Path, name: str) -> None:
    claim = manifest({"persistentVolumeClaim": {"claimName": name}})
    assert source(claim, tmp_path) == tmp_path / "shared"


def test_sub_path_is_made(tmp_path: Path) -> None:
    claim = manifest({"persistentVolumeClaim": {"claimName": "any"}}, subPath="a/b")
    assert source(claim, tmp_path).is_dir()


def test_empty_dir_is_the_pods_own(tmp_path: Path) -> None:
    assert source(manifest({"emptyDir": {"medium": "Memory"}}), tmp_path).is_relative_to(tmp_path / "pod")


def test_config_map_is_files_that_follow_it(tmp_path: Path) -> None:
    of = manifest({"configMap": {"name": "c"}})
    directory = source(of, tmp_path, {"a.yaml": "1", "b.yaml": "2"})
    assert (directory / "a.yaml").read_text() == "1"
    refresh_config_maps(of, tmp_path / "pod", lambda _: {"a.yaml": "3"})
    assert (directory / "a.yaml").read_text() == "3"
    assert not (directory / "b.yaml").is_symlink()


def test_deleted_config_map_leaves_its_last_files(tmp_path: Path) -> None:
    of = manifest({"configMap": {"name": "c"}})
    directory = source(of, tmp_path, {"a": "1"})
    refresh_config_maps(of, tmp_path / "pod", lambda _: None)
    assert (directory / "a").read_text() == "1"


def test_missing_config_map_is_an_error_unless_optional(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no ConfigMap 'c'"):
        source(manifest({"configMap": {"name": "c"}}), tmp_path)
    assert source(manifest({"configMap": {"name": "c", "optional": True}}), tmp_path).is_dir()


def test_items_choose_and_rename_keys(tmp_path: Path) -> None:
    of = manifest({"configMap": {"name": "c", "items": [{"key": "a", "path": "deep/b"}]}})
    assert (source(of, tmp_path, {"a": "1", "x": "2"}) / "deep/b").read_text() == "1"
    with pytest.raises(ManifestError, match="has no key 'a'; it has x"):
        make_volumes(of, tmp_path / "other", {}, lambda _: {"x": "2"})


def test_unchanged_files_are_not_touched(tmp_path: Path) -> None:
    assert write_atomically(tmp_path / "c", {"a": "1"})
    before = (tmp_path / "c/..data").readlink()
    assert not write_atomically(tmp_path / "c", {"a": "1"})
    assert (tmp_path / "c/..data").readlink() == before


def test_host_path_must_be_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ManifestError, match="is not a directory"):
        source(manifest({"hostPath": {"path": str(tmp_path / "file"), "type": "Directory"}}), tmp_path)
    with pytest.raises(ManifestError, match="does not exist"):
        source(manifest({"hostPath": {"path": str(tmp_path / "none")}}), tmp_path)
    made = source(
        manifest({"hostPath": {"path": str(tmp_path / "new"), "type": "DirectoryOrCreate"}}), tmp_path
    )
    assert made.is_dir()
