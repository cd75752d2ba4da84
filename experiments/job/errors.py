"""What keeps the in-cluster runner from measuring.

JobError                    (an ExperimentError)
├── WorkloadNotReady        the service or the batch job did not get going in time
├── PeersMissing            other load generators of this experiment did not turn up, or left nothing
├── ScrapeError             a metrics endpoint gave no usable answer; counted, the sample goes on without it
├── NotYet                  something that is waited for is not there; carries what is there instead
├── ApiRefused              the API server gave no answer, or one that will not change
└── NotPublished            the ConfigMap could not be read or written; the only one that fails the Job
"""

from __future__ import annotations

from experiments.errors import ExperimentError


class JobError(ExperimentError):
    """Explain why there is no measurement."""


class WorkloadNotReady(JobError):
    """A workload did not get going in time."""


class PeersMissing(JobError):
    """A load generator of the same experiment is missing."""


class ScrapeError(JobError):
    """An endpoint gave no usable answer."""


class NotYet(JobError):
    """What is waited for is not there yet."""


class ApiRefused(JobError):
    """The API server gave no usable answer."""


class NotPublished(JobError):
    """The results could not be put where the program reads them."""
