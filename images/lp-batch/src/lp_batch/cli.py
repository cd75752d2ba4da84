"""The command line: options in, exit status out.

Exit status: 0 done or stopped by SIGTERM, 1 I/O or environment error, 2 usage, 3 corrupt data,
130 interrupted.
"""

import argparse
import json
import os
import resource
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TypeAlias

from lp_batch.arena import Arena
from lp_batch.console import PrepareProgress, heartbeat, log, log_error
from lp_batch.dataset import prepare
from lp_batch.errors import EnvironmentFault, LpBatchError, UsageError
from lp_batch.job import Job, Outcome
from lp_batch.metrics import serve_metrics
from lp_batch.patterns import Pattern
from lp_batch.plan import Plan
from lp_batch.slot import claimed_slot
from lp_batch.stats import JobStats
from lp_batch.stop import StopRequest
from lp_batch.summary import Summary, summarise, write_summary
from lp_batch.units import MIB, format_size, parse_size
from lp_batch.volume import open_volume

_INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    stop = StopRequest()
    _install_handlers(stop)
    try:
        match options.command:
            case "prepare":
                return _prepare(options, stop)
            case "bench":
                return _bench(options, stop)
            case _:
                return _run(options, stop)
    except LpBatchError as error:
        log_error(error)
        return error.exit_code


def _run(options: argparse.Namespace, stop: StopRequest) -> int:
    plan = _plan(options)
    summary_path: Path | None = options.summary
    if summary_path is not None and not os.access(summary_path.parent, os.W_OK):
        raise EnvironmentFault(
            f"--summary {summary_path}: {summary_path.parent} is not a writable directory",
            hint="create it, or leave --summary out and read the last line of standard output",
        )
    with claimed_slot(options.dir) as directory:
        return _run_in(directory, plan, options.metrics_port, summary_path, stop)


def _run_in(
    directory: Path, plan: Plan, metrics_port: int, summary_path: Path | None, stop: StopRequest
) -> int:
    stats = JobStats()
    if metrics_port:
        serve_metrics(stats, plan.pattern, metrics_port)
    data = prepare(
        directory, plan.file_bytes, seed=plan.seed, stop=stop, on_progress=PrepareProgress().report
    )
    if data is None:
        outcome = Outcome(stop_reason=str(stop.reason), elapsed_s=0.0, abandoned=0)
        summary = summarise(plan, None, stats, outcome, data_created=False, cpu_s=0.0, error=None)
        _leave(summary, summary_path)
        return _exit_status(stop)

    arena = Arena(plan.workers, plan.block_bytes)
    volume = open_volume(data.path, plan.pattern, arena, fsync_every=plan.fsync_every)
    # Milliseconds since the epoch: runs on one volume start further apart than they write blocks per ms.
    job = Job(plan, data, volume, arena, stats, generation_base=time.time_ns() // 1_000_000)
    log(
        f"event=start path={data.path} data_created={data.created} pattern={plan.pattern} "
        f"block_bytes={plan.block_bytes} workers={plan.workers} engine={volume.engine.name} "
        f"direct={volume.direct}"
    )
    for note in volume.notes:
        log(f"event=fallback reason={json.dumps(note)}")
    failure: LpBatchError | None = None
    cpu_before_s = _cpu_s()
    try:
        with heartbeat(stats):
            reason = job.run(stop)
    except LpBatchError as error:
        failure = error
        reason = "error"
    summary = summarise(
        plan,
        volume,
        stats,
        job.outcome(reason),
        data_created=data.created,
        cpu_s=_cpu_s() - cpu_before_s,
        error=None if failure is None else str(failure),
    )
    if failure is not None:
        log_error(failure)
    _leave(summary, summary_path)
    # With operations in flight closing would wait for them, which a throttled volume may hold for long.
    if not stats.active:
        volume.close()
    return _exit_status(stop) if failure is None else failure.exit_code


def _leave(summary: Summary, path: Path | None) -> None:
    """Print the summary as the last line, and write it where that was asked for."""
    print(json.dumps(summary), flush=True)
    if path is not None:
        write_summary(path, summary)


def _prepare(options: argparse.Namespace, stop: StopRequest) -> int:
    with claimed_slot(options.dir) as directory:
        data = prepare(
            directory,
            options.file_size,
            seed=options.seed,
            stop=stop,
            on_progress=PrepareProgress().report,
        )
    if data is None:
        log(f"event=stopped reason={stop.reason} while=preparing")
        return _exit_status(stop) or 1
    print(f"{data.path}: {'written' if data.created else 'up to date'}, {data.file_bytes // MIB} MiB")
    return 0


def _bench(options: argparse.Namespace, stop: StopRequest) -> int:
    # Here, not above: under emulation every module that `run` loads for nothing delays it.
    from lp_batch.bench import TARGET_RATIO, compare

    plan = _plan(options)
    comparison = compare(plan, options.dir, repeats=options.repeats, stop=stop)
    if comparison is None:
        return _exit_status(stop) or 1
    if options.json:
        document = {
            "pattern": plan.pattern.value,
            "block_bytes": plan.block_bytes,
            "num_workers": plan.workers,
            "fio_mib_s": comparison.fio_mib_s,
            "lp_batch_mib_s": comparison.lp_batch_mib_s,
            "ratio": round(comparison.ratio, 4),
        }
        print(json.dumps(document))
    else:
        print(f"{plan.pattern.value}, {format_size(plan.block_bytes)} blocks, depth {plan.workers}; MiB/s")
        print(f"  fio       {comparison.fio_median_mib_s:9.2f}")
        print(f"  lp-batch  {comparison.lp_batch_median_mib_s:9.2f}   {comparison.ratio:.1%} of fio")
    return 0 if comparison.ratio >= TARGET_RATIO else 1


def _plan(options: argparse.Namespace) -> Plan:
    return Plan(
        pattern=Pattern(options.pattern),
        block_bytes=options.block_size,
        workers=options.num_workers,
        file_bytes=options.file_size,
        num_operations=options.num_operations,
        duration_s=options.duration,
        rate_mib_s=options.rate,
        seed=options.seed,
        verify_full_ratio=options.verify_full,
        read_back_every=options.read_back_every,
        fsync_every=options.fsync_every,
    )


def _exit_status(stop: StopRequest) -> int:
    return _INTERRUPTED if stop.reason == "sigint" else 0


def _install_handlers(stop: StopRequest) -> None:
    def ask(number: int, _frame: FrameType | None) -> None:
        stop.ask(signal.Signals(number).name.lower())

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(f"{error} ({error.hint})") from error


_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lp-batch",
        description="Read and write a file on a shared volume as a batch job does; verify and measure it.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common, shape = _common_options(), _shape_options()
    _add_run(commands, [common, shape])
    commands.add_parser(
        "prepare",
        parents=[common],
        help="write the data file and stop",
        description="Write the data file that a run reads, unless it is there, and stop.",
    )
    _add_bench(commands, [common, shape])
    return parser


def _common_options() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--dir", type=Path, required=True, help="directory of lp.dat and lp.json")
    common.add_argument("--file-size", type=_size, default="1GiB", metavar="SIZE", help="default 1GiB")
    common.add_argument(
        "--seed", type=int, default=1, help="fixes the access sequence and the data (default 1)"
    )
    return common


def _shape_options() -> argparse.ArgumentParser:
    shape = argparse.ArgumentParser(add_help=False)
    shape.add_argument(
        "--pattern",
        choices=[pattern.value for pattern in Pattern],
        default=Pattern.MIXED.value,
        help="default mixed: half random reads, half random writes",
    )
    shape.add_argument("--block-size", type=_size, default="1MiB", metavar="SIZE", help="default 1MiB")
    shape.add_argument(
        "--num-workers",
        type=int,
        default=16,
        metavar="N",
        help="queue depth: blocks in flight (default 16)",
    )
    return shape


def _add_run(commands: _Commands, parents: Sequence[argparse.ArgumentParser]) -> None:
    run = commands.add_parser(
        "run",
        parents=parents,
        help="do the I/O",
        description="Do the I/O of a pattern, verify what is read, and measure it.",
    )
    run.add_argument("--num-operations", type=int, metavar="N", help="stop after N operations")
    run.add_argument(
        "--duration", type=float, metavar="S", help="stop after S seconds (no limit at all: until SIGTERM)"
    )
    run.add_argument("--rate", type=float, metavar="MIB_S", help="at most so many MiB a second")
    run.add_argument(
        "--verify-full",
        type=float,
        default=0.02,
        metavar="SHARE",
        help="share of reads whose whole payload is checksummed; of the others the headers and a sample are "
        "(default 0.02)",
    )
    run.add_argument(
        "--read-back-every",
        type=int,
        default=128,
        metavar="N",
        help="in write patterns, read one written block back every N operations; 0 never (default 128)",
    )
    run.add_argument(
        "--fsync-every", type=int, default=16, metavar="N", help="buffered-write-fsync: writes per fsync"
    )
    run.add_argument(
        "--metrics-port", type=int, default=9100, metavar="PORT", help="0 for none (default 9100)"
    )
    run.add_argument("--summary", type=Path, metavar="PATH", help="also write the JSON summary there")


def _add_bench(commands: _Commands, parents: Sequence[argparse.ArgumentParser]) -> None:
    bench = commands.add_parser(
        "bench",
        parents=parents,
        help="compare with fio at the same pattern and depth",
        description="Compare the throughput with fio's at the same pattern and depth, interleaved.",
    )
    bench.add_argument(
        "--duration", type=float, default=10.0, metavar="S", help="each measurement (default 10)"
    )
    bench.add_argument("--repeats", type=int, default=3, help="interleaved measurements of each (default 3)")
    bench.add_argument("--json", action="store_true", help="print JSON instead of a table")
    bench.set_defaults(num_operations=None, rate=None, verify_full=0.02, read_back_every=128, fsync_every=16)
