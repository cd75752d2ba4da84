"""What the twin's QEMU command takes from virtme-ng and changes."""

from virtme.commands.run import hostfs_mount_cmd  # type: ignore[import-untyped]  # it has no stubs

from node_twin.host.vm import with_cached_root


def test_root_is_mounted_with_a_cache_in_an_archive_of_the_same_length() -> None:
    line = hostfs_mount_cmd("9p", "ro", "/dev/root", "/newroot/")
    initramfs = f"before\n{line}\nafter".encode()
    changed = with_cached_root(initramfs)
    assert len(changed) == len(initramfs)
    options = changed.decode().splitlines()[1].split()[5].split(",")
    assert {"ro", "trans=virtio", "access=any", "msize=524288", "cache=loose"} == set(options)
    assert changed.decode().split()[-3:] == ["/dev/root", "/newroot/", "after"]
