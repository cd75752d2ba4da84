"""Cgroup v2 and block-device files: strict parsers and a small set of safe file operations."""
