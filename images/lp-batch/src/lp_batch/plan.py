"""What a run was asked to do."""

from dataclasses import dataclass

from lp_batch.errors import UsageError
from lp_batch.pages import PAGE_BYTES
from lp_batch.patterns import Pattern
from lp_batch.units import format_size


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The options of `lp-batch run` that shape the I/O, checked."""

    pattern: Pattern
    block_bytes: int
    workers: int
    """Queue depth: operations in flight."""
    file_bytes: int
    num_operations: int | None
    duration_s: float | None
    """With neither limit the job runs until SIGTERM."""
    rate_mib_s: float | None
    seed: int
    verify_full_ratio: float
    """Share of reads whose whole payload is checked against its checksum; all others are sampled."""
    read_back_every: int
    """In patterns that only write, every so many operations one written block is read back; 0 is never."""
    fsync_every: int
    """Writes between two fsyncs of buffered-write-fsync."""

    def __post_init__(self) -> None:
        if self.block_bytes < PAGE_BYTES or self.block_bytes % PAGE_BYTES:
            raise UsageError(
                f"--block-size is {format_size(self.block_bytes)}; expected a multiple of 4KiB",
                hint="direct I/O and the pages' checksums work in units of 4KiB",
            )
        if self.file_bytes % self.block_bytes:
            raise UsageError(
                f"--file-size {format_size(self.file_bytes)} is not a multiple of "
                f"--block-size {format_size(self.block_bytes)}",
                hint="choose sizes that divide",
            )
        _at_least("--num-workers", self.workers, 1)
        if self.workers > 1024:
            raise UsageError(
                f"--num-workers is {self.workers}; expected at most 1024",
                hint="a volume's queue is rarely deeper than 128",
            )
        if self.blocks < 2 * self.workers:
            raise UsageError(
                f"--file-size {format_size(self.file_bytes)} holds {self.blocks} blocks; "
                f"expected at least {2 * self.workers}, twice --num-workers",
                hint="two operations never work on one block at a time: use a larger file or fewer workers",
            )
        if self.num_operations is not None:
            _at_least("--num-operations", self.num_operations, 1)
        _positive("--duration", self.duration_s)
        _positive("--rate", self.rate_mib_s)
        if not 0 <= self.verify_full_ratio <= 1:
            raise UsageError(f"--verify-full is {self.verify_full_ratio}; expected a share from 0 to 1")
        _at_least("--read-back-every", self.read_back_every, 0)
        _at_least("--fsync-every", self.fsync_every, 1)

    @property
    def blocks(self) -> int:
        return self.file_bytes // self.block_bytes

    @property
    def pages_per_block(self) -> int:
        return self.block_bytes // PAGE_BYTES


def _at_least(option: str, value: int, least: int) -> None:
    if value < least:
        raise UsageError(f"{option} is {value}; expected at least {least}")


def _positive(option: str, value: float | None) -> None:
    if value is not None and not 0 < value < float("inf"):
        raise UsageError(f"{option} is {value}; expected a number above 0")
