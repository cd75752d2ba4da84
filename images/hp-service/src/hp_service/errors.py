"""Errors of this package.

HpServiceError            shown to the user as one line, with a hint
├── SourceError           the data package cannot be fetched or is not what was pinned
├── DatasetError          a prepared directory is absent, incomplete or damaged
├── FeatureReadError      a feature row could not be read, or another row came back
├── BenchError            a benchmark could not run
└── RequestError          a request that the service refuses (HTTP 4xx)
"""

from __future__ import annotations


class HpServiceError(Exception):
    """Report what, where, found and expected in one line; `hint` is the remedy."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class SourceError(HpServiceError):
    """The data package cannot be fetched or is not what was pinned."""


class DatasetError(HpServiceError):
    """A prepared directory is absent, incomplete or damaged."""


class FeatureReadError(HpServiceError):
    """A feature row could not be read, or another row came back."""


class BenchError(HpServiceError):
    """A benchmark could not run."""


class RequestError(HpServiceError):
    """A request that the service refuses."""

    def __init__(self, message: str, *, status: int = 422, code: str = "invalid_request") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
