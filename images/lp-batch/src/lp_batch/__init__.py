"""I/O-heavy batch job."""
