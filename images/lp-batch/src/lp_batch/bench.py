"""Compare with fio: same file system, pattern, block size and depth, measurements interleaved."""

import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lp_batch.console import PrepareProgress, log
from lp_batch.dataset import prepare
from lp_batch.errors import EnvironmentFault, UsageError
from lp_batch.patterns import Pattern
from lp_batch.plan import Plan
from lp_batch.stop import StopRequest
from lp_batch.units import MIB

TARGET_RATIO = 0.95
_POLL_S = 0.2
_FIO_OPTIONS = {
    Pattern.SEQUENTIAL_READ: ("--rw=read",),
    Pattern.SEQUENTIAL_WRITE: ("--rw=write",),
    Pattern.RANDOM_READ: ("--rw=randread",),
    Pattern.RANDOM_WRITE: ("--rw=randwrite",),
    Pattern.MIXED: ("--rw=randrw", "--rwmixread=50"),
}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Throughput of both, in the order of measurement."""

    fio_mib_s: Sequence[float]
    lp_batch_mib_s: Sequence[float]

    @property
    def fio_median_mib_s(self) -> float:
        return statistics.median(self.fio_mib_s)

    @property
    def lp_batch_median_mib_s(self) -> float:
        return statistics.median(self.lp_batch_mib_s)

    @property
    def ratio(self) -> float:
        """lp-batch's median over fio's."""
        return self.lp_batch_median_mib_s / self.fio_median_mib_s if self.fio_median_mib_s else 0.0


class _Stopped(Exception):
    """A stop was asked for."""


def compare(plan: Plan, directory: Path, *, repeats: int, stop: StopRequest) -> Comparison | None:
    """Measure fio and lp-batch in turn for the plan's duration each; None when stopped."""
    if plan.pattern not in _FIO_OPTIONS:
        raise UsageError(
            f"--pattern {plan.pattern.value} is not one fio job; expected a pattern of direct I/O",
            hint=f"choose one of {', '.join(_FIO_OPTIONS)}",
        )
    if repeats < 1:
        raise UsageError(f"--repeats is {repeats}; expected at least 1")
    fio = shutil.which("fio")
    if fio is None:
        raise EnvironmentFault("fio is not on PATH", hint="install it: apt-get install fio")
    # A file of its own, since fio's writes would leave no page of ours intact.
    fio_directory = directory / "fio"
    fio_mib_s: list[float] = []
    own_mib_s: list[float] = []
    try:
        own = _prepare(plan, directory, stop)
        other = _prepare(plan, fio_directory, stop)
        for repeat in range(repeats):
            log(f"event=bench repeat={repeat + 1} of={repeats}")
            fio_mib_s.append(_measure_fio(fio, plan, other, stop))
            own_mib_s.append(_measure_own(plan, own.parent, stop))
    except _Stopped:
        return None
    finally:
        shutil.rmtree(fio_directory, ignore_errors=True)
    return Comparison(fio_mib_s=fio_mib_s, lp_batch_mib_s=own_mib_s)


def _prepare(plan: Plan, directory: Path, stop: StopRequest) -> Path:
    data = prepare(
        directory, plan.file_bytes, seed=plan.seed, stop=stop, on_progress=PrepareProgress().report
    )
    if data is None:
        raise _Stopped
    return data.path


def _measure_fio(fio: str, plan: Plan, path: Path, stop: StopRequest) -> float:
    out = _run(
        [
            fio,
            "--name=bench",
            f"--filename={path}",
            "--ioengine=libaio",
            "--direct=1",
            f"--bs={plan.block_bytes}",
            f"--iodepth={plan.workers}",
            f"--size={plan.file_bytes}",
            "--time_based",
            f"--runtime={plan.duration_s}",
            f"--randseed={plan.seed}",
            # By default fio visits each block once per pass; lp-batch draws each time anew.
            "--norandommap",
            "--output-format=json",
            *_FIO_OPTIONS[plan.pattern],
        ],
        stop,
    )
    # fio may print notes before the document.
    (job,) = json.loads(out[out.index("{") :])["jobs"]
    return float(job["read"]["bw_bytes"] + job["write"]["bw_bytes"]) / MIB


def _measure_own(plan: Plan, directory: Path, stop: StopRequest) -> float:
    out = _run(
        [
            *(sys.executable, "-m", "lp_batch", "run"),
            f"--dir={directory}",
            f"--pattern={plan.pattern.value}",
            f"--block-size={plan.block_bytes}",
            f"--num-workers={plan.workers}",
            f"--file-size={plan.file_bytes}",
            f"--duration={plan.duration_s}",
            f"--seed={plan.seed}",
            "--metrics-port=0",
        ],
        stop,
    )
    return float(json.loads(out.splitlines()[-1])["mib_s"])


def _run(command: Sequence[str], stop: StopRequest) -> str:
    """Return a program's output; end it when a stop is asked for."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while True:
            try:
                out, err = process.communicate(timeout=_POLL_S)
                break
            except subprocess.TimeoutExpired:
                if stop.reason is not None:
                    process.terminate()
    if stop.reason is not None:
        raise _Stopped
    if process.returncode != 0:
        last = (err.strip().splitlines() or ["no message"])[-1]
        raise EnvironmentFault(f"{Path(command[0]).name} ended with status {process.returncode}: {last}")
    return out
