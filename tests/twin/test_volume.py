"""The volume's throttle, as fio in a pod sees it."""

import json
from typing import cast

import pytest

from experiments.workloads import DATA_CLAIM, OTHER_CLAIM
from node_twin.host.twin import Twin

pytestmark = pytest.mark.twin

_FIO_S = 4


def fio(twin: Twin, *options: str, claim: str = OTHER_CLAIM) -> tuple[float, float]:
    """Run fio as a pod on a volume; return IOPS and MiB/s."""
    command = [
        *("fio", "--name=probe", "--filename=/data/probe", "--size=256M", "--direct=1", "--ioengine=libaio"),
        *("--time_based", f"--runtime={_FIO_S}", "--ramp_time=1", "--output-format=json", *options),
    ]
    twin.create_pod(
        {
            "metadata": {"name": "fio"},
            "spec": {
                "restartPolicy": "Never",
                "containers": [
                    {
                        "name": "fio",
                        "command": command,
                        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                    }
                ],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}],
            },
        }
    )
    twin.wait_ended("fio", timeout_s=180)
    text = twin.log("fio")
    twin.delete_pod("fio")
    (job,) = cast("list[dict[str, dict[str, float]]]", json.loads(text[text.index("{") :])["jobs"])
    sides = (job["read"], job["write"])
    return sum(side["iops"] for side in sides), sum(side["bw_bytes"] for side in sides) / 2**20


def test_small_reads_meet_the_iops_limit(twin: Twin) -> None:
    iops, _ = fio(twin, "--rw=randread", "--bs=4k", "--iodepth=32")
    assert iops == pytest.approx(3000, rel=0.12)


def test_large_reads_meet_the_throughput_limit(twin: Twin) -> None:
    _, mib_s = fio(twin, "--rw=read", "--bs=1M", "--iodepth=16")
    assert mib_s == pytest.approx(125, rel=0.12)


def test_changed_limits_hold_at_once(twin: Twin) -> None:
    twin.set_limits(OTHER_CLAIM, iops=1500, mib_s=60)
    try:
        _, mib_s = fio(twin, "--rw=read", "--bs=1M", "--iodepth=16")
        assert mib_s == pytest.approx(60, rel=0.12)
    finally:
        twin.set_limits(OTHER_CLAIM, iops=3000, mib_s=125)


def test_claims_are_volumes_of_their_own(twin: Twin) -> None:
    devices = cast("dict[str, str]", twin.environment()["device_of_claim"])
    assert devices[DATA_CLAIM] != devices[OTHER_CLAIM]
