from collections.abc import Callable

import pytest

from lp_batch.errors import UsageError
from lp_batch.patterns import Pattern
from lp_batch.plan import Plan
from lp_batch.units import KIB, MIB


def plan(
    *,
    block_bytes: int = 4 * KIB,
    workers: int = 4,
    file_bytes: int = MIB,
    num_operations: int | None = None,
    duration_s: float | None = None,
    rate_mib_s: float | None = None,
    verify_full_ratio: float = 0.02,
    read_back_every: int = 128,
    fsync_every: int = 16,
) -> Plan:
    return Plan(
        pattern=Pattern.MIXED,
        block_bytes=block_bytes,
        workers=workers,
        file_bytes=file_bytes,
        num_operations=num_operations,
        duration_s=duration_s,
        rate_mib_s=rate_mib_s,
        seed=1,
        verify_full_ratio=verify_full_ratio,
        read_back_every=read_back_every,
        fsync_every=fsync_every,
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: plan(block_bytes=512), "--block-size is 512B; expected a multiple of 4KiB"),
        (lambda: plan(block_bytes=5000), "--block-size is 5000B"),
        (lambda: plan(file_bytes=MIB + 4096, block_bytes=8192), "is not a multiple of --block-size 8KiB"),
        (lambda: plan(workers=0), "--num-workers is 0; expected at least 1"),
        (lambda: plan(workers=5000, file_bytes=1024 * MIB), "expected at most 1024"),
        (lambda: plan(workers=200), "holds 256 blocks; expected at least 400"),
        (lambda: plan(num_operations=0), "--num-operations is 0"),
        (lambda: plan(duration_s=0.0), "--duration is 0.0"),
        (lambda: plan(duration_s=float("nan")), "--duration is nan"),
        (lambda: plan(rate_mib_s=-1.0), "--rate is -1.0"),
        (lambda: plan(verify_full_ratio=1.5), "--verify-full is 1.5; expected a share from 0 to 1"),
        (lambda: plan(read_back_every=-1), "--read-back-every is -1"),
        (lambda: plan(fsync_every=0), "--fsync-every is 0"),
    ],
)
def test_a_bad_value_is_refused_by_name(make: Callable[[], Plan], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        make()
    assert message in str(refused.value)
