"""The `Server-Timing` header: what a service reports of its own parts (W3C Server Timing)."""

import re

_METRIC = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)((?:\s*;[^,\"]*(?:\"[^\"]*\"[^,\"]*)*)?)\s*(?:,|$)")
_DURATION = re.compile(r";\s*dur\s*=\s*\"?(\d{1,9}(?:\.\d{1,9})?)\"?\s*(?:;|$)", re.IGNORECASE)


def parse_server_timing(header: str) -> dict[str, int]:
    """Return microseconds by metric; metrics without a duration and malformed parts are left out."""
    durations_us: dict[str, int] = {}
    for match in _METRIC.finditer(header):
        duration = _DURATION.search(match[2])
        if duration is not None:
            durations_us[match[1].lower()] = round(float(duration[1]) * 1000)
    return durations_us
