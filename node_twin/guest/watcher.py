"""Look closely at the pods' cgroups, inside the guest: the command of a pod of its own.

The sampler's one look a second is right for an experiment's record, and too coarse for reaction
times. `watch` prints a JSON line per look; `flip` changes a pod's class back and forth and prints
when each change was asked for and when its weight was there. Times are the guest's monotonic clock.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from node_twin.guest.sampler import CGROUP_ROOT
from node_twin.kerneltext import default_weight, keyed_lines

LOOK_EVERY_S: Final = 0.2
"""Often enough for figures in seconds; twice as often, an emulated CPU's time is missed by the service."""
FLIP_TIMEOUT_S: Final = 10.0
_POLL_S: Final = 0.002
_PAUSE_S: Final = 0.3
"""Between two changes, so that each meets a controller that waits, as in life."""


def main() -> None:
    options = _parser().parse_args()
    if options.command == "watch":
        watch(options.interval)
    else:
        flip(options.pod_url, options.cgroup, options.classes.split(","), options.count)


def watch(interval_s: float, root: Path = CGROUP_ROOT) -> None:
    """Print every look until killed."""
    due_s = time.monotonic()
    while True:
        print(json.dumps({"t_s": time.monotonic(), "pods": look(root)}, separators=(",", ":")), flush=True)
        due_s += interval_s
        time.sleep(max(0.0, due_s - time.monotonic()))


def look(root: Path) -> dict[str, int]:
    """Return the bytes that each pod has read and written, by the name of its cgroup."""
    totals = {}
    for folder in _pod_folders(root):
        try:
            text = (folder / "io.stat").read_text(encoding="ascii")
        except OSError:
            continue  # gone between the listing and the reading
        totals[folder.name] = sum(
            int(fields.get("rbytes", "0")) + int(fields.get("wbytes", "0"))
            for fields in keyed_lines(text).values()
        )
    return totals


def _pod_folders(root: Path) -> Iterator[Path]:
    kubepods = root / "kubepods.slice"
    for parent in (kubepods, *kubepods.glob("kubepods-b*.slice")):
        for entry in os.scandir(parent):
            if "-pod" in entry.name and entry.is_dir():
                yield Path(entry.path)


def flip(pod_url: str, cgroup: Path, classes: list[str], count: int) -> None:
    """Change a pod's class `count` times; print one line for each change."""
    weight_file = cgroup / "io.weight"
    address = urlsplit(pod_url)
    # One connection for all: imports, look-ups and hand-shakes are not what is measured.
    connection = HTTPConnection(address.netloc, timeout=FLIP_TIMEOUT_S)
    _ask(connection, "GET", address.path)
    for number in range(count):
        before = _weight(weight_file)
        priority = classes[number % len(classes)]
        asked_s = time.monotonic()
        _ask(connection, "PATCH", address.path, {"metadata": {"labels": {"drcio.io/priority": priority}}})
        answered_s = time.monotonic()
        while _weight(weight_file) == before and time.monotonic() - asked_s < FLIP_TIMEOUT_S:
            time.sleep(_POLL_S)
        line = {
            "class": priority,
            "weight": _weight(weight_file),
            "asked_s": asked_s,
            "answered_s": answered_s,
            "applied_s": time.monotonic(),
            "changed": _weight(weight_file) != before,
        }
        print(json.dumps(line, separators=(",", ":")), flush=True)
        time.sleep(_PAUSE_S)


def _ask(connection: HTTPConnection, method: str, path: str, patch: object = None) -> None:
    body = None if patch is None else json.dumps(patch)
    connection.request(method, path, body, {"Content-Type": "application/merge-patch+json"})
    response = connection.getresponse()
    text = response.read()
    if response.status >= HTTPStatus.BAD_REQUEST:
        raise SystemExit(f"{method} {path}: {response.status} {text[:300]!r}")


def _weight(file: Path) -> int | None:
    return default_weight(file.read_text(encoding="ascii"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m node_twin.guest.watcher", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    watching = commands.add_parser(
        "watch",
        help="print every pod's I/O bytes until killed",
        description="Print every pod's I/O bytes until killed.",
    )
    watching.add_argument("--interval", type=float, default=LOOK_EVERY_S, metavar="S")
    flipping = commands.add_parser(
        "flip",
        help="change a pod's class back and forth",
        description="Change a pod's class back and forth.",
    )
    flipping.add_argument("--pod-url", required=True, help="of the pod on the API server")
    flipping.add_argument("--cgroup", required=True, type=Path, help="the pod's cgroup folder")
    flipping.add_argument("--classes", required=True, help="comma-separated; the first differs from now")
    flipping.add_argument("--count", type=int, default=40)
    return parser


if __name__ == "__main__":
    main()
