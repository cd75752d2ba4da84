"""I/O-heavy batch job: real reads and writes on a shared volume, verified, measured, cheap in CPU."""
