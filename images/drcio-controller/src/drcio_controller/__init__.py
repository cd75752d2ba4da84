"""Node agent that gives pods their I/O share on cgroup v2."""
