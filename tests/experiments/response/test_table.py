"""The answers on a terminal of any width, with what was not seen."""

import io

import pytest
from rich.console import Console

from experiments.records.jsonfields import JsonObject
from experiments.response.table import print_response

INSIDE: JsonObject = {"request": 0.0, "fetch": None}
DOCUMENT: JsonObject = {
    "figures": {
        "device_speed_mib_s": 126.2,
        "target_ms": {"request": 60.0, "fetch": 12.0},
        "back_in_target_s": [INSIDE, INSIDE],
        "lp_at_full_speed_s": [2.4],
        "hp_back_in_target_s": [INSIDE],
        "label_to_weight_ms": {"count": 60, "p50": 73.0, "p99": None},
        "volume_changes": [
            {"volume": "gp3:6000:250", "hp_inside_after_s": INSIDE, "lp_settled_after_s": 23.5}
        ],
        "share_errors": {"urgent": 0.01, "backup": -0.12},
    }
}


@pytest.mark.parametrize("width", [80, 200])
def test_every_figure_is_printed_whole(width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    print_response(console, DOCUMENT)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "…" not in text
    assert "p50 73 ms, p99 not seen" in text
    assert "urgent +1%, backup -12%" in text
    assert "23.5 s" in text
