"""`python -m node_twin`: wrong usage is an error, help is none."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(("arguments", "status"), [(["--help"], 0), (["-h"], 0), ([], 2), (["chek"], 2)])
def test_usage_is_printed_where_it_is_asked_for(arguments: list[str], status: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "node_twin", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == status
    assert (done.stderr if status else done.stdout).startswith("usage: python -m node_twin check")
    assert not (done.stdout if status else done.stderr)
