"""What the volume guard's container runs: when told to stop, it waits until given-up volumes are gone.

Of the standard library alone, because it is handed to whatever image has a Python (`python -c`).
"""

from __future__ import annotations

import json
import os
import signal
import ssl
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

DRIVER = "ebs.csi.aws.com"
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
SETTLE_S = 3.0
"""From a claim's deletion to the moment at which its volume says that it is released."""
PATIENCE_S = 540.0
"""A detachment that hangs is given up by EC2 and the driver in six minutes (attach-detach controller)."""


def given_up(volumes: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the driver's volumes that nobody claims any more and that are to be deleted."""
    return [
        str(volume["metadata"]["name"])
        for volume in volumes
        if (volume["spec"].get("csi") or {}).get("driver") == DRIVER
        and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
        and (volume.get("status") or {}).get("phase") in ("Released", "Failed")
    ]


def wait(
    ask: Callable[[], Sequence[Mapping[str, Any]]],
    *,
    sleep: Callable[[float], None] = time.sleep,
    patience_s: float = PATIENCE_S,
) -> list[str]:
    """Wait until no volume is given up; return those that are left when patience ends."""
    left: list[str] = []
    for _ in range(max(1, round(patience_s / SETTLE_S))):
        sleep(SETTLE_S)
        left = given_up(ask())
        if not left:
            break
    return left


def _volumes() -> Sequence[Mapping[str, Any]]:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    request = urllib.request.Request(  # https only
        f"https://{f'[{host}]' if ':' in host else host}:{port}/api/v1/persistentvolumes",
        headers={"Authorization": f"Bearer {(ACCOUNT / 'token').read_text().strip()}"},
    )
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    with urllib.request.urlopen(request, timeout=20, context=context) as answer:  # noqa: S310
        items: Sequence[Mapping[str, Any]] = json.load(answer)["items"]
    return items


def main() -> int:
    """Sleep until SIGTERM, then wait; return 1 where volumes are left."""
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    told.wait()
    left = wait(_volumes)
    if left:
        print(f"error: volumes that nobody claims are still there: {', '.join(left)}", file=sys.stderr)
        print("hint: aws ec2 describe-volumes --filters Name=status,Values=available", file=sys.stderr)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
