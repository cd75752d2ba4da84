"""Which kernel a twin boots: Debian's lines, and what is said of one of the user's own."""

from pathlib import Path

import pytest

from node_twin.errors import KernelError
from node_twin.host import kernel as kernels
from node_twin.host.kernel import Kernel, ensure_kernel, missing_features, own_kernel

WHOLE = "\n".join(
    f"CONFIG_{name}={how}"
    for name, how in {
        **dict.fromkeys(("9P_FS", "NET_9P_VIRTIO", "OVERLAY_FS", "VIRTIO_PCI", "VIRTIO_NET"), "m"),
        **dict.fromkeys(("VIRTIO_CONSOLE", "EXT4_FS", "BLK_DEV_UBLK", "NVME_TARGET_LOOP"), "m"),
        **dict.fromkeys(("PSI", "BLK_CGROUP_IOCOST", "BLK_DEV_THROTTLING"), "y"),
    }.items()
)


def image_bytes(version: str) -> bytes:
    """Return the beginning of a bzImage as the boot protocol lays it out."""
    head = bytearray(0x1000)
    head[0x202:0x206] = b"HdrS"
    head[0x20E:0x210] = (0x400).to_bytes(2, "little")
    text = f"{version} (builder@host) #1 SMP\0".encode()
    head[0x600 : 0x600 + len(text)] = text
    return bytes(head)


def tree(root: Path, release: str = "6.12.9-own", config: str | None = WHOLE) -> Path:
    (root / "boot").mkdir(parents=True)
    (root / "boot" / f"vmlinuz-{release}").write_bytes(image_bytes(release))
    if config is not None:
        (root / "boot" / f"config-{release}").write_text(config)
    modules = root / "lib" / "modules" / release
    modules.mkdir(parents=True)
    (modules / "modules.dep").touch()
    return root


def test_own_kernel_is_found_by_its_folder_and_by_its_image(tmp_path: Path) -> None:
    root = tree(tmp_path)
    for path in (root, root / "boot" / "vmlinuz-6.12.9-own"):
        found = ensure_kernel(tmp_path / "cache", str(path))
        assert (found.release, found.modules.parent) == ("6.12.9-own", root / "lib" / "modules")


def test_images_release_is_read_from_its_header_whatever_it_is_called(tmp_path: Path) -> None:
    root = tree(tmp_path)
    renamed = (root / "boot" / "vmlinuz-6.12.9-own").rename(root / "boot" / "bzImage")
    assert own_kernel(renamed).release == "6.12.9-own"


@pytest.mark.parametrize(
    "lacking", ["PSI", "BLK_CGROUP_IOCOST", "9P_FS", "NET_9P_VIRTIO", "VIRTIO_NET", "BLK_DEV_THROTTLING"]
)
def test_own_kernel_that_lacks_something_is_refused_by_its_name(tmp_path: Path, lacking: str) -> None:
    config = WHOLE.replace(f"CONFIG_{lacking}=", f"# CONFIG_{lacking} is not set #")
    with pytest.raises(KernelError, match=f"CONFIG_{lacking} "):
        ensure_kernel(tmp_path / "cache", str(tree(tmp_path, config=config)))


def test_either_set_of_block_drivers_will_do(tmp_path: Path) -> None:
    old = WHOLE.replace(
        "CONFIG_BLK_DEV_UBLK=m", "CONFIG_BLK_DEV_NBD=m\nCONFIG_NVME_TCP=m\nCONFIG_NVME_TARGET_TCP=m"
    )
    assert missing_features(own_kernel(tree(tmp_path / "old", config=old))) == []
    neither = WHOLE.replace("CONFIG_BLK_DEV_UBLK=m", "")
    (lack,) = missing_features(own_kernel(tree(tmp_path / "neither", config=neither)))
    assert "CONFIG_BLK_DEV_UBLK" in lack
    assert "CONFIG_BLK_DEV_NBD" in lack


def test_kernel_without_a_configuration_is_left_to_the_guest(tmp_path: Path) -> None:
    assert missing_features(own_kernel(tree(tmp_path, config=None))) == []


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path / "gone", "no kernel"),
        (lambda path: path, "holds no boot/vmlinuz"),
        (lambda path: _file(path / "image", b"\x7fELF" + bytes(0x1000)), "no kernel image for x86"),
        (lambda path: _file(path / "image", image_bytes("6.99.1-nobody")), "no modules for kernel"),
    ],
)
def test_what_is_no_kernel_is_refused_with_the_reason(tmp_path: Path, make, reason: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(KernelError, match=reason):
        ensure_kernel(tmp_path / "cache", str(make(tmp_path)))


def _file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_cached_line_is_used_without_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    tree(tmp_path / "6.12", "6.12.1-deb")
    assert ensure_kernel(tmp_path, "6.12").release == "6.12.1-deb"


def test_another_suite_comes_from_the_machines_own_mirror_with_lists_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "_debian_sources", lambda: {"bookworm": "http://mirror.example/debian"})
    assert kernels._apt_options("bookworm", tmp_path) == []
    options = kernels._apt_options("trixie", tmp_path)
    assert (tmp_path / "sources.list").read_text().endswith("] http://mirror.example/debian trixie main\n")
    assert f"Dir::State::lists={tmp_path / 'lists'}" in options
    assert "Dir::Etc::sourceparts=/dev/null" in options


def test_a_machine_without_a_debian_mirror_is_asked_for_a_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "_debian_sources", dict)
    with pytest.raises(KernelError, match="--kernel"):
        kernels._apt_options("trixie", tmp_path)


def test_release_names_the_modules_folder(tmp_path: Path) -> None:
    assert Kernel(image=tmp_path / "vmlinuz", modules=tmp_path / "6.12.1").release == "6.12.1"
