"""What the guest's watcher reads of a cgroup tree."""

from pathlib import Path

from node_twin.guest.watcher import look


def test_pods_of_every_qos_class_are_seen_with_all_their_devices(tmp_path: Path) -> None:
    lines = (
        "259:0 rbytes=100 wbytes=20 rios=1 wios=1 dbytes=0 dios=0\n259:1 rbytes=3 wbytes=0 rios=1 wios=0\n"
    )
    kubepods = tmp_path / "kubepods.slice"
    for folder in (
        "kubepods-pod11.slice",
        "kubepods-burstable.slice/kubepods-burstable-pod22.slice",
        "kubepods-besteffort.slice/kubepods-besteffort-pod33.slice",
    ):
        (kubepods / folder).mkdir(parents=True)
        (kubepods / folder / "io.stat").write_text(lines)
    assert look(tmp_path) == {
        "kubepods-pod11.slice": 123,
        "kubepods-burstable-pod22.slice": 123,
        "kubepods-besteffort-pod33.slice": 123,
    }


def test_pod_without_io_counts_nothing_and_one_that_is_gone_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "kubepods.slice/kubepods-podaa.slice").mkdir(parents=True)
    (tmp_path / "kubepods.slice/kubepods-podbb.slice").mkdir()
    (tmp_path / "kubepods.slice/kubepods-podaa.slice/io.stat").write_text("")
    assert look(tmp_path) == {"kubepods-podaa.slice": 0}
