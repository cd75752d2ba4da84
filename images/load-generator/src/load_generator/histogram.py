"""HdrHistograms of microseconds with one shape, so that any two merge exactly."""

from collections.abc import Iterable, Iterator

# The library ships no types; this module is the only one that touches it.
from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]

_LOWEST_US = 1
_HIGHEST_US = 3_600_000_000
_SIGNIFICANT_FIGURES = 3


class Histogram:
    """Counts of durations in microseconds, 0.1% wide, up to an hour."""

    def __init__(self, values_us: Iterable[int] = ()) -> None:
        self._inner = HdrHistogram(_LOWEST_US, _HIGHEST_US, _SIGNIFICANT_FIGURES)
        for value_us in values_us:
            self.record(value_us)

    def record(self, value_us: int) -> None:
        """Count a value; what lies outside the range counts as the nearest value inside."""
        self._inner.record_value(min(max(value_us, _LOWEST_US), _HIGHEST_US))

    def add(self, other: "Histogram") -> None:
        self._inner.add(other._inner)

    @property
    def count(self) -> int:
        return int(self._inner.get_total_count())

    def percentile_ms(self, percentile: float) -> float | None:
        """Return a percentile (0 < p <= 100), None when nothing was recorded."""
        return int(self._inner.get_value_at_percentile(percentile)) / 1000 if self.count else None

    @property
    def max_ms(self) -> float | None:
        return int(self._inner.get_max_value()) / 1000 if self.count else None

    def encode(self) -> str:
        """Return HdrHistogram's compressed V2 form in base64."""
        return str(self._inner.encode().decode("ascii"))

    @classmethod
    def decode(cls, encoded: str) -> "Histogram":
        """Read what `encode` wrote; raises ValueError for anything else."""
        histogram = cls()
        histogram._inner.add(_decoded(encoded))
        return histogram


def buckets(encoded: str) -> Iterator[tuple[int, int, int]]:
    """Yield the occupied buckets of what `encode` wrote, lowest first: lowest and highest value, and count.

    Raises ValueError for anything else.
    """
    decoded = _decoded(encoded)
    for index, count in enumerate(decoded.counts[:]):
        if count:
            low = int(decoded.get_value_from_index(index))
            yield low, int(decoded.get_highest_equivalent_value(low)), int(count)


def _decoded(encoded: str) -> HdrHistogram:
    try:
        return HdrHistogram.decode(encoded)
    except Exception as error:
        raise ValueError(f"not an HdrHistogram (V2, base64): {error or type(error).__name__}") from error
