"""The service says whether its disk is under iocost, as its own cgroup's io.stat does."""

from __future__ import annotations

from pathlib import Path

import pytest

from hp_service.cgroup import io_cost

PLAIN = "259:1 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", False),
        (f"{PLAIN}\n", False),
        (f"{PLAIN} cost.usage=0\n", True),
        (f"{PLAIN}\n259:2 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0 cost.usage=171\n", True),
    ],
)
def test_iocost_is_seen_by_what_the_kernel_adds_to_a_disks_line(
    tmp_path: Path, text: str, says: bool
) -> None:
    (tmp_path / "io.stat").write_text(text)
    assert io_cost(tmp_path / "io.stat") is says


def test_where_there_is_no_cgroup_nothing_is_said(tmp_path: Path) -> None:
    assert io_cost(tmp_path / "io.stat") is None
