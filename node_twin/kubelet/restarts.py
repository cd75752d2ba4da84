"""When a container that ended runs again."""

from dataclasses import dataclass

from .manifest import RestartPolicy


def restarts(policy: RestartPolicy, exit_code: int) -> bool:
    """Return whether a container that ended with `exit_code` runs again."""
    return policy is RestartPolicy.ALWAYS or (policy is RestartPolicy.ON_FAILURE and exit_code != 0)


def init_policy(policy: RestartPolicy) -> RestartPolicy:
    """Return the policy for the pod's init containers, which need to succeed only once."""
    return RestartPolicy.NEVER if policy is RestartPolicy.NEVER else RestartPolicy.ON_FAILURE


@dataclass(frozen=True, kw_only=True, slots=True)
class CrashLoopBackOff:
    """kubelet's waits between restarts: none before the first, then 10 s, doubling up to five minutes."""

    initial_s: float = 10.0
    cap_s: float = 300.0
    forgiven_after_s: float = 600.0
    """A container that ran for so long starts with a clean slate."""

    def next_delay_s(self, previous_delay_s: float | None, ran_s: float) -> float:
        """Return the wait before the next start; `previous_delay_s` is None before the first restart."""
        if previous_delay_s is None or ran_s >= self.forgiven_after_s:
            return 0.0
        return min(previous_delay_s * 2, self.cap_s) if previous_delay_s else self.initial_s
