"""Compare with fio: same file system, pattern, block size and depth, measurements interleaved."""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from lp_batch.dataset import prepare
from lp_batch.errors import EnvironmentFault
from lp_batch.patterns import Pattern
from lp_batch.stop import StopRequest
from lp_batch.units import MIB, format_size

_FIO_OPTIONS = {
    Pattern.SEQUENTIAL_READ: ["--rw=read"],
    Pattern.SEQUENTIAL_WRITE: ["--rw=write"],
    Pattern.RANDOM_READ: ["--rw=randread"],
    Pattern.RANDOM_WRITE: ["--rw=randwrite"],
    Pattern.MIXED: ["--rw=randrw", "--rwmixread=50"],
}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    pattern: str
    block_bytes: int
    num_workers: int
    fio_mib_s: list[float]
    lp_batch_mib_s: list[float]

    @property
    def ratio(self) -> float:
        """Median over median."""
        fio = statistics.median(self.fio_mib_s)
        return statistics.median(self.lp_batch_mib_s) / fio if fio else 0.0


def bench_command(options: argparse.Namespace, stop: StopRequest) -> int:
    """Run the comparison and print it; 0 where lp-batch reaches 95% of fio."""
    pattern = Pattern(options.pattern)
    if pattern not in _FIO_OPTIONS:
        raise EnvironmentFault(
            f"--pattern {pattern.value} has no like in one fio job; bench compares the direct patterns"
        )
    fio = shutil.which("fio")
    if fio is None:
        raise EnvironmentFault("fio is not on PATH", hint="install it: apt-get install fio")
    directory: Path = options.dir
    fio_dir = directory / "fio"
    fio_data = None
    # Two files, since fio's writes would leave no page of ours intact. Both are fully written first.
    for where in (directory, fio_dir):
        fio_data = prepare(where, options.file_size, seed=options.seed, stop=stop, on_progress=_progress)
        if fio_data is None:
            return 130
    assert fio_data is not None  # noqa: S101 - for the type checker: the loop ran
    fio_mib_s: list[float] = []
    own_mib_s: list[float] = []
    try:
        for repeat in range(options.repeats):
            if stop.reason is not None:
                return 130
            print(f"event=progress repeat={repeat + 1}/{options.repeats}", file=sys.stderr, flush=True)
            fio_mib_s.append(_fio(fio, fio_data.path, pattern, options))
            own_mib_s.append(_own(directory, pattern, options))
    finally:
        shutil.rmtree(fio_dir, ignore_errors=True)
    result = Comparison(
        pattern=pattern.value,
        block_bytes=options.block_size,
        num_workers=options.num_workers,
        fio_mib_s=fio_mib_s,
        lp_batch_mib_s=own_mib_s,
    )
    if options.json:
        print(json.dumps({**asdict(result), "ratio": round(result.ratio, 4)}))
    else:
        block = format_size(options.block_size)
        print(f"{pattern.value}, {block} blocks, depth {options.num_workers}; medians in MiB/s")
        print(f"  fio       {statistics.median(fio_mib_s):9.2f}")
        print(f"  lp-batch  {statistics.median(own_mib_s):9.2f}   {result.ratio:.1%} of fio")
    return 0 if result.ratio >= 0.95 else 1


def _fio(fio: str, path: Path, pattern: Pattern, options: argparse.Namespace) -> float:
    command = [
        fio,
        "--name=bench",
        f"--filename={path}",
        "--ioengine=libaio",
        "--direct=1",
        f"--bs={options.block_size}",
        f"--iodepth={options.num_workers}",
        f"--size={options.file_size}",
        "--time_based",
        f"--runtime={options.duration}",
        f"--randseed={options.seed}",
        # fio by default visits each block once per pass; ours draws independently, as it would.
        "--norandommap",
        "--output-format=json",
        *_FIO_OPTIONS[pattern],
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EnvironmentFault(f"fio failed: {done.stderr.strip().splitlines()[-1:] or done.returncode}")
    job = json.loads(done.stdout[done.stdout.index("{") :])["jobs"][0]
    return float(job["read"]["bw_bytes"] + job["write"]["bw_bytes"]) / MIB


def _own(directory: Path, pattern: Pattern, options: argparse.Namespace) -> float:
    command = [
        sys.executable,
        "-m",
        "lp_batch",
        "run",
        f"--dir={directory}",
        f"--pattern={pattern.value}",
        f"--block-size={options.block_size}",
        f"--num-workers={options.num_workers}",
        f"--file-size={options.file_size}",
        f"--duration={options.duration}",
        f"--seed={options.seed}",
        "--metrics-port=0",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EnvironmentFault(f"lp-batch run failed: {done.stderr.strip()}")
    return float(json.loads(done.stdout.splitlines()[-1])["mib_s"])


def _progress(done_bytes: int, total_bytes: int) -> None:
    """Preparation is reported by `prepare`'s caller in `run`; here a bench waits in silence of seconds."""
